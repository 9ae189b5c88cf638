"""Streams of tasks from records: transfer and forgetting by hand, sizes, and what is compared with what."""

from __future__ import annotations

import pytest
from scipy import stats

from tests.reports.streamed import alone, passage
from tunefront.bench.records import Record
from tunefront.reports.compare.streams import Passage, Spread, StreamRow, spread, streams_of

TASKS = ("a", "b", "c")
ALONE = {"a": 0.80, "b": 0.70, "c": 0.90}
MATRIX = ((0.80,), (0.60, 0.72), (0.65, 0.50, 0.88))


def sequence() -> list[Record]:
    return [*alone("full", ALONE), *passage("full", "sequential", TASKS, MATRIX)]


def only(records: list[Record], way: str) -> StreamRow:
    (stream,) = streams_of(records)
    return next(row for row in stream.rows if row.way == way)


def first(records: list[Record], way: str) -> Passage:
    return only(records, way).passages[0]


def test_measures_are_those_of_the_papers_by_hand() -> None:
    found = first(sequence(), "sequential")
    assert found.averages == pytest.approx([80, (60 + 72) / 2, (65 + 50 + 88) / 3])
    # The best score on a before the last step is 80 (not 60), on b 72.
    assert found.forgetting == pytest.approx(((80 - 65) + (72 - 50)) / 2)
    assert found.backward_transfer == pytest.approx(((65 - 80) + (50 - 72)) / 2)
    assert found.forward_transfer == pytest.approx(((72 - 70) + (88 - 90)) / 2)
    assert found.unchanged == (0, 3)


def test_forgetting_counts_the_best_score_and_not_the_first() -> None:
    matrix = ((0.5,), (0.9, 0.7), (0.6, 0.7, 0.8))
    found = first([*alone("full", ALONE), *passage("full", "sequential", TASKS, matrix)], "sequential")
    assert found.forgetting == pytest.approx((90 - 60) / 2)


def test_separate_tasks_keep_their_answers_and_have_no_forward_transfer() -> None:
    matrix = tuple(tuple(ALONE[task] for task in TASKS[: place + 1]) for place in range(3))
    records = [*alone("ia3", ALONE), *passage("ia3", "separate", TASKS, matrix)]
    found = first(records, "separate")
    assert found.unchanged == (3, 3)
    assert (found.forgetting, found.backward_transfer, found.forward_transfer) == (0, 0, None)
    assert found.seconds == [record.seconds.train for record in records[:3]]
    assert found.sizes[0] == (records[0].parameters.total, 90_900_000 + 40_000)
    assert found.sizes[-1] == (3000, 90_900_000 + 3 * 40_000)


def test_a_first_task_whose_checkpoint_has_every_weight_needs_no_backbone() -> None:
    records = alone("full", ALONE, parameters__total=100, parameters__trainable=100)
    found = first([*records, *passage("full", "sequential", TASKS, MATRIX)], "sequential")
    assert found.sizes[0] == (100, 90_000_000)


def test_multi_task_training_is_found_for_every_order() -> None:
    orders = (TASKS, ("b", "a", "c"))
    records = sequence()
    records += passage("full", "sequential", orders[1], ((0.7,), (0.6, 0.8), (0.5, 0.6, 0.9)))
    records += passage("full", "multitask", TASKS, ((0.8,), (0.81, 0.71), (0.82, 0.72, 0.92)))
    row = only(records, "multitask")
    assert [passage.order for passage in row.passages] == list(orders)
    assert row.passages[1].scores[-1] == pytest.approx((72, 82, 92))  # in that order's own order


def test_an_order_with_a_missing_step_is_left_out() -> None:
    records = sequence()
    assert len(streams_of(records)) == 1
    gone = [record for record in records if record.stream.earlier != ("a",)]
    assert streams_of(gone) == []
    assert streams_of(alone("full", ALONE)) == []


def test_a_shorter_stream_in_the_same_folder_is_no_second_one() -> None:
    records = [*sequence(), *passage("full", "separate", TASKS[:2], ((0.8,), (0.8, 0.7)))]
    assert {len(stream.tasks) for stream in streams_of(records)} == {3}


def test_other_settings_and_rows_are_other_streams() -> None:
    others = [*alone("full", ALONE, shots=16), *passage("full", "sequential", TASKS, MATRIX, shots=16)]
    assert len(streams_of([*sequence(), *others])) == 2


def test_draws_are_further_runs_of_the_same_stream() -> None:
    others = [*alone("full", ALONE, draw_seed=1), *passage("full", "sequential", TASKS, MATRIX, draw_seed=1)]
    (stream,) = streams_of([*sequence(), *others])
    assert len(stream.rows[0].passages) == 2
    assert len(stream.orders) == 1


def test_differences_are_paired_by_order() -> None:
    matrix = tuple(tuple(ALONE[task] for task in TASKS[: place + 1]) for place in range(3))
    records = [*sequence(), *passage("full", "separate", TASKS, matrix)]
    (stream,) = streams_of(records)
    sequential = next(row for row in stream.rows if row.way == "sequential")
    assert stream.reference is not None
    assert stream.reference.way == "separate"
    found = sequential.against(stream.reference, 2)
    assert found is not None
    assert found.mean == pytest.approx((65 + 50 + 88) / 3 - 80)


def test_the_interval_is_students() -> None:
    values = [1.0, 2.0, 4.0, 9.0]
    found = spread(values)
    assert found is not None
    low, high = stats.t.interval(0.95, 3, loc=4.0, scale=stats.sem(values))
    assert (found.mean, found.low, found.high) == pytest.approx((4.0, low, high))
    assert spread([5.0, 5.0]) == Spread(5.0, None, None, 2)
    assert spread([5.0]) == Spread(5.0, None, None, 1)
    assert spread([]) is None
    assert spread([1.0, None]) is None
