"""Further decoders score as their own forward pass, and what does not is found out and scored in plain rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.bench.models.scoring.plain import plain_scores
from tests.toys import Listed, encode, fresh_copy, harness, listed_task, mixed_task
from tunefront.bench.models.families import decoder, logits
from tunefront.bench.models.families.norms import missed_norms, site_of
from tunefront.bench.models.tiny import MORE_LANGUAGE_MODELS, make_language_model
from tunefront.methods.base import Method
from tunefront.methods.icl import ICL
from tunefront.methods.sites import SITES, sites_for
from tunefront.methods.spelling import parse

DECODERS = [name for name, family in MORE_LANGUAGE_MODELS.items() if family == "decoder"]
ALONE = ("falcon-rw", "bloom")
"""Their linear biases follow from the places of tokens in a row, so choices cannot share one."""
WITHIN = 1e-5


def scores_of(backbone: Any, method: Method, k: int = 0) -> tuple[Tensor, Tensor]:
    """Scores of rows of mixed lengths, and those by the model's own forward pass, where a row has a choice."""
    task = backbone.task
    examples, rows = encode(backbone, task), encode(backbone, task, "test")
    trainer = harness(backbone, method, rows=4, counted=False, steps=1, learning_rate=0.02)
    scores = trainer.score(method.fit(backbone, examples.take(range(k)) if k else examples, trainer), rows).values
    expected = plain_scores(backbone.model, backbone.tokenizer, rows.prompts, examples.prompts[:k])
    finite = expected.isfinite()
    assert torch.equal(finite, scores.isfinite())
    return scores[finite], expected[finite]


@pytest.mark.parametrize("k", [0, 4])
@pytest.mark.parametrize("name", DECODERS)
def test_scores_are_those_of_the_models_own_forward_pass(
    name: str, k: int, more_language_models: dict[str, str]
) -> None:
    backbone = fresh_copy(more_language_models[name], mixed_task(test=8), template=Listed())
    ICL(k=k).attach(backbone)
    scores, expected = scores_of(backbone, ICL(k=k), k)
    assert torch.allclose(scores, expected, rtol=0, atol=WITHIN)
    assert backbone.side_by_side == (name not in ALONE)
    assert expected.std() > 0.1, "choices differ by more than rounding"


@pytest.mark.parametrize("spelled", ["lora:rank=4", "ia3", "full"])
@pytest.mark.parametrize("name", DECODERS)
def test_scores_after_training_are_those_of_the_models_own_forward_pass(
    name: str, spelled: str, more_language_models: dict[str, str]
) -> None:
    if spelled == "ia3" and SITES[name.partition("-")[0]].ffn_down is None:
        pytest.skip("the experts of a mixture have no such vectors")
    backbone, method = fresh_copy(more_language_models[name], mixed_task(test=4), template=Listed()), parse(spelled)
    method.attach(backbone)
    scores, expected = scores_of(backbone, method)
    assert torch.allclose(scores, expected, rtol=0, atol=WITHIN)


@pytest.mark.parametrize("name", ["gemma2", "gemma3_text", "cohere2"])
def test_a_row_longer_than_the_window_is_scored_as_it_is_cut(name: str, more_language_models: dict[str, str]) -> None:
    """Rows share no window with others: each is cut to the shortest window of any layer."""
    long = f"Review: {'the film was very good and ' * 30}\nAnswer:"
    task = listed_task([("the film was good", "good|bad", 0), (long, "good|very bad", 1), ("a book", "one|two", 0)])
    backbone = fresh_copy(more_language_models[name], task, template=Listed())
    assert backbone.room == 96
    rows = encode(backbone, task, "test", 1000)
    assert rows.cut == (False, True, False)
    batch = rows.batch(range(3))
    with torch.no_grad():
        logprobs = backbone.model.eval() and backbone.choice_logprobs(batch)
        for row in range(3):
            query = rows.columns["input_ids"][row].tolist()
            for place, choice in enumerate(rows.choices[row]):
                ids = torch.tensor([[*query, *choice.tolist()]])
                own = backbone.model(input_ids=ids).logits[0].log_softmax(-1)
                for token, word in enumerate(choice.tolist()):
                    assert abs(logprobs[row, place, token] - own[len(query) - 1 + token, word]) < WITHIN


# What is found out


@pytest.fixture
def forgetting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "_SIDE_BY_SIDE", {})


def test_two_models_of_one_class_are_each_tried(more_language_models: dict[str, str], forgetting: None) -> None:
    """One rotates queries and keys by position; the other has biases by place, and ignores positions."""
    ways = [fresh_copy(more_language_models[name]).side_by_side for name in ("falcon", "falcon-rw", "falcon")]
    assert ways == [True, False, True]
    assert len(decoder._SIDE_BY_SIDE) == 2


