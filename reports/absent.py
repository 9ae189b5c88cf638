"""What did not run, and why."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from reports.checks import grouped
from reports.tables import Cell, Column, Table
from reports.units import MISSING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.records import Record

ROW = re.compile(r"\brow ('[^']*')")
"""How a reason names the row of the task that it stumbled on."""
FEW = 3


def absent(records: Sequence[Record], names: Mapping[str, str], backbones: Mapping[str, str]) -> Table:
    """Cells that were skipped or failed; the same reason on the same task once, with the methods, backbones and rows
    that it concerns."""
    columns = (
        Column("status", numeric=False),
        Column("method", numeric=False),
        Column("backbone", numeric=False),
        Column("task", numeric=False),
        Column("cells"),
        Column("reason", numeric=False),
    )
    groups = grouped(records, lambda r: (r.status, r.task, ROW.sub("row", r.reason or MISSING)))
    rows = []
    for (status, task, _), alike in sorted(groups.items(), key=lambda item: str(item[0])):
        methods = "; ".join(sorted({record.label for record in alike}))
        models = "; ".join(sorted({backbones[record.backbone] for record in alike}))
        cells = (status, methods, models, names[task], str(len(alike)), _reason(alike))
        rows.append(tuple(Cell(text) for text in cells))
    return Table("Skipped and failed cells", columns, tuple(rows))


def _reason(alike: Sequence[Record]) -> str:
    """The reason, with the first few of the rows that it names.

    >>> ROW.sub(lambda _: "rows '1', '2'", "row '1': it writes no prompt")
    "rows '1', '2': it writes no prompt"
    """
    reason = min(record.reason or MISSING for record in alike)
    found = sorted({name for record in alike for name in ROW.findall(record.reason or "")})
    if len(found) < 2:
        return reason
    listed = ", ".join(found[:FEW]) + (f" and {len(found) - FEW} more" if len(found) > FEW else "")
    return ROW.sub(lambda _: f"rows {listed}", reason, count=1)
