"""Finds methods by name; subclassing `Method` registers a class."""

from __future__ import annotations

import ast
import difflib
import functools
import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
import sysconfig
import traceback
import types
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path

from tunefront.methods.base import Method
from tunefront.methods.checking import check_class, describe_error, is_name, where

_LOADED = "_tunefront_"
"""Prefix of the module name of a file given by path."""


class UnknownMethod(KeyError):
    """There is no method of that name; the message offers the nearest."""

    def __str__(self) -> str:
        return str(self.args[0])


def methods() -> dict[str, type[Method]]:
    """Every method class by name: shipped ones, entry points `tunefront.methods`, and all imported subclasses.

    Errors: ValueError if two classes share a name, or a name is not [a-z][a-z0-9_]*.
    """
    _import_shipped()
    by_name: dict[str, type[Method]] = {}
    for cls in _subclasses(Method):  # type: ignore[type-abstract]
        try:
            if inspect.isabstract(cls):
                continue
            name = getattr(cls, "name", None)
        except Exception as error:  # raised by its metaclass
            raise ValueError(f"{where(cls)} has a name that cannot be read: {describe_error(error)}") from error
        if not isinstance(name, str) or not is_name(name):
            check_class(cls)
            raise ValueError(f"{where(cls)} needs a class attribute `name`, a text, got {name!r}")
        if name in by_name and _identity(by_name[name]) != _identity(cls):
            raise ValueError(f"two methods are named {name!r}: {where(by_name[name])} and {where(cls)}; rename one")
        names = {module for copy in (by_name.get(name, cls), cls) if _is_importable(module := copy.__module__)}
        if len(names) > 1:
            ours = next((module for module in names if module.split(".")[0] == "tunefront"), None)
            raise ValueError(
                f"the file {_identity(cls)[0]} is imported under two names, {' and '.join(sorted(names))}, which "
                f"registers its methods twice; import it {f'as {ours}' if ours else 'under one of them'} everywhere."
            )
        by_name[name] = cls
    return dict(sorted(by_name.items()))


def find(name: str) -> type[Method]:
    """The method class of that name; UnknownMethod with the nearest name."""
    known = methods()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name[:100], known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    own = "Add one by subclassing tunefront.Method."
    if name.endswith(".py"):
        own = f"Give your own method with its class, {name}:ClassName."
    raise UnknownMethod(f"no method {name[:100]!r}{hint} Known: {', '.join(known)}. {own}")


def source_fingerprint(method: Method) -> str:
    """sha256 over the source files of the method's class and its bases except Method, and of other shipped methods that
    these import (for a shared layer); part of a record's key.

    Other modules that a user's file imports are not covered: change the file, or the class's fields, with them.
    """
    digest = hashlib.sha256()
    shared: dict[str, str] = {}
    for cls in type(method).__mro__:
        if cls is not Method and issubclass(cls, Method):
            source = _source(cls)
            digest.update(source.encode())
            _add_imported(source, shared)
    for name in sorted(shared.keys() - {cls.__module__ for cls in type(method).__mro__}):
        digest.update(shared[name].encode())
    return digest.hexdigest()


def source_file(method: Method) -> Path | None:
    """The user's file (or script, or conftest.py) that defines the method, None for a shipped or installed one.

    Worker processes import it, so files that this process imported under another name count too.
    """
    path = getattr(sys.modules.get(type(method).__module__), "__file__", None)
    if path is None or Path(path).parent == Path(__file__).parent:
        return None
    installed = [Path(sysconfig.get_path(place)) for place in ("purelib", "platlib", "stdlib")]
    return None if any(Path(path).is_relative_to(folder) for folder in installed) else Path(path).resolve()


