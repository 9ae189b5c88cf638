"""One encoder for several tasks: every row is trained by the head of its own task."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy, mse_loss

from tests.toys import fresh_copy, toy_task
from tunefront.bench.data.task import Task
from tunefront.bench.models.families.several import SeveralTasks, as_earlier
from tunefront.bench.models.scoring.prompted import PromptedExamples
from tunefront.methods.base import Unsupported
from tunefront.methods.spelling import parse

NEWEST, VALUES = toy_task(), toy_task("regression")
CLASSES = replace(toy_task(seed=1), label_names=("good", "bad", "other"))


def shared(folder: str, earlier: list[Task]) -> SeveralTasks:
    backbone = fresh_copy(folder, NEWEST)
    parse("full").attach(backbone)
    return SeveralTasks(backbone, [(task, None) for task in earlier])


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_a_batch_of_several_tasks_has_the_mean_of_every_rows_own_loss(name: str, backbones: dict[str, str]) -> None:
    several = shared(backbones[name], [CLASSES, VALUES])
    tasks = [CLASSES, VALUES, NEWEST]
    parts = [
        backbone.encode(task, task.splits["train"][:4], None)
        for backbone, task in zip(several.backbones, tasks, strict=True)
    ]
    joined = several.join(parts)
    assert len(joined) == 12
    order = [11, 0, 5, 3, 7, 8, 1]
    batch = joined.batch(order)
    several.model.eval()
    expected = []
    with torch.no_grad():
        whole = several.newest.loss(batch)
        for row in order:
            backbone, part = several.backbones[row // 4], parts[row // 4]
            states = backbone.features(part.batch([row % 4]))
            outputs, label = backbone.head(states), part.labels[[row % 4]]
            expected.append(mse_loss(outputs[:, 0], label) if row // 4 == 1 else cross_entropy(outputs, label))
    assert float(whole) == pytest.approx(float(torch.stack(expected).mean()), rel=1e-4)


def test_only_joined_rows_train_the_heads_of_earlier_tasks(backbones: dict[str, str]) -> None:
    several = shared(backbones["bert"], [CLASSES])
    names = [name for name in several.newest.trainable() if name.startswith("heads.")]
    assert names == []
    parts = [
        backbone.encode(task, task.splits["train"], None)
        for backbone, task in zip(several.backbones, (CLASSES, NEWEST), strict=True)
    ]
    several.join(parts)
    assert [name for name in several.newest.trainable() if name.startswith("heads.0.")]
    assert {"heads.0.output.weight", "head.output.weight"} <= several.shipped().keys()


def test_heads_of_earlier_tasks_leave_the_random_state_as_it_was(backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["bert"], NEWEST)
    before = torch.random.get_rng_state()
    SeveralTasks(backbone, [(CLASSES, None), (CLASSES, None)])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_head_of_a_checkpoint_becomes_that_of_an_earlier_task() -> None:
    tensor = torch.zeros(1)
    renamed = as_earlier({"head.output.weight": tensor, "heads.0.output.bias": tensor, "x.weight": tensor}, 1)
    assert set(renamed) == {"heads.1.output.weight", "heads.0.output.bias", "x.weight"}


def test_a_checkpoint_that_does_not_fit_is_refused(backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["bert"], NEWEST)
    parse("ia3").attach(backbone)
    names = list(backbone.trainable())
    stored = {name: torch.ones_like(value) for name, value in backbone.trainable().items()}
    backbone.restore(stored)
    assert all(bool((value == 1).all()) for value in backbone.trainable().values())
    for wrong in (
        {name: value for name, value in stored.items() if name != names[0]},
        {**stored, "nowhere.weight": torch.ones(1)},
        {**stored, names[0]: torch.ones(1)},
        {**stored, names[0]: torch.full_like(stored[names[0]], float("nan"))},
    ):
        with pytest.raises(ValueError, match="fit"):
            backbone.restore(wrong)


def test_language_models_join_prompts_and_have_no_heads(language_models: dict[str, str]) -> None:
    backbone = fresh_copy(language_models["gpt2"], NEWEST)
    parse("full").attach(backbone)
    several = SeveralTasks(backbone, [(NEWEST, backbone.prompting.template)])
    parts = [other.encode(NEWEST, NEWEST.splits["train"][:3], None) for other in several.backbones]
    joined = several.join(parts)
    assert isinstance(joined, PromptedExamples)
    assert len(joined) == 6
    assert len(joined.take([5, 0])) == 2
    assert len(several.heads) == 0
    backbone.add_head()
    with pytest.raises(Unsupported, match="head"):
        SeveralTasks(backbone, [(NEWEST, backbone.prompting.template)])
