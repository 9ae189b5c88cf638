"""How much longer or shorter the parts of a training step take than those of the reference, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare.entries import on_shared_cells
from tunefront.reports.compare.ratios import Ratio, bound_text, ratio, relative_error
from tunefront.reports.compare.statistics import finite_values, median
from tunefront.reports.names import join_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tunefront.bench.records import Record
    from tunefront.reports.compare.entries import Entry

PARTS = ("data", "forward", "backward", "optimizer")
"""The parts of a training step, in order."""
NAMES = {"data": "data", "forward": "forward pass", "backward": "backward pass", "optimizer": "optimiser step"}
SMALL = 0.01
"""A part that takes less than this share of the reference's step in both methods is not worth a sentence."""


def quartiles(entry: Entry, phase: str) -> tuple[float, float, float] | None:
    """Lower quartile, median and upper quartile of a phase's seconds, each as the median over tasks and runs."""
    spreads = [spread for record in entry.all if (spread := (record.seconds.steps or {}).get(phase)) is not None]
    low, middle, high = (median([getattr(spread, name) for spread in spreads]) for name in ("low", "median", "high"))
    return None if low is None or middle is None or high is None else (low, middle, high)


def step_seconds(entry: Entry) -> float | None:
    """Seconds of a whole step: the sum of the medians of its parts."""
    return median(finite_values(entry.all, seconds_of_step))


def ratios(entry: Entry, reference: Entry | None) -> dict[str, Ratio]:
    """The ratio of a method's seconds to the reference's by part of a step, and of the whole step under `step`.

    Empty for the reference itself; parts that no pair of runs has are missing.
    """
    if reference is None or entry is reference:
        return {}
    found = {part: ratio(entry.all, reference.all, _seconds_of(part), _error_of(part)) for part in PARTS}
    found["step"] = ratio(entry.all, reference.all, seconds_of_step, _step_error)
    return {part: value for part, value in found.items() if value is not None}


def why_not_faster(entry: Entry, reference: Entry | None, found: Mapping[str, Ratio]) -> str | None:
    """Which parts of the reference's step a method does faster or slower, and how long its whole step takes.

    `found` are its `ratios`; None if these are empty.
    """
    if reference is None or "step" not in found:
        return None
    ours, base = on_shared_cells([entry, reference], seconds_of_step)
    parts = [part for part in PARTS if part in found and not _negligible(part, ours, base)]
    groups = {
        "faster in": [part for part in parts if found[part].smaller],
        "slower in": [part for part in parts if found[part].larger],
        "not distinguished from it in": [part for part in parts if not (found[part].smaller or found[part].larger)],
    }
    shown = {part: f"the {NAMES[part]} ({units.times(found[part].value)}, {_interval(found[part])})" for part in parts}
    listed = [f"{verb} {join_names([shown[part] for part in members])}" for verb, members in groups.items() if members]
    once = "In one run of each, compared" if found["step"].pairs == 1 else "Compared"
    step, name = found["step"], entry.label
    whole = f"takes {units.significant(step.value)} times as long ({_interval(step)})"
    subject = f"{name} is {join_names(listed)}; its whole step" if listed else f"a step of {name}"
    return f"{once} with {reference.label}, {subject} {whole}."


def _interval(value: Ratio) -> str:
    """The interval of a ratio in words.

    >>> _interval(Ratio(0.69, 0.66, 0.722, 3)), _interval(Ratio(2.0, None, None, 1))
    ('0.660 to 0.722', 'interval unknown')
    """
    if value.low is None or value.high is None:
        return "interval unknown"
    return f"{bound_text(value.low)} to {bound_text(value.high)}"


def _negligible(part: str, ours: Entry, base: Entry) -> bool:
    """Whether a part takes almost no time in both methods."""
    whole, sizes = step_seconds(base), (quartiles(ours, part), quartiles(base, part))
    return whole is not None and all(size is None or size[1] < SMALL * whole for size in sizes)


def _seconds_of(part: str) -> Callable[[Record], float | None]:
    def seconds(record: Record) -> float | None:
        spread = (record.seconds.steps or {}).get(part)
        return None if spread is None else spread.median

    return seconds


def _error_of(part: str) -> Callable[[Record], float | None]:
    def error(record: Record) -> float | None:
        spread = (record.seconds.steps or {}).get(part)
        return None if spread is None else relative_error(spread)

    return error


def _step_error(record: Record) -> float | None:
    """The relative standard error of a whole step: the parts share their batch, so their errors are added up."""
    spreads = [spread for part in PARTS if (spread := (record.seconds.steps or {}).get(part)) is not None]
    known = [error * spread.median for spread in spreads if (error := relative_error(spread)) is not None]
    whole = sum(spread.median for spread in spreads)
    return sum(known) / whole if known and whole > 0 else None


def seconds_of_step(record: Record) -> float | None:
    """Seconds of a record's whole step: the sum of the medians of its parts."""
    medians = [spread.median for part in PARTS if (spread := (record.seconds.steps or {}).get(part)) is not None]
    return sum(medians) if medians else None
