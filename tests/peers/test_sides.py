"""The comparisons of `python -m tests.peers` on a tiny model, without the peer: our side and its limits are exact."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import jinja2
import pytest
import torch

from tests import ROOT
from tests.peers import scoring
from tests.peers.arithmetic import Flops
from tests.peers.lm_evaluation_harness import prompt_of
from tests.peers.material import ending_task, kind_task, make_backbone
from tests.peers.tunefront import Evaluation
from tests.toys import fresh_copy, toy_task
from tunefront.bench.data.archives.cached import NotFetched
from tunefront.bench.models.families import Decoder
from tunefront.bench.templates import find_template

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


def test_flops_of_a_gated_decoder_follow_from_its_shapes(language_models: dict[str, str]) -> None:
    """Of two heads of width 16 with one pair of keys and values, and three matrices in the feed-forward."""
    model = cast(Decoder, fresh_copy(language_models["qwen2"])).model
    flops = Flops.of(model)
    attention, feed_forward = 2 * 32 * 32 + 2 * 32 * 16, 3 * 32 * 64
    assert (flops.token, flops.seen) == (2 * 2 * (attention + feed_forward), 2 * 4 * 32)
    assert flops.logits == 2 * 32 * model.config.vocab_size


@pytest.mark.parametrize("name", ["plain", "movies"])
def test_the_peer_renders_the_same_prompts(name: str) -> None:
    prompts = ROOT / "bench" / "data" / "prompts" / "sentiment_movies.yaml"
    task = toy_task() if name == "plain" else replace(toy_task(), templates=prompts)
    source = prompt_of(task)
    for row in task.splits["test"]:
        prompt = find_template(task, None).render(task, row)
        assert jinja2.Template(source["doc_to_text"]).render(row.fields) == prompt.text
        assert tuple(source["doc_to_choice"]) == prompt.choices
        assert source.get("target_delimiter", " ") == prompt.separator


def test_a_real_model_that_was_not_fetched_is_left_out(tmp_path: Path) -> None:
    with pytest.raises(NotFetched, match="tunefront fetch"):
        scoring.prepare_real(tmp_path)
