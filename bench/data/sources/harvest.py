"""Reads the docstrings of installed core dependencies and the standard library with `ast`, without importing them."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import os
import platform
import re
import sysconfig
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tunefront.bench.collector import without_collector
from tunefront.bench.data.hashing import fraction
from tunefront.bench.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Kind = Literal["class", "function", "module"]


@dataclass(frozen=True)
class Source:
    """A package to harvest: its import name, its distribution's name, and the share of its files to read in full.

    Other files give only their module docstring: these are scarce, and large packages are slow to parse.
    """

    package: str
    distribution: str
    share: float = 1.0


STANDARD_LIBRARY = "python"
SOURCES = (
    Source("torch", "torch", share=0.3),
    Source("transformers", "transformers", share=0.25),
    Source("datasets", "datasets"),
    Source("pandas", "pandas"),
    Source("matplotlib", "matplotlib"),
    Source("sklearn", "scikit-learn"),
    Source("scipy", "scipy"),
    Source("pydantic", "pydantic"),
    Source("jinja2", "jinja2"),
    Source("fsspec", "fsspec"),
    Source("rich", "rich"),
    Source(STANDARD_LIBRARY, STANDARD_LIBRARY),
)
_TESTS = {"test", "tests", "testing", "idlelib", "lib2to3", "turtledemo", "pydoc_data", "encodings", "ensurepip"}
_COPIES = {"site-packages", "dist-packages", "externals", "_vendor", "_vendored", "_bundled", "__pycache__"}
_SKIPPED_FOLDERS = _TESTS | _COPIES
_HEAD = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)*[rRuU]?(\"\"\"|''').*?\1", re.DOTALL)
_DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Docstring:
    """A docstring and its origin: package, path relative to the package's parent, described object."""

    package: str
    path: str
    kind: Kind
    name: str
    text: str


def versions(sources: Iterable[Source] = SOURCES, search_folder: Path | None = None) -> dict[str, str]:
    """Import name -> public version of every package to harvest (2.6.0 for torch's 2.6.0+cpu and 2.6.0+cu124).

    Looks for a package in `search_folder` first. Errors: UserError if one is missing.
    """
    known = {STANDARD_LIBRARY: platform.python_version()}
    missing = []
    for source in sources:
        if source.package not in known:
            try:
                known[source.package] = _version(source, search_folder).split("+")[0]
            except importlib.metadata.PackageNotFoundError:
                missing.append(source.distribution)
    if missing:
        raise UserError(
            f"the embedded tasks need {', '.join(missing)}: not installed; run: pip install {' '.join(missing)}"
        )
    return known


def harvest(sources: Iterable[Source] = SOURCES, search_folder: Path | None = None) -> list[Docstring]:
    """Every docstring of the sources, in the order of file paths.

    Looks for a package in `search_folder` first, which need not be importable.
    """
    with _quick_parsing():
        return [docstring for source in sources for docstring in _of_source(source, search_folder)]


def code_docstrings(code: str, package: str, path: str) -> Iterator[Docstring]:
    """The docstrings of one file: of the module, classes, functions and methods, but not of local functions.

    Errors: SyntaxError if the code is not valid for this Python version.
    """
    pending: list[tuple[ast.AST, Kind, str]] = [(ast.parse(code), "module", Path(path).stem)]
    while pending:
        node, kind, name = pending.pop()
        text = ast.get_docstring(node)  # type: ignore[arg-type]  # the four kinds of node that can have one
        if text:
            yield Docstring(package, path, kind, name, text)
        if kind != "function":
            body = [child for child in reversed(node.body) if isinstance(child, _DEFINITIONS)]  # type: ignore[attr-defined]
            pending += [(c, "class" if isinstance(c, ast.ClassDef) else "function", c.name) for c in body]


def _of_source(source: Source, search_folder: Path | None) -> Iterator[Docstring]:
    local = search_folder and _lies_in(search_folder, source)
    root = search_folder / source.package if search_folder and local else _folder(source)
    for file in _files(root):
        path = f"{source.package}/{file.relative_to(root).as_posix()}"
        try:
            code = file.read_text("utf-8")
            if fraction(f"file {path}") >= source.share:
                head = _HEAD.match(code)
                code = head[0] if head else ""
            if '"""' in code or "'''" in code:
                yield from code_docstrings(code, source.package, path)
        except (OSError, SyntaxError, ValueError):
            continue  # a template, another encoding, or code for another Python


def _version(source: Source, search_folder: Path | None) -> str:
    if not _lies_in(search_folder, source):
        return importlib.metadata.version(source.distribution)
    distributions = importlib.metadata.distributions(name=source.distribution, path=[str(search_folder)])
    return next((distribution.version for distribution in distributions), "unknown")


def _lies_in(folder: Path | None, source: Source) -> bool:
    return folder is not None and (folder / source.package).is_dir()


def _files(root: Path) -> Iterator[Path]:
    """The Python files below a folder, in a platform-independent order."""
    for folder, inside, files in os.walk(root):
        inside[:] = sorted(set(inside) - _SKIPPED_FOLDERS)
        yield from (Path(folder, file) for file in sorted(files) if file.endswith(".py"))


def _folder(source: Source) -> Path:
    if source.package == STANDARD_LIBRARY:
        return Path(sysconfig.get_path("stdlib"))
    spec = importlib.util.find_spec(source.package)  # of a top-level name: imports nothing
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"{source.distribution} is registered as installed, but its package {source.package!r} is missing; "
            f"run: pip install --force-reinstall {source.distribution}"
        )
    return Path(spec.submodule_search_locations[0])


@contextmanager
def _quick_parsing() -> Iterator[None]:
    """Disables warnings, and pauses the garbage collector, which would traverse each growing syntax tree repeatedly."""
    with without_collector(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
