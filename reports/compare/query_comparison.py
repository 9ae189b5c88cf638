"""Trained and prompted ways to answer queries compared: after how many queries training costs less."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

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


def compare_ways(ways: Iterable[Way], measure: str) -> list[Pair]:
    """Compares every trained way with every prompted way over the templates and draws that both ran on.

    Pairs that share none, or that have a run without the measure, are left out.
    """
    ways = list(ways)
    trained = [way for way in ways if way.trained]
    prompted = [way for way in ways if not way.trained]
    compared = []
    for ours, theirs in itertools.product(trained, prompted):
        cells = ours.cells & theirs.cells
        cost, other = ours.line(measure, cells), theirs.line(measure, cells)
        if cost is not None and other is not None:
            reason = _why_unclear(ours, theirs, cells) if measure == "seconds" else ""
            found = Crossing("unclear", reason=reason) if reason else crossing(cost, other)
            compared.append(Pair(ours, theirs, cost, found))
    return compared


def _why_unclear(ours: Way, theirs: Way, cells: Collection[Hashable]) -> str:
    """Why the seconds per query of two ways cannot be distinguished; empty if they can.

    Counted FLOPs are exact. Ways with equal FLOPs per query do the same matrix products: what their seconds differ by
    is not known to come from the method, because a machine's load changes between runs of one method and the next.
    """
    seconds, flops = _slopes(ours, theirs, "seconds", cells), _slopes(ours, theirs, "flops", cells)
    if flops is not None and abs(flops[0] - flops[1]) <= SAME * max(flops):
        return "both need the same FLOPs per query"
    if seconds is None or any(run.record is not None and run.record.status == "planned" for run in ours.runs):
        return ""
    found = _ratio_per_query(ours, theirs, cells)
    if found is None or found.low is None or found.high is None:
        if flops is not None and (flops[0] < flops[1]) == (seconds[0] < seconds[1]):
            return ""
        return "one run of each says nothing about noise, and no FLOPs per query confirm the difference"
    if found.smaller if seconds[0] < seconds[1] else found.larger:
        return ""
    interval = f"{bound_text(found.low)} to {bound_text(found.high)}"
    return f"the 95\u00a0% interval of the ratio of their seconds per query is {interval}"


def _slopes(ours: Way, theirs: Way, measure: str, cells: Collection[Hashable]) -> tuple[float, float] | None:
    """The costs per query of two ways."""
    cost, other = ours.line(measure, cells), theirs.line(measure, cells)
    return None if cost is None or other is None else (cost.slope, other.slope)


def _ratio_per_query(ours: Way, theirs: Way, cells: Collection[Hashable]) -> Ratio | None:
    """The ratio of seconds per query over the runs of both."""
    runs = [[run for run in way.runs if run.cell in cells and run.record is not None] for way in (ours, theirs)]
    slopes = {id(run.record): run.seconds.slope for side in runs for run in side if run.seconds is not None}
    ours_records, their_records = ([run.record for run in side if run.record is not None] for side in runs)
    return ratio(ours_records, their_records, lambda record: slopes.get(id(record)))
