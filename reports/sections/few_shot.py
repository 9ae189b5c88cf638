"""The few-shot section of a panel: medians and interquartile ranges as in T-Few, and the sources of the spread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare.collapse import count_collapsed, mark
from tunefront.reports.compare.factors import FACTORS, levels, rows_used
from tunefront.reports.compare.statistics import Spread, finite_values, mean, spread_of
from tunefront.reports.tables import Cell, Column, Table, anchor, fold_constant

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tunefront.bench.records import Record
    from tunefront.reports.compare.entries import Entry
    from tunefront.reports.compare.panels import Panel


COLUMNS = (
    "k is the number of labelled rows that a method used: the demonstrations requested for its prompt (and how many a "
    "prompt kept on average, if some did not fit), else the rows it was trained on. SD of means shows the sources of "
    "the spread: the sample standard deviation, in points, of the mean scores of a factor's levels, where each mean is "
    "over all other factors. The number of levels is in brackets; a dash means a single level. Interactions of factors "
    "appear in each of them."
)
MISSING_RUNS = "If runs are missing (“of”), the means of a factor's levels are over different cells."


@dataclass(frozen=True)
class FewShot:
    """The section: an explanation of the numbers, and a table per task."""

    text: tuple[str, ...]
    tables: tuple[Table, ...]


def section(panel: Panel, index: int, names: Mapping[str, str], above: str | None = None) -> FewShot | None:
    """The section; None if only the seed varies. `above`: title of an earlier panel whose section explains the rest."""
    if not panel.few_shot:
        return None
    tables = tuple(fold_constant(_table(panel, index, t, task, names)) for t, task in enumerate(panel.tasks))
    if above is not None:
        same = f"Medians, interquartile ranges, k and SD of means are explained on {above}."
        return FewShot((f"{same} {_nested(panel)}",), tables)
    against = ""
    if panel.relative_tasks and panel.reference is not None:
        name = panel.reference.label
        against = f" Against {name}: the mean over runs of the difference to {name} with the same template, draw and "
        against += "seed."
    return FewShot((_what(panel), _nested(panel), COLUMNS + against), tables)


def describe_levels(tasks: Iterable[Iterable[Record]]) -> str:
    """The number of values of each factor in the tasks' runs, in words. Factors that never vary are left out, except
    for the seed."""
    groups = [list(records) for records in tasks]
    parts = []
    for factor in FACTORS:
        counts = sorted({levels(records, factor) for records in groups if records})
        if counts and (counts[-1] > 1 or factor == "seed"):
            low, high = counts[0], counts[-1]
            parts.append(units.plural(low, factor) if low == high else f"{low}–{high} {factor}s")
    return " × ".join(parts)


def _what(panel: Panel) -> str:
    text = (
        "The median and the interquartile range (75th minus 25th percentile, linear interpolation) are over all cells "
        "of a method on a task: every combination of template, draw and seed counts once, as in T-Few's tables (Liu et "
        "al. 2022). They are not nested: no median over draws of medians over templates."
    )
    if any(levels(entry.all, "order") > 1 for entry in panel.entries):
        text += " Prompts that differ only in the order of their demonstrations share a row; the records list each of "
        text += "them."
    return text


def _nested(panel: Panel) -> str:
    """Whether draws of different sizes are nested."""
    published = sorted({record.data.draw_source for record in panel.records if record.data.draw_source})
    drawn = any(not record.data.draw_source for record in panel.records)
    texts = []
    if published:
        texts.append(
            f"The draws are published files ({', '.join(published)}), which are not nested: files of different sizes "
            "are different draws."
        )
    if drawn:
        texts.append("Draws by hash are nested: with the same seed, a smaller draw is the first rows of a larger one.")
    return " ".join(texts)


def _table(panel: Panel, index: int, t: int, task: str, names: Mapping[str, str]) -> Table:
    relative = task in panel.relative_tasks and panel.reference is not None
    entries = [(e, entry) for e, entry in enumerate(panel.entries) if task in entry.records]
    spreads = {e: spread_of(entry.runs(task)) for e, entry in entries}
    factors = [factor for factor in FACTORS if any(spread.levels[factor] for spread in spreads.values())]
    columns = (
        Column("method", numeric=False),
        Column("k", "rows used"),
        Column("median", "× 100"),
        Column("IQR", "points"),
        *((Column("against", panel.reference.label),) if relative and panel.reference else ()),
        *(Column(f"{factor}s", "SD of means") for factor in factors),
        Column("runs"),
    )
    rows = []
    for e, entry in entries:
        link, spread = anchor(index, e, t), spreads[e]
        gap = mean(panel.task_differences(entry, task))
        cells = [Cell(entry.label), _used(entry, task)]
        cells += [_points(spread.median, link, mark(count_collapsed(entry.runs(task)))), _points(spread.iqr, link)]
        cells += [Cell(units.signed(gap), title=_exact(gap), link=link if gap is not None else "")] if relative else []
        cells += [_factor(spread, factor, link) for factor in factors]
        whole = spread.runs == spread.combinations
        cells.append(Cell(str(spread.runs) if whole else f"{spread.runs} of {spread.combinations}"))
        rows.append(tuple(cells))
    missing = any(spread.runs < spread.combinations for spread in spreads.values())
    metric = next(r.scores.headline or "" for _, entry in entries for r in entry.records[task])
    return Table(f"Few-shot: {names[task]}, {metric}", columns, tuple(rows), MISSING_RUNS if missing else "")


def _used(entry: Entry, task: str) -> Cell:
    """The number of rows used, and the mean number of demonstrations kept if that is smaller."""
    used = sorted(set(finite_values(entry.records[task], rows_used)))
    if not used:
        return Cell(units.MISSING)
    text = units.count(used[0]) if len(used) == 1 else f"{units.count(used[0])}–{units.count(used[-1])}"
    kept = mean(finite_values(entry.records[task], lambda record: record.prompt.demonstrations_per_row))
    return Cell(text, f"{kept:.1f} kept" if kept is not None and kept < used[0] else "")


def _factor(spread: Spread, factor: str, link: str) -> Cell:
    value, amount = spread.deviations[factor], spread.levels[factor]
    return Cell(units.points(value), f"({amount})" if amount else "", _exact(value), link if value is not None else "")


def _points(value: float | None, link: str, sign: str = "") -> Cell:
    return Cell(sign + units.points(value), title=_exact(value), link=link if value is not None else "")


def _exact(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
