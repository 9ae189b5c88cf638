"""Axes with readable labels (1k, 10k, 1M; 1 MB, 10 MB; zero if nothing is trained)."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

from tunefront.reports.compare.measures import PARAMETERS, ROWS, Cost
from tunefront.reports.plots.style import INK, PAPER, RULE, SOFT
from tunefront.reports.plots.ticks import PLAIN, linear_ticks, log_ticks, share_label, tick_label
from tunefront.reports.units import MINUS, plural

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tunefront.reports.compare.panels import Panel
    from tunefront.reports.plots.picture import Point


@dataclass(frozen=True)
class Scale:
    """A horizontal axis: linear from 0 for narrow ranges, else logarithmic, with a strip for zero to its left.

    `edge` is the end of the strip and the start of the log axis; None if no value is 0.
    """

    log: bool
    low: float
    high: float
    ticks: tuple[float, ...]
    edge: float | None = None

    @property
    def zero(self) -> float | None:
        """The middle of the strip for 0; None if there is no strip."""
        return None if self.edge is None else (self.low * self.edge) ** 0.5

    def at(self, value: float) -> float:
        """The position of a value on its own: 0 is in the middle of its strip."""
        return value if value > 0 or self.zero is None else self.zero

    def places(self, values: Sequence[float]) -> list[float]:
        """Positions of values on the axis: values at 0 are placed side by side in the strip.

        >>> [round(place, 6) for place in Scale(True, 0.01, 1000.0, (1.0,), 1.0).places([0, 10.0, 0, 0])]
        [0.031623, 10.0, 0.1, 0.316228]
        """
        at_zero = [i for i, value in enumerate(values) if value <= 0]
        places = list(values)
        if self.edge is not None:
            for rank, i in enumerate(at_zero, 1):
                places[i] = self.low * (self.edge / self.low) ** (rank / (len(at_zero) + 1))
        return places


def scale(values: Sequence[float], even: bool = False) -> Scale:
    """The axis for these values (at least one, none negative). `even`: linear for any range.

    >>> scale([770, 82_000, 22_700_000]).ticks
    (1000.0, 10000.0, 100000.0, 1000000.0, 10000000.0)
    >>> scale([9.1e8, 9.9e8]).log
    False
    """
    positive = [value for value in values if value > 0]
    if not positive:
        return Scale(False, -0.5, 1.0, (0.0,))
    least, most = min(positive), max(positive)
    zeros = len(values) - len(positive)
    if even or most / least < 6:
        return _linear(most, zeros > 0)
    decades = math.log10(most / least)
    low = 10 ** (math.log10(least) - 0.07 * decades - 0.05)
    high = 10 ** (math.log10(most) + 0.07 * decades + 0.05)
    ticks = log_ticks(low, high)
    if not zeros:
        return Scale(True, low, high, ticks)
    strip = min(0.1 + 0.05 * zeros, 0.3) * math.log10(high / low)
    return Scale(True, low / 10**strip, high, ticks, low)


def _linear(most: float, zeros: bool) -> Scale:
    """From zero, so that a small difference looks small; from slightly below zero if points are at zero."""
    high = 1.12 * most
    return Scale(False, -0.06 * high if zeros else 0.0, high, linear_ticks(high, 4.5))


LONGEST = 44
FEW_ROWS = 64
"""Up to this number of rows, the curve over demonstrations has a linear axis."""
BREAK = Path(((-1.0, -1.0), (-0.2, 1.0), (0.2, -1.0), (1.0, 1.0)), (1, 2, 1, 2))
"""Two slanted strokes: the mark of a broken axis."""


def height_title(panel: Panel) -> str:
    """The title of the vertical axis."""
    if panel.reference is None or not panel.relative_tasks:
        return "100 × score"
    return f"100 × (mean score − that of {short(panel.reference.label, 24)})"


def describe_height(panel: Panel, reference: str) -> str:
    """The meaning of the height, in one or two sentences."""
    if panel.reference is None or not panel.relative_tasks:
        return f"Height: the score itself, since {reference} has no score here."
    name = panel.reference.label
    text = f"Height: points above {name}, mean over tasks."
    without = len(panel.tasks) - len(panel.relative_tasks)
    if without:
        text += f" {plural(without, 'task')} without a score of {name} {'is' if without == 1 else 'are'} not plotted."
    return text


def short(text: str, longest: int = LONGEST) -> str:
    """A label for a plot: one line, without its middle if it is very long."""
    text = "".join(character if character.isprintable() else " " for character in text)
    half = (longest - 1) // 2
    return text if len(text) <= longest else f"{text[:half]}…{text[-half:]}"


def scale_of(points: list[Point], cost: Cost) -> Scale:
    """The horizontal scale for these points; linear for small numbers of rows, so that zero is on the curve."""
    values = [point.x for point in points] or [1.0]
    return scale(values, even=cost is ROWS and max(values) <= FEW_ROWS)


def coordinates(figure: Figure, panel: Panel, cost: Cost, points: list[Point], font: float) -> Axes:
    """Axes for a panel's points: readable ticks, exact titles, and shares of the backbone above."""
    width, height = figure.get_size_inches()
    em = font / 72
    top = 2.6 * em if cost is PARAMETERS and panel.backbone_params else 0.9 * em
    left, bottom = 5.2 * em, 4.1 * em
    axes = figure.add_axes(
        (left / width, bottom / height, (width - left - 1.9 * em) / width, (height - bottom - top) / height),
        facecolor="none",
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=SOFT, linewidth=0.7)
    axes.tick_params(colors=SOFT, labelsize=font, width=0.7, length=3)
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    span = scale_of(points, cost)
    if span.log:
        axes.set_xscale("log")
    axes.set_xlim(span.low, span.high)
    label_ticks(axes, span, cost.unit, font)
    _limits(axes, points)
    log = " (log scale)" if span.log else ""
    axes.set_xlabel(f"{cost.title}{log}", color=INK, fontsize=font, labelpad=4)
    axes.set_ylabel(height_title(panel), color=INK, fontsize=font, parse_math=False)
    axes.yaxis.set_label_coords(-(left - 1.5 * em) / (width - left - 1.9 * em), 0.5)
    axes.yaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 5, 10]))
    if top > 2 * em:
        draw_shares(axes, span, panel.backbone_params or 1.0, font)
    return axes


