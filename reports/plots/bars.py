"""Bar plots: stacked parts of a whole with a row per method, and parts side by side with quartiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from tunefront.reports.plots.axes import scale, short
from tunefront.reports.plots.style import INK, PAPER, RULE, SOFT, plot_settings
from tunefront.reports.plots.ticks import tick_label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

LONGEST = 28


@dataclass(frozen=True)
class Stack:
    """A row of stacked bars: its name, its parts, and the text at its end."""

    label: str
    parts: Mapping[str, float]
    end: str


def draw_stacked(
    rows: Sequence[Stack], colours: Mapping[str, str], title: str, unit: str, width: float, font: float
) -> Figure:
    """Draws rows from top to bottom; `colours` gives the order of the parts. Width in inches."""
    names = [short(row.label, LONGEST) for row in rows]
    across = 72 * width
    figure = Figure((width, 1.0), dpi=72)
    canvas = FigureCanvasAgg(figure)
    with plot_settings():
        axes = figure.add_axes((0, 0, 1, 1), facecolor="none")
        left = max_width(axes, canvas, names, font) + 0.9 * font
        right = max_width(axes, canvas, [row.end for row in rows], font) + 1.2 * font
        columns = _columns(axes, canvas, list(colours), across, font)
        above = 1.6 * font * -(-len(colours) // columns) + 1.0 * font
        frame = 1.9 * font * len(rows) + 0.6 * font
        height = above + frame + 3.6 * font
        figure.set_size_inches(width, height / 72)
        axes.set_position((left / across, 3.6 * font / height, (across - left - right) / across, frame / height))
        span = scale([sum(row.parts.values()) for row in rows], even=True)
        _frame(axes, rows=names, high=span.high / 1.1, font=font)
        _ticks(axes, span.ticks, unit, font)
        axes.set_xlabel(title, color=INK, fontsize=font, labelpad=4)
        for place, row in enumerate(rows):
            start = 0.0
            for name, colour in colours.items():
                amount = row.parts.get(name, 0)
                axes.barh(place, amount, left=start, height=0.66, color=colour, edgecolor=PAPER, linewidth=0.5)
                start += amount
            axes.annotate(
                row.end,
                (start, place),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=font,
                color=INK,
                annotation_clip=False,
            )
        handles = [Patch(facecolor=colour, label=name) for name, colour in colours.items()]
        legend = figure.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(0.0, 1.0),
            ncols=columns,
            fontsize=font,
            frameon=False,
            handlelength=1.0,
            handleheight=0.9,
            columnspacing=1.2,
            handletextpad=0.5,
            borderpad=0.1,
            borderaxespad=0.2,
        )
        for text in legend.get_texts():
            text.set_color(INK)
    return figure


@dataclass(frozen=True)
class Part:
    """A column of bars: its title, and for each row the lower quartile, median and upper quartile, None if missing.

    `own_scale`: it does not share the scale of the other columns.
    """

    title: str
    rows: tuple[tuple[float, float, float] | None, ...]
    own_scale: bool = False


def draw_side_by_side(
    labels: Sequence[str], colours: Sequence[str], parts: Sequence[Part], columns: int, width: float, font: float
) -> Figure:
    """Draws bars with quartiles, a column per part, on a shared scale unless a part has its own. Width in inches."""
    names = [short(label, LONGEST) for label in labels]
    figure = Figure((width, 1.0), dpi=72)
    canvas = FigureCanvasAgg(figure)
    with plot_settings():
        probe = figure.add_axes((0, 0, 1, 1))
        left = max_width(probe, canvas, names, font) + 0.9 * font
        probe.remove()
        columns = min(columns, len(parts))
        lines = -(-len(parts) // columns)
        frame, head, foot = 1.7 * font * len(names) + 0.4 * font, 1.9 * font, 3.0 * font
        height = lines * (frame + head + foot)
        figure.set_size_inches(width, height / 72)
        gap = 1.6 * font
        each = (72 * width - left - 1.2 * font - gap * (columns - 1)) / columns
        for number, part in enumerate(parts):
            line, column = divmod(number, columns)
            bottom = height - (line + 1) * (frame + head + foot) + foot
            place = ((left + column * (each + gap)) / 72 / width, bottom / height, each / 72 / width, frame / height)
            axes = figure.add_axes(place, facecolor="none")
            same_scale = [part] if part.own_scale else [other for other in parts if not other.own_scale]
            most = (
                max((max(row[1:]) for other in same_scale for row in other.rows if row is not None), default=0.0) or 1.0
            )
            _frame(axes, rows=names if column == 0 else [""] * len(names), high=1.05 * most, font=font)
            _ticks(axes, scale([most], even=True).ticks, "s", font)
            axes.set_title(part.title, fontsize=font, color=INK, loc="left", pad=4)
            for row, (quartiles, colour) in enumerate(zip(part.rows, colours, strict=True)):
                if quartiles is None:
                    continue
                low, middle, top = quartiles
                axes.barh(row, middle, height=0.58, color=colour)
                for colour, thick in ((PAPER, 2.6), (INK, 1.1)):  # visible on a bar of any colour
                    axes.plot([low, top], [row, row], color=colour, linewidth=thick, solid_capstyle="butt", zorder=4)
    return figure


def max_width(axes: Axes, canvas: FigureCanvasAgg, names: Sequence[str], font: float) -> float:
    """The width in points of the widest text."""
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
    widths = [0.0]
    for name in names:
        text = axes.text(0.5, 0.5, name, fontsize=font, parse_math=False)
        widths.append(float(text.get_window_extent(renderer).width))
        text.remove()
    return max(widths)


def _frame(axes: Axes, rows: Sequence[str], high: float, font: float) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set(color=SOFT, linewidth=0.7)
    axes.tick_params(colors=SOFT, labelsize=font, width=0.7, length=3)
    axes.tick_params(axis="y", length=0, colors=INK, pad=4)
    axes.grid(axis="x", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, high)
    axes.set_yticks(range(len(rows)), list(rows))
    for text in axes.get_yticklabels():
        text.set_parse_math(False)


def _ticks(axes: Axes, ticks: Sequence[float], unit: str, font: float) -> None:
    """Sets ticks, evenly thinned so that their labels have room."""
    low, high = axes.get_xlim()
    room = axes.get_window_extent().width
    kept = [tick for tick in ticks if low <= tick <= high]
    step = next(
        step
        for step in range(1, len(kept) + 1)
        if all(
            0.62 * font * len(_tick(tick, unit)) + 0.6 * font < (kept[step] - kept[0]) / (high - low) * room
            for tick in kept[step::step]
        )
    )
    axes.set_xticks(kept[::step], [_tick(tick, unit) for tick in kept[::step]])


def _tick(value: float, unit: str) -> str:
    """A tick as text, in milliseconds below one second.

    >>> _tick(0.25, "s"), _tick(2.0, "s"), _tick(0, "s")
    ('250\\xa0ms', '2\\xa0s', '0')
    """
    return f"{1000 * value:g}\u00a0ms" if unit == "s" and 0 < value < 1 else tick_label(value, unit)


def _columns(axes: Axes, canvas: FigureCanvasAgg, names: Sequence[str], width: float, font: float) -> int:
    """The number of columns of the legend."""
    return max(1, min(len(names), int(width // (max_width(axes, canvas, names, font) + 3.2 * font))))
