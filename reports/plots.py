"""The trade-off plot (Houlsby et al. 2019, figure 1) and its cousins, one panel each, as matplotlib figures."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reports.axes import Scale, scale, tick_label
from reports.labels import Box, place
from reports.measures import PARAMETERS, Cost
from reports.panels import Entry, Panel, quantile
from reports.units import MINUS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, SOFT, RULE, PAPER = "#1c2126", "#5b646d", "#d9dde1", "#ffffff"
FAMILIES = ("#0072b2", "#c64a00", "#008a63", "#b0568c", "#9a6a00", "#3b86c2", "#6b5fb5", "#77702b")
"""Colours after Okabe and Ito, the light ones darkened to a contrast of 3:1 on white; markers differ as well."""
MARKERS = ("o", "^", "D", "v", "P", "X", "<", ">", "h")
RC = {"svg.hashsalt": "tunefront", "svg.fonttype": "path", "pdf.fonttype": 42, "font.family": ["DejaVu Sans"]}
LONGEST = 44
GROWTH = (1.0, 1.25, 1.55, 1.9, 2.3, 2.8)


@dataclass(frozen=True)
class Point:
    """One entry in a plot: the median height with its 20th and 80th percentiles. `whole` when no task is missing."""

    entry: Entry
    x: float
    y: float
    low: float
    high: float
    whole: bool


@dataclass(frozen=True)
class Drawing:
    """A figure with the entries that it shows, the boxes of their labels, and those left out for want of a number."""

    figure: Figure
    points: tuple[Point, ...]
    boxes: tuple[Box, ...]
    clashes: int
    absent: tuple[str, ...]


def points_of(panel: Panel, cost: Cost) -> tuple[list[Point], list[str]]:
    """The points of a plot, and the labels of entries that have no score or no cost."""
    found, absent = [], []
    for entry in panel.entries:
        heights, x = panel.heights(entry), cost.of(panel, entry)
        low, y, high = (quantile(heights, share) for share in (0.2, 0.5, 0.8))
        if x is None or y is None or low is None or high is None:
            absent.append(entry.label)
        else:
            found.append(Point(entry, x, y, low, high, panel.covers(entry)))
    return found, absent


def draw(panel: Panel, cost: Cost = PARAMETERS, size: tuple[float, float] = (7.4, 4.7), font: float = 9.0) -> Drawing:
    """One plot; its height grows until every label has a place. Size in inches, font in points."""
    points, absent = points_of(panel, cost)
    styles = families(panel)
    for growth in GROWTH[_start(points, size, font) :]:
        figure = Figure((size[0], size[1] * growth), dpi=72)
        canvas = FigureCanvasAgg(figure)
        axes = _axes(figure, panel, cost, points, font)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing")
            _marks(axes, points, styles, _scale(points), panel.reference)
            boxes, clashes = _labels(axes, canvas, panel, points, font)
        if not clashes:
            break
    return Drawing(figure, tuple(points), tuple(boxes), clashes, tuple(absent))


def _start(points: list[Point], size: tuple[float, float], font: float) -> int:
    """The first growth at which the labels cover at most a fifth of the page, so that hopeless layouts are skipped."""
    area = sum(0.6 * font * (len(short(point.entry.label)) + 2) * 1.6 * font for point in points)
    page = size[0] * size[1] * 72 * 72
    return next((i for i, growth in enumerate(GROWTH[:-1]) if area <= 0.2 * page * growth), len(GROWTH) - 1)


def families(panel: Panel) -> dict[str, tuple[str, str]]:
    """Colour and marker of every family; the reference is a square in the colour of the text."""
    base = panel.reference.family if panel.reference is not None else None
    names = sorted({entry.family for entry in panel.entries} - {base})
    styles = {
        name: (FAMILIES[i % len(FAMILIES)], MARKERS[(i + i // len(FAMILIES)) % len(MARKERS)])
        for i, name in enumerate(names)
    }
    return styles if base is None else {base: (INK, "s"), **styles}


def height_title(panel: Panel) -> str:
    """What the vertical axis shows, exactly."""
    if panel.reference is None or not panel.relative_tasks:
        return "100 × score"
    return f"100 × (score − mean score of {short(panel.reference.label, 24)})"


def short(text: str, longest: int = LONGEST) -> str:
    """A label fit for a plot: one line, its middle left out where it is very long."""
    text = "".join(character if character.isprintable() else " " for character in text)
    half = (longest - 1) // 2
    return text if len(text) <= longest else f"{text[:half]}…{text[-half:]}"


def _scale(points: list[Point]) -> Scale:
    return scale([point.x for point in points] or [1.0])


def _axes(figure: Figure, panel: Panel, cost: Cost, points: list[Point], font: float) -> Axes:
    width, height = figure.get_size_inches()
    em = font / 72
    top = 2.6 * em if cost is PARAMETERS and panel.backbone_params else 0.9 * em
    left, bottom = 4.9 * em, 4.1 * em
    axes = figure.add_axes(
        (left / width, bottom / height, (width - left - 1.9 * em) / width, (height - bottom - top) / height),
        facecolor="none",
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=SOFT, linewidth=0.7)
    axes.tick_params(colors=SOFT, labelsize=font, width=0.7, length=3)
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    span = _scale(points)
    if span.log:
        axes.set_xscale("log")
    axes.set_xlim(span.low, span.high)
    _ticks(axes, span, cost.unit)
    _limits(axes, points)
    log = " (log scale)" if span.log else ""
    axes.set_xlabel(f"{cost.title}{log}", color=INK, fontsize=font, labelpad=4)
    axes.set_ylabel(height_title(panel), color=INK, fontsize=font, labelpad=4, parse_math=False)
    if top > 2 * em:
        _shares(axes, span, panel.backbone_params or 1.0, font)
    return axes


def _ticks(axes: Axes, span: Scale, unit: str) -> None:
    places, names = list(span.ticks), [tick_label(tick, unit) for tick in span.ticks]
    if span.zero is not None:
        places, names = [span.zero, *places], ["0", *names]
        first = next((tick for tick in span.ticks if tick > span.zero), span.high)
        axes.axvline((span.zero * first) ** 0.5, color=SOFT, linewidth=0.7, linestyle=(0, (1, 2.5)))
    axes.set_xticks(places, names)
    axes.set_xticks([], minor=True)


def _shares(axes: Axes, span: Scale, whole: float, font: float) -> None:
    """The same axis above, in percent of the backbone's parameters."""
    above = axes.twiny()
    above.set_facecolor("none")
    if span.log:
        above.set_xscale("log")
    above.set_xlim(span.low, span.high)
    ticks = [whole * 10.0**power for power in range(-7, 1)]
    ticks = [tick for tick in ticks if max(span.low, (span.zero or 0) * 1.5) <= tick <= span.high]
    if len(ticks) < 2:
        ticks = list(span.ticks)
    above.set_xticks(ticks, [f"{round(100 * tick / whole, 6):g}\u00a0%" for tick in ticks])
    above.set_xticks([], minor=True)
    above.tick_params(colors=SOFT, labelsize=font * 0.9, width=0.7, length=3)
    above.spines[["left", "right", "bottom"]].set_visible(False)
    above.spines["top"].set(color=RULE, linewidth=0.7)
    above.set_zorder(axes.get_zorder() - 1)


