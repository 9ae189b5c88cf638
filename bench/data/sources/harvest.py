"""Docstrings of the installed core dependencies and of the standard library, read with `ast`; nothing is imported."""

from __future__ import annotations

import ast
import gc
import hashlib
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

from tunefront.bench.errors import Mistake

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Kind = Literal["class", "function", "module"]


@dataclass(frozen=True)
class Source:
    """A package to harvest: its import name, its distribution's, and the share of its files that is read in full.

    Of the others only the module's own docstring is taken: these are scarce, and the large packages slow to parse.
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
    """A docstring and where it stands: package, path within the package's parent, what it describes."""

    package: str
    path: str
    kind: Kind
    name: str
    text: str


def versions(sources: Iterable[Source] = SOURCES, beside: Path | None = None) -> dict[str, str]:
    """Import name -> public version of every package to harvest (2.6.0 for torch's 2.6.0+cpu and 2.6.0+cu124 alike).

    A package is looked for in the folder `beside` first. Errors: Mistake where one is missing.
    """
    found = {STANDARD_LIBRARY: platform.python_version()}
    missing = []
    for source in sources:
        if source.package not in found:
            try:
                found[source.package] = _version(source, beside).split("+")[0]
            except importlib.metadata.PackageNotFoundError:
                missing.append(source.distribution)
    if missing:
        raise Mistake(
            f"docstrings are to be read from packages of which {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not installed; run: pip install {' '.join(missing)}"
        )
    return found


def harvest(sources: Iterable[Source] = SOURCES, beside: Path | None = None) -> list[Docstring]:
    """Every docstring of the sources, files in the order of their paths.

    A package is looked for in the folder `beside` first, which need not be importable.
    """
    with _quick_parsing():
        return [docstring for source in sources for docstring in _of_source(source, beside)]


def fraction(text: str) -> float:
    """A number in [0, 1) that depends on the text alone, evenly spread over texts."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48


def of_code(code: str, package: str, path: str) -> Iterator[Docstring]:
    """The docstrings of one file: its own, its classes' and functions', methods included, local functions not.

    Errors: SyntaxError where the code is not Python of this version.
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


def _of_source(source: Source, beside: Path | None) -> Iterator[Docstring]:
    root = beside / source.package if beside and _lies_in(beside, source) else _folder(source)
    for file in _files(root):
        path = f"{source.package}/{file.relative_to(root).as_posix()}"
        try:
            code = file.read_text("utf-8")
            if fraction(f"file {path}") >= source.share:
                head = _HEAD.match(code)
                code = head[0] if head else ""
            if '"""' in code or "'''" in code:
                yield from of_code(code, source.package, path)
        except (OSError, SyntaxError, ValueError):
            continue  # a template, another encoding, or code for another Python


def _version(source: Source, beside: Path | None) -> str:
    if not _lies_in(beside, source):
        return importlib.metadata.version(source.distribution)
    found = importlib.metadata.distributions(name=source.distribution, path=[str(beside)])
    return next((one.version for one in found), "unknown")


def _lies_in(folder: Path | None, source: Source) -> bool:
    return folder is not None and (folder / source.package).is_dir()


def _files(root: Path) -> Iterator[Path]:
    """The Python files below a folder, in the same order everywhere."""
    for folder, inside, files in os.walk(root):
        inside[:] = sorted(set(inside) - _SKIPPED_FOLDERS)
        yield from (Path(folder, file) for file in sorted(files) if file.endswith(".py"))


def _folder(source: Source) -> Path:
    if source.package == STANDARD_LIBRARY:
        return Path(sysconfig.get_path("stdlib"))
    spec = importlib.util.find_spec(source.package)  # of a top-level name: imports nothing
    if spec is None or not spec.submodule_search_locations:
        raise Mistake(
            f"{source.distribution} is registered as installed but package {source.package!r} is not found; "
            f"run: pip install --force-reinstall {source.distribution}"
        )
    return Path(spec.submodule_search_locations[0])


@contextmanager
def _quick_parsing() -> Iterator[None]:
    """Without the cycle collector, which would walk each growing syntax tree again and again, and without warnings."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if collecting:
            gc.enable()
