"""Prompt tuning: the count, what prompts start from, and that nothing else is trained."""

from __future__ import annotations

import pytest
import torch

from tests.toys import encode, fresh_copy, harness
from tunefront.bench.forecast.fake_models import attached
from tunefront.bench.models.tiny import FAMILIES, LANGUAGE_MODELS
from tunefront.methods.base import Unsupported
from tunefront.methods.prompt_tuning import PromptTuning


@pytest.mark.parametrize("name", [*FAMILIES[:3], *LANGUAGE_MODELS])
def test_it_trains_a_prompt_for_each_stack(name: str, folders: dict[str, str]) -> None:
    backbone = fresh_copy(folders[name])
    PromptTuning(length=7).attach(backbone)
    prompts = {n: p for n, p in backbone.trainable().items() if not n.startswith("head.")}
    stacks = 2 if LANGUAGE_MODELS.get(name) == "seq2seq" else 1
    assert [tuple(prompt.shape) for prompt in prompts.values()] == [(7, 32)] * stacks


def test_deberta_is_unsupported(backbones: dict[str, str]) -> None:
    with pytest.raises(Unsupported, match="deberta-v2 has its own attention"):
        PromptTuning().attach(fresh_copy(backbones["deberta-v2"]))


@pytest.mark.parametrize(("length", "count"), [(10, 40_960), (100, 409_600)])
def test_counts_on_t0_3b_are_those_of_t_few(length: int, count: int) -> None:
    """r-three/t-few: prompts of 10 and of 100 in encoder and decoder, of width 2,048."""
    backbone = attached(PromptTuning(length=length), "t0-3b")
    assert sum(parameter.numel() for parameter in backbone.trainable().values()) == count == 2 * length * 2048


@pytest.mark.parametrize("name", ["bert", "llama", "t5", "bart"])
def test_prompts_start_as_words_that_are_not_special(name: str, folders: dict[str, str]) -> None:
    backbone = fresh_copy(folders[name])
    PromptTuning(length=50).attach(backbone)
    words = backbone.model.get_input_embeddings()(torch.arange(backbone.model.get_input_embeddings().num_embeddings))
    special = backbone.tokenizer.all_special_ids
    starts = []
    for n, prompt in backbone.trainable().items():
        if n.startswith("lead."):
            ids = (prompt[:, None] == words[None]).all(2).int().argmax(1)
            assert torch.equal(words[ids], prompt)
            assert not set(ids.tolist()) & set(special)
            starts.append(ids.tolist())
    assert all(len(set(ids)) > 5 for ids in starts)
    assert len({tuple(ids) for ids in starts}) == len(starts), "each stack draws words of its own"


def test_of_t5s_vocabulary_those_are_drawn_from_that_t_few_draws_from() -> None:
    """Ids 3 to 5,002: its special tokens are the first three and the last hundred."""

    class Tokenizer:
        all_special_ids = (0, 1, 2, *range(32_000, 32_100))

    class Backbone:
        tokenizer = Tokenizer()

    torch.manual_seed(0)
    drawn = PromptTuning(length=50_000)._words(Backbone(), 32_128)  # type: ignore[arg-type]
    assert set(drawn.tolist()) == set(range(3, 5_003))


def test_a_text_is_repeated_or_cut_to_the_length(language_models: dict[str, str]) -> None:
    backbone = fresh_copy(language_models["gpt2"])
    PromptTuning(length=5, start="text", text="good bad").attach(backbone)
    ids = backbone.tokenizer("good bad")["input_ids"]
    (prompt,) = backbone.trainable().values()
    assert torch.equal(prompt, backbone.model.get_input_embeddings().weight[(ids * 5)[:5]])


def test_random_prompts_lie_between_minus_and_plus_one_half(language_models: dict[str, str]) -> None:
    backbone = fresh_copy(language_models["gpt2"])
    PromptTuning(length=100, start="random").attach(backbone)
    (prompt,) = backbone.trainable().values()
    assert -0.5 <= prompt.min() < -0.4
    assert 0.4 < prompt.max() <= 0.5


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"length": 0}, "length must be at least 1"),
        ({"start": "text"}, "start=text needs a text to start from, text=WORDS; text is None"),
        ({"start": "text", "text": ""}, "start=text needs a text to start from, text=WORDS; text is ''"),
        ({"text": "good"}, "text is 'good', .* start is 'vocabulary'"),
        ({"text": ""}, "text is ''"),
    ],
)
def test_fields_that_mean_nothing_are_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        PromptTuning(**fields)  # type: ignore[arg-type]


def test_a_prompt_that_leaves_no_room_is_unsupported_and_names_the_lengths(folders: dict[str, str]) -> None:
    with pytest.raises(Unsupported, match="takes 250 of the 256 tokens that gpt2 "):
        PromptTuning(length=250).attach(fresh_copy(folders["gpt2"]))
    with pytest.raises(Unsupported, match="takes 61 of the 64 tokens that bert "):
        PromptTuning(length=61).attach(fresh_copy(folders["bert"]))


def test_drawing_the_prompt_leaves_the_head_as_it_was(backbones: dict[str, str]) -> None:
    plain = fresh_copy(backbones["bert"], seed=3)
    head = {name: value.clone() for name, value in plain.head.state_dict().items()}
    backbone = fresh_copy(backbones["bert"], seed=3)
    PromptTuning().attach(backbone)
    assert all(torch.equal(value, head[name]) for name, value in backbone.head.state_dict().items())


@pytest.mark.parametrize("name", ["bert", "qwen2", "t5"])
def test_bfloat16_autocast_gives_nearly_the_same_scores(name: str, folders: dict[str, str]) -> None:
    backbone = fresh_copy(folders[name])
    PromptTuning().attach(backbone)
    rows = encode(backbone, split="test")
    exact = harness(backbone, PromptTuning()).score(backbone.score, rows).values
    coarse = harness(backbone, PromptTuning(), dtype="bfloat16").score(backbone.score, rows).values
    assert not torch.equal(coarse, exact)
    assert torch.allclose(coarse, exact, atol=0.2, rtol=0.1)
    trainer = harness(backbone, PromptTuning(), dtype="bfloat16", steps=2)
    trainer.train(backbone.trainable(), backbone.loss, encode(backbone))
    assert all(parameter.dtype == torch.float32 for parameter in backbone.trainable().values())


def test_a_pretrained_backbone_is_not_changed(language_models: dict[str, str]) -> None:
    backbone = fresh_copy(language_models["llama"])
    PromptTuning().attach(backbone)
    model = fresh_copy(language_models["llama"]).model
    assert not hasattr(model, "lead")
    assert model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("name", ["gpt2", "qwen2"])
def test_a_decoders_prompt_is_a_prefill_and_its_keys_are_the_cache(name: str, language_models: dict[str, str]) -> None:
    method, backbone = PromptTuning(length=5), fresh_copy(language_models[name])
    method.attach(backbone)
    trainer = harness(backbone, method, steps=2)
    scored = trainer.score(method.fit(backbone, encode(backbone), trainer), encode(backbone, split="test"))
    heads = 1 if name == "qwen2" else 2
    owners = trainer.memory.measure().owners
    assert owners["prefill"]["kv_cache"] == owners["evaluation"]["kv_cache"] == 2 * 2 * heads * 5 * 16 * 4
    assert "kv_cache" not in owners["forward"]
    prefill = trainer.prompts.entry_once(backbone, trainer.flop_ledger)
    assert prefill.counted == prefill.analytic > 0
    assert trainer.prompts.lead_seconds > 0
    assert scored.entry is not None
    assert scored.entry.counted == scored.entry.analytic
