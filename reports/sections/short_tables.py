"""Tables for paper and for comments: the best methods instead of all, one mark for the best and one for ties.

What is left out is counted in the note of the table, never in silence."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare.statistics import quantile
from tunefront.reports.names import elide
from tunefront.reports.sections.answer import NEAR
from tunefront.reports.sections.certainty_words import BOLD, interval_text
from tunefront.reports.sections.overview import BOLD_COLUMN
from tunefront.reports.sections.scores import SPREAD
from tunefront.reports.tables import Cell, Column, Table

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from tunefront.reports.compare.entries import Entry
    from tunefront.reports.compare.panels import Panel
    from tunefront.reports.sections.document import Page

TIED = "≈"
"""Stands after the name of a method that cannot be distinguished from the best."""
MARKED = f"Bold: the highest mean. {TIED} cannot be distinguished from it."
MARKED_COLUMN = f"Bold: the highest of its column. {TIED} cannot be distinguished from it."
WHOLE = "report.html and summary.csv"
"""The files that have every method of every panel."""
SPREAD_FREE = "scores × 100, means over runs and then over tasks."
SPREAD_TASKS, MOST_TASKS = 6, 10
"""Most tasks of a table with the spread between runs, and of a table with a column for each task."""


def main_methods(page: Page, most: int) -> tuple[str, ...]:
    """The labels that short tables show, in the panel's order: all, or, if there are more than `most`, the reference,
    the methods that the answer names, and the others from the best downwards: those tied with the best come first."""
    panel, known = page.panel, page.panel.evidence
    if len(panel.entries) <= most:
        return tuple(entry.label for entry in panel.entries)
    named = [] if panel.reference is None else [panel.reference.label]
    named += [] if page.answer.label is None else [page.answer.label]
    named += [budget.label for budget in page.answer.budgets]
    tied = () if known is None else known.tied_labels
    best = sorted(panel.entries, key=lambda entry: (entry.label not in tied, -(entry.average(panel.tasks) or -1.0)))
    kept = list(dict.fromkeys([*named, *(entry.label for entry in best)]))[:most]
    return tuple(entry.label for entry in panel.entries if entry.label in kept)


def of_methods(table: Table, page: Page, kept: Collection[str]) -> Table:
    """A table with a row per method, in which only the methods in `kept` are left; rows after them remain."""
    labels = {entry.label for entry in page.panel.entries}
    stay = [
        place
        for place, row in enumerate(table.rows)
        if place >= len(labels) or row[0].text not in labels or row[0].text in kept
    ]
    if len(stay) == len(table.rows):
        return table
    gone = sorted(labels - set(kept))
    tied = 0 if page.panel.evidence is None else len(set(page.panel.evidence.tied_labels) & set(gone))
    ties = f", {tied} of them tied with the best," if tied else ""
    note = f"{len(gone)} of {units.plural(len(labels), 'method')}{ties} are left out here and listed in {WHOLE}."
    return replace(some_rows(table, stay), note=f"{table.note} {note}".strip())


def some_rows(table: Table, places: Sequence[int]) -> Table:
    """The rows at these places."""
    kept = list(places)
    lines = tuple(kept.index(line) for line in table.lines if line in kept)
    keys = tuple(table.keys[place] for place in kept) if table.keys else ()
    return replace(table, rows=tuple(table.rows[place] for place in kept), lines=lines, keys=keys)


def first_rows(table: Table, most: int, where: str) -> Table:
    """The first rows of a table; its note counts the others and says `where` they are."""
    if len(table.rows) <= most:
        return table
    rest = len(table.rows) - most
    note = f"{units.plural(rest, 'more row is', 'more rows are')} in {where}."
    return replace(some_rows(table, range(most)), note=f"{table.note} {note}".strip())


def mark_ties(table: Table, best: str) -> Table:
    """A table with a row per method in which bold type is left to the best, and the names of its ties are marked."""
    rows = []
    for row in table.rows:
        plain = tuple(replace(cell, strong=False) for cell in row[1:])
        rows.append(row if row[0].text == best else (_marked(row[0]), *plain))
    return replace(table, rows=tuple(rows), note=table.note.replace(BOLD, MARKED))


def mark_ties_by_panel(table: Table, best: Sequence[str]) -> Table:
    """The same for a table with a column per panel. `best`: the best method of each."""
    rows = [
        (
            row[0],
            *(cell if row[0].text == label else _score_marked(cell) for cell, label in zip(row[1:], best, strict=True)),
        )
        for row in table.rows
    ]
    return replace(table, rows=tuple(rows), note=table.note.replace(BOLD_COLUMN, MARKED_COLUMN))


def _marked(cell: Cell) -> Cell:
    return replace(cell, text=f"{cell.text} {TIED}", strong=False) if cell.strong else cell


def _score_marked(cell: Cell) -> Cell:
    """The mark follows what is in small type, so that the digits of a column stay below each other."""
    return replace(cell, minor=f"{cell.minor} {TIED}".strip(), strong=False) if cell.strong else cell


def certainty_table(page: Page, kept: Collection[str]) -> Table | None:
    """How sure the differences of some methods are, the best in bold and ties marked; None if this is not known."""
    if page.certainty is None:
        return None
    return mark_ties(of_methods(page.certainty, page, kept), best_of(page))


def best_of(page: Page) -> str:
    """The method with the highest mean, empty if differences are not known."""
    return "" if page.panel.evidence is None else page.panel.evidence.best


def score_table(page: Page, kept: Collection[str]) -> Table:
    """The scores of some methods: with a column for each task, or for many tasks the lowest, the median and the highest
    difference. The best is bold, and ties are marked."""
    panel = page.panel
    full = page.scores
    if len(panel.tasks) > MOST_TASKS:
        full = _over_tasks(page)
    elif len(panel.tasks) > SPREAD_TASKS:
        full = _without_spread(full, len(panel.tasks))
    return mark_ties(of_methods(full, page, kept), best_of(page))


def main_table(page: Page, costs: Table, kept: Collection[str]) -> Table:
    """Average, difference and costs of some methods in one table. `costs` has a row per method, as `page.scores`."""
    first = len(page.scores.columns) - 1 - len(page.panel.tasks)
    methods = len(page.panel.entries)
    rows = tuple(
        (*score[:first], *cost[1:]) for score, cost in zip(page.scores.rows[:methods], costs.rows, strict=True)
    )
    note = " ".join(filter(None, (f"Average: {SPREAD_FREE}", BOLD if best_of(page) else "", costs.note)))
    table = Table("Scores and costs", (*page.scores.columns[:first], *costs.columns[1:]), rows, note)
    return mark_ties(of_methods(table, page, kept), best_of(page))


def panel_table(pages: Sequence[Page]) -> Table:
    """A row per panel: how many methods it has, the best, and the method to start with."""
    columns = (
        Column("comparison", numeric=False),
        Column("methods"),
        Column("tasks"),
        Column("best", numeric=False),
        Column("mean", "points"),
        Column("tied", "with it"),
        Column("start with", numeric=False),
        Column("difference", "from the reference"),
        Column("trained", "parameters"),
    )
    rows = tuple(_panel_row(page) for page in pages)
    note = (
        "Best: the highest mean over the tasks. Start with: of the methods that did not collapse, are tied with the "
        f"highest mean and at most {NEAR:g} point below it, the one that trains the fewest parameters. Brackets: 95 % "
        "intervals, those of a comparison all at once. A dash: not known."
    )
    return Table("All comparisons", columns, rows, note)


def _panel_row(page: Page) -> tuple[Cell, ...]:
    panel, known = page.panel, page.panel.evidence
    amounts = (Cell(str(len(panel.entries))), Cell(str(len(panel.tasks))))
    if known is None:
        scored = [(entry.average(panel.tasks), entry) for entry in panel.worthwhile]
        means = [(mean, entry) for mean, entry in scored if mean is not None]
        top, best = max(means, key=lambda pair: pair[0], default=(None, None))
        dash = Cell(units.MISSING)
        name = Cell(best.label if best is not None else units.MISSING)
        return (Cell(page.title), *amounts, name, Cell(units.points(top)), dash, dash, dash, dash)
    mean = float(max(known.estimate.means)) / 100
    start = next((entry for entry in panel.entries if entry.label == page.answer.label), None)
    found = None if start is None else known.interval(start.label)
    trained = None if start is None or start.share is None else start.share[0]
    return (
        Cell(page.title),
        *amounts,
        Cell(known.best),
        Cell(units.points(mean)),
        Cell(str(len(known.tied_labels) - 1)),
        Cell(units.MISSING if start is None else start.label),
        Cell(units.MISSING) if found is None else Cell(units.signed(found.difference), interval_text(found)),
        Cell(units.count(trained)),
    )


def _over_tasks(page: Page) -> Table:
    """Averages over many tasks, and how the differences from the reference, or the scores, spread over the tasks."""
    panel = page.panel
    base = panel.reference if panel.relative_tasks else None
    tasks = panel.relative_tasks or panel.tasks
    against = (Column("against", base.label),) if base is not None else ()
    what = f"against {base.label}" if base is not None else "score"
    columns = (
        Column("method", numeric=False),
        Column("average", "over tasks"),
        *against,
        Column("lowest", f"{what}, task"),
        Column("median", what),
        Column("highest", f"{what}, task"),
        *((Column("higher", f"of {units.plural(len(tasks), 'task')}"),) if base is not None else ()),
    )
    width = len(page.scores.columns) - len(panel.tasks) - 1
    rows = []
    for entry, row in zip(panel.entries, page.scores.rows, strict=False):
        values = _by_task(panel, entry, tasks)
        shown: list[Cell] = []
        if entry is base or not values:
            shown = [Cell("")] * (4 if base is not None else 3)
        else:
            low, high = min(values, key=lambda task: values[task]), max(values, key=lambda task: values[task])
            middle = quantile(list(values.values()), 0.5)
            shown = [Cell(_text(values[low], base), elide(page.names[low], 18)), Cell(_text(middle, base))]
            shown.append(Cell(_text(values[high], base), elide(page.names[high], 18)))
            shown += [Cell(str(sum(value > 0 for value in values.values())))] if base is not None else []
        rows.append((*row[:width], *shown))
    note = (
        f"Scores × 100 over {len(panel.tasks)} tasks, each the mean over runs; the scores of every task are in {WHOLE}."
    )
    note += f" {BOLD}" if panel.evidence is not None else ""
    if any(interval.text and interval.minor for interval in (row[2] for row in rows if base is not None)):
        note += " Brackets: 95 % intervals, all at once."
    return Table("Scores over tasks", columns, tuple(rows), note)


def _by_task(panel: Panel, entry: Entry, tasks: Sequence[str]) -> dict[str, float]:
    """Task -> the mean difference from the reference in points, or the score × 100 without one."""
    found = {}
    for task in tasks:
        if panel.relative_tasks:
            gaps = panel.task_differences(entry, task)
            if gaps:
                found[task] = sum(gaps) / len(gaps)
        elif (center := entry.center(task)) is not None:
            found[task] = 100 * center
    return found


def _text(value: float | None, base: Entry | None) -> str:
    if value is None:
        return units.MISSING
    return units.signed(value) if base is not None else units.points(value / 100)


def _without_spread(table: Table, tasks: int) -> Table:
    """The score table without the spread between runs and without the column of runs, so that it fits the page."""
    first = len(table.columns) - 1 - tasks
    rows = tuple((*row[:first], *(replace(cell, minor="") for cell in row[first:-1])) for row in table.rows)
    note = table.note.replace(SPREAD, f"Scores × 100, means over runs; the spread between runs is in {WHOLE}.")
    return replace(table, columns=table.columns[:-1], rows=rows, note=note)
