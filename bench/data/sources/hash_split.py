"""Splits rows into train and test by hash: stratified, with copies of a text and the rows of a group together.

Rows that share their inputs, up to case and spaces, or their group, directly or through other rows, are one unit. Units
are taken for test in the order of their hash while their labels have room there. The hash depends on the texts (or
groups) alone, so that added rows and corrected labels leave most other rows where they were.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tunefront.bench.data.hashing import fraction
from tunefront.bench.data.quotas import quotas

if TYPE_CHECKING:
    from tunefront.bench.data.task import Kind, Row

_BINS, _ROWS_A_BIN = 10, 10
"""Strata of a regression: at most this many ranges of values, with at least this many rows each."""


def split_rows(
    rows: Sequence[Row], texts: Sequence[str], groups: Sequence[str | None], share: float, kind: Kind
) -> tuple[list[Row], list[Row]]:
    """(train rows, test rows), each in the order of `rows`; test is empty where nothing can be taken from train.

    Args: texts, each row's inputs, normalised; groups, what keeps rows together, None for a row without; share of test.
    """
    units = _units(texts, groups)
    strata = _strata(rows, kind)
    left = Counter(strata)
    room = Counter(quotas(Counter(strata), max(1, round(share * len(rows)))))
    test: set[int] = set()
    for _, places in sorted((fraction(f"split {name}"), places) for name, places in units.items()):
        unit = Counter(strata[place] for place in places)
        fitting = sum(min(count, max(0, room[stratum])) for stratum, count in unit.items())
        if 2 * fitting > len(places) and all(left[stratum] > count for stratum, count in unit.items()):
            test.update(places)
            room.subtract(unit)
            left.subtract(unit)
    return (
        [row for place, row in enumerate(rows) if place not in test],
        [row for place, row in enumerate(rows) if place in test],
    )


def _units(texts: Sequence[str], groups: Sequence[str | None]) -> dict[str, list[int]]:
    """The places of the rows of each unit, by the unit's name: its first group, else its text."""
    parents: dict[str, str] = {}

    def find(name: str) -> str:
        root = name
        while parents.setdefault(root, root) != root:
            root = parents[root]
        while parents[name] != root:  # shorten the way for the next search
            parents[name], name = root, parents[name]
        return root

    names = [f"t{text}" for text in texts]
    for name, group in zip(names, groups, strict=True):
        first = find(name)
        if group is not None:
            ends = sorted((first, find(f"g{group}")))
            parents[ends[1]] = ends[0]  # "g" sorts before "t": a unit with groups is named by its first group
    units: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        units.setdefault(find(name), []).append(place)
    return units


def _strata(rows: Sequence[Row], kind: Kind) -> list[int | float]:
    """The stratum of each row: its class, or the range of its value; one for all rows of multiple choice."""
    if kind == "classification":
        return [row.label for row in rows]
    bins = min(_BINS, len(rows) // _ROWS_A_BIN) if kind == "regression" else 1
    order = sorted(range(len(rows)), key=lambda place: (rows[place].label, place))
    rank = {place: number for number, place in enumerate(order)}
    return [rank[place] * max(1, bins) // len(rows) for place in range(len(rows))]
