"""The embedded tasks `docstrings/<task>`: real text from the installed packages, without a network."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.bench.data import hashing
from tunefront.bench.data.cache import load_or_make, save_cached, task_path
from tunefront.bench.data.hashing import code_digest, fraction
from tunefront.bench.data.sources import candidates
from tunefront.bench.data.sources import harvest as harvesting
from tunefront.bench.data.sources.candidates import TASKS, Candidate, split_of
from tunefront.bench.data.sources.harvest import Docstring, harvest, versions
from tunefront.bench.data.task import MetricSpec, Row, Task
from tunefront.bench.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable

SPLITS = {"train": 3000, "validation": 504, "test": 1000}
"""Approximate rows per split; classes are balanced."""


def load(name: str) -> Task:
    """The embedded task of this name (a key of `TASKS`), from the cache or built now; one harvest builds all four."""
    return load_or_make(_path(name), lambda: _made(name))


def _made(name: str) -> Task:
    """Builds all tasks and saves the others; the caller saves the requested one."""
    built = _build_all()
    for other, task in built.items():
        if other != name and not _path(other).exists():
            save_cached(_path(other), task)
    return built[name]


@cache
def _build_all() -> dict[str, Task]:
    docstrings, packages = harvest(), versions()
    origin = tuple(f"{package} {version}" for package, version in sorted(packages.items()))
    return {name: build(name, docstrings, origin) for name in TASKS}


def _path(name: str) -> Path:
    return task_path(f"docstrings/{name}", {**versions(), "code": _code()})


@cache
def _code() -> str:
    """sha256 over the code that decides the rows, part of the cache entry's name."""
    return code_digest([harvesting.__file__, candidates.__file__, hashing.__file__, __file__])


def build(name: str, docstrings: Iterable[Docstring], origin: tuple[str, ...]) -> Task:
    """The task `docstrings/<name>`: distinct rows, split by file, with balanced classes.

    Errors: UserError if a class would have no row in a split.
    """
    candidates = _distinct(TASKS[name](docstrings))
    label_names = tuple(sorted({candidate.label for candidate in candidates}))
    splits = {split: _rows(split, candidates, label_names) for split in SPLITS} if candidates else {}
    if not all(splits.get(split) for split in SPLITS):
        raise UserError(
            f"docstrings/{name}: the installed packages ({', '.join(origin)}) give no rows for some class; their "
            "sources may have been stripped. Install them as published, with their .py files."
        )
    return Task(
        name=f"docstrings/{name}",
        kind="classification",
        splits=splits,
        input_fields=tuple(candidates[0].inputs),
        label_names=label_names,
        metrics=(MetricSpec("accuracy"), MetricSpec("macro_f1")),
        origin=origin,
    )


def _rows(split: str, candidates: Iterable[Candidate], label_names: tuple[str, ...]) -> list[Row]:
    """The split's rows, shuffled; for each class those with the lowest hashes."""
    order = sorted((fraction(c.content), c.label, c) for c in candidates if split_of(c.path) == split)
    counts = Counter(label for _, label, _ in order)
    size = min(SPLITS[split] // len(label_names), *(counts[label] for label in label_names))
    chosen = [(place, c) for name in label_names for place, _, c in [row for row in order if row[1] == name][:size]]
    chosen.sort(key=lambda row: fraction(f"order {row[1].content}"))
    return [
        Row(f"{int(place * 2**48):012x}", {**c.inputs, "source": c.path}, label_names.index(c.label))
        for place, c in chosen
    ]


def _distinct(candidates: Iterable[Candidate]) -> list[Candidate]:
    """One candidate per content, independent of the order; none if duplicates have different classes."""
    copies: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        copies.setdefault(candidate.content, []).append(candidate)
    return [min(same, key=lambda c: c.path) for same in copies.values() if len({c.label for c in same}) == 1]
