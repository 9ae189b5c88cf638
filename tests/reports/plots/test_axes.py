"""Drawn axes."""

from __future__ import annotations

import itertools
import random

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tunefront.reports.plots.axes import draw_shares, label_ticks, scale, share_ticks
from tunefront.reports.plots.ticks import tick_label


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([0.0, 38_176.0], ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]),
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


LONGEST = 8
"""Most characters of a label's number: 0.00001 has seven."""


def _spans() -> list[list[float]]:
    """Trained parameters of random methods: narrow and wide ranges, with and without zero."""
    generator = random.Random(0)
    spans = []
    for _ in range(150):
        high = 10 ** generator.uniform(2, 11)
        values = [high] + [high / 10 ** generator.uniform(0, generator.choice([0.3, 1.5, 6])) for _ in range(4)]
        spans.append([float(round(value)) for value in values] + [0.0] * generator.randint(0, 2))
    return spans


def _is_round(value: float, multiples: bool) -> bool:
    """Whether a value is 1, 2 or 5 times a power of ten, or a multiple of such a step of at most six."""
    digits = f"{value:.6e}".partition("e")[0].rstrip("0").rstrip(".")
    return digits in ("1", "2", "5") or (multiples and len(digits.replace(".", "")) <= 2)


@pytest.mark.parametrize("values", _spans())
def test_shares_are_round_numbers_whatever_the_range(values: list[float]) -> None:
    figure = Figure((7.4, 4.7), dpi=72)
    axes, span = figure.add_axes((0.1, 0.2, 0.85, 0.7)), scale(values)
    generator = random.Random(max(values))
    whole = max(values) * generator.choice([1.0, generator.uniform(1, 5), 10 ** generator.uniform(0, 4)])
    draw_shares(axes, span, whole, 9)
    above = figure.axes[1]
    names = [label.get_text().removesuffix("\u00a0%") for label in above.get_xticklabels()]
    places = list(above.get_xticks())
    assert len(names) == len(set(names)) == len(places)
    assert len(names) >= 2
    shown = list(zip(names, places, strict=True))[span.zero is not None :]
    for name, place in shown:
        assert len(name) <= LONGEST
        assert float(name) == pytest.approx(100 * place / whole)
        assert _is_round(float(name), multiples=not span.log) or float(name) == 0
        assert span.low <= place <= span.high * 1.0001


@pytest.mark.parametrize("unit", ["", "B", "FLOP", "s"])
@pytest.mark.parametrize("even", [False, True])
def test_no_tick_is_a_long_decimal(unit: str, even: bool) -> None:
    generator = random.Random(unit)
    for _ in range(300):
        high = 10 ** generator.uniform(-2 if unit == "s" else 0, 13)
        values = [high, high / 10 ** generator.uniform(0, 4)] + [0.0] * generator.randint(0, 1)
        for tick in scale(values, even=even).ticks:
            number = tick_label(tick, unit).split("\u00a0")[0]
            assert len(number) <= LONGEST, number


def test_a_share_of_a_narrow_range_is_no_multiple_of_a_parameter_count() -> None:
    """5,000 to 20,000 parameters of 22,105,728 had ticks at 0.022618 %."""
    span = scale([5_000.0, 20_000.0])
    assert share_ticks(span, 22_105_728.0) == (0.0, 0.02, 0.04, 0.06, 0.08, 0.1)
