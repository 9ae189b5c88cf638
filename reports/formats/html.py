"""The report as one self-contained HTML file: inline styles and plots, no requests, all text escaped."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files
from typing import TYPE_CHECKING

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from tunefront.reports.plots.panel_plots import inline, save
from tunefront.reports.sections.papers import HEADING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunefront.reports.plots.picture import Picture
    from tunefront.reports.sections.document import Report

SCRIPT = (
    "function reveal(){var e=document.getElementById(location.hash.slice(1));if(!e)return;"
    "var d=e.closest('details');if(d){d.open=true;e.scrollIntoView({block:'start'})}}"
    "addEventListener('hashchange',reveal);reveal();"
)
"""Opens the list of records that a number links to. Without scripts, the browser or the reader opens it."""


def render(report: Report, drawn: Sequence[Sequence[Picture]], studied: Sequence[Sequence[Picture]] = ()) -> str:
    """The page. `drawn` are the pictures of each panel, `studied` those of each study, in order."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["breakable"] = _breakable
    template = environment.from_string(files(__package__).joinpath("report.html.jinja").read_text("utf-8"))
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    return template.render(
        report=report,
        pictures=[[_drawn(picture, f"p{i}-{j}") for j, picture in enumerate(page)] for i, page in enumerate(drawn)],
        studied=[[_drawn(picture, f"s{i}-{j}") for j, picture in enumerate(study)] for i, study in enumerate(studied)],
        css=Markup(files(__package__).joinpath("report.css").read_text("utf-8")),  # part of this package
        script=Markup(SCRIPT),
        papers_heading=HEADING,
        script_hash=f"sha256-{digest}",
    )


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
