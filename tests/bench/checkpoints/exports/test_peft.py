"""Adapters of peft: `PeftModel` on the published backbone alone gives the scores of the record."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from tests.bench.checkpoints.exports.fitted import Ran, averaging, fit
from tests.bench.checkpoints.kept import scored_rows
from tests.peers.parity import plain_logprobs
from tunefront.bench.checkpoints.exports.library import HEAD_NAME
from tunefront.bench.checkpoints.exports.peft_adapter import WEIGHTS_NAME, PeftAdapter
from tunefront.bench.checkpoints.loading import open_checkpoint
from tunefront.bench.errors import UserError
from tunefront.bench.models.tiny import FAMILIES
from tunefront.methods.base import Batch
from tunefront.methods.ia3 import IA3

if TYPE_CHECKING:
    from peft import PeftModel

pytest.importorskip("peft")

FUSED, SPLIT = ("gpt2", "gpt_neox"), ("opt", "llama", "qwen2", "t5", "t5-gated", "bart")
DECODERS = (*FUSED, "opt", "llama", "qwen2")
ENCODER_CASES = [
    *[(method, family) for method in ("ia3", "lora:rank=4,alpha=10,norms=true") for family in FAMILIES],
    *[("prefix_tuning:length=4,hidden=8", family) for family in ("bert", "roberta")],
]
LANGUAGE_CASES = [
    *[("ia3", family) for family in SPLIT],
    *[("lora:rank=4,alpha=10", family) for family in (*FUSED, *SPLIT)],
    *[("lora:sites=every,norms=true", family) for family in (*FUSED, *SPLIT)],
    *[(method, family) for method in ("prompt_tuning:length=5", "cartridge:k=3", "icl:k=3") for family in DECODERS],
    *[("prefix_tuning:length=5,hidden=8", family) for family in DECODERS],
]
NONE = [
    ("prompt_tuning:length=4", "bert", "head"),
    ("prefix_tuning:length=4,hidden=8", "distilbert", "cache"),
    ("prompt_tuning:length=4", "t5", "encoder"),
    ("prefix_tuning:length=4,hidden=8", "bart", "self-attention"),
    ("icl:k=3", "t5", "keys and values"),
    ("icl:k=3,calibrate=true", "llama", "calibrate=false"),
    ("icl:k=3,ensemble=2", "llama", "ensemble=1"),
    ("icl:k=0", "llama", "backbone"),
    ("houlsby", "bert", "houlsby"),
    ("full", "bert", "full"),
    ("knn", "llama", "knn"),
]


def loaded(ran: Ran, folder: Path, base: Any, **labels: int) -> PeftModel:
    """The exported adapter on the published backbone, by transformers and peft alone."""
    import peft

    model = base.from_pretrained(ran.backbone, **labels)
    with warnings.catch_warnings(action="ignore"):
        return peft.PeftModel.from_pretrained(model, str(folder)).eval()


def recorded(ran: Ran) -> Tensor:
    """The scores (rows, choices) of the record."""
    return torch.tensor(ran.store.predictions(ran.record.key)[["score_0", "score_1"]].values).float()


@pytest.mark.parametrize(("method", "family"), ENCODER_CASES)
def test_an_encoder_scores_real_rows_as_the_record(
    method: str, family: str, backbones: dict[str, str], tmp_path: Path
) -> None:
    ran, out = fit(method, backbones[family], tmp_path), tmp_path / "peft"
    ran.exported("peft", out)
    texts = [str(row.fields["text"]) for row in scored_rows(ran.cell)]
    inputs = AutoTokenizer.from_pretrained(ran.backbone)(texts, padding=True, return_tensors="pt")
    model = loaded(ran, out, AutoModelForSequenceClassification, num_labels=2)
    with torch.no_grad(), warnings.catch_warnings(action="ignore"):
        got = model(**inputs).logits
        if "prefix" not in method:  # peft's own wrapper of a prefix cannot be turned off for a classifier
            with model.disable_adapter():
                assert (model(**inputs).logits - recorded(ran)).abs().max() > 1e-2
    torch.testing.assert_close(got, recorded(ran), atol=1e-5, rtol=0)
    assert json.loads((out / "manifest.json").read_text())["key"] == ran.record.key


def test_a_head_may_have_more_classes_than_the_compared_rows_have_tokens(
    backbones: dict[str, str], tmp_path: Path
) -> None:
    ran, out = fit("ia3", backbones["roberta"], tmp_path, more_classes=20), tmp_path / "peft"
    ran.exported("peft", out)
    assert load_file(out / WEIGHTS_NAME)["base_model.model.classifier.out_proj.bias"].shape == (22,)


@pytest.mark.parametrize(("method", "family"), LANGUAGE_CASES)
def test_a_language_model_ranks_real_rows_as_the_record(
    method: str, family: str, language_models: dict[str, str], tmp_path: Path
) -> None:
    ran, out = fit(method, language_models[family], tmp_path), tmp_path / "peft"
    ran.exported("peft", out)
    assert ran.cell.config.normalization == "token"
    _, fitted = open_checkpoint(ran.path)
    examples = fitted.encode(scored_rows(ran.cell))
    batch = examples.batch(range(len(examples)))
    after = [name for name in batch.inputs if name.startswith(("input_ids@", "attention_mask@"))]
    queries = {name.partition("@")[0]: batch.inputs[name] for name in after}  # those that follow demonstrations
    batch = Batch({**batch.inputs, **queries}, batch.labels, batch.rows)
    family = fitted.backbone.sites.family
    model = loaded(ran, out, AutoModelForCausalLM if family == "decoder" else AutoModelForSeq2SeqLM)
    with torch.no_grad(), warnings.catch_warnings(action="ignore"):
        got = scores(model, batch, family)
        with model.disable_adapter():
            assert (scores(model, batch, family) - recorded(ran)).abs().max() > 1e-2
    torch.testing.assert_close(got, recorded(ran), atol=1e-4, rtol=0)


def scores(model: PeftModel, batch: Batch, family: str) -> Tensor:
    """The mean log-probability of the tokens of each choice (rows, choices), each by a pass of its own."""
    return torch.tensor([[float(choice.mean()) for choice in row] for row in plain_logprobs(model, batch, family)])


@pytest.mark.parametrize(("method", "family", "word"), NONE)
def test_what_peft_cannot_express_is_refused(
    method: str, family: str, word: str, folders: dict[str, str], tmp_path: Path
) -> None:
    fit(method, folders[family], tmp_path).refused("peft", tmp_path / "peft", word)


def test_a_head_without_a_class_stands_beside_the_adapter(backbones: dict[str, str], tmp_path: Path) -> None:
    """MiniLM's kind: the head reads the mean of the states."""
    folder = averaging(backbones["bert"], tmp_path)
    ran, out = fit("ia3", str(folder), tmp_path), tmp_path / "peft"
    assert any(HEAD_NAME in note for note in ran.exported("peft", out))
    head = load_file(out / HEAD_NAME)
    model = loaded(ran, out, AutoModel)
    tokenizer = AutoTokenizer.from_pretrained(ran.backbone)
    rows = [tokenizer(str(row.fields["text"]), return_tensors="pt") for row in scored_rows(ran.cell)]
    with torch.no_grad():
        states = torch.cat([model(**row).last_hidden_state.mean(1) for row in rows])
    got = torch.nn.functional.linear(states, head["output.weight"], head["output.bias"])
    torch.testing.assert_close(got, recorded(ran), atol=1e-5, rtol=0)


