"""The cells of a run beside the papers that their suites repeat; light where there is none."""

from __future__ import annotations

from collections.abc import Callable

from tunefront.bench.cells import Cell
from tunefront.bench.papers.reading import paper_data


def compared(
    cells: tuple[Cell, ...], tell: Callable[[str], None] = lambda _: None
) -> tuple[tuple[Cell, ...], list[str]]:
    """The cells, those of a suite that repeats a paper with their differences from it, and the lines that announce
    them. `tell` hears that it takes a moment. Errors: Mistake for a paper that is not there."""
    papers = {cell.paper for cell in cells if cell.paper is not None}
    if not papers:
        return cells, []
    for paper in papers:
        paper_data(paper)
    tell("comparing with the paper")
    from tunefront.bench.papers.conformance.announce import announced
    from tunefront.bench.papers.conformance.check import compare

    found = compare(cells)
    return found, announced(found)