def load_file(path: str | Path) -> types.ModuleType:
    """Imports a user's Python file once, under a unique name; ValueError if that fails."""
    try:
        path = Path(path).expanduser().resolve()
        there, ordinary = path.exists(), path.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # unknown user, name too long, folder without permission
        raise ValueError(f"the file {path} cannot be read ({error})") from error
    if not ordinary:
        kind = "a folder" if path.is_dir() else "not a regular file"
        problem = f"{path} is {kind}" if there else f"there is no file {path}"
        raise ValueError(f"{problem}; give your own method as path/to/file.py:ClassName")
    name = f"{_LOADED}{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    if path.parent == Path(__file__).resolve().parent:  # a shipped file by its path is the shipped module
        return importlib.import_module(__package__ if path.stem == "__init__" else f"{__package__}.{path.stem}")
    already = next((m for m in list(sys.modules.values()) if getattr(m, "__file__", None) == str(path)), None)
    if already is not None:  # imported before, by a conftest.py or a script
        return already
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look up their module while the class is created
    folder = os.getcwd()
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(name, None)
        if isinstance(error, KeyboardInterrupt):
            raise
        # A file that exits would end the command silently with 0, and a library's panic is no Exception.
        raise ValueError(f"{path} could not be imported: {describe_error(error)}{_line_of(error, path)}") from error
    finally:
        os.chdir(folder)  # relative paths of the call are resolved later
    return module


def is_given_by_path(cls: type) -> bool:
    """Whether a class was imported by `load_file` from a path in the call, and not by a user's program."""
    return cls.__module__.startswith(_LOADED)


_CONTRACT = ("base", "checking", "registry", "spelling", "inject", "torch_internals")
"""Modules of this package that are no methods; the harness's fingerprint covers those that decide numbers."""


def _add_imported(source: str, sources: dict[str, str]) -> None:
    """Adds the sources of shipped methods that a source imports, directly or indirectly."""
    for module in _modules_from(source):
        package, _, stem = module.rpartition(".")
        if package != __package__ or stem in _CONTRACT or module in sources:
            continue
        path = Path(__file__).with_name(f"{stem}.py")
        if path.is_file():
            sources[module] = path.read_text(encoding="utf-8")
            _add_imported(sources[module], sources)


@functools.lru_cache(maxsize=1000)  # parsing takes milliseconds, and thousands of keys are made from a few sources
def _modules_from(source: str) -> tuple[str, ...]:
    """The modules that a source imports names from, in the order in which `ast.walk` finds them."""
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a class defined interactively has no file
        return ()
    imports = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level)
    return tuple(node.module for node in imports if node.module)


def _line_of(error: BaseException, path: Path) -> str:
    """The line of the file that raised the error, if known; a SyntaxError has its own."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f" (line {lines[-1]})" if lines else ""


def _subclasses(cls: type[Method]) -> Iterable[type[Method]]:
    for sub in cls.__subclasses__():
        yield sub
        yield from _subclasses(sub)


@functools.cache
def _import_shipped() -> None:
    """Runs once per process: reading the entry points of all installed packages takes 10 ms."""
    package = Path(__file__).parent
    for path in sorted(package.glob("*.py")):
        if path.stem not in ("__init__", *_CONTRACT):
            importlib.import_module(f"{__package__}.{path.stem}")
    for entry in entry_points(group="tunefront.methods"):
        try:
            entry.load()
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            raise ValueError(
                f"the method {entry.value} of an installed package could not be imported: {describe_error(error)}; "
                "repair or remove that package"
            ) from error


def _identity(cls: type) -> tuple[str, str]:
    """(file, name) of a class: the same class imported twice, as by a reload, counts once."""
    return str(getattr(sys.modules.get(cls.__module__), "__file__", cls.__module__)), cls.__qualname__


def _is_importable(module: str) -> bool:
    """Whether a module is imported by name, unlike a script or a file given by path; a second copy of these, as when a
    helper imports the script, is no error."""
    return not module.startswith(_LOADED) and module not in ("__main__", "__mp_main__")


def _source(cls: type) -> str:
    try:
        return inspect.getsource(sys.modules[cls.__module__])
    except (OSError, TypeError, KeyError):  # defined interactively: there is only the class itself
        return f"{cls.__qualname__} {sorted(vars(cls))}"