def test_places_are_named_in_full(backbones: dict[str, str], tmp_path: Path) -> None:
    """peft's defaults would rescale the input of attention's output too."""
    ran, out = fit("ia3", backbones["bert"], tmp_path), tmp_path / "peft"
    ran.exported("peft", out)
    vectors = [name for name in load_file(out / WEIGHTS_NAME) if name.endswith("ia3_l")]
    assert len(vectors) == 3 * 2
    assert not any("attention.output" in name for name in vectors)


def test_a_wrong_adapter_is_noticed_and_leaves_nothing(
    backbones: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran, right = fit("ia3", backbones["bert"], tmp_path), IA3.exported

    def wrong(*args: Any) -> Any:
        made = right(*args)
        first = min(made.tensors)
        return type(made)(made.config, {**made.tensors, first: made.tensors[first] + 1})

    monkeypatch.setattr(IA3, "exported", wrong)
    with pytest.raises(UserError, match="other logits"):
        ran.exported("peft", tmp_path / "peft")
    assert not (tmp_path / "peft").exists()


def test_checking_needs_no_peft(backbones: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tunefront.bench.checkpoints.exports import peft_adapter

    ran = fit("ia3", backbones["bert"], tmp_path)
    monkeypatch.setattr(peft_adapter.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"tunefront\[peft\]"):
        ran.exported("peft", tmp_path / "peft")


def test_a_subclass_that_learns_in_another_way_inherits_no_form(backbones: dict[str, str], tmp_path: Path) -> None:
    from tests.toys import fresh_copy
    from tunefront.bench.checkpoints.exports.form import Exportable
    from tunefront.bench.training.demonstrations import Prompts
    from tunefront.methods.base import Unsupported

    class Halved(IA3):
        name = "halved_for_export"

        def attach(self, backbone: Any) -> None:
            super().attach(backbone)

    backbone, method = fresh_copy(backbones["bert"]), Halved()
    method.attach(backbone)
    with pytest.raises(Unsupported, match="Halved"):
        PeftAdapter().check(Exportable(method, backbone, Prompts(backbone.model, (), torch.no_grad)))
