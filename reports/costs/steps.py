"""The time of a training step by part (data, forward, backward, optimiser), and why a step is not faster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare.entries import on_shared_cells
from tunefront.reports.compare.statistics import finite_values, median
from tunefront.reports.costs.breakdown import Ledger
from tunefront.reports.tables import Cell, Column, Table, anchor, link_if_present

if TYPE_CHECKING:
    from tunefront.bench.records import Record
    from tunefront.reports.compare.entries import Entry
    from tunefront.reports.compare.panels import Panel

PARTS = ("data", "forward", "backward", "optimizer")
"""The parts of a training step, in order."""
NAMES = {"data": "data", "forward": "forward pass", "backward": "backward pass", "optimizer": "optimiser step"}
UNCHANGED = 0.05
"""A part counts as unchanged if its median is within this share of the reference's, or if their interquartile ranges
overlap."""
TEXT = (
    "A training step loads a batch, runs the forward and the backward pass, and updates the trained weights. Freezing "
    "most of a model saves the gradients and updates of its weights, but the whole forward pass remains, and gradients "
    "of activations must still reach the lowest trained weight. Evaluation is per batch of scored rows. A part is "
    "reported as faster or slower only if the interquartile ranges of the two methods do not overlap."
)


def ledger(panel: Panel, index: int) -> Ledger | None:
    """The ledger of a panel; None if steps were not timed or seconds cannot be compared."""
    if panel.timing_mismatch or not any(record.seconds.steps for record in panel.records):
        return None
    why = [text for entry in panel.entries if (text := why_not_faster(entry, panel.reference)) is not None]
    return Ledger("time", "Time of a training step", _short(panel), (TEXT, *why), (_table(panel, index),))


def quartiles(entry: Entry, phase: str) -> tuple[float, float, float] | None:
    """Lower quartile, median and upper quartile of a phase's seconds, each as the median over tasks and runs."""
    spreads = [spread for record in entry.all if (spread := (record.seconds.steps or {}).get(phase)) is not None]
    low, middle, high = (median([getattr(spread, name) for spread in spreads]) for name in ("low", "median", "high"))
    return None if low is None or middle is None or high is None else (low, middle, high)


def step_seconds(entry: Entry) -> float | None:
    """Seconds of a whole step: the sum of the medians of its parts."""
    return median(finite_values(entry.all, _step))


def why_not_faster(entry: Entry, reference: Entry | None) -> str | None:
    """How much of each part of the reference's step a method saves, and how long its whole step takes."""
    if reference is None or entry is reference:
        return None
    entry, reference = on_shared_cells([entry, reference], _step)
    ours, base = step_seconds(entry), step_seconds(reference)
    if ours is None or not base:
        return None
    saved, same, more = [], [], []
    for part in PARTS:
        here, there = quartiles(entry, part), quartiles(reference, part)
        if here is None or there is None or there[1] < 0.01 * base > here[1]:
            continue  # a part that takes almost no time does not matter
        change = (here[1] - there[1]) / there[1] if there[1] else float("inf")
        if abs(change) <= UNCHANGED:
            same.append(NAMES[part])
        elif here[0] <= there[2] and there[0] <= here[2]:
            same.append(f"{NAMES[part]} (quartiles overlap)")
        elif change < 0:
            saved.append(f"{-100 * change:.0f}\u00a0% of the {NAMES[part]}")
        else:
            more.append(f"its {NAMES[part]} takes {units.significant(1 + change)} times as long")
    if not (saved or same or more):
        return None
    name = reference.label
    text = f"saves {_listed(saved)}" if saved else "saves nothing"
    text += f" but nothing of the {_listed(same, 'or the')}" if same and saved else ""
    text += "; " + _listed(more) if more else ""
    times = units.significant(ours / base, 2)
    return f"Compared with {name}, {entry.label} {text}: its step takes {times} times as long."


def _step(record: Record) -> float | None:
    medians = [spread.median for part in PARTS if (spread := (record.seconds.steps or {}).get(part)) is not None]
    return sum(medians) if medians else None


def _table(panel: Panel, index: int) -> Table:
    reference = panel.reference
    base = step_seconds(reference) if reference is not None else None
    entries = [(e, entry) for e, entry in enumerate(panel.entries) if any(r.seconds.steps for r in entry.all)]
    columns = (
        Column("method", numeric=False),
        *(Column(NAMES[part].removesuffix(" pass").removesuffix(" step"), "per step") for part in PARTS),
        Column("whole", "per step"),
        *((Column("whole", f"relative to {reference.label}"),) if reference is not None and base else ()),
        Column("evaluation", "per batch"),
    )
    rows = []
    for e, entry in entries:
        link, whole = anchor(index, e), step_seconds(entry)
        cells = [Cell(entry.label), *(_cell(entry, part, link) for part in PARTS)]
        cells.append(Cell(units.instant(whole), title=units.exact(whole, "s"), link=link_if_present(whole, link)))
        if base:
            share = _step_ratio(entry, reference)
            cells.append(Cell(units.times(share), title=units.exact(share), link=link_if_present(share, link)))
        rows.append((*cells, _cell(entry, "evaluation", link)))
    note = (
        "Medians over steps (without the first ones), tasks and runs, with quartiles in brackets. The whole is the sum "
        "of the medians of its parts. A dash: the method has no such part."
    )
    return Table("Seconds of a step", columns, tuple(rows), note)


def _cell(entry: Entry, phase: str, link: str) -> Cell:
    spread = quartiles(entry, phase)
    if spread is None:
        return Cell(units.MISSING)
    low, middle, high = spread
    scale = 1.0 if middle >= 1 else 1000.0
    between = f"({units.significant(low * scale, 2)}–{units.significant(high * scale, 2)})"
    return Cell(units.instant(middle), between, f"{middle:.6g} s, quartiles {low:.6g} and {high:.6g} s", link)


def _step_ratio(entry: Entry, reference: Entry | None) -> float | None:
    """The ratio of a method's step to the reference's, over tasks, templates and draws with times of both."""
    if reference is None:
        return None
    ours, base = (step_seconds(compared_entry) for compared_entry in on_shared_cells([entry, reference], _step))
    return None if ours is None or not base else ours / base


def _listed(texts: list[str], last: str = "and") -> str:
    """Joins texts to a list in words.

    >>> _listed(["a", "b", "c"]), _listed(["forward", "data"], "or the")
    ('a, b and c', 'forward or the data')
    """
    return texts[-1] if len(texts) < 2 else f"{', '.join(texts[:-1])} {last} {texts[-1]}"


def _short(panel: Panel) -> str:
    reference = panel.reference
    timed = on_shared_cells([entry for entry in panel.worthwhile if step_seconds(entry) is not None], _step)
    steps = sorted((seconds, entry.label) for entry in timed if (seconds := step_seconds(entry)) is not None)
    base = next((seconds for seconds, label in steps if reference is not None and label == reference.label), None)
    if base is None or reference is None or len(steps) < 2:
        return ""
    least, label = steps[0]
    if label == reference.label:
        return f"{label} has the shortest step ({units.instant(base)})"
    return f"a step of {reference.label} takes {units.instant(base)}, a step of {label} {units.instant(least)}"
