"""The comparison as a table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from reports import measures, panels, tuning, units
from reports.checks import check
from reports.filters import select
from reports.names import shortened, shots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.records import Record
    from reports.filters import Where


def summary_table(records: Sequence[Record], where: Where = None, reference: str = "full") -> Table:
    """Method, points against the reference, mean score per task, what was trained and what it cost.

    Mistake where the records do not compare. Without ok records the table is empty and says so.
    """
    ok = [record for record in select(records, where) if record.status == "ok"]
    check(ok)
    found = panels.build(tuning.choose(ok), reference)
    tasks = sorted({task for panel in found for task in panel.tasks})
    names, backbones = shortened(tasks), shortened(panel.backbone for panel in found)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("method", overflow="fold")
    heads = [f"against {reference}", *(names[task] for task in tasks), "trained", "share", "training", "time"]
    for head in heads:
        table.add_column(Text(head), justify="right")
    for panel in found:
        if len(found) > 1:
            table.add_row(Text(f"{backbones[panel.backbone]}, {shots(panel.shots)}", style="dim"))
        for entry in panel.entries:
            table.add_row(*map(Text, _row(panel, entry, tasks)), end_section=entry is panel.entries[-1])
    if not ok:
        table.caption = "no cell has a score yet"
    elif any(panel.uneven for panel in found):
        why = next(panel.uneven for panel in found if panel.uneven)
        table.caption = Text(f"times that do not compare are left out: {why}")
    return table


def _row(panel: panels.Panel, entry: panels.Entry, tasks: list[str]) -> list[str]:
    trained = measures.PARAMETERS.of(panel, entry)
    return [
        entry.label,
        units.signed(panel.difference(entry)),
        *(_score(entry, task) for task in tasks),
        units.count(trained),
        units.percent(trained, entry.median(lambda record: record.backbone_params)),
        units.si(measures.TRAIN_FLOPS.of(panel, entry), "FLOP"),
        units.seconds(measures.TRAIN_SECONDS.of(panel, entry)),
    ]


def _score(entry: panels.Entry, task: str) -> str:
    spread = entry.spread(task)
    return units.points(entry.mean(task)) + ("" if spread is None else f" ± {100 * spread:.1f}")
