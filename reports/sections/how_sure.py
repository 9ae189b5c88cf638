"""Mean, intervals and chances of every method as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.sections.certainty_words import BOLD, about, interval_text, probability
from tunefront.reports.tables import Cell, Column, Table, anchor

if TYPE_CHECKING:
    from tunefront.reports.compare.evidence import Evidence
    from tunefront.reports.compare.panels import Panel
    from tunefront.reports.compare.uncertainty.contrasts import Interval


def certainty_table(panel: Panel, index: int) -> Table | None:
    """Mean, differences with intervals, and chances of every method that is compared; None without evidence."""
    known = panel.evidence
    if known is None:
        return None
    chances = known.chances if not known.estimate.checkpoints_only else None
    shown = chances is not None and chances.best is not None
    columns = [Column("method", numeric=False), Column("mean", f"over {units.plural(len(known.tasks), 'task')}")]
    columns += [Column("against the best", known.best), Column("95 % interval", "all pairs at once")]
    if known.ranks is not None:
        columns.append(Column("rank", "mean over tasks"))
    if shown:
        columns += [Column("P(best)"), Column("P(front)"), Column("rank", "expected"), Column("regret", "points")]
    rows = []
    places = sorted(range(len(known.labels)), key=lambda place: -known.estimate.means[place])
    for place in places:
        label = known.labels[place]
        e = next(number for number, entry in enumerate(panel.entries) if entry.label == label)
        link, tied = anchor(index, e), place in known.tied.tied
        mean = float(known.estimate.means[place])
        cells = [Cell(label, strong=tied), Cell(units.points(mean / 100), title=f"{mean:.6g}", link=link, strong=tied)]
        cells += _difference(known.behind[place])
        cells += [] if known.ranks is None else [Cell(f"{known.ranks.mean[place]:.1f}")]
        if shown and chances is not None and chances.best is not None:
            assert chances.rank is not None
            assert chances.regret is not None
            front = None if chances.front is None else float(chances.front[place])
            cells += [Cell(probability(float(chances.best[place]))), Cell(probability(front))]
            cells += [Cell(f"{chances.rank[place]:.1f}"), Cell(f"{chances.regret[place]:.1f}")]
        rows.append(tuple(cells))
    return Table("How sure", tuple(columns), tuple(rows), _note(known, shown))


def _difference(found: Interval | None) -> list[Cell]:
    if found is None:
        return [Cell("0.0"), Cell("")]
    return [Cell(units.signed(found.difference), title=f"{found.difference:.6g}"), Cell(interval_text(found))]


def _note(known: Evidence, chances: bool) -> str:
    note = f"Points. The intervals are about {about(known)}. {BOLD}"
    if chances:
        note += (
            " P(best): probability of the highest mean; P(front): that no method with at most as many trained "
            "parameters is at least as good; regret: expected distance from the best."
        )
    elif not known.estimate.checkpoints_only:
        missing = known.chances.missing_runs
        note += f" Chances of being the best need {units.plural(missing, 'more run')} on every task."
    return note
