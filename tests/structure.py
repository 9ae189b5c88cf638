"""The structure of a checkout, read from its imports: `python -m tests.structure [CHECKOUT]`.

A room is a folder or a file directly below `bench/`; `methods/` and `reports/` are one each. It also reads checkouts
whose packages are imported under their bare names, to compare the structure before and after a move.
"""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

PACKAGES = ("bench", "methods", "reports")
Node = TypeVar("Node", bound=Hashable)
Graph = Mapping[Node, set[Node]]


@dataclass(frozen=True)
class Import:
    """One imported name: `module` dotted, `from package import name` gives `package.name`; and its line."""

    module: str
    line: int
    inside: bool
    """Whether it is inside a function, and so not part of importing the file."""


def imports(tree: ast.Module) -> Iterator[Import]:
    """Every import of a source file; a relative one is called `<relative>`, because it hides its direction."""
    inside = {
        child
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, node in inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            yield Import("<relative>", node.lineno, node in inside)
        elif isinstance(node, ast.ImportFrom):
            yield from (Import(f"{node.module}.{alias.name}", node.lineno, node in inside) for alias in node.names)


@functools.cache
def file_imports(root: Path) -> dict[str, set[str]]:
    """Source file -> the files of the three packages that it imports; paths relative to the root."""
    paths = [path for package in PACKAGES for path in sorted(root.joinpath(package).rglob("*.py"))]
    files = {_module(path.relative_to(root)): path.relative_to(root).as_posix() for path in paths}
    arrows: dict[str, set[str]] = {}
    for path in paths:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        name = path.relative_to(root).as_posix()
        arrows[name] = {files[module] for known in imports(tree) if (module := _known(known.module, files))} - {name}
    return arrows


def room_of(file: str) -> str:
    """The room of a file: that of `bench/data/task.py` is bench.data, `bench/cells.py` is itself a room."""
    parts = file.removesuffix(".py").split("/")
    return ".".join(parts[:2]) if parts[0] == "bench" else parts[0]


def room_imports(files: Graph[str]) -> dict[str, set[str]]:
    """Room -> the other rooms that its files import."""
    rooms: dict[str, set[str]] = {}
    for file, imported in files.items():
        rooms.setdefault(room_of(file), set()).update({room_of(other) for other in imported} - {room_of(file)})
    return rooms


def cycles(graph: Graph[Node]) -> list[set[Node]]:
    """Groups of two or more nodes that all reach each other."""
    reached = {node: _reached(graph, node) for node in graph}
    groups = {frozenset({node, *(other for other in seen if node in reached[other])}) for node, seen in reached.items()}
    return [set(group) for group in groups if len(group) > 1]


def back_imports(graph: Graph[Node]) -> int:
    """The fewest arrows of a graph that run backwards in any order of its nodes, 0 if one order suits all."""
    return sum(_fewest_back(graph, frozenset(group)) for group in cycles(graph))


def measured(root: Path) -> dict[str, int]:
    """Measures of a checkout's structure."""
    files = file_imports(root)
    rooms = room_imports(files)
    return {
        "rooms": len(rooms),
        "imports between rooms": sum(map(len, rooms.values())),
        "imports that run back": back_imports(rooms),
        "cycles of files": len(cycles(files)),
        "loose files in bench": len(list(root.glob("bench/*.py"))),
        "folders in bench": len({path.parent for path in root.glob("bench/*/*.py")}),
        "folders in reports": len({path.parent for path in root.glob("reports/*/*.py")}),
    }


def _module(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _known(module: str, files: Mapping[str, str]) -> str | None:
    """The module of the tree that has an imported name."""
    parts = module.removeprefix("tunefront.").split(".")
    return next((name for end in (len(parts), len(parts) - 1) if (name := ".".join(parts[:end])) in files), None)


def _reached(graph: Graph[Node], start: Node) -> set[Node]:
    seen: set[Node] = set()
    waiting = [start]
    while waiting:
        for other in graph[waiting.pop()] - seen:
            seen.add(other)
            waiting.append(other)
    return seen


def _fewest_back(graph: Graph[Node], group: frozenset[Node]) -> int:
    """By the sets that an order can begin with (Held and Karp): exact, in time 2^n of n nodes."""

    @functools.cache
    def fewest(first: frozenset[Node]) -> int:
        if not first:
            return 0
        return min(fewest(first - {last}) + len(graph[last] & (group - first)) for last in first)

    return fewest(group)


if __name__ == "__main__":
    for what, amount in measured(Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()).items():
        print(f"{amount:5,}  {what}")
