"""The report as a PDF of a few pages, typeset by Typst with its own fonts. Texts are passed as data, so they cannot
become markup."""

from __future__ import annotations

from bisect import bisect_left
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import typst

from tunefront.reports.formats.paper import paper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunefront.reports.formats.paper import Paper
    from tunefront.reports.plots.picture import Picture
    from tunefront.reports.sections.document import Report

MOST_PAGES = 10
"""The most pages: of several levels of detail, the first that fits is printed."""


def render(report: Report, drawn: Sequence[Sequence[Picture]], studied: Sequence[Sequence[Picture]] = ()) -> bytes:
    """The PDF. `drawn` are the pictures of each panel, `studied` those of each study, in order."""
    return typeset(content(report, drawn, studied))


def content(report: Report, drawn: Sequence[Sequence[Picture]], studied: Sequence[Sequence[Picture]] = ()) -> Paper:
    """All texts, tables and plots of the PDF, at every level of detail."""
    return paper(report, drawn, studied)


def typeset(paper: Paper) -> bytes:
    """The PDF of a report's `content`. Typst leaves the interpreter to other threads meanwhile."""
    pdf: bytes = typst.compile(_template(), sys_inputs=choose(paper))
    return pdf


def choose(paper: Paper) -> dict[str, str]:
    """What is printed: the most detailed paper of at most `MOST_PAGES` pages, else the least detailed. The appendix of
    a paper that would fill one page has a page of its own."""
    template = _template()
    inputs = [{"report": detail, "plots": paper.plots, "appendix": "follows"} for detail in paper.details]
    pages = cache(lambda place: count_pages(template, inputs[place]))
    chosen = bisect_left(range(len(inputs) - 1), True, key=lambda place: pages(place) <= MOST_PAGES)
    return inputs[chosen] | ({"appendix": "apart"} if pages(chosen) == 1 else {})


def count_pages(template: bytes, inputs: dict[str, str]) -> int:
    """The number of pages, without writing a PDF."""
    return int(typst.query(template, "<pages>", field="value", one=True, sys_inputs=inputs))


def _template() -> bytes:
    return files(__package__).joinpath("report.typ").read_bytes()
