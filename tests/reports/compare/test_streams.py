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


def test_orders_of_one_draw_are_no_independent_runs() -> None:
    """Two draws with two orders each: the interval is between the draws."""
    other = ("b", "a", "c")
    records = []
    for draw, gain in ((0, 0.0), (1, 0.1)):
        matrix = tuple(tuple(score - gain for score in row) for row in MATRIX)
        records += alone("full", ALONE, draw_seed=draw)
        records += passage("full", "sequential", TASKS, matrix, draw_seed=draw)
        records += passage("full", "sequential", other, matrix, draw_seed=draw)
    found = only(records, "sequential").spread(lambda passage: passage.averages[-1])
    assert found is not None
    expected = spread([(65 + 50 + 88) / 3, (65 + 50 + 88) / 3 - 10])
    assert expected is not None
    assert found.n == 2
    assert (found.mean, found.low, found.high) == pytest.approx((expected.mean, expected.low, expected.high))


def test_shares_recipes_and_code_are_never_averaged_together() -> None:
    recipe = {**sequence()[0].recipe, "learning_rate": 0.5}
    records = [*sequence(), *alone("full", ALONE, recipe=recipe)]
    records += passage("full", "sequential", TASKS, MATRIX, recipe=recipe)
    for share in (0.1, 0.9):
        records += passage("full", "replay", TASKS, MATRIX, stream__replay_share=share)
    (stream,) = streams_of(records)
    named = [(row.way, row.replay_share, row.note) for row in stream.rows]
    assert len(set(named)) == len(named) == 4
    assert [note for way, _, note in named if way == "sequential"] == ["learning_rate=0.0003", "learning_rate=0.5"]
    assert all(len(row.passages) == 1 for row in stream.rows)
    other = {**sequence()[0].fingerprints, "harness": "h" * 64}
    records = [*sequence(), *(r.model_copy(update={"fingerprints": other}) for r in sequence())]
    assert len(streams_of(records)) == 2


def test_a_step_on_other_rows_than_the_task_alone_is_left_out() -> None:
    records = sequence()
    prints = {**records[-1].fingerprints, "earlier task 1": "0" * 64}
    known = [
        record.model_copy(update={"fingerprints": {**record.fingerprints, "task": "1" * 64}})
        if record.task == "a" and not record.stream.is_step
        else record
        for record in records[:-1]
    ]
    assert streams_of([*known, records[-1].model_copy(update={"fingerprints": prints})]) == []


def test_what_multi_task_training_changes_is_compared_task_by_task() -> None:
    records = [*sequence(), *passage("full", "multitask", TASKS, MATRIX)]
    steps = [record for record in records if record.stream.way == "multitask"]
    same = {"a": "x" * 64, "b": "y" * 64, "c": "z" * 64}
    known = [
        step.model_copy(
            update={
                "scores": step.scores.model_copy(update={"sha256": same[step.task]}),
                "stream": step.stream.model_copy(
                    update={"earlier_sha256": {task: same[task] for task in step.stream.earlier or ()}}
                ),
            }
        )
        for step in steps
    ]
    found = first([*sequence(), *known], "multitask")
    assert found.unchanged == (1, 3)  # b again after c; a was new in the record of the task alone


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
