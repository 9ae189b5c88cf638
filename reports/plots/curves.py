"""Curves, each with its name at its end: of costs on logarithmic axes, or of scores with their intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tunefront.reports.plots.axes import Scale, label_ticks, scale, short
from tunefront.reports.plots.bars import max_width
from tunefront.reports.plots.style import INK, PAPER, RULE, SOFT, plot_settings
from tunefront.reports.plots.ticks import tick_label
from tunefront.reports.units import MINUS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

LONGEST = 30
"""Longest name at the end of a curve in a small plot, in characters."""


@dataclass(frozen=True)
class Curve:
    """One curve: points from left to right, of costs with heights above 0. With a `marker`, the points are marked;
    `bars` are intervals: position, lower and upper end."""

    label: str
    colour: str
    points: tuple[tuple[float, float], ...]
    dashed: bool = False
    marker: str = ""
    bars: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True)
class Titles:
    """The titles of the axes. `unit` follows the numbers of the vertical axis, or with `scores` those of the horizontal
    one. Scores have a linear axis that need not start at 0, since differences between them matter. With `steps` the
    horizontal axis counts steps, a whole number each."""

    across: str
    up: str
    unit: str = ""
    scores: bool = False
    steps: bool = False

    def up_label(self, tick: float) -> str:
        """The text of a tick of the vertical axis."""
        return f"{tick:g}".replace("-", MINUS) if self.scores else tick_label(tick, self.unit)

    @property
    def across_unit(self) -> str:
        """The unit of the horizontal axis."""
        return self.unit if self.scores else ""


def draw(
    curves: Sequence[Curve],
    titles: Titles,
    size: tuple[float, float],
    font: float,
    marks: Sequence[tuple[float, float, str]] = (),
) -> Figure:
    """The plot, high enough for the names of all curves. `marks` are circles: position, height and colour."""
    gap = 1.25 * font
    height = max(size[1], (gap * len(curves) + 6 * font) / 72)
    figure = Figure((size[0], height), dpi=72)
    canvas = FigureCanvasAgg(figure)
    ends = [end for curve in curves for _, low, high in curve.bars for end in (low, high)]
    tops = [y for curve in curves for _, y in curve.points]
    heights = _score_scale([*tops, *ends]) if titles.scores else scale(tops)
    across = [x for curve in curves for x, _ in curve.points]
    places = _steps(across) if titles.steps else scale(across)
    names = [short(curve.label, LONGEST) for curve in curves]
    with plot_settings():
        axes = figure.add_axes((0, 0, 1, 1), facecolor="none")
        ticks = [titles.up_label(tick) for tick in heights.ticks]
        left = max_width(axes, canvas, ticks, font) + 3.0 * font
        right = max_width(axes, canvas, names, font) + 1.8 * font
        box = (left, 4.1 * font, 72 * size[0] - left - right, 72 * height - 5.0 * font)
        axes.set_position((box[0] / 72 / size[0], box[1] / 72 / height, box[2] / 72 / size[0], box[3] / 72 / height))
        _scales(axes, places, heights, titles, font, left)
        for curve in curves:
            style = (0, (4, 2.2)) if curve.dashed else "-"
            for x, low, high in curve.bars:
                axes.vlines(places.at(x), low, high, color=curve.colour, linewidth=1.0, alpha=0.6, zorder=2)
            axes.plot(
                [places.at(x) for x, _ in curve.points],
                [y for _, y in curve.points],
                color=curve.colour,
                linewidth=1.4,
                linestyle=style,
                marker=curve.marker,
                markersize=4.6,
                zorder=3,
            )
        for x, y, colour in marks:
            axes.plot([x], [y], "o", color=colour, markerfacecolor=PAPER, markersize=4.2, markeredgewidth=1.1, zorder=4)
        _names(axes, curves, names, places, gap, font)
    return figure


def spread_apart(heights: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The nearest heights in the same order with a gap between them, within the bounds if these have room.

    >>> spread_apart([10.0, 11.0, 50.0], 10.0, 0.0, 100.0), spread_apart([3.0, 1.0], 10.0, 0.0, 100.0)
    ([5.5, 15.5, 50.0], [10.0, 0.0])
    """
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    blocks: list[tuple[float, int]] = []  # means of the heights without gaps, and their number
    for rank, i in enumerate(order):
        blocks.append((heights[i] - rank * gap, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (below, few), (above, more) = blocks[-2:]
            blocks[-2:] = [((below * few + above * more) / (few + more), few + more)]
    flat = [level for level, amount in blocks for _ in range(amount)]
    most = high - (len(heights) - 1) * gap
    placed = [0.0] * len(heights)
    for rank, i in enumerate(order):
        placed[i] = max(low, min(most, flat[rank])) + rank * gap
    return placed


def _scales(axes: Axes, places: Scale, heights: Scale, titles: Titles, font: float, left: float) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=SOFT, linewidth=0.7)
    axes.tick_params(colors=SOFT, labelsize=font, width=0.7, length=3)
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    for span, set_scale, set_limits in (
        (places, axes.set_xscale, axes.set_xlim),
        (heights, axes.set_yscale, axes.set_ylim),
    ):
        if span.log:
            set_scale("log")
        set_limits(span.low, span.high)
    label_ticks(axes, places, titles.across_unit, font)
    axes.set_yticks(list(heights.ticks), [titles.up_label(tick) for tick in heights.ticks])
    axes.set_yticks([], minor=True)
    axes.set_xlabel(titles.across + (" (log scale)" if places.log else ""), color=INK, fontsize=font, labelpad=4)
    axes.set_ylabel(titles.up + (" (log scale)" if heights.log else ""), color=INK, fontsize=font)
    axes.yaxis.set_label_coords(-(left - 1.1 * font) / axes.get_window_extent().width, 0.5)


def _score_scale(values: Sequence[float]) -> Scale:
    """A linear axis around these scores: at least a point high, so that a smaller difference looks small."""
    low, high = min(values), max(values)
    if high - low < 1:
        low, high = (low + high - 1) / 2, (low + high + 1) / 2
    low, high = low - 0.08 * (high - low), high + 0.08 * (high - low)
    ticks = MaxNLocator(7, steps=[1, 2, 5, 10]).tick_values(low, high)
    return Scale(False, low, high, tuple(float(tick) for tick in ticks if low <= tick <= high))


def _steps(values: Sequence[float]) -> Scale:
    """A linear axis from the first to the last of whole numbers."""
    low, high = min(values), max(values)
    ticks = MaxNLocator(10, integer=True).tick_values(low, high)
    room = 0.04 * max(high - low, 1)
    return Scale(False, low - room, high + room, tuple(float(tick) for tick in ticks if low <= tick <= high))


def _names(axes: Axes, curves: Sequence[Curve], names: Sequence[str], places: Scale, gap: float, font: float) -> None:
    """Writes the names to the right of the curves' ends, moved apart if necessary, with lines to the ends."""
    frame = axes.get_window_extent()
    last = [(places.at(curve.points[-1][0]), curve.points[-1][1]) for curve in curves]
    ends = [axes.transData.transform(point) for point in last]
    heights = spread_apart([float(end[1]) for end in ends], gap, frame.y0, frame.y1)
    for point, name, end, height in zip(last, names, ends, heights, strict=True):
        place = (frame.x1 + 1.1 * font - end[0], height - end[1])
        line = {"arrowstyle": "-", "color": SOFT, "linewidth": 0.5, "shrinkA": 1.5, "shrinkB": 1.5}
        axes.annotate(
            name,
            point,
            xytext=place,
            textcoords="offset points",
            va="center",
            ha="left",
            fontsize=font,
            color=INK,
            parse_math=False,
            annotation_clip=False,
            arrowprops={**line, "relpos": (0.0, 0.5)},
        )
