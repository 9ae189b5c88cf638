"""The predictions of a plan: tables of each method's costs, and the total of all cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare.checks import group_by
from tunefront.reports.costs.memory import display_name, owners_of, peak_phase
from tunefront.reports.costs.storage import replaces_backbone, total_bytes
from tunefront.reports.names import short_names
from tunefront.reports.tables import Cell, Column, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tunefront.bench.records import Record

COSTS = (
    "Trained parameters and bytes are exact. FLOPs are analytic: matrix products and attention of all steps (training) "
    "and of one scored row (query); demonstrations are read once and cached if the model can cache them. Memory is the "
    "peak of all tensors, without the process, libraries and an allocator's reserve."
)
TASKS = (1, 9, 100)
WITHOUT_TEXT = (
    "A dash: synthetic demonstrations have tokens but no text, so the bytes of their text are unknown. Numbers after > "
    "are the bytes with their cached keys and values; the text would come in addition."
)
SECONDS = " Seconds are of this machine: each operator was timed alone, large operators on a part of their rows."
COPIES = (
    "Training in bfloat16 casts the inputs of matrix products, including copies of frozen weights. The backward pass "
    "needs these copies; they count as saved activations."
)


def plan_tables(records: Sequence[Record]) -> list[Table]:
    """The tables of planned records for each backbone and task: costs, memory by owner, FLOPs, bytes of N tasks."""
    tables: list[Table] = []
    by_title = planned_by_title(records)
    for place, (title, planned) in enumerate(by_title.items(), 1):
        names = row_names(planned)
        costs = _costs(title, planned, names)
        # The columns are explained once, below the last of these tables.
        tables.append(costs if place == len(by_title) else replace(costs, note=_of_backbone(planned)))
        tables += [_memory(title, planned, names), _flops(title, planned, names), _tasks(title, planned, names)]
    if tables:
        tables[-1] = replace(tables[-1], note=f"{tables[-1].note} {totals(records)}".strip())
    return tables


def row_names(records: Sequence[Record]) -> dict[str, str]:
    """The name of each row of a table, by the key of its record.

    The name is the method's label, followed by the differences between records with the same label. Records with equal
    costs (for example with several learning rates) share the row of the first.
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
    """The planned records of each backbone and task, by the title of their tables."""
    planned = [record for record in records if record.status == "planned"]
    names = short_names(record.task for record in planned)
    return group_by(planned, lambda r: f"{r.backbone}, {names[r.task]}" if with_task else r.backbone)


def _shown_costs(record: Record) -> tuple[object, ...]:
    """Everything that the tables show about a record, except its name."""
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
    """Optimiser steps and rows per batch, with ≤ if the last batch of an epoch is smaller."""
    if not record.training.steps:
        return units.MISSING
    rows = (record.recipe or {}).get("batch_size")
    partial = isinstance(rows, int) and rows > 0 and record.data.n_train is not None and record.data.n_train % rows
    return f"{units.count(record.training.steps)} × {'≤ ' if partial else ''}{rows}"


def _of_backbone(records: Sequence[Record]) -> str:
    """The notes on the costs of one backbone."""
    whole = {record.parameters.backbone for record in records}
    sizes = [f"The backbone has {units.count(whole.pop())} parameters."] if len(whole) == 1 else []
    replaced = list(dict.fromkeys(record.label for record in records if replaces_backbone(record)))
    kept = [f"The file of {', '.join(replaced)} is a whole model."] if replaced else []
    trained = [record for record in records if record.training.steps]
    used = {f"{(r.recipe or {}).get('dtype')}, {(r.recipe or {}).get('optimizer')}" for r in trained}
    scored = {(record.settings or {}).get("eval_batch_size") for record in records}
    ways = [f"Weights are in float32; training uses {' or '.join(sorted(used))}."] if used else []
    copies = [COPIES] if any((record.recipe or {}).get("dtype") == "bfloat16" for record in trained) else []
    batches = [f"Scoring uses batches of up to {scored.pop()} rows."] if len(scored) == 1 else []
    return " ".join([*sizes, *kept, *ways, *copies, *batches])


TRAINING = ("features", "forward", "backward", "optimizer")
SCORING = ("evaluation", "prefill", "query")


