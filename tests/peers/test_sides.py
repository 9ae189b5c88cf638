"""The comparisons of `python -m tests.peers` on a tiny model, without the peer: our side and its limits are exact."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.peers.arithmetic import Flops
from tests.peers.material import ending_task, kind_task, make_backbone
from tests.peers.tunefront import Evaluation

TASKS = {"kind": kind_task, "ending": ending_task}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The backbone with two narrow layers."""
    size = {"n_embd": 32, "n_layer": 2, "n_head": 2, "initializer_range": 0.2}
    return make_backbone(tmp_path_factory.mktemp("peers") / "backbone", **size)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize(("task", "shots"), [("kind", 4), ("ending", 4), ("ending", 0)])
def test_shared_work_equals_one_pass_per_choice(tiny: Path, task: str, shots: int, attention: str) -> None:
    own = Evaluation(tiny, TASKS[task](40), shots)
    own.backbone.model.set_attn_implementation(attention)
    assert own.backbone.side_by_side
    assert max(map(len, own.examples.scoring_order(64))) > 1
    shared, plain = own.run(), own.run_plainly(range(len(own.examples)))
    assert plain.std(dim=0).min() > 0.1
    torch.testing.assert_close(shared, plain, atol=1e-4, rtol=0)


def test_answers_have_the_lengths_that_the_limits_assume(tiny: Path) -> None:
    kind = Evaluation(tiny, kind_task(40), 0).lengths
    ending = Evaluation(tiny, ending_task(40), 0).lengths
    assert all(choices == [1, 1] for _, choices in kind)
    assert all(len(choices) == 4 and min(choices) > 1 for _, choices in ending)
    assert all(15 <= query + max(choices) <= 60 for query, choices in (*kind, *ending))


def test_flops_of_plain_and_shared_work_equal_a_small_case_by_hand(tiny: Path) -> None:
    own = Evaluation(tiny, kind_task(2), 0)
    flops = Flops.of(own.backbone.model)
    assert flops == Flops(
        token=2 * 2 * 12 * 32**2, seen=2 * 4 * 32, logits=2 * 32 * own.backbone.model.config.vocab_size
    )
    unit = Flops(token=100, seen=10, logits=1)
    assert unit.plain([3]) == 300 + 10 * (1 + 2 + 3) + 3
    # A prefix of 2, a query of 1 and choices of 1 and 2 tokens: four tokens are read, the last sees three before it.
    assert unit.shared(2, [(1, [1, 2])]) == 400 + 10 * (1 + 2 + 3 + 4) + 2