def _limits(axes: Axes, points: list[Point]) -> None:
    ends = [end for point in points for end in (point.low, point.high)] or [0.0, 1.0]
    span = max(max(ends) - min(ends), 1.0)
    axes.set_ylim(min(ends) - 0.14 * span, max(ends) + 0.14 * span)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", MINUS) if abs(value) > 1e-9 else "0")


def _marks(
    axes: Axes, points: list[Point], styles: dict[str, tuple[str, str]], span: Scale, base: Entry | None
) -> None:
    if base is not None and any(point.entry is base for point in points):
        axes.axhline(0, color=SOFT, linewidth=0.9, zorder=1)
    for name, (colour, _) in styles.items():
        line = sorted((span.place(p.x), p.y) for p in points if p.entry.family == name and p.entry is not base)
        if len(line) > 1:
            axes.plot(*zip(*line, strict=True), color=colour, linewidth=1.1, alpha=0.55, zorder=2)
    for point in points:
        colour, marker = styles[point.entry.family]
        x = span.place(point.x)
        axes.plot([x, x], [point.low, point.high], color=colour, linewidth=1.3, solid_capstyle="butt", zorder=3)
        fill = colour if point.whole else PAPER
        axes.plot([x], [point.y], marker, color=colour, markerfacecolor=fill, markersize=6.2, zorder=4)


def _labels(
    axes: Axes, canvas: FigureCanvasAgg, panel: Panel, points: list[Point], font: float
) -> tuple[list[Box], int]:
    renderer, span = canvas.get_renderer(), _scale(points)  # type: ignore[no-untyped-call]
    names = [short(point.entry.label) for point in points]
    sizes = []
    for name in names:
        text = axes.text(0.5, 0.5, name, fontsize=font, transform=axes.transAxes, parse_math=False)
        extent = text.get_window_extent(renderer)
        sizes.append((extent.width + 1, extent.height + 1))
        text.remove()
    frame = axes.get_window_extent()
    ends = [
        [tuple(axes.transData.transform((span.place(point.x), y))) for y in (point.y, point.low, point.high)]
        for point in points
    ]
    middles = [(float(middle[0]), float(middle[1])) for middle, _, _ in ends]
    bars = [Box(low[0] - 1, low[1], high[0] + 1, high[1]) for _, low, high in ends]
    if panel.reference is not None:
        level = float(axes.transData.transform((span.low, 0.0))[1])
        bars.append(Box(frame.x0, level - 1, frame.x1, level + 1))
    bounds = Box(frame.x0 + 2, frame.y0 + 2, frame.x1 + 1.5 * font, frame.y1 - 1)
    boxes, clashes = place(middles, sizes, bounds, bars)
    for point, name, (x, y), box in zip(points, names, middles, boxes, strict=True):
        near = box.nearest(x, y)
        if abs(near[0] - x) + abs(near[1] - y) > 13:
            _leader(axes, (x, y), near)
        axes.annotate(
            name,
            (span.place(point.x), point.y),
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
    """A thin line from a point to its label when they stand apart."""
    invert = axes.transData.inverted().transform
    (x0, y0), (x1, y1) = invert(start), invert(stop)
    axes.plot([x0, x1], [y0, y1], color=SOFT, linewidth=0.6, zorder=2.5, scalex=False, scaley=False)
