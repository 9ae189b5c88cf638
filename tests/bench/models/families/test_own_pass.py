"""What an encoder or encoder-decoder computes otherwise than its own plain forward pass is found when it is loaded."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, BertModel
from transformers.models.bart.modeling_bart import BartDecoder, BartEncoder

from tests.bench.models.scoring.plain import plain_scores
from tests.bench.models.scoring.test_rank_classification import fitted
from tests.toys import encode, fresh_copy, loaded, mixed_task, toy_task
from tunefront.bench.errors import UserError
from tunefront.bench.meters.flops.analytic import Analytic
from tunefront.bench.models.families import encoder, seq2seq
from tunefront.bench.models.routing.member import check_parts
from tunefront.bench.models.tiny import make_backbone
from tunefront.methods.base import Unsupported
from tunefront.methods.sites import SITES, Sites
from tunefront.methods.spelling import parse


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process."""
    monkeypatch.setattr(encoder, "_CHECKED", set())
    monkeypatch.setattr(encoder, "_READ_PADDING", set())
    monkeypatch.setattr(seq2seq, "_SEPARATE", {})


CONVBERT = Sites(**{**vars(SITES["bert"]), "pooling": "first", "head_activation": "gelu"})


@pytest.fixture
def convbert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Its convolutions read the padding next to a text."""
    monkeypatch.setitem(SITES, "convbert", CONVBERT)
    return str(make_backbone(tmp_path / "convbert", "convbert", embedding_size=32, num_attention_heads=4))


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_rows_of_a_model_that_reads_padding_run_with_rows_of_their_length(
    pooling: str, convbert: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "tunefront"):
        backbone: Any = fresh_copy(convbert)
    assert [record for record in caplog.records if "ConvBertModel" in record.getMessage()]
    backbone.pooling = pooling
    rows = encode(backbone, toy_task(words=(1, 20)))
    plain = AutoModel.from_pretrained(convbert).eval()
    with torch.no_grad():
        together = backbone.features(rows.batch(range(8)))
        for row in range(8):
            states = plain(**rows.batch([row]).inputs).last_hidden_state[0]
            expected = states[0] if pooling == "first" else states.mean(0)
            assert torch.allclose(together[row], expected, rtol=0, atol=1e-5)
    backbone.loss(rows.batch(range(8))).backward()
    with pytest.raises(Unsupported, match="apart"):
        check_parts(backbone)


def test_the_check_runs_once_and_holds_for_later_copies(convbert: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "tunefront"):
        flags = [fresh_copy(convbert).needs_separate_rows for _ in range(3)]
    assert flags == [True] * 3
    assert len([record for record in caplog.records if "padding" in record.getMessage()]) == 1


def test_known_encoders_read_no_padding(backbones: dict[str, str], more_backbones: dict[str, str]) -> None:
    assert not [name for name, folder in (backbones | more_backbones).items() if fresh_copy(folder).needs_separate_rows]


def ignore_the_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = BartEncoder.forward

    def forward(self: BartEncoder, input_ids: Any = None, attention_mask: Any = None, **others: Any) -> Any:
        return plain(self, input_ids=input_ids, attention_mask=None, **others)

    monkeypatch.setattr(BartEncoder, "forward", forward)


def ignore_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = BartDecoder.forward

    def forward(self: BartDecoder, past_key_values: Any = None, use_cache: Any = None, **others: Any) -> Any:
        return plain(self, past_key_values=None, use_cache=False, **others)

    monkeypatch.setattr(BartDecoder, "forward", forward)


def refuse_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = BartDecoder.forward

    def forward(self: BartDecoder, past_key_values: Any = None, **others: Any) -> Any:
        if past_key_values is not None:
            raise TypeError("no cache")
        return plain(self, **others)

    monkeypatch.setattr(BartDecoder, "forward", forward)


@pytest.mark.parametrize("k", [0, 3])
@pytest.mark.parametrize("change", [ignore_the_mask, ignore_the_cache, refuse_the_cache])
def test_choices_that_padding_or_a_cache_would_change_are_scored_alone(
    change: Any,
    k: int,
    language_models: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    task = mixed_task(test=6)
    change(monkeypatch)
    with caplog.at_level(logging.WARNING, "tunefront"):
        backbone, scorer, trainer = fitted(language_models["bart"], task, k)
    assert backbone.needs_separate_rows
    assert [record for record in caplog.records if "BartForConditionalGeneration" in record.getMessage()]
    rows = encode(backbone, task, "test")
    scores = trainer.score(scorer, rows).values
    expected = plain_scores(backbone.model, backbone.tokenizer, rows.prompts, encode(backbone, task).prompts[:k])
    there = expected.isfinite()
    assert torch.equal(there, scores.isfinite())
    assert torch.allclose(scores[there], expected[there], rtol=0, atol=1e-5)
    backbone.freeze(keep=backbone.model)
    backbone.loss(encode(backbone, task).batch([0, 1])).backward()
    batch = encode(backbone, task).batch([0, 1])
    with pytest.raises(Unsupported, match="apart"):
        Analytic(backbone).score(encode(backbone, task).shape(batch))


def test_known_encoder_decoders_score_together(
    language_models: dict[str, str], encoder_decoders: dict[str, str]
) -> None:
    folders = {name: language_models[name] for name in ("t5", "t5-gated", "bart")} | encoder_decoders
    assert not [name for name, folder in folders.items() if fresh_copy(folder).needs_separate_rows]


@pytest.fixture
def ernie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An architecture without a record."""
    monkeypatch.setitem(SITES, "ernie", SITES["bert"])
    return str(make_backbone(tmp_path / "ernie", "ernie"))


