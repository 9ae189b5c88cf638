"""What a plan foretells, as tables: what each method would cost, what fits, and how peaks grow over a sweep."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from reports import units
from reports.checks import grouped
from reports.memory import owners_of, peak_bytes, peak_phase, words
from reports.storage import replaces_backbone
from reports.tables import Cell, Column, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.records import Record

Largest = dict[str, tuple[bool, int | None]]
"""Of a plan by its key: whether it fits, and the largest batch that does."""

COSTS = (
    "Trained parameters and bytes are exact. FLOPs are analytic: matrix products and attention of all steps (training) "
    "and of one scored row (query), demonstrations read once and kept where a model can keep them. Memory is the most "
    "that tensors hold at once, without the process, libraries and what an allocator reserves."
)
SECONDS = " Seconds are of this machine, on which each operator was tried alone."


def plan_tables(records: Sequence[Record], largest: Largest | None = None) -> list[Table]:
    """The tables of planned and skipped records, for each backbone and task: costs, then who holds memory."""
    found = []
    for (backbone, task), alike in grouped(records, lambda record: (record.backbone, record.task)).items():
        planned = [record for record in alike if record.status == "planned"]
        if planned:
            found.append(_costs(f"{backbone}, {task}", planned, largest))
            found.append(_memory(f"{backbone}, {task}", planned))
    return found


def sweep_table(records: Mapping[int, Sequence[Record]], name: str) -> Table:
    """The peak of each method at each size; sizes in order."""
    labels = list(dict.fromkeys(record.label for alike in records.values() for record in alike))
    rows = []
    for size, alike in sorted(records.items()):
        peaks = {record.label: peak_bytes(record) for record in alike}
        rows.append((Cell(units.count(size)), *(Cell(units.si(peaks.get(label), "B")) for label in labels)))
    columns = (Column(name, numeric=False), *(Column(label) for label in labels))
    return Table(f"Peak memory over {name}", columns, tuple(rows), "The most that tensors hold at once, in any phase.")


def _costs(title: str, records: Sequence[Record], largest: Largest | None) -> Table:
    timed = any(record.train_seconds is not None or record.eval_seconds is not None for record in records)
    prompted = any(record.prefix_tokens for record in records)
    shown: list[tuple[Column, Callable[[Record], Cell]]] = [
        (Column("method", numeric=False), lambda r: Cell(r.label)),
        (Column("trained", "parameters"), lambda r: Cell(units.count(r.trainable_params))),
        (Column("share", "of the backbone"), lambda r: Cell(units.percent(r.trainable_params, r.backbone_params))),
        (Column("file", "per task"), lambda r: Cell(units.si(r.task_bytes, "B"))),
        (Column("training", "FLOPs"), lambda r: Cell(units.si(r.train_flops, "FLOP"))),
        (Column("query", "FLOPs"), lambda r: Cell(units.si(r.inference_flops_per_example, "FLOP"))),
    ]
    if prompted:
        shown.append((Column("prompt", "FLOPs, once"), lambda r: Cell(units.si(r.prefix_flops, "FLOP"))))
    shown += [
        (Column("peak", "training"), lambda r: Cell(units.si(_peak(r, *TRAINING), "B"))),
        (Column("peak", "scoring"), lambda r: Cell(units.si(_peak(r, *SCORING), "B"))),
    ]
    if timed:
        shown += [
            (Column("training", "time"), lambda r: Cell(units.seconds(r.train_seconds if r.train_steps else None))),
            (Column("scoring", "rows / s"), lambda r: Cell(_rate(r.eval_examples_per_second))),
        ]
    if largest is not None:
        shown += [
            (Column("fits", numeric=False), lambda r: Cell("yes" if largest[r.key][0] else "no")),
            (Column("largest", "batch"), lambda r: Cell(units.count(largest[r.key][1]))),
        ]
    whole = {record.backbone_params for record in records}
    sizes = f" The backbone has {units.count(whole.pop())} parameters." if len(whole) == 1 else ""
    replaced = [record.label for record in records if replaces_backbone(record)]
    kept = f" The file of {', '.join(replaced)} is a whole model." if replaced else ""
    rows = tuple(tuple(make(record) for _, make in shown) for record in records)
    return Table(title, tuple(column for column, _ in shown), rows, COSTS + (SECONDS if timed else "") + sizes + kept)


TRAINING = ("features", "forward", "backward", "optimizer")
SCORING = ("evaluation", "prefill", "query")


def _peak(record: Record, *phases: str) -> int | None:
    """The most that any of the phases holds, None where the method has none of them."""
    held = [sum(owners.values()) for phase, owners in (record.memory or {}).items() if phase in phases]
    return max(held, default=None)


def _memory(title: str, records: Sequence[Record]) -> Table:
    owners = owners_of(records)
    rows = []
    for record in records:
        phase = peak_phase(record)
        held = (record.memory or {}).get(phase or "", {})
        cells = (Cell(units.si(held.get(owner), "B") if held.get(owner) else units.MISSING) for owner in owners)
        rows.append((Cell(record.label), Cell(words(phase or "")), *cells, Cell(units.si(peak_bytes(record), "B"))))
    columns = (
        Column("method", numeric=False),
        Column("at its peak in", numeric=False),
        *(Column(words(owner)) for owner in owners),
        Column("sum"),
    )
    return Table(f"Who holds memory: {title}", columns, tuple(rows))


def _rate(value: float | None) -> str:
    return units.MISSING if value is None else units.significant(value)
