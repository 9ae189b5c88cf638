"""Runs that waited for the processor, by their seconds and the processor time in them."""

from __future__ import annotations

import pytest

from tests.reports.factory import record
from tunefront.reports.compare.waiting import describe_waiting, waiting
from tunefront.reports.sections import document


def timed(wall, cpu, **changes):
    fields = {"seconds.train": wall, "seconds.eval": 0.0, "cpu_seconds.train": cpu, "cpu_seconds.eval": 0.0}
    return record(**fields, **changes)


@pytest.mark.parametrize(("wall", "cpu", "said"), [(15.0, 10.0, False), (15.01, 10.0, True), (4.0, 10.0, False)])
def test_a_run_waited_if_its_seconds_are_half_as_long_again(wall, cpu, said):
    assert bool(describe_waiting([timed(wall, cpu)])) is said


def test_the_sentence_counts_the_runs_and_names_their_median():
    text = describe_waiting([timed(30.0, 10.0), timed(20.0, 10.0), timed(10.0, 10.0)])
    assert "in 2 of 3 runs" in text
    assert "2.5 times" in text
    assert text in document.compose([timed(30.0, 10.0), timed(20.0, 10.0, seed=1), timed(10.0, 10.0, seed=2)]).warnings


def test_several_threads_that_compute_in_turn_do_not_count_as_waiting():
    assert waiting(timed(10.0, 10.5, environment__threads=4)) == pytest.approx(10 / 10.5)


def test_all_stretches_are_added_up():
    fields = {"seconds.eval": 2.0, "cpu_seconds.eval": 1.0, "seconds.prefix": 3.0, "cpu_seconds.prefix": 3.0}
    assert waiting(timed(5.0, 1.0)) == 5.0
    assert waiting(record(**{"seconds.train": 5.0, "cpu_seconds.train": 1.0, **fields})) == 2.0


def test_nothing_is_said_of_cuda_of_unknown_time_or_of_moments():
    assert waiting(timed(30.0, 10.0, environment__device="cuda")) is None
    assert waiting(record()) is None
    assert waiting(timed(0.09, 0.01)) is None
    assert describe_waiting([record()]) == ""
