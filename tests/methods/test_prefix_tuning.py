"""Prefix tuning: counts with and without its detour, the detour in plain algebra, and what is left of it."""

from __future__ import annotations

import pytest
import torch

from tests.toys import encode, fresh_copy, harness
from tunefront.bench.forecast.fake_models import attached
from tunefront.bench.models.tiny import FAMILIES, LANGUAGE_MODELS
from tunefront.methods.base import Unsupported
from tunefront.methods.prefix_tuning import Prefix, PrefixTuning

ATTENTIONS = dict.fromkeys(FAMILIES, 2) | {
    name: 6 if family == "seq2seq" else 2 for name, family in LANGUAGE_MODELS.items()
}
"""Attentions of each tiny model: an encoder-decoder has cross attention in its two decoder blocks."""
WIDTHS = {"qwen2": 16, "t5-gated": 24}
"""Of all keys together, where it is not the model's 32."""


def own(backbone: object) -> dict[str, torch.Tensor]:
    return {n: p for n, p in backbone.trainable().items() if not n.startswith("head.")}  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", [name for name in ATTENTIONS if name != "deberta-v2"])
def test_counts_with_the_detour_and_what_is_left_of_it_are_the_closed_formulas(
    name: str, folders: dict[str, str]
) -> None:
    method, backbone = PrefixTuning(length=3, hidden=8), fresh_copy(folders[name])
    method.attach(backbone)
    n, h, d, w = 3, 8, 32, WIDTHS.get(name, 32)
    groups = 3 if LANGUAGE_MODELS.get(name) == "seq2seq" else 1
    detours = groups * (n * d + h * (d + 1)) + ATTENTIONS[name] * 2 * (h + 1) * w
    assert sum(p.numel() for p in own(backbone).values()) == detours
    method.fit(backbone, encode(backbone), harness(backbone, method, steps=1))
    assert sum(p.numel() for p in own(backbone).values()) == ATTENTIONS[name] * 2 * n * w
    plain = fresh_copy(folders[name])
    PrefixTuning(length=3, hidden=0).attach(plain)
    assert own(plain).keys() == own(backbone).keys()


def test_counts_on_t0_3b_are_those_of_t_few() -> None:
    """r-three/t-few: 2 tokens ("Question:", "Answer:") in three groups of 24 attentions each, MLP-512."""
    method = PrefixTuning(length=2, hidden=512)
    backbone = attached(method, "t0-3b")
    assert sum(p.numel() for p in backbone.trainable().values()) == 154_449_408
    backbone.model.lead.settle()
    assert sum(p.numel() for p in backbone.trainable().values()) == 589_824 == 24 * 3 * 2 * 2 * 2048


def test_keys_and_values_are_the_detour_in_plain_algebra(language_models: dict[str, str]) -> None:
    """W_2 tanh(W_1 P + b_1) + b_2, split into columns per attention: keys, then values, head by head."""
    backbone = fresh_copy(language_models["qwen2"])
    PrefixTuning(length=3, hidden=8).attach(backbone)
    lead = backbone.model.lead
    (detour,) = lead.detours
    w = dict(detour.named_parameters())
    inner = torch.tanh(w["embeddings"] @ w["inner.weight"].T + w["inner.bias"])
    outer = inner @ w["outer.weight"].T + w["outer.bias"]
    for number, (keys, values) in enumerate(lead().values()):
        columns = outer[:, 32 * number : 32 * (number + 1)]
        assert keys.shape == values.shape == (1, 1, 3, 16)
        assert torch.allclose(keys[0, 0], columns[:, :16], atol=1e-6)
        assert torch.allclose(values[0, 0], columns[:, 16:], atol=1e-6)


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5"])
def test_dropping_the_detour_changes_no_score_and_training_goes_on_without_it(
    name: str, folders: dict[str, str]
) -> None:
    method, backbone = PrefixTuning(length=3, hidden=8), fresh_copy(folders[name])
    method.attach(backbone)
    batch = encode(backbone, split="test").batch(range(5))
    backbone.model.eval()
    with torch.no_grad():
        before = backbone.score(batch)
    backbone.model.lead.settle()
    with torch.no_grad():
        assert torch.allclose(backbone.score(batch), before, atol=1e-6)
    states = {n: p.detach().clone() for n, p in own(backbone).items()}
    trainer = harness(backbone, method, steps=2, learning_rate=0.1)
    trainer.train(backbone.trainable(), backbone.loss, encode(backbone))
    assert not any(torch.equal(p, states[n]) for n, p in own(backbone).items())


def test_heads_are_not_mixed_up(language_models: dict[str, str]) -> None:
    """The parameter of an attention holds for each token its keys, then its values, head by head."""
    backbone = fresh_copy(language_models["gpt2"])
    PrefixTuning(length=3, hidden=0).attach(backbone)
    lead: Prefix = backbone.model.lead
    both, (keys, values) = lead.states[0], next(iter(lead().values()))
    for head in (0, 1):
        for token in range(3):
            assert torch.equal(keys[0, head, token], both[token, 16 * head : 16 * head + 16])
            assert torch.equal(values[0, head, token], both[token, 32 + 16 * head : 48 + 16 * head])


def test_the_memory_of_training_is_that_with_the_detour(language_models: dict[str, str]) -> None:
    """It is measured after the fit, when the detour is gone."""
    method, backbone = PrefixTuning(), fresh_copy(language_models["gpt2"])
    method.attach(backbone)
    detour = sum(p.numel() for p in own(backbone).values())
    trainer = harness(backbone, method, steps=2)
    method.fit(backbone, encode(backbone), trainer)
    left = sum(p.numel() for p in own(backbone).values())
    owners = trainer.memory.measure().owners
    assert owners["optimizer"]["trained_weights"] == 4 * detour
    assert owners["optimizer"]["gradients"] == 4 * detour
    assert owners["optimizer"]["optimizer_state"] >= 8 * detour
    assert detour > 10 * left
    assert sum(p.numel() for p in own(backbone).values()) == left


@pytest.mark.parametrize("fields", [{"length": 0}, {"hidden": -1}])
def test_sizes_that_mean_nothing_are_refused(fields: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be at least"):
        PrefixTuning(**fields)


def test_deberta_is_unsupported_and_no_room_too(backbones: dict[str, str]) -> None:
    with pytest.raises(Unsupported, match="deberta-v2 has its own attention"):
        PrefixTuning().attach(fresh_copy(backbones["deberta-v2"]))
    with pytest.raises(Unsupported, match="takes 64 of the 64 tokens that roberta "):
        PrefixTuning(length=64).attach(fresh_copy(backbones["roberta"]))
