"""What a plan predicts: tables of what each method would cost and what fits, and what all cells take together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare.checks import group_by
from tunefront.reports.costs.memory import display_name, owners_of, peak_phase
from tunefront.reports.costs.storage import replaces_backbone, total_bytes
from tunefront.reports.tables import Cell, Column, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tunefront.bench.records import Record

COSTS = (
    "Trained parameters and bytes are exact. FLOPs are analytic: matrix products and attention of all steps (training) "
    "and of one scored row (query), demonstrations read once and kept where a model can keep them. Memory is the most "
    "that tensors hold at once, without the process, libraries and what an allocator reserves."
)
TASKS = (1, 9, 100)
WITHOUT_TEXT = (
    "A dash: made-up demonstrations have tokens but no text, whose bytes would be kept. Their keys and values, where "
    "these are kept, have the bytes that stand behind >, to which the text would come."
)
SECONDS = " Seconds are of this machine, on which each operator was tried alone, a large one on a part of its rows."
COPIES = (
    "Training in bfloat16 casts what products read: copies of frozen weights too, which the backward pass needs and "
    "which are among the saved activations."
)


def plan_tables(records: Sequence[Record]) -> list[Table]:
    """The tables of planned and skipped records, for each backbone and task: costs, then who holds memory."""
    tables: list[Table] = []
    by_title = planned_by_title(records)
    for place, (title, planned) in enumerate(by_title.items(), 1):
        names = row_names(planned)
        costs = _costs(title, planned, names)
        # What the columns mean is said once, below the last of these tables.
        tables.append(costs if place == len(by_title) else replace(costs, note=_of_backbone(planned)))
        tables += [_memory(title, planned, names), _flops(title, planned, names), _tasks(title, planned, names)]
    if tables:
        tables[-1] = replace(tables[-1], note=f"{tables[-1].note} {totals(records)}".strip())
    return tables


def row_names(records: Sequence[Record]) -> dict[str, str]:
    """What each row of a table is called, by the key of the record that it shows.

    It is the method's label and, where several have the same, what they differ in. Records that cost the same (of
    several learning rates, say) are one row, that of the first.
    """
    names: dict[str, str] = {}
    for label, same_label in group_by(records, lambda record: record.label).items():
        shown = list({_shown_costs(record): record for record in reversed(same_label)}.values())[::-1]
        settings = {record.key: _settings(record) for record in shown}
        fields = list(dict.fromkeys(field for values in settings.values() for field in values))
        differ = [field for field in fields if len({values.get(field) for values in settings.values()}) > 1]
        for record in shown:
            differences = [
                f"{field} {settings[record.key][field]}" for field in differ if field in settings[record.key]
            ]
            names[record.key] = ", ".join([label, *differences])
    return {record.key: names[record.key] for record in records if record.key in names}


def planned_by_title(records: Sequence[Record], with_task: bool = True) -> dict[str, list[Record]]:
    """The planned records of each backbone and task, by what their tables are called."""
    planned = [record for record in records if record.status == "planned"]
    return group_by(planned, lambda r: f"{r.backbone}, {r.task}" if with_task else r.backbone)


def _shown_costs(record: Record) -> tuple[object, ...]:
    """All that the tables show of a record but its name."""
    memory = tuple((phase, *owners.items()) for phase, owners in (record.memory.phases or {}).items())
    sizes = (record.parameters.trainable, record.task_bytes, record.flops.prefix, record.training.steps)
    costs = (record.flops.train, record.flops.inference_per_example, record.seconds.train, record.seconds.eval)
    return (*sizes, *costs, *memory)


def _settings(record: Record) -> dict[str, object]:
    template = {} if record.template is None else {"template": record.template}
    shots = {"shots": "all" if record.shots is None else record.shots}
    return {**shots, **template, **(record.recipe or {}), **(record.settings or {})}


def _costs(title: str, records: Sequence[Record], names: Mapping[str, str]) -> Table:
    timed = any(record.seconds.train is not None or record.seconds.eval is not None for record in records)
    prompted = any(record.prompt.prefix_tokens for record in records)
    shown: list[tuple[Column, Callable[[Record], Cell]]] = [
        (Column("method", numeric=False), lambda r: Cell(names[r.key])),
        (Column("trained", "parameters"), lambda r: Cell(units.count(r.parameters.trainable))),
        (Column("share", "of backbone"), lambda r: Cell(units.percent(r.parameters.trainable, r.parameters.backbone))),
        (Column("file", "per task"), lambda r: Cell(units.si(_file_bytes(r), "B"))),
        (Column("steps", "× rows"), lambda r: Cell(_steps(r))),
        (Column("training", "FLOPs"), lambda r: Cell(units.si(r.flops.train, "FLOP"))),
        (Column("query", "FLOPs"), lambda r: Cell(units.si(r.flops.inference_per_example, "FLOP"))),
    ]
    if prompted:
        shown.append((Column("prompt", "FLOPs, once"), lambda r: Cell(units.si(r.flops.prefix, "FLOP"))))
    shown += [
        (Column("training", "peak"), lambda r: Cell(units.si(peak(r, *TRAINING), "B"))),
        (Column("scoring", "peak"), lambda r: Cell(units.si(peak(r, *SCORING), "B"))),
    ]
    if timed:
        shown += [
            (Column("training", "time"), lambda r: Cell(units.seconds(r.seconds.train if r.training.steps else None))),
            (Column("scoring", "rows / s"), lambda r: Cell(_rate(r.examples_per_second.eval))),
        ]
    rows = tuple(tuple(make(record) for _, make in shown) for record in records if record.key in names)
    note = f"{_of_backbone(records)} {COSTS}{SECONDS if timed else ''}".strip()
    return Table(title, tuple(column for column, _ in shown), rows, note)


def _steps(record: Record) -> str:
    """Optimiser steps and the rows of a batch, at most so many where the last one of an epoch has fewer."""
    if not record.training.steps:
        return units.MISSING
    rows = (record.recipe or {}).get("batch_size")
    partial = isinstance(rows, int) and rows > 0 and record.data.n_train is not None and record.data.n_train % rows
    return f"{units.count(record.training.steps)} × {'≤ ' if partial else ''}{rows}"


def _of_backbone(records: Sequence[Record]) -> str:
    """What is said of one backbone's costs alone."""
    whole = {record.parameters.backbone for record in records}
    sizes = [f"The backbone has {units.count(whole.pop())} parameters."] if len(whole) == 1 else []
    replaced = list(dict.fromkeys(record.label for record in records if replaces_backbone(record)))
    kept = [f"The file of {', '.join(replaced)} is a whole model."] if replaced else []
    trained = [record for record in records if record.training.steps]
    used = {f"{(r.recipe or {}).get('dtype')}, {(r.recipe or {}).get('optimizer')}" for r in trained}
    scored = {(record.settings or {}).get("eval_batch_size") for record in records}
    ways = [f"Weights are in float32; training in {' or '.join(sorted(used))}."] if used else []
    copies = [COPIES] if any((record.recipe or {}).get("dtype") == "bfloat16" for record in trained) else []
    batches = [f"Up to {scored.pop()} rows are scored at a time."] if len(scored) == 1 else []
    return " ".join([*sizes, *kept, *ways, *copies, *batches])


