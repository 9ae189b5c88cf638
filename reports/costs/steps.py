"""The time of a training step by part (data, forward, backward, optimiser), and why a step is not faster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare.ratios import bound_text
from tunefront.reports.costs.breakdown import Ledger
from tunefront.reports.costs.step_ratios import (
    NAMES,
    PARTS,
    quartiles,
    ratios,
    step_seconds,
    why_not_faster,
)
from tunefront.reports.tables import Cell, Column, Table, anchor, link_if_present

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tunefront.reports.compare.entries import Entry
    from tunefront.reports.compare.panels import Panel
    from tunefront.reports.compare.ratios import Ratio

TEXT = (
    "A training step loads a batch, runs the forward and the backward pass, and updates the trained weights. Freezing "
    "most of a model saves the gradients and updates of its weights, but the whole forward pass remains, and gradients "
    "of activations must still reach the lowest trained weight. Evaluation is per batch of scored rows."
)
COMPARED = (
    "Methods are compared by the ratio of their medians in runs with the same task, template, draw and seed. Its "
    "95\u00a0% interval comes from the spread between runs. A part counts as faster or slower if its interval "
    "excludes 1; each interval stands alone, so about one in twenty excludes 1 where nothing differs."
)
CACHED = (
    "The backbone's states are computed once before the first step, which is part of the training time but of no step, "
    "for"
)
ONE_PAIR = (
    " Where two methods have one such run each, the interval comes from the quartiles of their steps, as if steps were "
    "independent: it is about these two runs, and another run may differ more."
)


def ledger(panel: Panel, index: int) -> Ledger | None:
    """The ledger of a panel; None if steps were not timed or seconds cannot be compared."""
    if panel.timing_mismatch or not any(record.seconds.steps for record in panel.records):
        return None
    compared = {entry.label: ratios(entry, panel.reference) for entry in panel.entries}
    sentences = (why_not_faster(entry, panel.reference, compared[entry.label]) for entry in panel.entries)
    why = [text for text in sentences if text is not None]
    known = [found for parts in compared.values() for found in parts.values()]
    cached = [entry.label for entry in panel.entries if _steps_from_features(entry)]
    paragraphs = (TEXT + (f" {CACHED} {', '.join(cached)}." if cached else ""), *_how(known), *why)
    tables = (_table(panel, index), *_ratio_table(panel, index, compared))
    return Ledger("time", "Time of a training step", _short(panel, compared), paragraphs, tables)


def _how(known: Sequence[Ratio]) -> tuple[str, ...]:
    """How methods are compared; empty if none are."""
    return (COMPARED + (ONE_PAIR if any(found.pairs == 1 for found in known) else ""),) if known else ()


def _steps_from_features(entry: Entry) -> bool:
    """Whether a method's steps read states of the backbone that were computed before the first step."""
    return any(record.seconds.steps and "features" in (record.flops.phases or {}) for record in entry.all)


def _table(panel: Panel, index: int) -> Table:
    entries = [(e, entry) for e, entry in enumerate(panel.entries) if any(r.seconds.steps for r in entry.all)]
    columns = (
        Column("method", numeric=False),
        *(Column(NAMES[part].removesuffix(" pass").removesuffix(" step"), "per step") for part in PARTS),
        Column("whole", "per step"),
        Column("evaluation", "per batch"),
    )
    rows = []
    for e, entry in entries:
        link, whole = anchor(index, e), step_seconds(entry)
        cells = [Cell(entry.label), *(_cell(entry, part, link) for part in PARTS)]
        cells.append(Cell(units.instant(whole), title=units.exact(whole, "s"), link=link_if_present(whole, link)))
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


def _ratio_table(panel: Panel, index: int, compared: Mapping[str, Mapping[str, Ratio]]) -> tuple[Table, ...]:
    """The ratios to the reference with their intervals; empty if there are none."""
    entries = [(e, entry) for e, entry in enumerate(panel.entries) if compared[entry.label]]
    if not entries or panel.reference is None:
        return ()
    columns = (
        Column("method", numeric=False),
        *(Column(NAMES[part].removesuffix(" pass").removesuffix(" step"), "ratio") for part in PARTS),
        Column("whole", "ratio"),
        Column("pairs", "of runs"),
    )
    rows = tuple(
        (
            Cell(entry.label),
            *(_ratio_cell(compared[entry.label].get(part), anchor(index, e)) for part in (*PARTS, "step")),
            Cell(str(max(found.pairs for found in compared[entry.label].values()))),
        )
        for e, entry in entries
    )
    note = (
        f"Seconds of a method divided by those of {panel.reference.label} in runs with the same task, template, draw "
        "and seed, with the 95\u00a0% interval in brackets. Averages of ratios may differ from ratios of the medians "
        "above. A dash: no pair of runs has the part."
    )
    return (Table(f"Seconds of a step relative to {panel.reference.label}", columns, rows, note),)


def _ratio_cell(found: Ratio | None, link: str) -> Cell:
    if found is None:
        return Cell(units.MISSING)
    known = found.low is not None and found.high is not None
    between = f"({bound_text(found.low or 0)}–{bound_text(found.high or 0)})" if known else ""
    return Cell(units.times(found.value), between, units.exact(found.value), link)


def _short(panel: Panel, compared: Mapping[str, Mapping[str, Ratio]]) -> str:
    """The shortest step relative to the reference's, of methods that did not collapse and run the whole backbone."""
    steps = [
        (compared[entry.label]["step"], entry.label)
        for entry in panel.worthwhile
        if "step" in compared[entry.label] and not _steps_from_features(entry)
    ]
    if not steps or panel.reference is None:
        return ""
    shortest, label = min(steps, key=lambda pair: pair[0].value)
    if not shortest.smaller:
        return f"no step is clearly shorter than that of {panel.reference.label}"
    times = units.significant(shortest.value, 2)
    return f"a step of {label} takes {times} times as long as one of {panel.reference.label}"
