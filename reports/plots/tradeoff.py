"""The trade-off plot (Houlsby et al. 2019, figure 1) and the plots of other costs, one panel each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tunefront.reports.compare.collapse import MARK
from tunefront.reports.compare.entries import Entry
from tunefront.reports.compare.measures import PARAMETERS, Cost
from tunefront.reports.compare.panels import Panel
from tunefront.reports.plots.axes import coordinates, scale_of, short
from tunefront.reports.plots.labels import Box, place
from tunefront.reports.plots.picture import Point
from tunefront.reports.plots.style import INK, PAPER, SOFT, plot_settings, style_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tunefront.reports.plots.axes import Scale

GROWTH = (1.0, 1.25, 1.55, 1.9, 2.3, 2.8)
"""Heights that are tried, relative to the requested height."""


@dataclass(frozen=True)
class Drawing:
    """A figure with its points, the boxes of their labels, and the missing entries, each with a reason."""

    figure: Figure
    points: tuple[Point, ...]
    boxes: tuple[Box, ...]
    clashes: int
    absent: tuple[tuple[str, str], ...]


def points_of(panel: Panel, cost: Cost) -> tuple[list[Point], list[tuple[str, str]]]:
    """The points of a plot, and the labels of missing entries, each with a reason."""
    points, absent = [], []
    for entry in panel.entries:
        height, x = panel.height(entry), cost.median(panel, entry)
        if height is None:
            absent.append((entry.label, _unscored(panel, entry)))
        elif x is None:
            absent.append((entry.label, cost.why_missing(entry)))
        else:
            low = height.value if height.low is None else height.low
            high = height.value if height.high is None else height.high
            points.append(Point(entry, x, height.value, low, high, panel.covers(entry)))
    return points, absent


def _unscored(panel: Panel, entry: Entry) -> str:
    if panel.reference is None or not any(entry.scores(task) for task in panel.tasks):
        return "no score"
    return f"no score to compare with {panel.reference.label}"


def draw(panel: Panel, cost: Cost = PARAMETERS, size: tuple[float, float] = (7.4, 4.7), font: float = 9.0) -> Drawing:
    """Draws one plot. Its height grows until every label has a place. Size in inches, font in points."""
    points, absent = points_of(panel, cost)
    styles, span = family_styles(panel), scale_of(points, cost)
    for growth in GROWTH[_start(points, size, font) :]:
        figure = Figure((size[0], size[1] * growth), dpi=72)
        canvas = FigureCanvasAgg(figure)
        with plot_settings():
            axes = coordinates(figure, panel, cost, points, font)
            _marks(axes, points, styles, span, panel.reference)
            boxes, clashes = _labels(axes, canvas, panel, points, span, font)
        if not clashes:
            break
    return Drawing(figure, tuple(points), tuple(boxes), clashes, tuple(absent))


def _start(points: list[Point], size: tuple[float, float], font: float) -> int:
    """The first growth for which the labels cover at most a fifth of the page, to skip hopeless layouts."""
    area = sum(0.6 * font * (len(short(point.entry.label)) + 2) * 1.6 * font for point in points)
    page = size[0] * size[1] * 72 * 72
    return next((i for i, growth in enumerate(GROWTH[:-1]) if area <= 0.2 * page * growth), len(GROWTH) - 1)


def family_styles(panel: Panel) -> dict[str, tuple[str, str]]:
    """Colour and marker of every family."""
    return {entry.family: style_of(entry.family) for entry in panel.entries}


def _marks(
    axes: Axes, points: list[Point], styles: dict[str, tuple[str, str]], span: Scale, base: Entry | None
) -> None:
    if base is not None and any(point.entry is base for point in points):
        axes.axhline(0, color=SOFT, linewidth=0.9, zorder=1)
    for name, (colour, _) in styles.items():
        family_points = (p for p in points if p.entry.family == name and p.entry is not base)
        line = sorted((p.x, p.y) for p in family_points if p.x > 0 or span.edge is None)
        if len(line) > 1:
            axes.plot(*zip(*line, strict=True), color=colour, linewidth=1.1, alpha=0.55, zorder=2)
    for point, x in zip(points, span.places([point.x for point in points]), strict=True):
        colour, marker = styles[point.entry.family]
        axes.plot([x, x], [point.low, point.high], color=colour, linewidth=1.3, solid_capstyle="butt", zorder=3)
        fill = colour if point.whole else PAPER
        axes.plot([x], [point.y], marker, color=colour, markerfacecolor=fill, markersize=6.2, zorder=4)


WIDE = 0.33
"""A label wider than this share of a plot is set in two lines."""


def in_two_lines(name: str) -> str:
    """A method's label, broken after the colon or comma nearest to its middle.

    >>> in_two_lines("said:dimension=2000,variant=outer")
    'said:dimension=2000,\\nvariant=outer'
    >>> in_two_lines("parallel_adapter")
    'parallel_adapter'
    """
    breaks = [place + 1 for place, letter in enumerate(name) if letter in ":," and place + 1 < len(name)]
    if not breaks:
        return name
    place = min(breaks, key=lambda at: abs(at - len(name) / 2))
    return f"{name[:place]}\n{name[place:].lstrip()}"


def _labels(
    axes: Axes, canvas: FigureCanvasAgg, panel: Panel, points: list[Point], span: Scale, font: float
) -> tuple[list[Box], int]:
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
    frame = axes.get_window_extent()

    def size(name: str) -> tuple[float, float]:
        text = axes.text(0.5, 0.5, name, fontsize=font, transform=axes.transAxes, parse_math=False)
        extent = text.get_window_extent(renderer)
        text.remove()
        return extent.width + 1, extent.height + 1

    names = [short(point.entry.label) + (MARK if point.entry.collapsed.mostly else "") for point in points]
    names = [in_two_lines(name) if size(name)[0] > WIDE * frame.width else name for name in names]
    sizes = [size(name) for name in names]
    places = span.places([point.x for point in points])
    ends = [
        [tuple(axes.transData.transform((place, y))) for y in (point.y, point.low, point.high)]
        for point, place in zip(points, places, strict=True)
    ]
    middles = [(float(middle[0]), float(middle[1])) for middle, _, _ in ends]
    bars = [Box(low[0] - 1, low[1], high[0] + 1, high[1]) for _, low, high in ends]
    if panel.reference is not None:
        level = float(axes.transData.transform((span.low, 0.0))[1])
        bars.append(Box(frame.x0, level - 1, frame.x1, level + 1))
    bounds = Box(frame.x0 + 2, frame.y0 + 2, frame.x1 + 1.5 * font, frame.y1 - 1)
    boxes, clashes = place(middles, sizes, bounds, bars)
    for point, across, name, (x, y), box in zip(points, places, names, middles, boxes, strict=True):
        near = box.nearest(x, y)
        if abs(near[0] - x) + abs(near[1] - y) > 13:
            _leader(axes, (x, y), near)
        axes.annotate(
            name,
            (across, point.y),
            xytext=(box.left - x + 0.5, (box.bottom + box.top) / 2 - y),
            textcoords="offset points",
            va="center",
            ha="left",
            fontsize=font,
            color=INK,
            zorder=6,
            parse_math=False,
            annotation_clip=False,
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.4, "alpha": 0.8},
        )
    return boxes, clashes


def _leader(axes: Axes, start: tuple[float, float], stop: tuple[float, float]) -> None:
    """Draws a thin line from a point to a distant label."""
    invert = axes.transData.inverted().transform
    (x0, y0), (x1, y1) = invert(start), invert(stop)
    axes.plot([x0, x1], [y0, y1], color=SOFT, linewidth=0.6, zorder=2.5, scalex=False, scaley=False)
