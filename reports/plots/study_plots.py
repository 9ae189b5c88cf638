"""The plots of the studies: heat maps, and lines with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.reports.plots import curves, heat_maps, style
from tunefront.reports.plots.curves import Curve, Titles
from tunefront.reports.plots.picture import Picture
from tunefront.reports.sections.studies.study import HeatMap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tunefront.reports.sections.studies.study import Chart, Study

WIDE, NARROW, TALL = 7.4, 4.1, 4.2
"""Widths of a plot on a large screen and on a phone, and the least height of a chart, in inches."""
FONT = 9.0


def pictures(study: Study, narrow: bool = True) -> list[Picture]:
    """The plots of a study in order; `narrow`: including those for small screens."""
    return [
        Picture(
            f"study-{study.tag}-{figure.name}",
            figure.title,
            figure.alt,
            figure.note,
            _draw(figure, NARROW if figure.small else WIDE),
            _draw(figure, NARROW) if narrow and not figure.small else None,
            not figure.small,
            study.tag,
        )
        for figure in study.figures
    ]


def _draw(figure: HeatMap | Chart, width: float) -> Figure:
    if isinstance(figure, HeatMap):
        return heat_maps.draw(figure, width, FONT)
    drawn = []
    styles = style.styles_of([line.label for line in figure.lines])
    for line, (colour, marker) in zip(figure.lines, styles, strict=True):
        points = tuple((point.x, point.y) for point in line.points)
        bars = tuple(
            (point.x, point.low, point.high)
            for point in line.points
            if point.low is not None and point.high is not None
        )
        drawn.append(Curve(line.label, colour, points, line.dashed, marker, bars))
    return curves.draw(
        drawn, Titles(figure.across, figure.up, figure.unit, scores=True, steps=figure.steps), (width, TALL), FONT
    )
