"""Single steps of a cell that is attached anew."""

from __future__ import annotations

import pytest
import torch

from tunefront.bench.cells import Cell
from tunefront.bench.execution.step_timer import Rehearsal
from tunefront.bench.settings import resolve_recipe
from tunefront.methods.base import Unsupported
from tunefront.methods.spelling import parse


def rehearsal(method: str, backbone: str, task: str) -> Rehearsal:
    chosen = parse(method)
    return Rehearsal(Cell(chosen, backbone, task, resolve_recipe(chosen, {"steps": 2}), shots=8, template="plain"))


@pytest.mark.parametrize("name", ["gpt2", "t5"])
def test_rows_follow_the_demonstrations_that_were_read(
    name: str, language_models: dict[str, str], toy_folder: str
) -> None:
    shown = rehearsal("icl:k=2", language_models[name], toy_folder)
    scores = shown.evaluate()[:5]  # the longest rows, whatever else fits into the batch
    assert scores.shape[1] == 2
    assert not scores.allclose(rehearsal("icl:k=0", language_models[name], toy_folder).evaluate()[:5])
    with pytest.raises(Unsupported, match="trains nothing"):
        shown.train_step()


def test_a_step_changes_what_is_scored(language_models: dict[str, str], toy_folder: str) -> None:
    cell = rehearsal("ia3", language_models["llama"], toy_folder)
    before = cell.evaluate().clone()
    cell.train_step()
    cell._place = 0
    assert not torch.equal(cell.evaluate(), before)
