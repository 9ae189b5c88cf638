"""Differences from a paper, put together: what holds everywhere once, the rest by method and task."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Compared:
    """A cell or a record as far as its paper is concerned; `deviations` are None where it was compared with none."""

    paper: str | None
    label: str
    task: str
    deviations: tuple[str, ...] | None


@dataclass(frozen=True)
class Group:
    """Differences that the same methods have on the same tasks, "" where that is all of them."""

    methods: str
    tasks: str
    deviations: tuple[str, ...]

    @property
    def subject(self) -> str:
        """Whose differences they are, in words."""
        parts = [self.methods or ("every method" if not self.tasks else ""), f"on {self.tasks}" if self.tasks else ""]
        return " ".join(filter(None, parts))


def grouped(found: Iterable[Compared]) -> dict[str, list[Group]]:
    """By paper, the differences in the order in which they first occur: those of every method, then the others."""
    papers: dict[str, list[Compared]] = {}
    for each in found:
        if each.paper is not None and each.deviations is not None:
            papers.setdefault(each.paper, []).append(each)
    return {paper: _groups(cells) for paper, cells in papers.items()}


def _listed(names: dict[str, None], known: dict[str, None], every: str) -> str:
    """The names, "" where they are all that are known; those that are missing where they are fewer."""
    others = [name for name in known if name not in names]
    if not others:
        return ""
    return f"{every} but {' and '.join(others)}" if len(others) <= _FEW < len(names) else ", ".join(names)


_FEW = 2
"""So many names may be left out of "every method but ..."."""


def _groups(cells: list[Compared]) -> list[Group]:
    labels, tasks = (dict.fromkeys(names) for names in zip(*((c.label, c.task) for c in cells), strict=True))
    places: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for cell in cells:
        for deviation in cell.deviations or ():
            of, on = places.setdefault(deviation, ({}, {}))
            of[cell.label], on[cell.task] = None, None
    together: dict[tuple[str, str], list[str]] = {}
    for deviation, (of, on) in places.items():
        where = (_listed(of, labels, "every method"), _listed(on, tasks, "every task"))
        together.setdefault(where, []).append(deviation)
    ordered = sorted(together.items(), key=lambda item: (item[0][0] != "", item[0][1] != ""))
    return [Group(*where, tuple(deviations)) for where, deviations in ordered]
