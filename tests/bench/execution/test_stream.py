"""Streams of tasks: which steps there are, what runs again, and what every step starts from."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load

from tests.bench.execution.grids import deterministic
from tests.bench.execution.streams import alone, toy_tasks
from tests.toys import loaded, pair_id, shipped
from tunefront.bench.cells import Stage
from tunefront.bench.data.sampling import rows_of
from tunefront.bench.data.sources import load_task
from tunefront.bench.errors import UserError
from tunefront.bench.execution.grid import run_grid
from tunefront.bench.execution.identity import Identity
from tunefront.bench.execution.run_cell import run_cell
from tunefront.bench.execution.stages import StageSetup
from tunefront.bench.execution.stream import Streams, ordered
from tunefront.bench.meters.storage import shipped_bytes
from tunefront.bench.records import Record
from tunefront.bench.records.store import Store
from tunefront.bench.training.harness import MeasuringHarness
from tunefront.bench.training.instruments import Subject
from tunefront.methods.base import Method, Unsupported
from tunefront.methods.spelling import parse


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return toy_tasks(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def ran(tasks: list[str], backbones: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A stream that ran: its streams, its store, and its records by (method, way, tasks)."""
    cells = alone(backbones["bert"], tasks, ("full", "houlsby:bottleneck=4"))
    streams = Streams.of(cells, (0, 1), (parse("full"),), replay_share=0.25)
    store = Store(tmp_path_factory.mktemp("stream"))
    outcome = streams.run(store)
    assert [record.status for record in outcome.records] == ["ok"] * len(streams.cells)
    return streams, store, {place(record): record for record in outcome.records}


def place(record: Record) -> tuple[object, ...]:
    return record.label, record.stream.way, (*(record.stream.earlier or ()), record.task)


def test_orders_are_permutations_and_the_first_is_as_given() -> None:
    tasks = ["a", "b", "c", "d"]
    assert ordered(tasks, 0) == tuple(tasks)
    assert all(sorted(ordered(tasks, seed)) == tasks for seed in range(1, 6))
    assert len({ordered(tasks, seed) for seed in range(1, 20)}) > 5
    assert ordered(tasks, 3) == ordered(tasks, 3)


def test_every_step_of_every_order_is_a_cell_once(ran: Any, tasks: list[str]) -> None:
    streams, _, records = ran
    assert len(streams.rounds[0]) == 6  # two methods on three tasks
    assert len(set(streams.cells)) == len(streams.cells) == len(records)
    orders = [ordered(tasks, seed) for seed in (0, 1)]
    for order in orders:
        for way in ("separate", "sequential", "replay"):
            assert {("full", way, order), ("full", way, order[:2])} <= records.keys()
        assert ("houlsby:bottleneck=4", "separate", order) in records
    together = [key for key in records if key[1] == "multitask" and len(key[2]) == len(tasks)]
    assert together == [("full", "multitask", tuple(tasks))]  # the order of tasks does not matter


def test_separate_tasks_are_scored_as_when_they_were_new_to_the_bit(ran: Any) -> None:
    _, _, records = ran
    steps = [record for record in records.values() if record.stream.way == "separate"]
    assert steps
    for step in steps:
        for task, digest in {**step.stream.earlier_sha256, step.task: step.scores.sha256}.items():
            new = records[step.label, None, (task,)]
            assert digest == new.scores.sha256
            scores = step.stream.earlier_scores.get(task, step.scores.test)
            assert scores == new.scores.test


def test_one_model_that_goes_on_changes_what_it_answers_to_earlier_tasks(ran: Any) -> None:
    _, _, records = ran
    for record in records.values():
        if record.stream.way in ("sequential", "replay"):
            for task, digest in record.stream.earlier_sha256.items():
                assert digest != records[record.label, None, (task,)].scores.sha256


