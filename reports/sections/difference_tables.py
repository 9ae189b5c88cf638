"""The tables of a difference: methods, checkpoints, costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare.checks import group_by
from tunefront.reports.compare.difference.pairs import Lost
from tunefront.reports.names import describe_shots, natural_key, short_names
from tunefront.reports.tables import Cell, Column, Table

if TYPE_CHECKING:
    from tunefront.reports.compare.difference.checkpoints import Checkpoint
    from tunefront.reports.compare.difference.costs import CostChange
    from tunefront.reports.compare.difference.diff import Difference
    from tunefront.reports.compare.difference.methods import MethodChange

VERDICTS = {
    "worse": "worse",
    "tolerated": "tolerated",
    "better": "better",
    "no change seen": "no change seen",
    "same": "the same",
    "too few runs": "too few runs",
}
"""The verdicts in words, the most important ones first."""
MOST_ROWS = 20
"""The most checkpoints in a table: of more, only those that differ."""


def method_tables(known: Difference) -> list[Table]:
    """The methods of every backbone, number of shots and metric, the worst first."""
    order = list(VERDICTS)
    groups = group_by(known.methods, lambda one: (one.backbone, one.shots, one.metric))
    return [
        _method_table(
            sorted(group, key=lambda one: (order.index(one.verdict), natural_key(one.label))),
            known,
        )
        for group in groups.values()
    ]


def _method_table(group: Sequence[MethodChange], known: Difference) -> Table:
    first = group[0]
    several = len({one.tasks for one in group}) > 1
    over = "" if several else f", mean over {units.plural(len(first.tasks), 'task')}"
    where = f"{short_names(one.backbone for one in known.methods)[first.backbone]}, {describe_shots(first.shots)}"
    columns = [Column("method", numeric=False), Column("old"), Column("new"), Column("change", "95 % interval")]
    columns += [Column("tasks")] if several else []
    rows = []
    for one in group:
        cells = [Cell(one.label), Cell(f"{one.old:.1f}", title=f"{one.old:.6g}"), Cell(f"{one.new:.1f}")]
        cells.append(Cell(units.signed(one.change), interval_text(one), f"{one.change:.6g}"))
        cells += [Cell(str(len(one.tasks)))] if several else []
        rows.append((*cells, Cell(VERDICTS[one.verdict], strong=one.verdict in ("worse", "better"))))
    caption = f"{where}: {first.metric} × 100{over}"
    return Table(caption, (*columns, Column("", numeric=False)), tuple(rows))


def checkpoint_table(checkpoints: Sequence[Checkpoint], names: dict[str, str]) -> Table:
    """The pairs of checkpoints, the worst first; of many, only those that differ. `names`: the tasks' short names."""
    order = list(VERDICTS)
    shown = sorted(
        checkpoints, key=lambda one: (order.index(one.verdict), *map(natural_key, (one.label, one.task, one.run)))
    )
    if len(shown) > MOST_ROWS:
        shown = [one for one in shown if one.verdict in ("worse", "tolerated", "better")]
    columns = [Column("method", numeric=False), Column("task", numeric=False), Column("run", numeric=False)]
    columns += [Column("change", "95 % interval"), Column("p", "McNemar"), Column("", numeric=False)]
    rows = [
        (
            Cell(one.label),
            Cell(names[one.task]),
            Cell(one.run),
            Cell(units.signed(one.change), interval_text(one), f"{one.change:.6g}"),
            Cell(f"{one.p:.2g}"),
            Cell(VERDICTS[one.verdict], strong=one.verdict in ("worse", "better")),
        )
        for one in shown
    ]
    left = len(checkpoints) - len(shown)
    note = "Intervals and p hold for all of these checkpoints at once (Holm)."
    if left:
        beyond = f"{units.plural(left, 'checkpoint')} without a change beyond chance"
        note = f"{beyond} {'is' if left == 1 else 'are'} left out. {note}"
    return Table("Checkpoints, accuracy × 100", tuple(columns), tuple(rows), note, leading=3)


def cost_table(known: Difference) -> Table:
    """The costs that changed."""
    columns = [Column("method", numeric=False), Column("cost", numeric=False), Column("old"), Column("new")]
    rows = [
        (
            Cell(f"{one.label}{describe_place(one, known)}"),
            Cell(one.cost, "(varies)" if one.noisy else ""),
            *(Cell(_amount(one, value), title=units.exact(value, one.unit)) for value in (one.old, one.new)),
            Cell(_relative(one)),
        )
        for one in known.costs
    ]
    return Table(
        "Costs that changed", (*columns, Column("change")), tuple(rows), "They never count as a regression.", leading=2
    )


def describe_place(one: MethodChange | CostChange | Lost, known: Difference) -> str:
    """The backbone and the number of training rows in words, where there are several; else an empty text."""
    places = [(other.backbone, other.shots) for other in known.methods]
    if len(set(places)) < 2:
        return ""
    backbone, shots = one.place if isinstance(one, Lost) else (one.backbone, one.shots)
    names = short_names([*(name for name, _ in places), backbone])
    return f" ({names[backbone]}, {describe_shots(shots)})"


def interval_text(one: MethodChange | Checkpoint) -> str:
    """The ends of an interval in points; empty without one."""
    if one.low is None or one.high is None:
        return ""
    return f"[{units.signed(one.low)}, {units.signed(one.high)}]"


def _amount(one: CostChange, value: float) -> str:
    if one.unit == "s":
        return units.seconds(value)
    return units.si(value, one.unit) if one.unit else units.count(value)


def _relative(one: CostChange) -> str:
    if one.ratio is None:
        return units.MISSING
    change = 100 * (one.ratio - 1)
    return f"{units.signed(change)} %" if abs(change) < 1000 else units.times(one.ratio)
