"""The critical-difference diagram: mean ranks over tasks, and bars over methods whose ranks do not differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tunefront.reports.plots.axes import short
from tunefront.reports.plots.curves import spread_apart
from tunefront.reports.plots.picture import Picture
from tunefront.reports.plots.style import INK, PAPER, RULE, SOFT, plot_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunefront.reports.compare.evidence import Evidence
    from tunefront.reports.sections.document import Page

TAG = "ranks"
WIDE, NARROW, FONT = 7.4, 4.1, 9.0
ROW = 0.24
"""Height of a row in inches."""


def pictures(page: Page, narrow: bool = True) -> list[Picture]:
    """The diagram of a panel, if it has enough tasks to rank methods over them."""
    known = page.panel.evidence
    if known is None or known.ranks is None:
        return []
    ranks = known.ranks
    note = (
        f"Mean rank over {len(known.tasks)} tasks, 1 is the best. A bar joins methods that are less than "
        f"{ranks.critical_difference:.2f} ranks apart, the critical difference (Nemenyi, 95 %): they are not "
        "distinguished. Tasks are the sample here; runs and rows are not looked at."
    )
    order = sorted(range(len(known.labels)), key=lambda place: ranks.mean[place])
    alt = f"Mean ranks: {'; '.join(f'{known.labels[place]} {ranks.mean[place]:.2f}' for place in order)}."
    small = _draw(known, NARROW) if narrow else None
    return [Picture(f"{page.tag}-ranks", "Ranks over tasks", alt, note, _draw(known, WIDE), small, True, TAG)]


def cliques(ranks: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """(first, last) of the longest runs of neighbours within the critical difference, for ranks in order.

    >>> cliques([1.0, 2.0, 3.5], 1.6)
    [(0, 1), (1, 2)]
    >>> cliques([1.0, 5.0], 1.0)
    []
    """
    found: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = max(place for place in range(first, len(ranks)) if ranks[place] - ranks[first] < difference)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found


def _draw(known: Evidence, width: float) -> Figure:
    """Ranks on an axis from left (best) to right, each with a line down to its name."""
    assert known.ranks is not None
    order = sorted(range(len(known.labels)), key=lambda place: known.ranks.mean[place])  # type: ignore[union-attr]
    ranks = [float(known.ranks.mean[place]) for place in order]
    groups = cliques(ranks, known.ranks.critical_difference)
    methods = len(ranks)
    names, half = 0.08 - 0.09 * len(groups) - 0.2, (methods + 1) // 2
    above, below = 0.55, ROW * (half - 1) - names + 0.08
    figure = Figure((width, above + below), dpi=72)
    FigureCanvasAgg(figure)
    with plot_settings():
        axes = figure.add_axes((0.03, 0.0, 0.94, 1.0), facecolor="none")
        axes.set_axis_off()
        axes.set_xlim(1 - 0.06 * methods, methods + 0.06 * methods)
        axes.set_ylim(-below, above)
        axes.plot([1, methods], [0.2, 0.2], color=SOFT, linewidth=0.8)
        for tick in range(1, methods + 1):
            axes.plot([tick, tick], [0.2, 0.26], color=SOFT, linewidth=0.8)
            axes.text(tick, 0.3, str(tick), ha="center", va="bottom", color=SOFT, fontsize=FONT)
        for number, (first, last) in enumerate(groups):
            height = 0.08 - 0.09 * number
            axes.plot([ranks[first] - 0.04, ranks[last] + 0.04], [height, height], color=INK, linewidth=2.6)
        for side, places in (("left", range(half)), ("right", range(methods - 1, half - 1, -1))):
            edge = axes.get_xlim()[0] if side == "left" else axes.get_xlim()[1]
            levels = spread_apart([names - ROW * row for row in range(len(places))], ROW, -below, names)
            for place, level in zip(places, sorted(levels, reverse=True), strict=True):
                axes.plot([ranks[place], ranks[place], edge], [0.2, level, level], color=RULE, linewidth=0.9, zorder=0)
                text = f"{short(known.labels[order[place]], 30)}  {ranks[place]:.1f}"
                behind = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.0}
                words = axes.text(edge, level, text, ha=side, va="bottom", bbox=behind, parse_math=False)
                words.set(fontsize=FONT, color=INK)
    return figure
