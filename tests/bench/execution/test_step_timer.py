"""Single steps of a freshly attached cell."""

from __future__ import annotations

import pytest
import torch

from tunefront.bench.cells import Cell
from tunefront.bench.execution.step_timer import StepTimer
from tunefront.bench.settings import resolve_recipe
from tunefront.methods.base import Unsupported
from tunefront.methods.spelling import parse


def timer(method: str, backbone: str, task: str) -> StepTimer:
    chosen = parse(method)
    return StepTimer(Cell(chosen, backbone, task, resolve_recipe(chosen, {"steps": 2}), shots=8, template="plain"))


@pytest.mark.parametrize("name", ["gpt2", "t5"])
def test_rows_follow_the_demonstrations_that_were_read(
    name: str, language_models: dict[str, str], toy_folder: str
) -> None:
    shown = timer("icl:k=2", language_models[name], toy_folder)
    scores = shown.evaluate()[:5]  # the longest rows, whatever else fits into the batch
    assert scores.shape[1] == 2
    assert not scores.allclose(timer("icl:k=0", language_models[name], toy_folder).evaluate()[:5])
    with pytest.raises(Unsupported, match="trains nothing"):
        shown.train_step()


def test_a_step_changes_what_is_scored(language_models: dict[str, str], toy_folder: str) -> None:
    cell = timer("ia3", language_models["llama"], toy_folder)
    before = cell.evaluate().clone()
    cell.train_step()
    cell._place = 0
    assert not torch.equal(cell.evaluate(), before)


def trained_in(cell: StepTimer) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in cell._setup.trainer.model.named_parameters()}


def test_a_step_trains_what_fit_trained_though_other_parts_are_scored(
    language_models: dict[str, str], toy_folder: str
) -> None:
    """Prefix tuning drops the network that computes its keys and values."""
    cell = timer("prefix_tuning:length=3,hidden=8", language_models["gpt2"], toy_folder)
    assert not any("detours" in name for name in trained_in(cell))
    cell.train_step()
    before = trained_in(cell)
    cell.train_step()
    moved = {name for name, value in trained_in(cell).items() if not torch.equal(value, before[name])}
    assert moved
    assert all(name.startswith("lead.detours.") for name in moved)
    cell.evaluate()
    assert not any("detours" in name for name in trained_in(cell))


def test_rows_that_train_follow_the_demonstrations_that_training_starts_from(
    language_models: dict[str, str], toy_folder: str
) -> None:
    cell = timer("cartridge:k=2", language_models["gpt2"], toy_folder)
    setup, seen = cell._setup, []
    loss = setup.backbone._logprobs
    setup.backbone._logprobs = lambda batch: seen.append(batch) or loss(batch)
    cell.train_step()
    (batch,) = seen
    expected = setup.trainer.prompts.after_start(setup.train).batch(batch.rows.tolist()).inputs["input_ids"]
    assert torch.equal(batch.inputs["input_ids"], expected)
    assert batch.inputs["input_ids"].shape != setup.train.batch(batch.rows.tolist()).inputs["input_ids"].shape


def test_what_leads_is_made_once_for_all_batches(language_models: dict[str, str], toy_folder: str) -> None:
    cell = timer("prompt_tuning:length=3", language_models["gpt2"], toy_folder)
    backbone, made = cell._setup.backbone, []
    make = backbone.make_lead
    backbone.make_lead = lambda batch=None: made.append(batch) or make(batch)
    scores = [cell.evaluate() for _ in range(len(cell._batches) + 1)]
    assert len(made) == 1
    assert torch.equal(scores[0], scores[-1])
