"""Tables as data, which every format then sets in its own way; the score and cost tables of a panel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports import measures, units
from reports.panels import baseline
from reports.units import MISSING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reports.measures import Cost
    from reports.panels import Entry, Panel


@dataclass(frozen=True)
class Cell:
    """One cell. `minor` follows in smaller type (a spread); `title` is exact, `link` the id of its records."""

    text: str
    minor: str = ""
    title: str = ""
    link: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Column:
    """A column's head, a second line in smaller type, and whether it holds numbers."""

    head: str
    under: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """A table with its caption and a note below. `lines` are the indices of rows that start a new part."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    lines: tuple[int, ...] = ()

    @property
    def spread(self) -> list[bool]:
        """Per column, whether any cell has a minor part, so that the others leave room for it and digits line up."""
        return [any(row[i].minor for row in self.rows) for i in range(len(self.columns))]


def anchor(panel: int, entry: int, task: int | None = None) -> str:
    """The id of the list of records behind a number."""
    return f"runs-{panel}-{entry}" + ("" if task is None else f"-{task}")


def scores(panel: Panel, index: int, names: Mapping[str, str]) -> Table:
    """Mean score and spread over seeds, per task and on average; the reference first, the baseline last."""
    metrics = {
        task: next(r.headline or "" for e in panel.entries for r in e.records.get(task, ())) for task in panel.tasks
    }
    relative = bool(panel.relative_tasks)
    against = (Column("against", panel.reference.label),) if relative and panel.reference else ()
    columns = (
        Column("method", numeric=False),
        *(Column(names[task], metrics[task]) for task in panel.tasks),
        Column("average", "over tasks"),
        *against,
        Column("runs", "per task"),
    )
    rows = []
    for e, entry in enumerate(panel.entries):
        cells = [Cell(entry.label, strong=entry is panel.reference)]
        cells += [_score(entry, task, anchor(index, e, t)) for t, task in enumerate(panel.tasks)]
        average = entry.average(panel.tasks)
        cells.append(Cell(units.points(average), title=_exact(average), link=_link(average, anchor(index, e))))
        if against:
            gap = panel.difference(entry)
            cells.append(Cell(units.signed(gap), title=_exact(gap), link=_link(gap, anchor(index, e))))
        cells.append(Cell(_runs([len(entry.scores(task)) for task in panel.tasks])))
        rows.append(tuple(cells))
    regression = any(record.task_kind == "regression" for record in panel.records)
    base = [baseline(panel, task) for task in panel.tasks]
    lines: tuple[int, ...] = ()
    if any(value is not None for value in base):
        mean = None if None in base else sum(v for v in base if v is not None) / len(base)
        cells = [
            Cell("commonest label or mean" if regression else "commonest label"),
            *(Cell(units.points(v), title=_exact(v)) for v in [*base, mean]),
        ]
        rows.append((*cells, *(Cell("") for _ in (*against, None))))
        lines = (len(rows) - 1,)
    note = "Scores × 100, mean over runs ± sample standard deviation (no ± with a single run)."
    if len(set(metrics.values())) > 1:
        note += " The average mixes different metrics."
    if any(entry.average(panel.tasks) is None for entry in panel.entries):
        note += " A method without a score on every task has no average, since it would not compare."
    return Table("Scores", columns, tuple(rows), note, lines)


def sizes(panel: Panel, index: int) -> Table:
    """What is trained and stored."""
    whole = panel.backbone_params
    columns = (
        Column("method", numeric=False),
        Column("trained", "parameters"),
        Column("share", f"of {units.count(whole)}" if whole else "of the backbone"),
        Column("head", "of these"),
        Column("inserted", "parameters"),
        Column("checkpoint", "per task"),
    )
    head, inserted = measures.Cost("head_params", "Head"), measures.Cost("inserted_params", "Inserted")
    rows = []
    for e, entry in enumerate(panel.entries):
        link = anchor(index, e)
        part, of = entry.median(measures.PARAMETERS.read), entry.median(lambda record: record.backbone_params)
        share = units.percent(part, of)
        rows.append(
            (
                Cell(entry.label, strong=entry is panel.reference),
                _cost(panel, entry, measures.PARAMETERS, units.count, link),
                Cell(share, link="" if share == MISSING else link),
                _cost(panel, entry, head, units.count, link),
                _cost(panel, entry, inserted, units.count, link),
                _cost(panel, entry, measures.CHECKPOINT, _bytes, link),
            )
        )
    note = "Medians over tasks and runs, per task. Trained parameters include the head."
    if whole:
        note += f" Shares are of the pretrained model's {units.count(whole)} parameters, without head and insertions."
    return Table("What is trained and stored", columns, tuple(rows), note + " 1 kB is 1000 bytes.")


def compute(panel: Panel, index: int) -> Table:
    """What training and scoring cost."""
    train_peak, eval_peak = measures.peak(panel), measures.peak(panel, "eval")
    shown: list[tuple[Column, Cost, Callable[[float | None], str]]] = [
        (Column("training", "FLOPs"), measures.TRAIN_FLOPS, _flops),
        (Column("inference", "FLOPs / example"), measures.INFERENCE_FLOPS, _flops),
        (Column("training", "time"), measures.TRAIN_SECONDS, units.seconds),
        (Column("scoring", "time"), measures.EVAL_SECONDS, units.seconds),
        (Column("training", "examples / s"), measures.Cost("train_examples_per_second", "", timed=True), _rate),
        (Column("scoring", "examples / s"), measures.Cost("eval_examples_per_second", "", timed=True), _rate),
        (Column("peak memory", "training"), train_peak, _bytes),
        (Column("peak memory", "scoring"), eval_peak, _bytes),
    ]
    rows = [
        (
            Cell(entry.label, strong=entry is panel.reference),
            *(_cost(panel, entry, cost, text, anchor(index, e)) for _, cost, text in shown),
        )
        for e, entry in enumerate(panel.entries)
    ]
    kind = "CUDA's allocator" if "allocated" in train_peak.field else "the process, libraries included"
    note = (
        "Medians over tasks and runs. One multiply-add is two FLOPs. Training time holds no evaluation and no "
        f"tokenisation. Peak memory is that of {kind}."
    )
    if panel.uneven:
        note += f" Times are left out: {panel.uneven}."
    columns = (Column("method", numeric=False), *(column for column, _, _ in shown))
    return Table("What training and scoring cost", columns, tuple(rows), note)


def _flops(value: float | None) -> str:
    return units.si(value, "FLOP")


def _bytes(value: float | None) -> str:
    return units.si(value, "B")


def _rate(value: float | None) -> str:
    return MISSING if value is None else units.significant(value)


def chunked(table: Table, most: int = 8) -> list[Table]:
    """A table too wide for paper as several, each with the first column."""
    if len(table.columns) <= most:
        return [table]
    rest = list(range(1, len(table.columns)))
    parts = -(-len(rest) // (most - 1))
    size = -(-len(rest) // parts)
    found = []
    for part in range(parts):
        keep = [0, *rest[part * size : (part + 1) * size]]
        caption = table.caption + (f" ({part + 1} of {parts})")
        rows = tuple(tuple(row[i] for i in keep) for row in table.rows)
        note = table.note if part == parts - 1 else ""
        found.append(Table(caption, tuple(table.columns[i] for i in keep), rows, note, table.lines))
    return found


def _score(entry: Entry, task: str, link: str) -> Cell:
    mean, spread = entry.mean(task), entry.spread(task)
    minor = f"± {100 * spread:.1f}" if spread is not None else ""
    return Cell(units.points(mean), minor, _exact(mean, spread), _link(mean, link))


def _cost(panel: Panel, entry: Entry, cost: Cost, text: Callable[[float | None], str], link: str) -> Cell:
    value = cost.of(panel, entry)
    return Cell(text(value), title=units.exact(value, cost.unit), link=_link(value, link))


def _exact(value: float | None, spread: float | None = None) -> str:
    if value is None:
        return "not measured"
    return f"{value:.6g}" + ("" if spread is None else f" ± {spread:.3g}")


def _link(value: float | None, link: str) -> str:
    return "" if value is None else link


def _runs(amounts: list[int]) -> str:
    least, most = min(amounts), max(amounts)
    return str(most) if least == most else f"{least}–{most}"
