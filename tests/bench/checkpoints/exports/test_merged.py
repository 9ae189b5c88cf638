"""Merged models: loaded by transformers alone, they compute what the fitted method does."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoModelForSequenceClassification, AutoTokenizer

from tests.bench.checkpoints.kept import ran, record_path, scored_rows
from tests.bench.execution.streams import alone, toy_tasks
from tests.toys import pair_id, shipped
from tunefront import export, predict
from tunefront.bench.checkpoints.exports.forms import FORMS
from tunefront.bench.errors import UserError
from tunefront.bench.models.tiny import FAMILIES
from tunefront.bench.records import Record
from tunefront.methods.base import Backbone, Method
from tunefront.methods.spelling import parse

MERGING = ("full", "ia3", "lora", "bitfit", "layernorm", "top_layers:n=1", "compacter", "houlsby", "scaling")


def kept(method: Method, folder: str, tmp_path: Path) -> tuple[str, Record, list[str]]:
    """The record file of a fitted cell, its record, and the texts that it scored."""
    (cell,) = alone(folder, toy_tasks(tmp_path / "data", 1), template=None if "bert" in folder else "plain")
    cell = replace(cell, method=method)
    store, (record,) = ran([cell], tmp_path / "out")
    return record_path(store, record), record, [str(row.fields["text"]) for row in scored_rows(cell)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", ["full", "ia3", "lora", "bitfit"])
def test_an_encoder_is_a_classifier_of_transformers(
    method: str, family: str, backbones: dict[str, str], tmp_path: Path
) -> None:
    path, record, texts = kept(parse(method), backbones[family], tmp_path)
    assert record.status == "ok"
    assert "merged" in (record.servable or ())
    out = tmp_path / "merged"
    assert export(path, "merged", out)
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    with torch.no_grad():
        logits = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits
    stored = predict(path, record_rows(tmp_path, texts))
    assert torch.allclose(logits, torch.tensor(stored[["score_good", "score_bad"]].values).float(), atol=1e-5)
    assert model.config.id2label == {0: "good", 1: "bad"}
    assert json.loads((out / "manifest.json").read_text())["key"] == record.key


def record_rows(folder: Path, texts: list[str]) -> Path:
    """A file of these texts."""
    (folder / "rows.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return folder / "rows.jsonl"


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen2", "t5", "t5-gated", "bart"])
@pytest.mark.parametrize("method", ["full", "ia3", "lora:sites=every", "fish:density=0.02"])
def test_a_language_model_is_one_of_transformers(
    method: str, family: str, language_models: dict[str, str], tmp_path: Path
) -> None:
    path, record, _ = kept(parse(method), language_models[family], tmp_path)
    if record.status == "skipped":
        pytest.skip(record.reason or "")
    out = tmp_path / "merged"
    (note,) = export(path, "merged", out)  # which compares the logits
    kind = AutoModelForCausalLM if record.model.architecture not in ("t5", "bart") else AutoModelForSeq2SeqLM
    again, report = kind.from_pretrained(out, output_loading_info=True)
    assert type(again).__name__ in note
    assert not any(report.values()), report


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
@pytest.mark.parametrize("method", shipped(), ids=pair_id)
def test_servable_says_which_forms_there_are(
    method: Method, family: str, folders: dict[str, str], tmp_path: Path
) -> None:
    """What a record claims can be written, and what it does not is refused with what can be done instead."""
    path, record, _ = kept(method, folders[family], tmp_path)
    if record.status == "skipped":
        pytest.skip(record.reason or "")
    assert record.servable is not None
    for form in FORMS:
        out = tmp_path / form
        if form == "peft" and find_spec("peft") is None:
            continue
        if form in record.servable:
            export(path, form, out)
            assert (out / "manifest.json").is_file()
        else:
            with pytest.raises(UserError, match=rf"cannot be exported as {form}: .*--to safetensors"):
                export(path, form, out)
            assert not out.exists()


def test_a_mean_over_tokens_has_no_class_in_transformers(backbones: dict[str, str], tmp_path: Path) -> None:
    from tests.toys import toy_task
    from tunefront.bench.checkpoints.exports.heads import head_names
    from tunefront.bench.models.pretrained import Pretrained
    from tunefront.methods.base import Unsupported

    pretrained = Pretrained(backbones["bert"], torch.device("cpu"))
    for pooling, has_one in (("mean", False), ("first", False), ("pooler", True)):
        pretrained.pooling = pooling
        backbone = pretrained.fresh_copy(toy_task(), 0)
        if has_one:
            assert set(head_names(backbone).names.values()) == {"head.output.weight", "head.output.bias"}  # type: ignore[arg-type]
        else:
            with pytest.raises(Unsupported):
                head_names(backbone)  # type: ignore[arg-type]


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_mean_over_tokens_is_a_model_of_sentence_transformers(
    method: str, family: str, backbones: dict[str, str], tmp_path: Path
) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    folder = tmp_path / "pooled"
    shutil.copytree(backbones[family], folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    (cell,) = alone(str(folder), toy_tasks(tmp_path / "data", 1), (method,))
    cell = replace(cell, config=replace(cell.config, max_length=6))  # most rows are longer
    store, (record,) = ran([cell], tmp_path / "out")
    path, texts = record_path(store, record), [str(row.fields["text"]) for row in scored_rows(cell)]
    assert "merged" in (record.servable or ())
    (note,) = export(path, "merged", tmp_path / "merged")
    assert "SentenceTransformer" in note
    embeddings = sentence_transformers.SentenceTransformer(str(tmp_path / "merged"), device="cpu").encode(texts)
    stored = predict(path, record_rows(tmp_path, texts))[["score_good", "score_bad"]].values
    assert torch.allclose(torch.tensor(embeddings), torch.tensor(stored).float(), atol=1e-5)


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_what_others_put_into_the_model_is_no_part_of_the_weights(
    family: str, folders: dict[str, str], fresh_registry: None, tmp_path: Path
) -> None:
    class Shifting(Method):
        """Shifts the states by a hook of its own, which no weight expresses."""

        name = "shifts_by_a_hook"

        def attach(self, backbone: Backbone) -> None:
            backbone.freeze(keep=backbone.head)
            norms = [module for module in backbone.model.modules() if isinstance(module, nn.LayerNorm)]
            norms[-1].register_forward_hook(lambda module, inputs, output: output + 3.0)

    pytest.importorskip("peft")
    for number, method in enumerate((parse("peft:type=LORA"), Shifting())):
        if family == "llama" and number:
            continue  # it has no layer norm of torch's
        path, record, _ = kept(method, folders[family], tmp_path / str(number))
        assert record.status == "ok", record.reason
        assert "merged" not in (record.servable or ())
        with pytest.raises(UserError, match="no part of a weight"):
            export(path, "merged", tmp_path / "x")


def test_wrong_calls_are_mistakes_and_leave_nothing(backbones: dict[str, str], tmp_path: Path) -> None:
    path, _, _ = kept(parse("ia3"), backbones["bert"], tmp_path)
    with pytest.raises(UserError, match="did you mean 'merged'"):
        export(path, "merge", tmp_path / "x")
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        export(path, "merged", full)
    assert [file.name for file in full.iterdir()] == ["mine.txt"]
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"cannot be written|exists already"):
        export(path, "merged", tmp_path / "file" / "inside")
