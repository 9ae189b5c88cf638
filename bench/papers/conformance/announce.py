"""What is said of the differences from a paper before anything runs."""

from __future__ import annotations

from collections.abc import Iterable

from tunefront.bench.cells import Cell
from tunefront.bench.execution.identity import label_of
from tunefront.bench.papers.reading import title_of
from tunefront.bench.records.deviations import Compared, grouped


def announced(cells: Iterable[Cell]) -> list[str]:
    """For each paper a line that says how many differences there are, and a line for those of the same methods."""
    labels: dict[object, str] = {}
    found = []
    for cell in cells:
        if cell.method not in labels:
            labels[cell.method] = label_of(cell.method)
        found.append(Compared(cell.paper, labels[cell.method], cell.task, cell.deviations))
    lines = []
    for paper, groups in grouped(found).items():
        amount = sum(len(group.deviations) for group in groups)
        if not amount:
            lines.append(f"{title_of(paper)}: no difference was found between this run and what the paper's code does.")
            continue
        count = "a difference" if amount == 1 else f"{amount} differences"
        lines.append(
            f"{title_of(paper)}: {count} between this run and what the paper's code does, kept in the records and "
            "listed in the report."
        )
        lines += [f"{group.subject}: {'; '.join(group.deviations)}." for group in groups]
    return lines