def test_files_and_parameters_of_all_tasks_are_those_of_the_real_files(ran: Any, tasks: list[str]) -> None:
    _, store, records = ran
    whole = tuple(tasks)
    adapters = records["houlsby:bottleneck=4", "separate", whole]
    files = [store.checkpoint(records["houlsby:bottleneck=4", None, (task,)]) for task in tasks]
    backbone = adapters.storage.backbone_bytes
    assert adapters.stream.total_bytes == backbone + sum(map(shipped_bytes, files))
    news = [records["houlsby:bottleneck=4", None, (task,)].parameters for task in tasks]
    frozen = news[0].total - news[0].trainable
    assert adapters.stream.total_params == frozen + sum(new.trainable for new in news)
    full = records["full", "separate", whole]
    files = [store.checkpoint(records["full", None, (task,)]) for task in tasks]
    assert full.stream.total_bytes == sum(map(shipped_bytes, files))  # each has all weights: no backbone is needed
    sequential = records["full", "sequential", whole]
    assert sequential.stream.total_bytes == shipped_bytes(store.checkpoint(sequential))
    heads = [new.head for new in (records["full", None, (task,)].parameters for task in tasks)]
    assert sequential.stream.total_params == news[0].backbone + sum(heads)
    assert sequential.parameters.head == sum(heads)


def test_a_step_in_sequence_trains_the_newest_task_from_the_weights_before_it(
    tasks: list[str], backbones: dict[str, str], tmp_path: Path
) -> None:
    """The same training by hand: a fresh copy with the earlier weights in it, and the new task's own fresh head."""
    cells, method, store = alone(backbones["bert"], tasks[:2]), parse("full"), Store(tmp_path)
    outcome = Streams.of(cells, one_model=(method,), ways=("sequential",)).run(store)
    made = {record.stream.way or record.task: record for record in outcome.records}
    task, cell = load_task(tasks[1]), cells[1]
    torch.set_num_threads(cell.config.threads)
    backbone = loaded(backbones["bert"]).fresh_copy(task, 0, None)
    earlier = load(store.checkpoint(made[tasks[0]]) or b"")
    body = {name: value for name, value in earlier.items() if not name.startswith("head.")}
    backbone.model.load_state_dict({**backbone.model.state_dict(), **body})
    method.attach(backbone)
    examples = backbone.encode(task, rows_of(cell, task).train, None)
    trainer = MeasuringHarness(Subject(backbone.model, cell.recipe, 0, ("by hand",), 16))
    trainer.train(backbone.trainable(), backbone.loss, examples)
    after = load(store.checkpoint(made["sequential"]) or b"")
    for name, value in backbone.trainable().items():
        assert torch.equal(value, after[name]), name
    for name in ("output.weight", "output.bias"):  # the head of the earlier task is kept as it was
        assert torch.equal(after[f"heads.0.{name}"], earlier[f"head.{name}"])


def test_replayed_rows_are_the_first_of_every_earlier_draw(ran: Any, tasks: list[str]) -> None:
    _, _, records = ran
    assert records["full", "replay", tuple(tasks)].stream.replayed_rows == 2 * 6  # a quarter of 24 rows
    assert records["full", "multitask", tuple(tasks)].stream.replayed_rows == 2 * 24
    assert records["full", "sequential", tuple(tasks)].stream.replayed_rows == 0
    assert records["full", "separate", tuple(tasks)].stream.replayed_rows is None


def test_a_step_that_only_scores_has_no_cost_of_training(ran: Any) -> None:
    _, _, records = ran
    for record in records.values():
        if record.stream.way == "separate":
            assert (record.training.steps, record.seconds.train, record.flops.train) == (None, None, None)
            assert record.seconds.eval is not None


def test_only_checkpoints_that_are_needed_stay(ran: Any) -> None:
    _, store, records = ran
    kept = {path.stem for path in (store.folder / "checkpoints").iterdir()}
    last = {key for key in records if len(key[2]) == 3 and key[1] not in (None, "separate")}
    assert kept == {records[key].storage.checkpoint_sha256 for key in records if key[1] is None or key in last}


def test_a_second_call_runs_nothing(ran: Any) -> None:
    streams, store, _ = ran
    outcome = streams.run(store)
    assert (outcome.ran, outcome.reused) == (0, len(streams.cells))


