"""Numbers as text, axes and label placement."""

import math
import random

import pytest

from tunefront.reports import units
from tunefront.reports.plots.axes import scale, tick_label
from tunefront.reports.plots.labels import Box, place


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_missing_numbers_print_as_a_dash(value):
    texts = (units.si(value), units.count(value), units.seconds(value), units.points(value), units.signed(value))
    assert set(texts) == {"—"}
    assert units.percent(value, 10) == "—" if value is None else True


@pytest.mark.parametrize(
    ("value", "text"),
    [(999.6e3, "1.00\u00a0M"), (0, "0"), (0.5, "0.500"), (12, "12"), (99_960, "100\u00a0k"), (1e21, "1000\u00a0E")],
)
def test_prefixes_round_up_to_the_next_one(value, text):
    assert units.si(value) == text


def test_seconds_carry_into_minutes():
    assert units.seconds(59.97) == "1\u00a0min\u00a000\u00a0s"
    assert units.seconds(3599.7) == "1\u00a0h\u00a000\u00a0min"


def test_log_ticks_of_a_wide_range_are_powers_of_ten():
    axis = scale([770, 14_000, 22_700_000])
    assert [tick_label(tick, "") for tick in axis.ticks] == ["1k", "10k", "100k", "1M", "10M"]


@pytest.mark.parametrize(
    "values", [[5.0], [3e9, 3e9], [1.0, 1.01], [2.0, 900.0], [0.0], [0.0, 770.0], [1e3, 9e3, 1e12]]
)
def test_every_axis_holds_its_values_and_has_ticks(values):
    axis = scale(values)
    assert axis.ticks
    assert all(axis.low < place < axis.high for place in axis.places(values))
    assert all(axis.low <= tick <= axis.high for tick in axis.ticks)
    assert len(axis.ticks) <= 7


def test_zero_has_its_own_place_left_of_a_log_axis():
    axis = scale([0.0, 770.0, 22e6])
    assert axis.log
    (zero, small) = axis.places([0.0, 770.0])
    assert axis.low < zero < axis.edge < small
    assert zero == pytest.approx(axis.zero)
    assert all(tick >= axis.edge for tick in axis.ticks)


def test_values_at_zero_are_side_by_side_in_the_strip():
    axis = scale([0.0, 0.0, 0.0, 770.0, 22e6])
    places = axis.places([0.0, 770.0, 0.0, 0.0])
    assert places[1] == 770.0
    assert axis.low < places[0] < places[2] < places[3] < axis.edge


def test_zero_is_a_tick_of_a_linear_axis():
    axis = scale([0.0, 1.8e9, 2.3e9])
    assert not axis.log
    assert axis.low < 0 == axis.ticks[0]
    assert axis.places([0.0, 1.8e9]) == [0.0, 1.8e9]


@pytest.mark.parametrize("amount", [1, 2, 8, 30])
def test_labels_keep_clear_of_each_other_and_stay_inside(amount):
    rng = random.Random(amount)
    points = [(rng.uniform(30, 450), rng.uniform(30, 450)) for _ in range(amount)]
    bounds = Box(0, 0, 520, 480)
    boxes, clashes = place(points, [(60, 9)] * amount, bounds)
    assert clashes == 0
    assert all(box.inside(bounds) for box in boxes)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_labels_of_coinciding_points_do_not_coincide():
    boxes, clashes = place([(200.0, 200.0)] * 4, [(80, 10)] * 4, Box(0, 0, 400, 400))
    assert clashes == 0
    assert all(math.dist((box.left, box.bottom), (200, 200)) < 150 for box in boxes)