@pytest.mark.parametrize(
    ("field", "regex", "near"),
    [
        ("norms", r"encoder\.layer\.\d+\.norm", "encoder.layer.N.attention.output.LayerNorm"),
        ("query", r"encoder\.layer\.\d+\.attention\.self\.q", "attention.self.query"),
        ("block", r"encoder\.layers\.(\d+)", "encoder.layer"),
        ("sublayer_output", r"encoder\.layer\.\d+\.drop", "encoder.layer"),
    ],
)
def test_a_site_that_matches_nothing_is_an_error_with_the_nearest_path(
    field: str, regex: str, near: str, ernie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SITES, "ernie", replace(SITES["bert"], **{field: regex}))
    with pytest.raises(UserError, match=rf"sites of ernie have a wrong {field}") as error:
        loaded(ernie)
    assert near in str(error.value)


def test_all_wrong_sites_are_told_together(ernie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SITES, "ernie", SITES["distilbert"])
    with pytest.raises(UserError) as error:
        loaded(ernie)
    assert all(f"wrong {field}:" in str(error.value) for field in ("block", "query", "ffn_up", "ffn_output"))


def test_norms_that_the_sites_leave_out_are_warned_of(
    ernie: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(SITES, "ernie", replace(SITES["bert"], norms=r"encoder\.layer\.\d+\.output\.LayerNorm"))
    with caplog.at_level(logging.WARNING, "tunefront"):
        loaded(ernie)
    (message,) = [record.getMessage() for record in caplog.records if "norms" in record.getMessage()]
    assert "embeddings.LayerNorm" in message


def test_a_pooler_that_the_model_lacks_is_an_error_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SITES, "electra", replace(SITES["electra"], pooling="pooler"))
    with pytest.raises(UserError, match=r"sites of electra have pooling='pooler'.*write pooling='first'"):
        loaded(str(make_backbone(tmp_path / "electra", "electra")))


def test_a_checked_model_fits_its_method(ernie: str) -> None:
    backbone = fresh_copy(ernie)
    parse("houlsby:bottleneck=4").attach(backbone)
    assert backbone.trainable()


def test_an_encoder_that_cannot_run_is_unsupported_with_the_reason(
    backbones: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(self: BertModel, input_ids: Any = None) -> Any:
        raise AssertionError("not reached: it takes no mask")

    monkeypatch.setattr(BertModel, "forward", forward)
    with pytest.raises(Unsupported, match=r"BertModel cannot be used here.*attention_mask"):
        fresh_copy(backbones["bert"])
