"""The assumptions of a plan, and whether its cells fit into a device."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.sections.forecast import SCORING, TRAINING, peak, planned_by_title, row_names
from tunefront.reports.tables import Cell, Column, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tunefront.bench.records import Record

SYNTHETIC = re.compile(r"\brows of \d+ tokens\b")
"""The end of the task name of synthetic rows."""
Largest = dict[str, tuple[bool, int | None, int | None]]
"""By the key of a plan: whether it fits, and the largest batches of training and scoring that fit."""

NOTE = (
    "Peaks are those of tensors only: leave room for the memory that a device needs before any tensor. The largest "
    "training and scoring batches are found separately, up to the number of available rows (4,096 synthetic rows), "
    "with the kernels of a CPU: these keep attention weights for the backward pass if dropout acts on them, which the "
    "fused kernels of a GPU avoid."
)


def assumptions(records: Sequence[Record], untimed: str = "") -> str:
    """The assumptions in a paragraph: rows, lengths, batches, dtypes, optimiser, and the machine of the seconds;
    `untimed` is the sentence for plans without seconds."""
    planned = [record for record in records if record.status == "planned"]
    if not planned:
        return ""
    trained = [record for record in planned if record.training.steps]

    def each(read: Callable[[Record], object], records: Iterable[Record]) -> str:
        return " or ".join(dict.fromkeys(str(read(record)) for record in records))

    texts = [each(lambda r: r.task, planned), "weights in float32"]
    if trained:
        dtypes, optimizers, batches = (
            each(lambda r, n=name: r.recipe.get(n), trained)  # type: ignore[misc]
            for name in ("dtype", "optimizer", "batch_size")
        )
        steps, rows = each(lambda r: r.training.steps, trained), each(lambda r: r.data.n_train, trained)
        texts.append(f"training in {dtypes} with {optimizers}, {batches} rows per batch, {steps} steps on {rows} rows")
    texts.append(
        f"{each(lambda r: r.data.n_test, planned)} rows scored, in batches of up to "
        f"{each(lambda r: r.settings.get('eval_batch_size'), planned)}"
    )
    timed = [record for record in planned if record.seconds.eval is not None or record.seconds.train is not None]
    whose = f"Seconds are valid for {_machine(timed[0])} only." if timed else untimed
    seconds = f" {whose}" if whose else ""
    data_options = "--length, --shots, --queries, " if SYNTHETIC.search(planned[0].task) else ""
    options = f"{data_options}--set batch_size=, --set eval_batch_size=, --set dtype= or --set optimizer="
    return f"Assumed: {'; '.join(texts)}.{seconds} Change them with {options}."


def fit_tables(records: Sequence[Record], largest: Largest, device: str) -> list[Table]:
    """Whether each plan fits into a `device` (its size in words), and the largest batches that fit; one table per
    backbone and task."""
    columns = (
        Column("method", numeric=False),
        Column("fits", "as planned", numeric=False),
        Column("training", "peak"),
        Column("largest", "training batch"),
        Column("scoring", "peak"),
        Column("largest", "scoring batch"),
    )
    tables = []
    for title, planned in planned_by_title(records).items():
        names = row_names(planned)
        rows = []
        for record in (record for record in planned if record.key in names):
            fits, training, scoring = largest[record.key]
            trains = bool(record.training.steps)
            rows.append(
                (
                    Cell(names[record.key]),
                    Cell("yes" if fits else "no"),
                    Cell(units.si(peak(record, *TRAINING), "B")),
                    Cell(_batch(training) if trains else units.MISSING),
                    Cell(units.si(peak(record, *SCORING), "B")),
                    Cell(_batch(scoring)),
                )
            )
        tables.append(Table(f"Fits into {device}? {title}", columns, tuple(rows)))
    # The common note stands once, below the last table.
    return [*tables[:-1], *(replace(table, note=NOTE) for table in tables[-1:])]


def advice(records: Sequence[Record], largest: Largest) -> list[str]:
    """A sentence for each plan that does not fit, with the batch sizes that would."""
    titles = planned_by_title(records)
    sentences = []
    for title, planned in titles.items():
        where = f" ({title})" if len(titles) > 1 else ""
        sentences += [f"{text}{where}." for text in _smaller_batches(planned, row_names(planned), largest)]
    return sentences


def _smaller_batches(records: Sequence[Record], names: Mapping[str, str], largest: Largest) -> list[str]:
    sentences = []
    for record in (record for record in records if record.key in names and not largest[record.key][0]):
        _, training, scoring = largest[record.key]
        batch, at_once = record.recipe.get("batch_size"), record.settings.get("eval_batch_size")
        changes: list[tuple[str, int, int]] = []
        hopeless = False
        trains = bool(record.training.steps)
        for name, largest_one, size in (("batch_size", training, batch), ("eval_batch_size", scoring, at_once)):
            if not isinstance(size, int) or (name == "batch_size" and not trains):
                continue
            hopeless |= largest_one is None
            if largest_one is not None and largest_one < size:
                changes.append((name, largest_one, size))
        if hopeless:
            sentences.append(f"{names[record.key]} does not fit even with one row per batch")
        elif changes:
            planned = " and ".join(f"{name}={size}" for name, _, size in changes)
            options = " ".join(f"--set {name}={size}" for name, size, _ in changes)
            sentences.append(f"{names[record.key]} does not fit with {planned} as planned, but fits with {options}")
    return sentences


def _batch(size: int | None) -> str:
    return "none" if size is None else units.count(size)


def _machine(record: Record) -> str:
    """The machine of the predicted seconds."""
    where, cuda = record.environment, record.environment.device == "cuda"
    name = where.device_name if cuda else where.cpu_model
    threads = "" if cuda else f", {units.plural(where.threads or 1, 'thread')}"
    return f"this machine's {'GPU' if cuda else 'CPU'} ({name or 'unknown model'}{threads})"
