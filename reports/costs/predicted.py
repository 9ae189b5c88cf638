"""Predicted costs compared with measured costs."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare.checks import same_machine
from tunefront.reports.compare.measures import Cost
from tunefront.reports.compare.statistics import median
from tunefront.reports.costs.breakdown import Ledger
from tunefront.reports.tables import Cell, Column, Table, anchor, link_if_present

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunefront.bench.records import Record
    from tunefront.reports.compare.entries import Entry
    from tunefront.reports.compare.panels import Panel

TRAINING = Cost("flops.train", "training FLOPs", "FLOP")
PEAK = Cost("peak_memory_bytes", "peak memory", "B")
TIMES = (
    Cost("seconds.train", "training time", "s", timed=True),
    Cost("seconds.eval", "scoring time", "s", timed=True),
)
GROUPS = {
    "Predicted sizes": (Cost("parameters.trainable", "trained parameters"), Cost("task_bytes", "bytes per task", "B")),
    "Predicted FLOPs": (TRAINING, Cost("flops.inference_per_example", "FLOPs per example", "FLOP")),
    "Predicted memory": (PEAK,),
    "Predicted seconds": TIMES,
}
TEXT = (
    "Predictions are made from the configuration alone, before the run, and stored with the records. Each is compared "
    "with the run of the same key. The ratio is predicted over measured: 1 is exact, above 1 is too high."
)
MEMORY = (
    "Memory is that of tensors: the prediction counts the same owners as the run, for tensors without values. Neither "
    "includes additional memory of the process or the allocator."
)
SECONDS = "Predicted seconds are those of a single cell on the machine that made the prediction."
ELSEWHERE = (
    "Seconds that were predicted for another processor, accelerator or number of threads than those of the run are "
    "left out"
)


def ledger(panel: Panel, index: int, plans: Sequence[Record]) -> Ledger | None:
    """The ledger of a panel; None if none of its records was planned."""
    planned = {plan.key: plan for plan in plans}
    late = [
        record for record in panel.records if record.key in planned and _planned_after_run(planned[record.key], record)
    ]
    for record in late:
        del planned[record.key]
    candidates = [_table(panel, index, planned, caption, costs) for caption, costs in GROUPS.items()]
    tables = tuple(table for table in candidates if table is not None)
    if not tables and not late:
        return None
    text = (*(_text(panel, planned, tables) if tables else ()), *_elsewhere(panel, planned), *_left_out(late))
    return Ledger("predicted", "Predicted and measured", _short(panel, planned), text, tables)


def _planned_after_run(plan: Record, record: Record) -> bool:
    """Whether the plan was made after the record."""
    made, ran = _parse_time(plan.environment.created_at), _parse_time(record.environment.created_at)
    return made is not None and ran is not None and made > ran


def _parse_time(text: str | None) -> datetime | None:
    """A time, in UTC if it has no time zone; None if the text is no time."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _left_out(late: Sequence[Record]) -> tuple[str, ...]:
    if not late:
        return ()
    labels = ", ".join(dict.fromkeys(record.label for record in late))
    those = "A prediction was" if len(late) == 1 else f"{len(late):,} predictions were"
    return (f"{those} made after the run and left out: {labels}.",)


def _elsewhere(panel: Panel, plans: dict[str, Record]) -> tuple[str, ...]:
    """How many predictions of seconds are for other machines than those that ran; nothing if none is."""
    pairs = ((plans[record.key], record) for record in panel.records if record.key in plans)
    others = [plan for plan, record in pairs if plan.seconds.eval is not None and not same_machine(plan, record)]
    return (f"{ELSEWHERE} ({units.plural(len(others), 'run')}).",) if others else ()


def _text(panel: Panel, plans: dict[str, Record], tables: Sequence[Table]) -> tuple[str, ...]:
    """What the tables show, and whether runs shared the machine, which predictions ignore."""
    captions = {table.caption for table in tables}
    texts = [TEXT, *([MEMORY] if "Predicted memory" in captions else [])]
    if "Predicted seconds" in captions:
        concurrent = max(
            (record.environment.concurrent_cells or 1 for record in panel.records if record.key in plans), default=1
        )
        shared = f" Up to {concurrent} cells ran in parallel here and slowed each other down." if concurrent > 1 else ""
        texts.append(SECONDS + shared)
    return tuple(texts)


def predicted_and_measured(entry: Entry, cost: Cost, plans: dict[str, Record]) -> list[tuple[float, float]]:
    """Pairs of predicted and measured values, for records that have both; of seconds, on like machines only."""
    pairs = ((plans[record.key], record) for record in entry.all if record.key in plans)
    both = (
        (cost.read(plan), cost.read(record)) for plan, record in pairs if not cost.timed or same_machine(plan, record)
    )
    return [(ours, theirs) for ours, theirs in both if ours is not None and theirs is not None]


def ratio(pairs: Sequence[tuple[float, float]]) -> float | None:
    """The median of predicted over measured, with 0/0 as 1. None if a cost was predicted but measured as zero."""
    if any(ours and not theirs for ours, theirs in pairs):
        return None
    return median([ours / theirs if theirs else 1.0 for ours, theirs in pairs])


def _table(panel: Panel, index: int, plans: dict[str, Record], caption: str, costs: Sequence[Cost]) -> Table | None:
    costs = [cost for cost in costs if not (cost.timed and panel.timing_mismatch)]
    costs = [cost for cost in costs if any(predicted_and_measured(entry, cost, plans) for entry in panel.entries)]
    if not costs:
        return None
    rows = []
    for e, entry in enumerate(panel.entries):
        cells = [Cell(entry.label)]
        for cost in costs:
            both = predicted_and_measured(entry, cost, plans)
            ours, theirs = median([value for value, _ in both]), median([value for _, value in both])
            cells += [_cell(ours, cost), _cell(theirs, cost, anchor(index, e))]
            predicted_ratio = ratio(both)
            cells.append(
                Cell(
                    units.MISSING if predicted_ratio is None else units.significant(predicted_ratio),
                    title=units.exact(predicted_ratio),
                )
            )
        if any(cell.text != units.MISSING for cell in cells[1:]):
            rows.append(tuple(cells))
    heads = [Column(head, cost.title) for cost in costs for head in ("predicted", "measured", "ratio")]
    return Table(caption, (Column("method", numeric=False), *heads), tuple(rows), "Medians over tasks and runs.")


def _cell(value: float | None, cost: Cost, link: str = "") -> Cell:
    return Cell(cost.text(value), title=units.exact(value, cost.unit), link=link_if_present(value, link))


def _short(panel: Panel, plans: dict[str, Record]) -> str:
    """The largest errors of training FLOPs, peak memory and seconds, in words."""
    parts = []
    for cost in (TRAINING, PEAK):
        off = [abs(value - 1) for value in _ratios(panel, cost, plans)]
        parts += [f"{cost.title} within {100 * max(off):.1f}\u00a0%"] if off else []
    times = [] if panel.timing_mismatch else [value for cost in TIMES for value in _ratios(panel, cost, plans) if value]
    if times:
        worst = max(times, key=lambda value: abs(math.log(value)))
        parts.append(f"seconds at worst {units.significant(worst, 2)} times the measured seconds")
    return ", ".join(parts)


def _ratios(panel: Panel, cost: Cost, plans: dict[str, Record]) -> list[float]:
    """Predicted over measured of every record that has both; a cost that was measured as zero is left out."""
    pairs = [pair for entry in panel.entries for pair in predicted_and_measured(entry, cost, plans)]
    return [ours / theirs if theirs else 1.0 for ours, theirs in pairs if theirs or not ours]
