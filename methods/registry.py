"""Methods by name: subclassing is the whole declaration."""

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
from tunefront.methods.checking import check_class, is_name, said, where

_LOADED = "_tunefront_"
"""What the module of a file that is given by its path is called, at first."""


class UnknownMethod(KeyError):
    """No method of that name; the message offers the nearest."""

    def __str__(self) -> str:
        return str(self.args[0])


def methods() -> dict[str, type[Method]]:
    """Every known method class by name: shipped, from entry points `tunefront.methods`, and every imported subclass.

    Errors: ValueError where two classes share a name, or a name is not [a-z][a-z0-9_]*.
    """
    _import_shipped()
    found: dict[str, type[Method]] = {}
    for cls in _subclasses(Method):  # type: ignore[type-abstract]
        try:
            if inspect.isabstract(cls):
                continue
            name = getattr(cls, "name", None)
        except Exception as error:  # of its metaclass
            raise ValueError(f"{where(cls)} cannot be asked for its name: {said(error)}") from error
        if not isinstance(name, str) or not is_name(name):
            check_class(cls)
            raise ValueError(f"{where(cls)} needs a class attribute `name`, a text, got {name!r}")
        if name in found and _identity(found[name]) != _identity(cls):
            raise ValueError(f"two methods are called {name!r}: {where(found[name])} and {where(cls)}; rename one")
        names = {module for one in (found.get(name, cls), cls) if _is_importable(module := one.__module__)}
        if len(names) > 1:
            ours = next((module for module in names if module.split(".")[0] == "tunefront"), None)
            raise ValueError(
                f"the file {_identity(cls)[0]} is imported under two names, {' and '.join(sorted(names))}, and each of "
                f"its methods is there twice; import it {f'as {ours}' if ours else 'under one of them'} everywhere."
            )
        found[name] = cls
    return dict(sorted(found.items()))


def find(name: str) -> type[Method]:
    """The method class of that name; UnknownMethod offering the nearest one."""
    known = methods()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name[:100], known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    own = "Add one by subclassing tunefront.Method."
    if name.endswith(".py"):
        own = f"A method of your own is given with its class, {name}:ClassName."
    raise UnknownMethod(f"no method {name[:100]!r}{hint} Known: {', '.join(known)}. {own}")


def source_fingerprint(method: Method) -> str:
    """sha256 over the source files of the method's class and of its bases but Method, and over the files of other
    shipped methods that these import (a shared layer, say); part of a record's key.

    Other modules that a user's file imports are not covered: change the file, or its class's fields, with them.
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
    """The user's own file that defines the method (or script, or conftest.py), None for a shipped or installed one.

    A worker process imports it, so a file that this process has imported under a name of its own is one too.
    """
    path = getattr(sys.modules.get(type(method).__module__), "__file__", None)
    if path is None or Path(path).parent == Path(__file__).parent:
        return None
    installed = [Path(sysconfig.get_path(place)) for place in ("purelib", "platlib", "stdlib")]
    return None if any(Path(path).is_relative_to(folder) for folder in installed) else Path(path).resolve()


def load_file(path: str | Path) -> types.ModuleType:
    """Imports a user's Python file once, under a name of its own; ValueError where it cannot be imported."""
    try:
        path = Path(path).expanduser().resolve()
        there, ordinary = path.exists(), path.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # no such user, a name too long, a folder that is closed
        raise ValueError(f"the file {path} cannot be read ({error})") from error
    if not ordinary:
        kind = "a folder" if path.is_dir() else "no ordinary file"
        found = f"{path} is {kind}" if there else f"there is no file {path}"
        raise ValueError(f"{found}; give a method of your own as path/to/file.py:ClassName")
    name = f"{_LOADED}{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    if path.parent == Path(__file__).resolve().parent:  # a shipped file by its path is the shipped module
        return importlib.import_module(__package__ if path.stem == "__init__" else f"{__package__}.{path.stem}")
    already = next((m for m in list(sys.modules.values()) if getattr(m, "__file__", None) == str(path)), None)
    if already is not None:  # a conftest.py or a script that imported it first
        return already
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up while the class is made
    folder = os.getcwd()
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(name, None)
        if isinstance(error, KeyboardInterrupt):
            raise
        # A file that exits would end the command, silently with 0; a library's panic is no Exception either.
        raise ValueError(f"{path} could not be imported: {said(error)}{_line_of(error, path)}") from error
    finally:
        os.chdir(folder)  # relative paths of the call are read after it
    return module


def is_given_by_path(cls: type) -> bool:
    """Whether a class was imported by `load_file`, from a file that the call names, and by no program of the user's."""
    return cls.__module__.startswith(_LOADED)


_CONTRACT = ("base", "checking", "registry", "spelling", "inject", "torch_internals")
"""Modules of this package that are no methods; what of them decides about numbers is in the harness's fingerprint."""


def _add_imported(source: str, found: dict[str, str]) -> None:
    """Adds the shipped methods that a source imports, directly or through others, with their own sources."""
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a class that was typed in has no file
        return
    for node in ast.walk(tree):
        module = node.module if isinstance(node, ast.ImportFrom) and not node.level else None
        package, _, stem = (module or "").rpartition(".")
        path = Path(__file__).with_name(f"{stem}.py")
        if package == __package__ and stem not in _CONTRACT and str(module) not in found and path.is_file():
            found[str(module)] = path.read_text(encoding="utf-8")
            _add_imported(found[str(module)], found)


def _line_of(error: BaseException, path: Path) -> str:
    """Where in the file it went wrong, where that is known; a SyntaxError says so itself."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f" (line {lines[-1]})" if lines else ""


def _subclasses(cls: type[Method]) -> Iterable[type[Method]]:
    for sub in cls.__subclasses__():
        yield sub
        yield from _subclasses(sub)


@functools.cache
def _import_shipped() -> None:
    """Once a process: reading the entry points of everything installed takes 10 ms."""
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
                f"the method {entry.value} of an installed package could not be imported: {said(error)}; repair that "
                "package, or remove it"
            ) from error


def _identity(cls: type) -> tuple[str, str]:
    """Where a class stands: the same class imported twice (a reload) counts as one."""
    return str(getattr(sys.modules.get(cls.__module__), "__file__", cls.__module__)), cls.__qualname__


def _is_importable(module: str) -> bool:
    """Whether a module has a name that a person imports it by: a script has none, nor a file given by its path, and a
    second copy of one of these (a helper imports the script, say) is no mistake."""
    return not module.startswith(_LOADED) and module not in ("__main__", "__mp_main__")


def _source(cls: type) -> str:
    try:
        return inspect.getsource(sys.modules[cls.__module__])
    except (OSError, TypeError, KeyError):  # typed in at a prompt: the class itself is all there is
        return f"{cls.__qualname__} {sorted(vars(cls))}"
