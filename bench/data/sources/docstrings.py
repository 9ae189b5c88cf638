"""The embedded tasks `docstrings/<task>`: real text without a network, out of the installed packages."""

from __future__ import annotations

import hashlib
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.bench.data.cache import keep, prepared, task_path
from tunefront.bench.data.sources.candidates import TASKS, Candidate, split_of
from tunefront.bench.data.sources.harvest import Docstring, fraction, harvest, versions
from tunefront.bench.data.task import MetricSpec, Row, Task
from tunefront.bench.errors import Mistake

if TYPE_CHECKING:
    from collections.abc import Iterable

SPLITS = {"train": 3000, "validation": 504, "test": 1000}
"""About how many rows a split has; each class has as many as any other."""


def load(name: str) -> Task:
    """The embedded task of this name (a key of `TASKS`), from the cache or made now, all four out of one harvest."""
    return prepared(_path(name), lambda: _made(name))


def _made(name: str) -> Task:
    """The task; those made with it are kept here, the task itself where it was asked for."""
    built = _build_all()
    for other, task in built.items():
        if other != name and not _path(other).exists():
            keep(_path(other), task)
    return built[name]


@cache
def _build_all() -> dict[str, Task]:
    docstrings, found = harvest(), versions()
    origin = tuple(f"{package} {version}" for package, version in sorted(found.items()))
    return {name: build(name, docstrings, origin) for name in TASKS}


def _path(name: str) -> Path:
    return task_path(f"docstrings/{name}", {**versions(), "code": _code()})


@cache
def _code() -> str:
    """sha256 over the code that decides about the rows: other code, another entry in the cache."""
    files = [Path(__file__).with_name(f"{name}.py") for name in ("harvest", "candidates", "docstrings")]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def build(name: str, docstrings: Iterable[Docstring], origin: tuple[str, ...]) -> Task:
    """The task `docstrings/<name>`: distinct rows, split by file, every class as large as any other.

    Errors: Mistake where a class would have no row in a split.
    """
    candidates = _distinct(TASKS[name](docstrings))
    label_names = tuple(sorted({candidate.label for candidate in candidates}))
    splits = {split: _rows(split, candidates, label_names) for split in SPLITS} if candidates else {}
    if not all(splits.get(split) for split in SPLITS):
        raise Mistake(
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
    """The split's rows, classes mixed; of every class those whose hashes come first."""
    order = sorted((fraction(c.content), c.label, c) for c in candidates if split_of(c.path) == split)
    counts = Counter(label for _, label, _ in order)
    size = min(SPLITS[split] // len(label_names), *(counts[label] for label in label_names))
    chosen = [(place, c) for name in label_names for place, _, c in [one for one in order if one[1] == name][:size]]
    chosen.sort(key=lambda one: fraction(f"order {one[1].content}"))
    return [
        Row(f"{int(place * 2**48):012x}", {**c.inputs, "source": c.path}, label_names.index(c.label))
        for place, c in chosen
    ]


def _distinct(candidates: Iterable[Candidate]) -> list[Candidate]:
    """One of each content, the same whatever the order; none where the copies' classes differ."""
    copies: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        copies.setdefault(candidate.content, []).append(candidate)
    return [min(same, key=lambda c: c.path) for same in copies.values() if len({c.label for c in same}) == 1]