def peak(record: Record, *phases: str) -> int | None:
    """The highest peak of the phases; None if the method has none of them."""
    held = [sum(owners.values()) for phase, owners in (record.memory.phases or {}).items() if phase in phases]
    return max(held, default=None)


def _file_bytes(record: Record) -> int | None:
    """The bytes stored for the task; None for synthetic demonstrations, whose text is unknown."""
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
        Column("peak in", numeric=False),
        *(Column(display_name(owner)) for owner in owners),
        Column("sum"),
    )
    return Table(f"Memory at the peak by owner: {title}", columns, tuple(rows))


def _flops(title: str, records: Sequence[Record], names: Mapping[str, str]) -> Table:
    """The parts of the FLOPs, and the papers' rule of thumb."""

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
    return Table(f"FLOPs by part: {title}", columns, rows)


def _tasks(title: str, records: Sequence[Record], names: Mapping[str, str]) -> Table:
    """The bytes of several tasks like this one, with and without a cache of their prompts' keys and values."""
    shown = [record for record in records if record.key in names]
    rows = []
    for record in shown:
        for cache in (False, True) if record.prompt.kv_cache_bytes is not None else (False,):
            name = names[record.key] + (" with cache" if cache else "")
            rows.append((Cell(name), *(Cell(_bytes_of(record, n, cache)) for n in TASKS)))
    columns = (Column("method", numeric=False), *(Column(units.plural(n, "task")) for n in TASKS))
    text_unknown = any(_file_bytes(record) is None and record.prompt.prefix_tokens for record in shown)
    return Table(
        f"Bytes of N tasks, including the backbone: {title}", columns, tuple(rows), WITHOUT_TEXT * text_unknown
    )


def _bytes_of(record: Record, tasks: int, cache: bool) -> str:
    """The bytes as text; with unknown text of demonstrations, a lower bound with the cache, else a dash."""
    text = units.si(total_bytes(record, tasks, cache), "B")
    if _file_bytes(record) is not None or text == units.MISSING:
        return text
    return f"> {text}" if cache else units.MISSING


def _rate(value: float | None) -> str:
    return units.MISSING if value is None else units.significant(value)


def totals(records: Sequence[Record]) -> str:
    """The total of a plan in a line; empty if nothing was planned."""
    planned = [record for record in records if record.status == "planned"]
    if not planned:
        return ""
    training, _ = _sum(planned, lambda record: record.flops.train)
    scoring, _ = _sum(planned, _scoring_flops)
    parts = [f"{units.si(training, 'FLOP')} for training and {units.si(scoring, 'FLOP')} for scoring"]
    (trains, timed), (scores, _) = _sum(planned, lambda record: record.seconds.train), _sum(planned, _scoring_seconds)
    machines = {
        (record.environment.cpu_model, record.environment.device_name) for record in planned if record.seconds.eval
    }
    if len(machines) > 1:
        parts.append("seconds are not added up, since they were predicted for several machines")
    elif scores is not None:
        timed_text = "" if timed == len(planned) else f", for the {timed:,} with predicted seconds"
        parts.append(
            f"{units.seconds(trains)} for training and {units.seconds(scores)} for scoring, run one by one{timed_text}"
        )
    peaks = [(record.peak_memory_bytes, record) for record in planned if record.peak_memory_bytes is not None]
    if peaks:
        peak, largest = max(peaks, key=lambda pair: pair[0])
        parts.append(f"peak memory {units.si(peak, 'B')} ({largest.label} on {largest.backbone}, {largest.task})")
    subject = f"Total of {len(planned):,} planned cells" if len(planned) > 1 else "The planned cell"
    return f"{subject}: {'; '.join(parts)}. Each cell is one seed."


def _sum(records: Sequence[Record], read: Callable[[Record], float | None]) -> tuple[float | None, int]:
    """The sum of the available values (None if there are none), and their number."""
    values = [value for record in records if (value := read(record)) is not None]
    return (sum(values) if values else None), len(values)


def _scoring_flops(record: Record) -> float | None:
    """FLOPs of all scored rows and of reading the demonstrations once."""
    query, rows = record.flops.inference_per_example, record.data.n_test
    return None if query is None or rows is None else query * rows + (record.flops.prefix or 0)


def _scoring_seconds(record: Record) -> float | None:
    return None if record.seconds.eval is None else record.seconds.eval + (record.seconds.prefix or 0.0)
