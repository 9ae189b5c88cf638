"""The recorded peak is that of the batch that needs the most memory, among all that ran."""

from __future__ import annotations

from functools import partial

import pytest

from tests.toys import Listed, encode, fresh_copy, harness, mixed_task, toy_task
from tunefront.bench.meters.batches import BatchLog
from tunefront.bench.meters.memory.phases import MOST_REPLAYS, BatchReplay, ParetoFront, PhaseMemory
from tunefront.bench.models.examples import EncodedExamples
from tunefront.bench.training.harness import MeasuringHarness
from tunefront.bench.training.step import Step
from tunefront.methods.base import Backbone, Batch, Scorer
from tunefront.methods.spelling import parse

LANGUAGE = ("gpt2", "llama", "t5", "t5-gated", "bart")


def ready(
    name: str, spelled: str, folders: dict[str, str]
) -> tuple[MeasuringHarness, Backbone, Scorer, EncodedExamples]:
    """A method fitted on rows of many lengths, and rows to score."""
    if name in LANGUAGE:
        task = mixed_task(train=40, test=60)
        backbone = fresh_copy(folders[name], task, template=Listed())
    else:
        task = toy_task(rows=(40, 60), words=(2, 40))
        backbone = fresh_copy(folders[name], task)
    method = parse(spelled)
    method.attach(backbone)
    trainer = harness(backbone, method, rows=8, batch_size=4, steps=10)
    scorer = method.fit(backbone, encode(backbone, task), trainer)
    return trainer, backbone, scorer, encode(backbone, task, "test")


def peak(memory: PhaseMemory, phase: str) -> int:
    return sum(memory.owners[phase].values())


@pytest.mark.parametrize("spelled", ["full", "ia3", "icl:k=0"])
@pytest.mark.parametrize("name", LANGUAGE)
def test_no_scored_batch_needs_more_memory(name: str, spelled: str, folders: dict[str, str]) -> None:
    trainer, _, scorer, test = ready(name, spelled, folders)
    trainer.score(scorer, test)
    recorded = peak(trainer.memory.measure(), "evaluation")
    replays = [BatchReplay((), partial(test.batch, rows)) for rows in test.scoring_order(8)]
    peaks = [peak(trainer.memory.batch("evaluation", scorer, replay), "evaluation") for replay in replays]
    assert len(set(peaks)) > 1
    assert recorded == max(peaks)


@pytest.mark.parametrize("name", ["bert", *LANGUAGE])
def test_no_training_batch_needs_more_memory(
    name: str, folders: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[EncodedExamples, list[int]]] = []
    add = BatchLog.add

    def recorded_add(shapes: BatchLog, batch: Batch) -> None:
        if shapes.training:
            ran.append((shapes.examples, batch.rows.tolist()))
        add(shapes, batch)

    monkeypatch.setattr(BatchLog, "add", recorded_add)
    trainer, backbone, *_ = ready(name, "full", folders)
    recorded = trainer.memory.measure()
    step = Step(backbone.trainable(), backbone.loss, trainer.recipe, trainer.subject.autocast)
    memories = [trainer.memory.step(step, BatchReplay((), partial(examples.batch, rows))) for examples, rows in ran]
    assert len(memories) == 10
    for phase in ("forward", "backward"):
        peaks = [peak(memory, phase) for memory in memories]
        assert len(set(peaks)) > 1
        assert peak(recorded, phase) == max(peaks), phase


def test_items_that_are_larger_in_no_size_are_dropped() -> None:
    largest: ParetoFront[str] = ParetoFront()
    for sizes, item in (((1, 5), "long"), ((3, 3), "both"), ((2, 3), "less"), ((3, 3), "again"), ((5, 1), "wide")):
        largest.add(sizes, item)
    assert sorted(largest.items()) == ["both", "long", "wide"]
    largest.add((5, 5), "all")
    assert largest.items() == ["all"]
    largest.add((9,), "of another kind")
    assert set(largest.items()) == {"all", "of another kind"}


def test_items_large_in_all_sizes_come_first_and_only_a_few_are_kept() -> None:
    largest: ParetoFront[int] = ParetoFront()
    for place in range(10):
        largest.add((place, 9 - place, 1 if place == 4 else 0), place)
    assert len(largest.items()) == MOST_REPLAYS
    assert largest.items()[0] == 4
