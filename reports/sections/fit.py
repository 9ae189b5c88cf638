"""What a plan assumes, and what fits into a device: the answer, before what everything costs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.sections.forecast import SCORING, TRAINING, alike_by_title, peak, row_names
from tunefront.reports.tables import Cell, Column, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tunefront.bench.records import Record

Largest = dict[str, tuple[bool, int | None, int | None]]
"""Of a plan by its key: whether it fits, and the largest batches of training and of scoring that do."""

NOTE = (
    "Peaks of tensors alone: leave room for what a device takes before any. The largest batches of training and of "
    "scoring are looked for each by itself, up to the rows that there are (4,096 made-up ones), with a CPU's kernels: "
    "where dropout acts on attention's weights these are kept for the backward pass, which a GPU's fused kernel spares."
)


def assumptions(records: Sequence[Record], untimed: str = "") -> str:
    """What was taken for granted, in a paragraph: rows, lengths, batches, numbers, optimiser, and whose seconds;
    `untimed` is said where there are none."""
    planned = [record for record in records if record.status == "planned"]
    if not planned:
        return ""
    trained = [record for record in planned if record.training.steps]

    def each(read: Callable[[Record], object], of: Iterable[Record]) -> str:
        return " or ".join(dict.fromkeys(str(read(record)) for record in of))

    texts = [each(lambda r: r.task, planned), "weights in float32"]
    if trained:
        dtypes, optimizers, batches = (
            each(lambda r, n=name: r.recipe.get(n), trained)  # type: ignore[misc]
            for name in ("dtype", "optimizer", "batch_size")
        )
        steps, rows = each(lambda r: r.training.steps, trained), each(lambda r: r.data.n_train, trained)
        texts.append(f"training in {dtypes} with {optimizers}, {batches} rows a batch, {steps} steps over {rows} rows")
    texts.append(
        f"{each(lambda r: r.data.n_test, planned)} rows scored, up to "
        f"{each(lambda r: r.settings.get('eval_batch_size'), planned)} at a time"
    )
    timed = [record for record in planned if record.seconds.eval is not None or record.seconds.train is not None]
    whose = f"Seconds are those of {_machine(timed[0])}, and of no other device." if timed else untimed
    seconds = f" {whose}" if whose else ""
    told = "--length, --shots, --queries, " if planned[0].task.startswith("synthetic rows") else ""
    options = f"{told}--set batch_size=, --set eval_batch_size=, --set dtype= or --set optimizer="
    return f"Assumed: {'; '.join(texts)}.{seconds} Change them with {options}."


def fit_tables(records: Sequence[Record], largest: Largest, device: str) -> list[Table]:
    """Whether each plan fits into a `device` (its size, in words), and the largest batches that do; a table for each
    backbone and task."""
    columns = (
        Column("method", numeric=False),
        Column("fits", "as planned", numeric=False),
        Column("training", "peak"),
        Column("largest", "training batch"),
        Column("scoring", "peak"),
        Column("largest", "scoring batch"),
    )
    found = []
    for title, planned in alike_by_title(records).items():
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
        found.append(Table(f"Fits into {device}? {title}", columns, tuple(rows)))
    # What holds for all of them is said once, below the last.
    return [*found[:-1], *(replace(table, note=NOTE) for table in found[-1:])]


def advice(records: Sequence[Record], largest: Largest) -> list[str]:
    """A sentence for each plan that does not fit as it is: with which batches it would."""
    titles = alike_by_title(records)
    found = []
    for title, planned in titles.items():
        where = f" ({title})" if len(titles) > 1 else ""
        found += [f"{text}{where}." for text in _smaller_batches(planned, row_names(planned), largest)]
    return found


def _smaller_batches(records: Sequence[Record], names: Mapping[str, str], largest: Largest) -> list[str]:
    found = []
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
            found.append(f"{names[record.key]} does not fit even with one row a batch")
        elif changes:
            planned = " and ".join(f"{name}={size}" for name, _, size in changes)
            options = " ".join(f"--set {name}={size}" for name, size, _ in changes)
            found.append(f"{names[record.key]} does not fit with {planned} as planned, but does with {options}")
    return found


def _batch(size: int | None) -> str:
    return "none" if size is None else units.count(size)


def _machine(record: Record) -> str:
    """Where seconds were found out."""
    where, cuda = record.environment, record.environment.device == "cuda"
    name = where.device_name if cuda else where.cpu_model
    threads = "" if cuda else f", {units.plural(where.threads or 1, 'thread')}"
    return f"this machine's {'GPU' if cuda else 'CPU'} ({name or 'of an unknown kind'}{threads})"
