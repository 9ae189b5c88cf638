"""Logits of models that do more than their output layer: scores and losses equal those of their own forward pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.bench.models.scoring.plain import logprob, plain_scores
from tests.toys import Listed, encode, fresh_copy, harness, mixed_task
from tunefront.bench.meters.flops.counted import counted_flops
from tunefront.bench.models.families import logits
from tunefront.bench.models.tiny import LANGUAGE_MODELS, byte_level_tokenizer
from tunefront.methods.icl import ICL
from tunefront.methods.sites import SITES, Sites, sites_for

LLAMA = vars(sites_for("llama"))
ADDED: dict[str, tuple[Sites, dict[str, Any]]] = {
    "granite": (Sites(**LLAMA), {"logits_scaling": 8.0, "embedding_multiplier": 3.0}),
    "gemma2": (
        Sites(
            **{**LLAMA, "norms": r"model\.(norm|layers\.\d+\.(input|(pre|post)_(attention|feedforward))_?layernorm)"}
        ),
        {"final_logit_softcapping": 4.0, "head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 256},
    ),
    "cohere": (Sites(**{**LLAMA, "norms": r"model\.(norm|layers\.\d+\.input_layernorm)"}), {"logit_scale": 3.0}),
}
"""Architectures that the suite does not have, added as in CONTRIBUTING, with their settings for logits."""


@pytest.fixture
def added(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The folder of a tiny random model of an added architecture."""
    sites, own = ADDED[request.param]
    monkeypatch.setitem(SITES, request.param, sites)
    return added_model(tmp_path / request.param, request.param, **own)


def added_model(folder: Path, name: str, **own: Any) -> str:
    """The folder of a tiny random model of any architecture of transformers."""
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = byte_level_tokenizer(name)
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
    size |= {"intermediate_size": 64, "vocab_size": len(tokenizer), "max_position_embeddings": 256}
    size |= {"initializer_range": 0.2, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **{**size, **own}))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


every_added = pytest.mark.parametrize("added", ADDED, indirect=True)


@pytest.mark.parametrize("k", [0, 6])
@every_added
def test_an_added_decoder_scores_as_its_own_forward_pass(added: str, k: int) -> None:
    """After demonstrations too, whose keys and values are kept."""
    task = mixed_task()
    backbone = fresh_copy(added, task, template=Listed())
    method = ICL(k=k)
    method.attach(backbone)
    trainer = harness(backbone, method, rows=4)
    examples, rows = encode(backbone, task), encode(backbone, task, "test")
    scores = trainer.score(method.fit(backbone, examples.take(range(k)), trainer), rows).values
    assert backbone.output.way == "own"
    expected = plain_scores(backbone.model, backbone.tokenizer, rows.prompts, examples.prompts[:k])
    finite = expected.isfinite()
    assert torch.allclose(scores[finite], expected[finite], atol=2e-4)


@every_added
def test_an_added_decoder_trains_on_its_own_logits(added: str) -> None:
    task = mixed_task()
    backbone = fresh_copy(added, task, dropout=0.0, template=Listed())
    batch = encode(backbone, task).right_answers().batch(range(4))
    logprobs = (backbone._logprobs(batch) * batch.inputs["choice_mask"]).sum((1, 2))
    prompts = encode(backbone, task).prompts[:4]
    with torch.no_grad():
        own = [
            logprob(backbone.model, backbone.tokenizer, prompt.text, prompt.choices[prompt.label])[0]
            for prompt in prompts
        ]
    assert torch.allclose(logprobs, torch.tensor(own), atol=1e-3)
    logprobs.sum().backward()
    assert all(p.grad is not None for name, p in backbone.model.named_parameters() if "layers" in name)


@every_added
def test_logits_are_computed_only_where_they_are_read(added: str) -> None:
    """So FLOPs are those of the output layer at the positions that are read, as for any other decoder."""
    task = mixed_task()
    backbone = fresh_copy(added, task, template=Listed())
    batch = encode(backbone, task).batch(range(4))
    assert backbone.output.way == "own"
    own = counted_flops(lambda: backbone.choice_logprobs(batch))
    backbone.output = logits.PLAIN
    assert own == counted_flops(lambda: backbone.choice_logprobs(batch))


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_the_architectures_of_the_suite_need_only_their_output_layer(
    name: str, language_models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logits, "_OUTPUTS", {})
    backbone = fresh_copy(language_models[name])
    assert backbone.output == logits.PLAIN
    assert [output.way for output in logits._OUTPUTS.values()] == ["plain"]


def changed(backbone: Any, monkeypatch: pytest.MonkeyPatch, forward: Any) -> Any:
    """The backbone with a forward pass that changes the logits of its class."""
    kind = type(backbone.model)
    plain = kind.forward

    def other(self: Any, *args: Any, **inputs: Any) -> Any:
        output = plain(self, *args, **inputs)
        output.logits = forward(output.logits, inputs)
        return output

    monkeypatch.setattr(kind, "forward", other)
    monkeypatch.setattr(logits, "_OUTPUTS", {})
    backbone.__dict__.pop("output", None)
    return backbone


@pytest.mark.parametrize("name", ["llama", "gpt2", "opt", "bart", "t5"])
@pytest.mark.parametrize(
    ("what", "way", "forward"),
    [
        ("halved", "own", lambda scores, _: scores / 2),
        ("capped", "own", lambda scores, _: torch.tanh(scores / 1000) * 1000),  # hardly changes small ones
        ("padded", "own", lambda scores, _: scores[..., :-3]),
        ("shifted", "plain", lambda scores, _: scores + 7),  # only differences matter
    ],
)
def test_the_way_to_a_models_logits_is_found_out(
    name: str, what: str, way: str, forward: Any, language_models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = changed(fresh_copy(language_models[name]), monkeypatch, forward)
    assert backbone.output.way == way


def test_a_decoder_that_needs_whole_texts_for_its_logits_gets_them(
    language_models: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its logits depend on the tokens, so states alone are not enough."""
    task = mixed_task()
    backbone = fresh_copy(language_models["llama"], task, template=Listed())
    changed(backbone, monkeypatch, lambda scores, inputs: scores * (1 + inputs["input_ids"].unsqueeze(-1) % 3))
    rows = encode(backbone, task, "test")
    with torch.no_grad():
        scores = backbone.score(rows.batch(range(1)))[0].tolist()
        for choice, score in zip(rows.prompts[0].choices, scores, strict=True):
            before, ids = [
                backbone.tokenizer(f"{rows.prompts[0].text}{end}")["input_ids"] for end in ("", f" {choice}")
            ]
            logprobs = backbone.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
            own = [logprobs[place - 1, ids[place]].item() for place in range(len(before), len(ids))]
            assert score == pytest.approx(sum(own) / len(own), abs=1e-3)
    assert backbone.output.way == "whole"
    assert "LlamaForCausalLM" in caplog.text


def test_two_checkpoints_of_one_class_are_each_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scale of one needs no special treatment; another checkpoint's scale does."""
    from transformers import AutoConfig, AutoModelForCausalLM

    monkeypatch.setitem(SITES, "granite", ADDED["granite"][0])
    tokenizer, ways = byte_level_tokenizer("granite"), []
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2}
    for scale in (1.0, 4.0):
        config = AutoConfig.for_model(
            "granite", **size, intermediate_size=64, vocab_size=len(tokenizer), logits_scaling=scale, pad_token_id=0
        )
        folder = tmp_path / str(scale)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        ways.append(fresh_copy(str(folder)).output.way)
    assert ways == ["plain", "own"]
