"""Drawn axes."""

from __future__ import annotations

import itertools

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tunefront.reports.plots.axes import draw_shares, label_ticks, scale


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([0.0, 38_176.0], ["0 %", "25 %", "50 %", "75 %", "100 %"]),
        ([770.0, 22e6], ["0.01 %", "0.1 %", "1 %", "10 %", "100 %"]),
    ],
    ids=["from zero", "logarithmic"],
)
def test_percentages_above_do_not_crowd(values: list[float], names: list[str]) -> None:
    axes = Figure().subplots()
    draw_shares(axes, scale(values), max(values), 9)
    assert [tick.get_text().replace("\u00a0", " ") for tick in axes.figure.axes[1].get_xticklabels()] == names


def _drawn(values: list[float], unit: str, width: float) -> list[str]:
    """The labels below a plot of this width in inches; fails if two of them touch."""
    figure = Figure((width, 3.3), dpi=72)
    canvas = FigureCanvasAgg(figure)
    axes, span = figure.add_axes((0.2, 0.2, 0.75, 0.7)), scale(values)
    if span.log:
        axes.set_xscale("log")
    axes.set_xlim(span.low, span.high)
    axes.tick_params(labelsize=8.5)
    label_ticks(axes, span, unit, 8.5)
    canvas.draw()
    labels = [label for label in axes.get_xticklabels() if label.get_text()]
    boxes = [label.get_window_extent() for label in labels]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes[1:])
    return [label.get_text().replace("\u00a0", " ") for label in labels]


def test_labels_under_a_narrow_plot_do_not_touch_and_keep_powers_of_ten() -> None:
    values = [0.0, 1.0e10, 3.6e11, 4.2e11, 5.5e11]
    assert _drawn(values, "FLOP", 4.1) == ["0", "10 GFLOP", "100 GFLOP"]
    assert _drawn(values, "FLOP", 7.4) == ["0", "10 GFLOP", "30 GFLOP", "100 GFLOP", "300 GFLOP"]


@pytest.mark.parametrize("values", [[0.0, 9e8], [2e8, 9e11], [2.2e12, 1.8e13], [1.0, 7.0], [5.0]])
@pytest.mark.parametrize("width", [2.0, 4.1])
def test_a_plot_of_any_width_has_a_label_below(values: list[float], width: float) -> None:
    assert _drawn(values, "FLOP", width)
