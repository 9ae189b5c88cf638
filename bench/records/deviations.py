"""Groups differences from a paper: those of every cell once, the others by method and task."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Compared:
    """The paper of a cell or record and its differences from it; `deviations` are None if it was not compared."""

    paper: str | None
    label: str
    task: str
    deviations: tuple[str, ...] | None


@dataclass(frozen=True)
class Group:
    """Differences shared by the same methods on the same tasks; "" stands for all methods or tasks."""

    methods: str
    tasks: str
    deviations: tuple[str, ...]

    @property
    def subject(self) -> str:
        """The methods and tasks, in words."""
        parts = [self.methods or ("every method" if not self.tasks else ""), f"on {self.tasks}" if self.tasks else ""]
        return " ".join(filter(None, parts))


def grouped(cells: Iterable[Compared]) -> dict[str, list[Group]]:
    """Groups of differences by paper, in order of first occurrence: those of every method, then the others."""
    papers: dict[str, list[Compared]] = {}
    for cell in cells:
        if cell.paper is not None and cell.deviations is not None:
            papers.setdefault(cell.paper, []).append(cell)
    return {paper: _groups(compared) for paper, compared in papers.items()}


def _listed(names: dict[str, None], known: dict[str, None], every: str) -> str:
    """The names as text: "" for all known names, and the missing names if only few are missing."""
    others = [name for name in known if name not in names]
    if not others:
        return ""
    return f"{every} but {' and '.join(others)}" if len(others) <= _FEW < len(names) else ", ".join(names)


_FEW = 2
"""The most missing names for the form "every method but ..."."""


def _groups(cells: list[Compared]) -> list[Group]:
    labels, tasks = (dict.fromkeys(names) for names in zip(*((c.label, c.task) for c in cells), strict=True))
    places: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for cell in cells:
        for deviation in cell.deviations or ():
            with_labels, with_tasks = places.setdefault(deviation, ({}, {}))
            with_labels[cell.label], with_tasks[cell.task] = None, None
    together: dict[tuple[str, str], list[str]] = {}
    for deviation, (with_labels, with_tasks) in places.items():
        where = (_listed(with_labels, labels, "every method"), _listed(with_tasks, tasks, "every task"))
        together.setdefault(where, []).append(deviation)
    ordered = sorted(together.items(), key=lambda item: (item[0][0] != "", item[0][1] != ""))
    return [Group(*where, tuple(deviations)) for where, deviations in ordered]
