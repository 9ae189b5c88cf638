"""Peak memory over the sizes of a sweep, as tables and curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.sections.forecast import planned_by_title, row_names
from tunefront.reports.tables import Cell, Column, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

    from tunefront.bench.records import Record


def sweep_tables(sweep: Mapping[int, Sequence[Record]], name: str) -> list[Table]:
    """The peak of each method at each size, one table per backbone and task; a dash if it was skipped."""
    tables = []
    for title, peaks in _swept(sweep, name).items():
        methods = list(dict.fromkeys(method for peak_by_method in peaks.values() for method in peak_by_method))
        rows = tuple(
            (Cell(units.count(size)), *(Cell(units.si(peak_by_method.get(method), "B")) for method in methods))
            for size, peak_by_method in peaks.items()
        )
        columns = (Column(name, numeric=False), *(Column(method) for method in methods))
        note = "The peak of all tensors over all phases."
        tables.append(Table(f"Peak memory over {name}: {title}", columns, rows, note))
    return tables


def sweep_figures(sweep: Mapping[int, Sequence[Record]], name: str) -> dict[str, Figure]:
    """The same as curves in a report's colours, one plot per backbone and task; none for a single size."""
    from tunefront.reports.plots import curves
    from tunefront.reports.plots.style import styles_of

    across = {"batch": "rows per batch", "length": "tokens per row"}
    figures = {}
    for title, peaks in _swept(sweep, name).items():
        methods = list(dict.fromkeys(method for peak_by_method in peaks.values() for method in peak_by_method))
        drawn = []
        for method, (colour, marker) in zip(methods, styles_of(methods), strict=True):
            points = tuple(
                (float(size), float(peak))
                for size, peak_by_method in peaks.items()
                if (peak := peak_by_method.get(method))
            )
            drawn += [curves.Curve(method, colour, points, marker=marker)] if points else []
        if any(len(curve.points) > 1 for curve in drawn):
            figures[title] = curves.draw(
                drawn, curves.Titles(across[name], "peak memory of tensors", "B"), (7.4, 4.2), 8.5
            )
    return figures


def _swept(sweep: Mapping[int, Sequence[Record]], name: str) -> dict[str, dict[int, dict[str, int | None]]]:
    """Title of the table -> size -> method -> its peak, with sizes in order.

    The task's name contains the length of synthetic rows, so a sweep over `length` ignores the task.
    """
    by_size = {size: planned_by_title(records, with_task=name != "length") for size, records in sorted(sweep.items())}
    return {
        title: {size: _peaks(by_title.get(title, [])) for size, by_title in by_size.items()}
        for title in dict.fromkeys(title for by_title in by_size.values() for title in by_title)
    }


def _peaks(records: Sequence[Record]) -> dict[str, int | None]:
    names = row_names(records)
    return {names[record.key]: record.peak_memory_bytes for record in records if record.key in names}