def changed_cache(backbone: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that reads what is cached otherwise than its own tokens."""
    kind = type(backbone.model.model)
    plain = kind.forward

    def forward(self: Any, *args: Any, **inputs: Any) -> Any:
        output = plain(self, *args, **inputs)
        cache = inputs.get("past_key_values")
        if cache is not None and inputs["input_ids"].shape[1] == cache.get_seq_length():  # only just filled
            for layer in cache.layers:
                layer.keys = layer.keys.flip(-2)
        return output

    monkeypatch.setattr(kind, "forward", forward)


@pytest.mark.parametrize("name", ["granite", "gemma2", "cohere"])
def test_a_cache_that_is_read_otherwise_is_not_used(
    name: str,
    more_language_models: dict[str, str],
    forgetting: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Also where a scale or a cap makes all differences of scores small."""
    backbone = fresh_copy(more_language_models[name], mixed_task(test=4), template=Listed())
    changed_cache(backbone, monkeypatch)
    decoder._SIDE_BY_SIDE.clear()
    scores, expected = scores_of(backbone, ICL(k=4), 4)
    assert torch.allclose(scores, expected, rtol=0, atol=WITHIN)
    assert not backbone.side_by_side
    assert "after cached keys and values" in caplog.text
    assert type(backbone.model).__name__ in caplog.text


@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_small_differences_count_where_all_are_small(
    scale: float, tmp_path: Path, forgetting: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logits divided by a thousand, in a model that ignores the mask: every error is below a nat's thousandth."""
    backbone = fresh_copy(str(make_language_model(tmp_path / "model", "granite", logits_scaling=scale)))
    assert backbone.side_by_side
    decoder._SIDE_BY_SIDE.clear()
    monkeypatch.setattr(
        decoder, "additive_mask", lambda mask, dtype: torch.where(torch.ones_like(mask).tril().bool(), 0.0, -torch.inf)
    )
    assert not backbone.side_by_side


@pytest.mark.parametrize(
    ("name", "wrong", "cure"),
    [
        ("gemma2", "llama", r"|model\.layers\.\d+\.pre_feedforward_layernorm|model\.layers\.\d+\.post_feedforward"),
        ("phi3", "phi", r"|model\.layers\.\d+\.post_attention_layernorm|model\.norm"),
        ("granite", "gemma2", None),
        *((name, name, None) for name in ("phi", "bloom", "falcon", "mixtral")),
    ],
)
def test_norms_that_a_record_does_not_name_are_told_with_the_cure(
    name: str, wrong: str, cure: str | None, more_language_models: dict[str, str]
) -> None:
    advice = missed_norms(fresh_copy(more_language_models[name]).model, sites_for(wrong))
    assert (advice is None) == (cure is None)
    assert advice is None or (name in advice and cure in advice)


@pytest.mark.parametrize(("wrong", "told"), [("phi", 1), ("llama", 0)])
def test_another_final_norm_is_told_once_with_the_cure(
    wrong: str,
    told: int,
    more_language_models: dict[str, str],
    forgetting: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    backbone: Any = fresh_copy(more_language_models["phi3"])
    monkeypatch.setattr(backbone, "sites", sites_for(wrong))
    decoder._SIDE_BY_SIDE.clear()
    caplog.clear()
    backbone.probe()
    backbone.probe()
    assert len(caplog.records) == told
    assert (r'final_norm=r"model\.norm"' in caplog.text) == bool(told)


def test_a_site_of_a_path_is_a_regex_for_every_block() -> None:
    assert site_of("model.layers.11.mlp.norm2") == r"model\.layers\.\d+\.mlp\.norm2"
    assert site_of("transformer.h.0") == r"transformer\.h\.\d+"


def test_logits_that_change_only_in_longer_texts_are_found(
    more_language_models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few tokens do not show it: here logits are doubled from the eighth place on."""
    monkeypatch.setattr(decoder, "_SIDE_BY_SIDE", {})
    monkeypatch.setattr(logits, "_OUTPUTS", {})
    backbone: Any = fresh_copy(more_language_models["granite"], mixed_task(test=4), template=Listed())
    assert backbone.output.way == "own"
    kind = type(backbone.model)
    plain = kind.forward

    def forward(self: Any, *args: Any, **inputs: Any) -> Any:
        output = plain(self, *args, **inputs)
        output.logits = torch.cat([output.logits[:, :7], 2 * output.logits[:, 7:]], dim=1)
        return output

    monkeypatch.setattr(kind, "forward", forward)
    logits._OUTPUTS.clear()
    decoder._SIDE_BY_SIDE.clear()
    del backbone.__dict__["output"]
    rows = encode(backbone, backbone.task, "test")
    with torch.no_grad():
        batch = rows.batch(range(4))
        logprobs = backbone.choice_logprobs(batch)
        assert backbone.output.way == "whole"
        assert not backbone.side_by_side
        for row, query in enumerate(rows.columns["input_ids"]):
            for place, choice in enumerate(rows.choices[row]):
                own = backbone.model(input_ids=torch.cat([query, choice])[None]).logits[0].log_softmax(-1)
                expected = own[len(query) - 1 : -1].gather(1, choice[:, None])[:, 0]
                assert torch.allclose(logprobs[row, place, : len(choice)], expected, rtol=0, atol=WITHIN)


@pytest.mark.parametrize("name", ["granite", "gemma2", "cohere"])
def test_a_wrong_way_to_the_logits_is_found_before_anything_is_scored(
    name: str, more_language_models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the first trial had taken the output layer alone to be enough."""
    monkeypatch.setattr(decoder, "_SIDE_BY_SIDE", {})
    monkeypatch.setattr(logits, "_OUTPUTS", {})
    monkeypatch.setattr(logits, "_find", lambda *_: logits.PLAIN)
    backbone: Any = fresh_copy(more_language_models[name], mixed_task(test=4), template=Listed())
    assert backbone.output.way == "whole"
    scores, expected = scores_of(backbone, ICL(k=4), 4)
    assert torch.allclose(scores, expected, rtol=0, atol=WITHIN)
    batch = encode(backbone, backbone.task, "test").batch(range(4))
    backbone.output = logits.PLAIN
    with torch.no_grad():
        wrong = backbone.score(batch)
    right = plain_scores(backbone.model, backbone.tokenizer, encode(backbone, backbone.task, "test").prompts)
    assert (wrong - right)[right.isfinite()].abs().max() > 0.1, "else there would be nothing to find"
