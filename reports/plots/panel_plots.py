"""The plots of a panel with their texts, and SVG prepared for a page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tunefront.reports.compare import measures
from tunefront.reports.compare.checks import group_by
from tunefront.reports.compare.collapse import MARK
from tunefront.reports.plots import breakdowns, ranks, style, tradeoff
from tunefront.reports.plots.axes import describe_height, height_title
from tunefront.reports.plots.picture import Picture, save
from tunefront.reports.plots.ticks import tick_label
from tunefront.reports.sections.certainty import describe_bars
from tunefront.reports.sections.document import shown_costs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunefront.reports.sections.document import Page

__all__ = ["Picture", "inline", "pictures", "save"]

WIDE, SMALL = (7.4, 4.7), (4.1, 3.3)
"""Sizes in inches: the trade-off plot, and a small plot."""
CROWDED = 14
"""With more entries than this, the cost plots are as wide as the trade-off plot."""


def pictures(page: Page, narrow: bool = True, costs: bool = True, ledgers: bool = True) -> list[Picture]:
    """The trade-off plot of a panel and, if asked for, its cost plots and the plots of its ledgers, without empty
    ones."""
    drawn = []
    for cost in (measures.PARAMETERS, *(shown_costs(page.panel) if costs else ())):
        main = cost is measures.PARAMETERS
        wide = main or len(page.panel.entries) > CROWDED
        drawing = tradeoff.draw(page.panel, cost, *((WIDE, 9.0) if wide else (SMALL, 8.5)))
        if not drawing.points:
            continue
        note = " ".join(filter(None, (_explain_tradeoff(page) if main else "", _name_missing(drawing.absent))))
        name = f"{page.tag}-{'tradeoff' if main else cost.field.replace('.', '-')}"
        drawn.append(Picture(name, cost.title, _alt(page, cost, drawing), note, drawing.figure, None, wide, main=main))
    return drawn + ranks.pictures(page, narrow) + (breakdowns.pictures(page, narrow) if ledgers else [])


def inline(svg: bytes, prefix: str) -> str:
    """An SVG as part of a page: unique ids, no fixed size, colours that follow the page's light or dark scheme."""
    text = svg.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'href="#', f'href="#{prefix}-', text).replace("url(#", f"url(#{prefix}-")
    for colour, name in COLOURS.items():
        text = re.sub(rf": {colour}\b", f": var(--{name})", text, flags=re.IGNORECASE)
    text = re.sub(r">\s+<", "><", text)
    return text.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)


COLOURS = {
    style.INK: "ink",
    style.SOFT: "soft",
    style.RULE: "rule",
    style.PAPER: "paper",
    **{colour: f"c{i}" for i, colour in enumerate(style.FAMILIES)},
}
"""Colours of the plots and their names in the page's style sheet."""


def _explain_tradeoff(page: Page) -> str:
    """How to read the trade-off plot."""
    text = (
        f"Score against trained parameters per task on {page.title}. {describe_height(page.panel, page.reference)} "
        f"{describe_bars(page.panel)}"
    )
    text += " Upper scale: percent of the backbone's parameters." if page.panel.backbone_params else ""
    collapsed = len(page.panel.worthwhile) < len(page.panel.entries)
    return text + (f" {MARK} At least half of the runs collapsed." if collapsed else "")


def _name_missing(absent: Sequence[tuple[str, str]]) -> str:
    """The methods that are missing in a plot, by reason.

    >>> _name_missing([("ia3", "not measured"), ("full", "no score"), ("bitfit", "not measured")])
    'Not plotted: ia3, bitfit (not measured); full (no score).'
    """
    groups = group_by(absent, lambda pair: pair[1])
    listed = [f"{', '.join(label for label, _ in pairs)} ({why})" for why, pairs in groups.items()]
    return f"Not plotted: {'; '.join(listed)}." if listed else ""


def _alt(page: Page, cost: measures.Cost, drawing: tradeoff.Drawing) -> str:
    """A description of the plot, point by point."""
    against = height_title(page.panel)
    values = [f"{p.entry.label} {p.y:.1f} at {tick_label(p.x, cost.unit)}" for p in drawing.points]
    return f"{against} against {cost.name} on {page.title}: {'; '.join(values)}."
