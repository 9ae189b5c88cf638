"""The report as one self-contained HTML file: inline styles, scripts and plots, no requests, all text escaped."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from tunefront.reports.formats.page_data import page_data
from tunefront.reports.formats.scripts import scripts, sources
from tunefront.reports.plots.panel_plots import inline, save
from tunefront.reports.sections.papers import HEADING
from tunefront.reports.units import MISSING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tunefront.reports.plots.picture import Picture
    from tunefront.reports.sections.document import Report
    from tunefront.reports.tables import Cell

FEW = 500
"""Up to this number of records, the page also has lists of them for browsers without scripts."""


def render(report: Report, drawn: Sequence[Sequence[Picture]], studied: Sequence[Sequence[Picture]] = ()) -> str:
    """The page. `drawn` are the pictures of each panel, `studied` those of each study, in order."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    data = page_data(report)
    environment.filters["breakable"] = _breakable
    environment.globals["link_of"] = lambda row, place, numeric, keys: link_of(row, place, numeric, keys, data.rows)
    environment.globals["shade_of"] = _shade
    environment.globals["order_of"] = _order
    template = environment.from_string(files(__package__).joinpath("report.html.jinja").read_text("utf-8"))
    return template.render(
        report=report,
        pictures=[[_drawn(picture, f"p{i}-{j}") for j, picture in enumerate(page)] for i, page in enumerate(drawn)],
        studied=[[_drawn(picture, f"s{i}-{j}") for j, picture in enumerate(study)] for i, study in enumerate(studied)],
        css=Markup(files(__package__).joinpath("report.css").read_text("utf-8")),  # part of this package
        data=Markup(data.text),  # JSON without `<`
        scripts=[(Markup(script.text), script.hash) for script in scripts()],  # of installed packages, and our own
        sources=sources(),
        papers_heading=HEADING,
        few=FEW,
    )


def link_of(row: Sequence[Cell], place: int, numeric: bool, keys: Sequence[str], rows: Mapping[str, int]) -> str:
    """What a number, or an interval, links to: its own records, or those of the row if all of its links are the same,
    or else `keys`, the records behind the row."""
    cell = row[place]
    if cell.link or (not cell.keys and (place == 0 or not numeric or cell.text in ("", MISSING))):
        return cell.link
    others = {other.link for other in row if other.link}
    if len(others) == 1 and not cell.keys:
        return others.pop()
    places = [str(rows[key]) for key in cell.keys or keys if key in rows]
    return f"rows-{'.'.join(places)}" if places else ""


def _order(cell: Cell) -> str:
    """The number that a cell is sorted by; a missing one is below all others."""
    return "" if cell.number is None else str(cell.number)


def _shade(cell: Cell, darkest: float) -> str:
    """The style of a cell that a difference colours."""
    return f"--share: {100 * abs(cell.shade or 0.0) / darkest:.0f}%"


def _breakable(text: str) -> Markup:
    """Escaped text that may wrap after punctuation inside a long name."""
    return Markup("<wbr>").join(re.split(r"(?<=[:/,=])(?=\S)", text))


def _drawn(picture: Picture, prefix: str) -> dict[str, str | Markup | bool]:
    """A picture with its plots as markup. matplotlib writes text as paths, so they contain no names."""
    narrow = Markup(inline(save(picture.narrow, "svg"), f"{prefix}n")) if picture.narrow is not None else ""
    svg = Markup(inline(picture.svg, prefix))
    return {
        "title": picture.title,
        "alt": picture.alt,
        "note": picture.note,
        "svg": svg,
        "narrow": narrow,
        "wide": picture.wide,
        "main": picture.main,
        "ledger": picture.ledger,
    }
