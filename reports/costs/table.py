"""The cost tables of a panel: trained and stored parameters, and the costs of training and scoring."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare import measures
from tunefront.reports.costs import prompts
from tunefront.reports.tables import Cell, Column, Table, anchor
from tunefront.reports.units import MISSING

if TYPE_CHECKING:
    from tunefront.reports.compare.measures import Cost
    from tunefront.reports.compare.panels import Panel


def cost_tables(panel: Panel, index: int) -> tuple[Table, ...]:
    """The tables; those about prompts only if there are demonstrations."""
    tables = (sizes_table(panel, index), compute_table(panel, index))
    if not any(record.prompt.demonstration_ids for record in panel.records):
        return tables
    return (*tables, prompts.fitting_table(panel, index), prompts.reading_table(panel, index))


def short_table(panel: Panel, index: int, scoring: bool = True) -> Table:
    """The main costs in one table, for a page or a comment; costs that nobody measured are left out. `scoring`: with
    the time and the memory of scoring."""
    train_peak, eval_peak = measures.peak(panel), measures.peak(panel, "eval")
    shown: list[tuple[Column, Cost]] = [
        (Column("stored", "per task"), measures.KEPT),
        (Column("training", "FLOPs"), measures.TRAIN_FLOPS),
        (Column("training", "time"), measures.TRAIN_SECONDS),
        (Column("training", "peak memory"), train_peak),
        (Column("inference", "FLOPs / example"), measures.INFERENCE_FLOPS),
        (Column("scoring", "time"), measures.EVAL_SECONDS),
        (Column("scoring", "peak memory"), eval_peak),
    ]
    shown = [
        (column, cost)
        for column, cost in shown
        if any(cost.median(panel, entry) is not None for entry in panel.entries)
    ]
    columns = (
        Column("method", numeric=False),
        Column("trained", "parameters"),
        Column("share", "of the backbone"),
        *(column for column, _ in shown),
    )
    rows = []
    for e, entry in enumerate(panel.entries):
        link = anchor(index, e)
        share = units.percent(*entry.share) if entry.share else MISSING
        cells = (measures.PARAMETERS.cell(panel, entry, link), Cell(share, link="" if share == MISSING else link))
        rows.append((Cell(entry.label), *cells, *(cost.cell(panel, entry, link) for _, cost in shown)))
    return Table("Costs", columns, tuple(rows), _note(panel, train_peak))


def sizes_table(panel: Panel, index: int) -> Table:
    """Trained parameters and stored bytes."""
    whole = panel.backbone_params
    prompted = any(record.prompt.demonstration_ids for record in panel.records)
    columns = (
        Column("method", numeric=False),
        Column("trained", "parameters"),
        Column("share", f"of {units.count(whole)}" if whole else "of the backbone"),
        Column("head", "of these"),
        Column("inserted", "parameters"),
        Column("stored", "per task") if prompted else Column("checkpoint", "per task"),
    )
    head, inserted = measures.Cost("parameters.head"), measures.Cost("parameters.inserted")
    rows = []
    for e, entry in enumerate(panel.entries):
        link = anchor(index, e)
        share = units.percent(*entry.share) if entry.share else MISSING
        rows.append(
            (
                Cell(entry.label),
                measures.PARAMETERS.cell(panel, entry, link),
                Cell(share, link="" if share == MISSING else link),
                head.cell(panel, entry, link),
                inserted.cell(panel, entry, link),
                measures.KEPT.cell(panel, entry, link),
            )
        )
    note = "Medians over tasks and runs, per task. Trained parameters include the head."
    if whole:
        note += f" Shares are of the pretrained model's {units.count(whole)} parameters, without head and insertions."
    if prompted:
        note += " Stored in addition to the backbone: the file of trained parameters and the text of demonstrations."
    return Table("Trained parameters and stored bytes", columns, tuple(rows), note + " 1 kB is 1000 bytes.")


def compute_table(panel: Panel, index: int) -> Table:
    """FLOPs, time, throughput and memory of training and scoring."""
    train_peak, eval_peak = measures.peak(panel), measures.peak(panel, "eval")
    shown: list[tuple[Column, Cost]] = [
        (Column("training", "FLOPs"), measures.TRAIN_FLOPS),
        (Column("inference", "FLOPs / example"), measures.INFERENCE_FLOPS),
        (Column("training", "time"), measures.TRAIN_SECONDS),
        (Column("scoring", "time"), measures.EVAL_SECONDS),
        (Column("training", "examples / s"), measures.Cost("examples_per_second.train", unit="/s", timed=True)),
        (Column("scoring", "examples / s"), measures.Cost("examples_per_second.eval", unit="/s", timed=True)),
        (Column("peak memory", "training"), train_peak),
        (Column("peak memory", "scoring"), eval_peak),
    ]
    columns = (Column("method", numeric=False), *(column for column, _ in shown))
    rows = tuple(
        (
            Cell(entry.label),
            *(cost.cell(panel, entry, anchor(index, e)) for _, cost in shown),
        )
        for e, entry in enumerate(panel.entries)
    )
    return Table("Costs of training and scoring", columns, rows, _note(panel, train_peak))


def _note(panel: Panel, train_peak: Cost) -> str:
    """What the numbers of training and scoring are."""
    kind = "CUDA's allocator" if "allocated" in train_peak.field else "the process, libraries included"
    note = (
        "Medians over tasks and runs. One multiply-add is two FLOPs. Training time excludes evaluation and "
        f"tokenisation. Peak memory is that of {kind}."
    )
    untrained = [entry.label for entry in panel.entries if not any(map(measures.trains, entry.all))]
    if untrained:
        verb = "does" if len(untrained) == 1 else "do"
        note += f" No peak memory of training: {', '.join(untrained)} {verb} not train."
    if panel.timing_mismatch:
        note += f" Times cannot be compared and are left out: {panel.timing_mismatch}."
    return note
