"""Heat maps: numbers or names on a grid, printed in their cells, so that they can be read without colours too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tunefront.reports import units
from tunefront.reports.plots.bars import max_width
from tunefront.reports.plots.style import INK, SOFT, plot_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from tunefront.reports.sections.studies.study import HeatMap

DARK, LIGHT = "#0d1216", "#fbfcfd"
"""The colours of numbers on light and on dark cells: unlike other texts they are the same on a dark page."""
DEEP = ("#f4f7fa", "#9cc3df", "#4d8fbf", "#1d5a8c", "#0b2c4d")
"""From small to large numbers, evenly darker, so that a copy without colours keeps their order."""
BELOW = ("#4a1a00", "#a8460a", "#e39b63", "#f6f2ee")
"""From the most negative number to 0, darker the further from 0."""
ABOVE = ("#f6f2ee", "#8fc0dc", "#2c7fb0")
"""From 0 to the most positive number; never as dark as the most negative, which a copy without colours thus shows."""
BRIGHT = 0.55
"""Numbers are dark on cells that are brighter than this, of 1."""
TALLEST = 0.62
"""Largest height of a cell, in inches."""
SMALLEST = 4.0
"""Smaller numbers, in points, are not legible, and are left out."""


Colour = tuple[float, float, float, float]


@dataclass(frozen=True)
class Grid:
    """Texts on a grid: `cells` has a row per name in `rows`, with the text and colour of each cell, None for no cell.
    `across` and `up` say what the columns and rows are."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[tuple[str, Colour] | None, ...], ...]
    across: str
    up: str


def draw(shown: HeatMap, width: float, font: float) -> Figure:
    """The plot of numbers, `width` inches wide."""
    known = [value for row in shown.values for value in row if value is not None]
    low, high = min([0.0, *known] if shown.diverging else known), max([0.0, *known] if shown.diverging else known)
    cells = tuple(
        tuple(
            None
            if value is None
            else (_text(value, shown, len(shown.columns)), _colour(value, low, high, shown.diverging))
            for value in row
        )
        for row in shown.values
    )
    return draw_grid(Grid(shown.rows, shown.columns, cells, shown.across, shown.up), width, font)


def tint(colour: str, share: float) -> Colour:
    """A colour with so much white added that dark text is legible on it, on a light and on a dark page."""
    return _scale((LIGHT, colour), share)


def draw_grid(shown: Grid, width: float, font: float) -> Figure:
    """The plot of texts, `width` inches wide."""
    em = font / 72
    figure = Figure((width, width), dpi=72)
    canvas = FigureCanvasAgg(figure)
    with plot_settings():
        axes = figure.add_axes((0, 0, 1, 1), facecolor="none")
        left = max_width(axes, canvas, shown.rows, font) / 72 + 3.2 * em
        room = width - left - 0.6 * em
        cell = min(room / len(shown.columns), 2.4 * TALLEST)
        tall = min(TALLEST, cell)
        above, below = 0.6 * em, 4.0 * em
        height = above + below + tall * len(shown.rows)
        figure.set_size_inches(width, height)
        across = cell * len(shown.columns)
        axes.set_position((left / width, below / height, across / width, 1 - (above + below) / height))
        _label(axes, shown, font, left, cell)
        longest = max((len(place[0]) for row in shown.cells for place in row if place), default=1)
        size = min(font, 72 * 0.92 * cell / (0.7 * longest), 72 * 0.8 * tall)
        for y, row in enumerate(shown.cells):
            for x, place in enumerate(row):
                if place is None:
                    continue
                text, colour = place
                axes.add_patch(Rectangle((x, y), 1, 1, facecolor=colour, edgecolor=LIGHT, linewidth=0.8))
                if size >= SMALLEST:
                    ink = DARK if _brightness(colour) > BRIGHT else LIGHT
                    axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=size, color=ink)
    return figure


def _label(axes: Axes, shown: Grid, font: float, left: float, cell: float) -> None:
    """Names of rows and columns; of the columns as many as have room."""
    axes.set_xlim(0, len(shown.columns))
    axes.set_ylim(len(shown.rows), 0)
    axes.spines[:].set_visible(False)
    axes.tick_params(colors=SOFT, labelsize=font, length=0, pad=4)
    longest = max(map(len, shown.columns))
    step = max(1, round(0.62 * font * (longest + 1) / (72 * cell) + 0.49))
    kept = range(0, len(shown.columns), step)
    axes.set_xticks([place + 0.5 for place in kept], [shown.columns[place] for place in kept], parse_math=False)
    axes.set_yticks([place + 0.5 for place in range(len(shown.rows))], list(shown.rows), parse_math=False)
    axes.set_xlabel(shown.across, color=INK, fontsize=font, labelpad=4, parse_math=False)
    axes.set_ylabel(shown.up, color=INK, fontsize=font, parse_math=False)
    axes.yaxis.set_label_coords(-(72 * left - 1.1 * font) / axes.get_window_extent().width, 0.5)


def _text(value: float, shown: HeatMap, columns: int) -> str:
    """The number in a cell; without decimals where cells are narrow."""
    digits = 1 if columns <= 16 else 0
    return units.signed(value, digits) if shown.diverging else f"{value:.{digits}f}".replace("-", units.MINUS)


def _colour(value: float, low: float, high: float, diverging: bool) -> Colour:
    """The colour of a number between the lowest and the highest one."""
    if not diverging:
        return _scale(DEEP, 0.5 if high == low else (value - low) / (high - low))
    largest = max(-low, high, 1.0)  # a point is the smallest difference that is coloured deeply
    return _scale(BELOW, 1 + value / largest) if value < 0 else _scale(ABOVE, value / largest)


def _scale(colours: Sequence[str], share: float) -> Colour:
    red, green, blue, alpha = LinearSegmentedColormap.from_list("scale", list(colours))(float(share))
    return red, green, blue, alpha


def _brightness(colour: Colour) -> float:
    """The brightness of a colour as a copy without colours shows it, from 0 to 1."""
    red, green, blue, _ = colour
    return 0.299 * red + 0.587 * green + 0.114 * blue