def test_a_killed_stream_goes_on_to_the_same_records(ran: Any, tasks: list[str], tmp_path: Path) -> None:
    """Whatever files a killed process left: all of some rounds, a checkpoint without a record, or neither."""
    streams, store, records = ran
    wanted = deterministic(store)
    lost = [
        records["full", "sequential", tuple(tasks)],
        records["full", "sequential", tuple(tasks[:2])],
        records["houlsby:bottleneck=4", None, (tasks[1],)],
        records["full", "multitask", tuple(tasks)],
    ]
    copy = tmp_path / "copy"
    shutil.copytree(store.folder, copy)
    for record in lost:
        (copy / "records" / f"{record.key}.json").unlink()
    Store(copy).drop_checkpoints([lost[0]])
    outcome = streams.run(Store(copy))
    assert not outcome.failed
    assert outcome.ran == len(lost)
    assert deterministic(Store(copy)) == wanted


def test_a_stream_that_shares_its_first_tasks_with_an_earlier_one_trains_again_what_it_needs(
    backbones: dict[str, str], tmp_path: Path
) -> None:
    """The checkpoint that it goes on from was dropped, and so were those before it; no result is lost."""
    tasks = toy_tasks(tmp_path / "data", 5)
    cells, method, store = alone(backbones["bert"], tasks, ("full",)), parse("full"), Store(tmp_path / "out")

    def ran(last: int) -> dict[str, Record]:
        kept = [cell for cell in cells if cell.task in (*tasks[:3], tasks[last])]
        outcome = Streams.of(kept, one_model=(method,), ways=("sequential",)).run(store)
        assert not outcome.failed
        return {record.key: record for record in outcome.records}

    first, second = ran(3), ran(4)
    again = [key for key in first.keys() & second.keys() if first[key].stream.way == "sequential"]
    assert len(again) == 2
    assert all(first[key].scores == second[key].scores for key in again)


def test_a_failure_replaces_no_result(tasks: list[str], backbones: dict[str, str], tmp_path: Path) -> None:
    """A step that has a result runs again only for its checkpoint; without the one before it, it cannot."""
    cells, store = alone(backbones["bert"], tasks[:2]), Store(tmp_path)
    streams = Streams.of(cells, one_model=(cells[0].method,), ways=("sequential",))
    streams.run(store)
    step = next(cell for cell in streams.cells if cell.stage and cell.stage.way == "sequential")
    key = Identity.of(step).key
    for record in store.records():
        store.drop_checkpoints([record])
    outcome = run_grid([replace(step, keep=True)], store)
    assert [record.status for record in outcome.records] == ["ok"]
    kept = store.read(key)
    assert kept is not None
    assert kept.status == "ok"


