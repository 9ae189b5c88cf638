"""Announces the differences from a paper before anything runs."""

from __future__ import annotations

from collections.abc import Iterable

from tunefront.bench.cells import Cell
from tunefront.bench.execution.identity import label_of
from tunefront.bench.papers.reading import title_of
from tunefront.bench.records.deviations import Compared, grouped


def announce_differences(cells: Iterable[Cell]) -> list[str]:
    """Per paper, one line with the number of differences, and one line per group of methods with the same ones."""
    labels: dict[object, str] = {}
    compared = []
    for cell in cells:
        if cell.method not in labels:
            labels[cell.method] = label_of(cell.method)
        compared.append(Compared(cell.paper, labels[cell.method], cell.task, cell.deviations))
    lines = []
    for paper, groups in grouped(compared).items():
        amount = sum(len(group.deviations) for group in groups)
        if not amount:
            lines.append(f"{title_of(paper)}: no difference found between this run and the paper's code.")
            continue
        count = "a difference" if amount == 1 else f"{amount} differences"
        lines.append(
            f"{title_of(paper)}: {count} between this run and the paper's code, kept in the records and listed "
            "in the report."
        )
        lines += [f"{group.subject}: {'; '.join(group.deviations)}." for group in groups]
    return lines