TRAINING = ("features", "forward", "backward", "optimizer")
SCORING = ("evaluation", "prefill", "query")


def peak(record: Record, *phases: str) -> int | None:
    """The most that any of the phases holds, None where the method has none of them."""
    held = [sum(owners.values()) for phase, owners in (record.memory.phases or {}).items() if phase in phases]
    return max(held, default=None)


def _file_bytes(record: Record) -> int | None:
    """What ships for the task; of demonstrations that are made up nothing is known but their tokens."""
    return None if record.prompt.prefix_tokens and record.storage.demonstration_bytes is None else record.task_bytes


def _memory(title: str, records: Sequence[Record], names: Mapping[str, str]) -> Table:
    owners = owners_of(records)
    rows = []
    for record in (record for record in records if record.key in names):
        phase = peak_phase(record)
        held = (record.memory.phases or {}).get(phase or "", {})
        cells = (Cell(units.si(held.get(owner), "B") if held.get(owner) else units.MISSING) for owner in owners)
        rows.append(
            (
                Cell(names[record.key]),
                Cell(display_name(phase or "")),
                *cells,
                Cell(units.si(record.peak_memory_bytes, "B")),
            )
        )
    columns = (
        Column("method", numeric=False),
        Column("at its peak in", numeric=False),
        *(Column(display_name(owner)) for owner in owners),
        Column("sum"),
    )
    return Table(f"Who holds memory: {title}", columns, tuple(rows))