def test_two_names_of_the_same_rows_are_a_mistake(tasks: list[str], backbones: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(tasks[0].removeprefix("dir:"), tmp_path / "copy")
    with pytest.raises(UserError, match="same rows"):
        Streams.of(alone(backbones["bert"], [tasks[0], f"dir:{tmp_path / 'copy'}"]))


def test_a_task_alone_that_was_recorded_without_a_checkpoint_is_trained_again(
    tasks: list[str], backbones: dict[str, str], tmp_path: Path
) -> None:
    cells = alone(backbones["bert"], tasks[:2], ("ia3",))
    store = Store(tmp_path)
    store.prepare()
    for cell in cells:
        store.write(*run_cell(cell))
    outcome = Streams.of(cells).run(store)
    assert (outcome.failed, outcome.ran) == (0, 2 + 1)


def test_steps_after_a_failed_one_are_not_run(
    tasks: list[str], backbones: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cells = alone(backbones["bert"], tasks[:2], ("full",))
    cells = [replace(cell, recipe=replace(cell.recipe, learning_rate=1e30)) for cell in cells]
    outcome = Streams.of(cells, one_model=(parse("full"),)).run(Store(tmp_path))
    assert outcome.failed == len(outcome.records) == 3  # both tasks alone, and multi-task training, which needs neither
    assert "3 of 6 steps were not run" in caplog.text


@pytest.mark.parametrize("method", shipped(), ids=pair_id)
def test_every_method_scores_from_its_checkpoint_to_the_bit_or_says_why_not(
    method: Method, tasks: list[str], backbones: dict[str, str], tmp_path: Path
) -> None:
    cells = [replace(cell, method=method) for cell in alone(backbones["bert"], tasks[:2])]
    try:
        streams = Streams.of(cells)
    except UserError:
        with pytest.raises(Unsupported):
            method.scorer(loaded(backbones["bert"]).fresh_copy(load_task(tasks[0]), 0, None))
        return
    outcome = streams.run(Store(tmp_path))
    assert not outcome.failed, [record.reason for record in outcome.records]
    by_place = {place(record)[1:]: record for record in outcome.records}
    for task in tasks[:2]:
        new = by_place[None, (task,)]
        if new.status == "ok":
            step = by_place["separate", tuple(tasks[:2])]
            again = {**step.stream.earlier_sha256, step.task: step.scores.sha256}
            assert again[task] == new.scores.sha256


@pytest.mark.parametrize("name", ["gpt2", "t5"])
def test_language_models_have_streams_with_a_prompt_for_each_task(
    name: str, tasks: list[str], language_models: dict[str, str], tmp_path: Path
) -> None:
    cells = alone(language_models[name], tasks[:2], ("lora:rank=2",), template="plain")
    outcome = Streams.of(cells, one_model=(cells[0].method,)).run(Store(tmp_path))
    assert [record.status for record in outcome.records] == ["ok"] * 6
    last = {record.stream.way: record for record in outcome.records if record.stream.way}
    assert all(set(record.stream.earlier_scores) == {tasks[0]} for record in last.values())
    alone_record = next(record for record in outcome.records if record.task == tasks[0])
    assert last["separate"].stream.earlier_sha256[tasks[0]] == alone_record.scores.sha256


def test_a_stream_of_one_task_is_a_mistake(tasks: list[str], backbones: dict[str, str]) -> None:
    with pytest.raises(UserError, match="two tasks"):
        Streams.of(alone(backbones["bert"], tasks[:1]))
    with pytest.raises(UserError, match="two tasks"):
        Streams.of([])


def test_two_cells_of_a_method_on_a_task_are_a_mistake(tasks: list[str], backbones: dict[str, str]) -> None:
    cells = alone(backbones["bert"], tasks)
    other = replace(cells[0], recipe=replace(cells[0].recipe, learning_rate=0.5))
    with pytest.raises(UserError, match="full"):
        Streams.of([*cells, other])
    with pytest.raises(UserError, match="full"):
        Streams.of([replace(cells[0], recipe=replace(cells[0].recipe, learning_rate=0.5)), *cells[1:]])
    with pytest.raises(UserError, match="rows"):
        Streams.of([replace(cells[0], shots=8), *[replace(cell, shots=9) for cell in cells[1:]]])


@pytest.mark.parametrize("spelled", ["knn", "features", "fish:density=0.05"])
def test_methods_that_cannot_be_in_a_stream_are_named(
    spelled: str, tasks: list[str], backbones: dict[str, str]
) -> None:
    cells = alone(backbones["bert"], tasks, (spelled,))
    with pytest.raises(UserError, match=spelled.split(":", maxsplit=1)[0]):
        Streams.of(cells, one_model=(cells[0].method,))


def test_a_step_is_another_cell_than_the_task_alone_and_than_other_steps(
    tasks: list[str], backbones: dict[str, str]
) -> None:
    cell = alone(backbones["bert"], tasks)[2]
    first, second = (task for task in tasks[:2])
    stages = [
        None,
        Stage("separate", ((first, None),)),
        Stage("sequential", ((first, None),)),
        Stage("sequential", ((second, None),)),
        Stage("sequential", ((first, None), (second, None))),
        Stage("sequential", ((second, None), (first, None))),
        Stage("replay", ((first, None),), 0.1),
        Stage("replay", ((first, None),), 0.2),
    ]
    keys = {Identity.of(replace(cell, stage=stage)).key for stage in stages}
    assert len(keys) == len(stages)
    assert Identity.of(replace(cell, keep=True)).key == Identity.of(cell).key


def test_a_missing_checkpoint_fails_the_step_with_a_reason(
    tasks: list[str], backbones: dict[str, str], tmp_path: Path
) -> None:
    cell = replace(alone(backbones["bert"], tasks)[1], stage=Stage("sequential", ((tasks[0], None),)))
    store = Store(tmp_path)
    store.prepare()
    record, _ = run_cell(cell, store=store)
    assert record.status == "failed"
    assert "checkpoint" in (record.reason or "")
    assert (record.stream.way, record.stream.earlier) == ("sequential", (tasks[0],))  # no failure of the task alone
    with pytest.raises(RuntimeError, match="checkpoint"):
        StageSetup(cell, store)
