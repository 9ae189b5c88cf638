"""Heat maps and lines with intervals: what is drawn where, and how dark."""

import itertools

import pytest

from tests.reports.sections.studies.made import study
from tunefront.reports.plots import curves, heat_maps, study_plots
from tunefront.reports.plots.curves import Curve, Titles
from tunefront.reports.sections.studies.study import HeatMap


def _heat(values, diverging=False, **names):
    rows = tuple(map(str, range(len(values))))
    columns = tuple(map(str, range(len(values[0]))))
    return HeatMap("h", "t", "", rows, columns, values, "points", "across", "up", diverging)


def _cells(shown, width=7.4):
    axes = heat_maps.draw(shown, width, 9.0).axes[0]
    texts = {text.get_position(): text for text in axes.texts}
    return [(patch, texts.get((patch.get_x() + 0.5, patch.get_y() + 0.5))) for patch in axes.patches]


def test_every_number_is_printed_in_its_cell():
    (heat, _) = study().figures
    shown = {(patch.get_y(), patch.get_x()): text.get_text() for patch, text in _cells(heat)}
    assert shown == {(0, 0): "−1.5", (0, 1): "−12.3", (1, 1): "+0.5"}


def test_a_sequential_scale_becomes_darker_with_the_numbers():
    cells = _cells(_heat((tuple(map(float, range(40, 52))),)))
    brightness = [heat_maps._brightness(patch.get_facecolor()) for patch, _ in cells]
    assert all(a > b for a, b in itertools.pairwise(brightness))


def test_a_diverging_scale_is_darkest_where_most_is_lost():
    values = (-20.0, -10.0, -5.0, 0.0)
    brightness = [heat_maps._brightness(patch.get_facecolor()) for patch, _ in _cells(_heat((values,), True))]
    assert all(a < b for a, b in itertools.pairwise(brightness))
    above, below = (heat_maps._colour(sign * 20.0, -20.0, 20.0, True) for sign in (1, -1))
    assert heat_maps._brightness(above) > heat_maps._brightness(below)


@pytest.mark.parametrize("diverging", [False, True])
def test_numbers_contrast_with_their_cells(diverging):
    values = tuple(float(value) for value in range(-12, 13))
    for patch, text in _cells(_heat((values,), diverging)):
        ground = heat_maps._brightness(patch.get_facecolor())
        ink = heat_maps._brightness((*_rgb(text.get_color()), 1.0))
        assert abs(ground - ink) > 0.4


def _rgb(colour):
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))


@pytest.mark.parametrize("blocks", [1, 6, 12, 30, 80])
def test_numbers_fit_into_their_cells_or_are_left_out(blocks):
    values = tuple(tuple(-12.5 if last >= first else None for last in range(blocks)) for first in range(blocks))
    figure = heat_maps.draw(_heat(values, True), 7.4, 9.0)
    axes = figure.axes[0]
    cell = axes.get_window_extent().width / blocks
    renderer = figure.canvas.get_renderer()
    assert all(text.get_window_extent(renderer).width < cell for text in axes.texts)
    assert bool(axes.texts) == (blocks < 80)
    labels = [label.get_window_extent(renderer) for label in axes.get_xticklabels()]
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(labels))


def test_scores_need_not_start_at_zero_and_zero_rows_have_a_place():
    points = ((0.0, 80.0), (8.0, 85.0), (4096.0, 91.0))
    curve = Curve("a", "#000000", points, bars=((8.0, 78.0, 93.0),))
    figure = curves.draw([curve], Titles("rows", "score", scores=True), (7.4, 4), 9)
    (axes,) = figure.axes
    low, high = axes.get_ylim()
    assert 70 < low < 78
    assert 93 < high < 100
    assert axes.get_xscale() == "log"
    left, right = axes.get_xlim()
    assert all(left < x < right for x in axes.lines[0].get_xdata())
    assert axes.get_xticklabels()[0].get_text() == "0"


def test_costs_are_drawn_as_before():
    figure = curves.draw([Curve("a", "#000000", ((1.0, 10.0), (100.0, 1e6)))], Titles("Tasks", "Bytes", "B"), (4, 3), 9)
    assert figure.axes[0].get_yscale() == "log"
    assert "kB" in "".join(label.get_text() for label in figure.axes[0].get_yticklabels())


def test_a_study_has_a_plot_for_small_screens_too():
    for picture in study_plots.pictures(study()):
        assert picture.narrow is not None
        assert picture.narrow.get_size_inches()[0] < picture.figure.get_size_inches()[0]
        assert not picture.main