def _flops(title: str, records: Sequence[Record], names: Mapping[str, str]) -> Table:
    """What FLOPs are made of, and what the papers' rule of thumb would say."""

    def flops_cell(record: Record, phase: str, source: str) -> Cell:
        flops = (record.flops.phases or {}).get(phase)
        return Cell(units.si(None if flops is None else getattr(flops, source), "FLOP"))

    shown = (
        ("training", "forward", "forward", "analytic"),
        ("gradients", "of activations", "backward", "activation_gradients"),
        ("gradients", "of weights", "backward", "weight_gradients"),
        ("elementwise", "forward", "forward", "elementwise"),
        ("by rule", "forward", "forward", "rule"),
        ("by rule", "backward", "backward", "rule"),
        ("scoring", "all rows", "evaluation", "analytic"),
        ("by rule", "all rows", "evaluation", "rule"),
    )
    rows = tuple(
        (Cell(names[record.key]), *(flops_cell(record, phase, source) for _, _, phase, source in shown))
        for record in records
        if record.key in names
    )
    columns = (Column("method", numeric=False), *(Column(head, under) for head, under, _, _ in shown))
    return Table(f"What FLOPs are made of: {title}", columns, rows)


def _tasks(title: str, records: Sequence[Record], names: Mapping[str, str]) -> Table:
    """What several tasks like this one take together, their prompts' keys and values kept or not."""
    shown = [record for record in records if record.key in names]
    rows = []
    for record in shown:
        for cache in (False, True) if record.prompt.kv_cache_bytes is not None else (False,):
            name = names[record.key] + (", cache kept" if cache else "")
            rows.append((Cell(name), *(Cell(_bytes_of(record, n, cache)) for n in TASKS)))
    columns = (Column("method", numeric=False), *(Column(units.plural(n, "task")) for n in TASKS))
    text_unknown = any(_file_bytes(record) is None and record.prompt.prefix_tokens for record in shown)
    return Table(
        f"Bytes of N tasks, the backbone's among them: {title}", columns, tuple(rows), WITHOUT_TEXT * text_unknown
    )


def _bytes_of(record: Record, tasks: int, cache: bool) -> str:
    """Where demonstrations' text is not known, more than their keys and values, or a dash."""
    text = units.si(total_bytes(record, tasks, cache), "B")
    if _file_bytes(record) is not None or text == units.MISSING:
        return text
    return f"> {text}" if cache else units.MISSING


def _rate(value: float | None) -> str:
    return units.MISSING if value is None else units.significant(value)


def totals(records: Sequence[Record]) -> str:
    """A line for the end of a plan; empty where nothing was planned."""
    planned = [record for record in records if record.status == "planned"]
    if not planned:
        return ""
    training, _ = _sum(planned, lambda record: record.flops.train)
    scoring, _ = _sum(planned, _scoring_flops)
    parts = [f"{units.si(training, 'FLOP')} of training and {units.si(scoring, 'FLOP')} of scoring"]
    (trains, timed), (scores, _) = _sum(planned, lambda record: record.seconds.train), _sum(planned, _scoring_seconds)
    if scores is not None:
        timed_text = "" if timed == len(planned) else f" in the {timed:,} whose seconds were predicted"
        parts.append(
            f"{units.seconds(trains)} of training and {units.seconds(scores)} of scoring, one by one{timed_text}"
        )
    peaks = [(record.peak_memory_bytes, record) for record in planned if record.peak_memory_bytes is not None]
    if peaks:
        peak, largest = max(peaks, key=lambda pair: pair[0])
        parts.append(f"at most {units.si(peak, 'B')} at once ({largest.label} on {largest.backbone}, {largest.task})")
    subject = f"{len(planned):,} planned cells together" if len(planned) > 1 else "The planned cell"
    return f"{subject}: {'; '.join(parts)}. Each cell stands for one seed."


def _sum(records: Sequence[Record], read: Callable[[Record], float | None]) -> tuple[float | None, int]:
    """The sum of what is there and how many have it; None where none has."""
    values = [value for record in records if (value := read(record)) is not None]
    return (sum(values) if values else None), len(values)


def _scoring_flops(record: Record) -> float | None:
    """Of all scored rows, and of reading demonstrations once."""
    query, rows = record.flops.inference_per_example, record.data.n_test
    return None if query is None or rows is None else query * rows + (record.flops.prefix or 0)


def _scoring_seconds(record: Record) -> float | None:
    return None if record.seconds.eval is None else record.seconds.eval + (record.seconds.prefix or 0.0)
