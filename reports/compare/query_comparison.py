"""Ways to answer queries compared: after how many training costs less than prompting, and which way costs least."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tunefront.reports.compare.break_even import Crossing, Line, crossing
from tunefront.reports.compare.query_costs import SAME, Way
from tunefront.reports.compare.ratios import bound_text, ratio

if TYPE_CHECKING:
    from tunefront.reports.compare.ratios import Ratio


@dataclass(frozen=True)
class Pair:
    """A trained way compared with a prompted way by one measure. `cost` is the trained way's, over shared cells."""

    trained: Way
    prompted: Way
    cost: Line
    crossing: Crossing


Part = Literal["start", "slope"]
"""A part of a cost: before the first query, or per query."""


def compare_ways(ways: Iterable[Way], measure: str, noisy: bool | None = None) -> list[Pair]:
    """Compares every trained way with every prompted way over the templates and draws that both ran on.

    Pairs that share none, or that have a run without the measure, are left out. A `noisy` measure follows from seconds,
    as seconds do; FLOPs and tokens are exact.
    """
    ways = list(ways)
    noisy = measure == "seconds" if noisy is None else noisy
    trained = [way for way in ways if way.trained]
    prompted = [way for way in ways if not way.trained]
    compared = []
    for ours, theirs in itertools.product(trained, prompted):
        cells = ours.cells & theirs.cells
        cost, other = ours.line(measure, cells), theirs.line(measure, cells)
        if cost is not None and other is not None:
            reason = _why_unclear(ours, theirs, cells) if noisy else ""
            found = Crossing("unclear", reason=reason) if reason else crossing(cost, other)
            compared.append(Pair(ours, theirs, cost, found))
    return compared


WHERE: dict[Part, str] = {"slope": "per query", "start": "before the first query"}


def _why_unclear(ours: Way, theirs: Way, cells: Collection[Hashable], part: Part = "slope") -> str:
    """Why a part of the seconds of two ways cannot be distinguished; empty if it can.

    Counted FLOPs are exact. Ways with equal FLOPs per query do the same matrix products: what their seconds differ by
    is not known to come from the method, because a machine's load changes between runs of one method and the next.
    """
    if ours.label == theirs.label:
        return ""  # of the same runs: one way does what the other does, and more
    seconds, flops = _parts(ours, theirs, "seconds", cells, part), _parts(ours, theirs, "flops", cells, part)
    if flops is not None and abs(flops[0] - flops[1]) <= SAME * max(flops):
        return f"both need the same FLOPs {WHERE[part]}"
    if seconds is None or any(run.record is not None and run.record.status == "planned" for run in ours.runs):
        return ""
    if 0 in seconds and any(seconds):
        return ""  # nothing is computed in one of them
    found = _ratio_of_seconds(ours, theirs, cells, part)
    if found is None or found.low is None or found.high is None:
        if flops is not None and (flops[0] < flops[1]) == (seconds[0] < seconds[1]):
            return ""
        return f"one run of each says nothing about noise, and no FLOPs {WHERE[part]} confirm the difference"
    if found.smaller if seconds[0] < seconds[1] else found.larger:
        return ""
    interval = f"{bound_text(found.low)} to {bound_text(found.high)}"
    return f"the 95\u00a0% interval of the ratio of their seconds {WHERE[part]} is {interval}"


def _parts(ours: Way, theirs: Way, measure: str, cells: Collection[Hashable], part: Part) -> tuple[float, float] | None:
    """A part of the costs of two ways."""
    cost, other = ours.line(measure, cells), theirs.line(measure, cells)
    return None if cost is None or other is None else (getattr(cost, part), getattr(other, part))


def _ratio_of_seconds(ours: Way, theirs: Way, cells: Collection[Hashable], part: Part) -> Ratio | None:
    """The ratio of a part of the seconds over the runs of both."""
    runs = [[run for run in way.runs if run.cell in cells and run.record is not None] for way in (ours, theirs)]
    known = {id(run.record): getattr(run.seconds, part) for side in runs for run in side if run.seconds is not None}
    ours_records, their_records = ([run.record for run in side if run.record is not None] for side in runs)
    return ratio(ours_records, their_records, lambda record: known.get(id(record)))


class Contest:
    """Which of several ways costs least for a number of queries, by one measure; a `noisy` one follows from seconds.

    Parts of the costs that noise does not let distinguish count as equal.
    """

    def __init__(self, ways: Iterable[Way], measure: str, noisy: bool):
        self.ways = [way for way in ways if way.line(measure) is not None]
        self._measure, self._noisy = measure, noisy
        self._differences: dict[tuple[int, int], tuple[float, float]] = {}

    def cheapest(self, queries: float) -> list[Way]:
        """The way that costs least, then those that are not distinguished from it; empty without ways."""
        by_cost = sorted(self.ways, key=lambda way: self._total(way, queries))
        for way in by_cost:
            gaps = {id(other): self._gap(way, other, queries) for other in by_cost if other is not way}
            if all(gap <= 0 for gap in gaps.values()):
                return [way, *(other for other in by_cost if gaps.get(id(other)) == 0)]
        return by_cost  # each is beaten by another: noise hides which is cheapest

    def _total(self, way: Way, queries: float) -> float:
        line = way.line(self._measure)
        assert line is not None  # others are left out
        return line.at(queries)

    def _gap(self, ours: Way, theirs: Way, queries: float) -> float:
        """How much more `ours` costs, as far as it is known; 0 if that is nothing, or if they share no runs."""
        pair = (id(ours), id(theirs))
        if pair not in self._differences:
            self._differences[pair] = self._difference(ours, theirs)
        start, slope = self._differences[pair]
        return start + queries * slope

    def _difference(self, ours: Way, theirs: Way) -> tuple[float, float]:
        """The differences before the first query and per query, 0 where they are not distinguished."""
        cells = ours.cells & theirs.cells
        parts: Sequence[Part] = ("start", "slope")
        known = [_parts(ours, theirs, self._measure, cells, part) for part in parts]
        hidden = [self._noisy and bool(_why_unclear(ours, theirs, cells, part)) for part in parts]
        gaps = [0.0 if pair is None or hide else pair[0] - pair[1] for pair, hide in zip(known, hidden, strict=True)]
        return gaps[0], gaps[1]