def label_ticks(axes: Axes, span: Scale, unit: str, font: float) -> None:
    """Labels the ticks of a cost axis that have room; 0 is set apart on a logarithmic one."""
    ticks = thin_ticks(axes, span.ticks, lambda tick: tick_label(tick, unit), font)
    places, names = list(ticks), [tick_label(tick, unit) for tick in ticks]
    if span.zero is not None and span.edge is not None:
        places, names = [span.zero, *places], ["0", *names]
        _mark_break(axes, span.edge)
    axes.set_xticks(places, names)
    axes.set_xticks([], minor=True)


def thin_ticks(
    axes: Axes, ticks: Sequence[float], label: Callable[[float], str], font: float, unit: float = 1.0
) -> Sequence[float]:
    """Drops ticks evenly until no label touches another or leaves the page; keeps as many powers of ten as it can.

    `label`: the text of a tick; `unit`: the position of tick 1 on the axis.
    """

    def room(tick: float) -> tuple[float, float]:
        """The position and width of a label, slightly wider than its digits."""
        return float(axes.transData.transform((tick * unit, 0.0))[0]), 0.62 * font * len(label(tick))

    page = axes.figure.bbox.width
    ticks = [tick for tick in ticks if room(tick)[0] + room(tick)[1] / 2 <= page] or ticks[:1]
    places, widths = zip(*map(room, ticks), strict=True)
    for step in range(1, len(ticks) + 1):
        for start in sorted(range(step), key=lambda start: -sum(map(_round, ticks[start::step]))):
            kept = range(start, len(ticks), step)
            gaps = (places[b] - places[a] - (widths[a] + widths[b]) / 2 for a, b in itertools.pairwise(kept))
            if all(gap > 0.6 * font for gap in gaps):
                return [ticks[i] for i in kept]
    return ticks[:1]


def _round(tick: float) -> bool:
    return tick > 0 and math.log10(tick).is_integer()


def _mark_break(axes: Axes, where: float) -> None:
    """Marks the axis as broken between zero, which cannot be on a log axis, and its start."""
    axes.axvline(where, color=SOFT, linewidth=0.7, linestyle=(0, (1, 2.5)))
    below = axes.get_xaxis_transform()
    axes.plot([where], [0], "s", markersize=4, color=PAPER, zorder=5, transform=below, clip_on=False)
    (strokes,) = axes.plot([where], [0], color=SOFT, linestyle="none", zorder=6, transform=below, clip_on=False)
    strokes.set(marker=BREAK, markersize=8, markeredgewidth=0.8)


def draw_shares(axes: Axes, span: Scale, whole: float, font: float) -> None:
    """The same axis at the top, in percent of the backbone's parameters."""
    above = axes.twiny()
    above.set_facecolor("none")
    if span.log:
        above.set_xscale("log")
    above.set_xlim(span.low, span.high)
    shares = thin_ticks(above, share_ticks(span, whole), share_label, 0.9 * font, whole / 100)
    places, names = [share * whole / 100 for share in shares], [share_label(share) for share in shares]
    if span.zero is not None:
        places, names = [span.zero, *places], ["0\u00a0%", *names]
    above.set_xticks(places, names)
    above.set_xticks([], minor=True)
    above.tick_params(colors=SOFT, labelsize=font * 0.9, width=0.7, length=3)
    above.spines[["left", "right", "bottom"]].set_visible(False)
    above.spines["top"].set(color=RULE, linewidth=0.7)
    above.set_zorder(axes.get_zorder() - 1)


def share_ticks(span: Scale, whole: float) -> tuple[float, ...]:
    """The shares, in percent of `whole`, that are ticks of an axis: 1, 2 or 5 times a power of ten, or their multiples.

    >>> share_ticks(scale([770, 82_000, 22_700_000]), 22_700_000)
    (0.01, 0.1, 1.0, 10.0, 100.0)
    >>> share_ticks(scale([9e6, 10e6]), 22_700_000)
    (0.0, 10.0, 20.0, 30.0, 40.0)
    """
    low, high = 100 * (span.edge or span.low) / whole, 100 * span.high / whole
    if span.log:
        return log_ticks(low, high, PLAIN)
    return (0.0,) if span.ticks == (0.0,) else linear_ticks(high, 6)


def _limits(axes: Axes, points: list[Point]) -> None:
    ends = [end for point in points for end in (point.low, point.high)] or [0.0, 1.0]
    low, high = min(ends), max(ends)
    if high - low < 1:  # so that a difference of less than a point looks small
        low, high = (low + high - 1) / 2, (low + high + 1) / 2
    axes.set_ylim(low - 0.14 * (high - low), high + 0.2 * (high - low))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", MINUS) if abs(value) > 1e-9 else "0")
