"""Compares the cells of a run with the papers that their suites repeat; imports little if there is none."""

from __future__ import annotations

from collections.abc import Callable

from tunefront.bench.cells import Cell
from tunefront.bench.papers.reading import paper_data


def compared(
    cells: tuple[Cell, ...], on_status: Callable[[str], None] = lambda _: None
) -> tuple[tuple[Cell, ...], list[str]]:
    """(the cells, with their differences from the paper that their suite repeats; the lines that announce these).

    `on_status` receives a status text before a slow step. Errors: UserError for an unknown paper.
    """
    papers = {cell.paper for cell in cells if cell.paper is not None}
    if not papers:
        return cells, []
    for paper in papers:
        paper_data(paper)
    on_status("comparing with the paper")
    from tunefront.bench.papers.conformance.announce import announce_differences
    from tunefront.bench.papers.conformance.check import compare

    cells = compare(cells)
    return cells, announce_differences(cells)
