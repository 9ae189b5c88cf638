"""Architectures by transformers' own tables: the family of one without a record, and what is no language model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bench.models.others import OTHERS
from tunefront.bench.cli.list import entries
from tunefront.bench.errors import UserError
from tunefront.bench.models.architectures import MODELS, is_recorded, known_sites, own_code_is_ours
from tunefront.bench.models.config import check_backbone, warnings_of
from tunefront.bench.models.config_files import read
from tunefront.methods.base import Unsupported
from tunefront.methods.sites import SITES


def test_a_record_is_the_architectures_own() -> None:
    for name, sites in SITES.items():
        assert known_sites(name) is sites
        assert is_recorded(sites)


def test_every_record_is_listed_with_models_that_people_know() -> None:
    assert set(MODELS) == set(SITES)
    listed = {entry["name"]: entry for entry in entries("architectures")}
    assert set(listed) == set(SITES)
    assert listed["bert"]["closed_flops"]
    assert not listed["mixtral"]["closed_flops"]
    assert "fused" in str(listed["phi3"]["special"])


@pytest.mark.parametrize("name", OTHERS)
def test_without_a_record_the_family_is_known_and_a_place_is_not(name: str) -> None:
    sites = known_sites(name)
    assert sites.family == OTHERS[name][0]
    assert not is_recorded(sites)
    assert sites.repeated == frozenset()
    for place in ("norms", "block", "linears", "fused_projection", "query"):
        with pytest.raises(Unsupported, match=name):
            getattr(sites, place)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vit", ("vit", "pixel_values")),
        ("wav2vec2", ("wav2vec2", "input_values")),
        ("clip", ("clip", "vision_config")),
        ("gemma3", ("gemma3", "gemma3_text")),
        ("lama", ("lama", "'llama'")),
        ("nothing_like_it_at_all", ("nothing_like_it_at_all", "list architectures")),
    ],
)
def test_what_is_no_language_model_is_told(name: str, words: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as error:
        known_sites(name, "a prefix: ")
    assert str(error.value).startswith("a prefix: ")
    assert all(word in str(error.value) for word in words)


def written(folder: Path, **fields: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(fields), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("LlamaForSequenceClassification", {"num_labels": 1}),
        ("LlamaForSequenceClassification", {"id2label": {"0": "LABEL_0"}}),
        ("Qwen2ForTokenClassification", {}),
        ("Qwen2ForRewardModel", {}),
    ],
)
def test_a_decoder_that_was_trained_to_classify_is_refused(name: str, fields: dict[str, Any], tmp_path: Path) -> None:
    path = written(tmp_path, model_type="llama", architectures=[name], **fields)
    with pytest.raises(UserError, match=name) as error:
        read(path)
    assert ("reward model" in str(error.value)) == bool(fields)


@pytest.mark.parametrize(
    ("model_type", "names"),
    [("llama", ["LlamaForCausalLM"]), ("bert", ["BertForSequenceClassification"]), ("llama", []), ("gpt2", None)],
)
def test_other_heads_are_no_mistake(model_type: str, names: object, tmp_path: Path) -> None:
    assert read(written(tmp_path, model_type=model_type, architectures=names))[0] == model_type


PHI = {"AutoConfig": "configuration_phi3.Phi3Config", "AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM"}


@pytest.mark.parametrize(
    ("model_type", "auto_map", "ours"),
    [
        ("phi3", PHI, True),
        ("phi3", {**PHI, "AutoTokenizer": ["own.Tokenizer", None]}, True),
        ("phi3", {**PHI, "AutoModel": "modeling_phi3.MyModel"}, False),
        ("llama", PHI, False),
        ("bert", {"AutoModel": "modeling_bert.JinaBertModel"}, False),
        ("phi3", {"AutoModel": ["modeling_phi3.Phi3Model"]}, False),
        ("phi3", {}, False),
        ("phi3", "modeling_phi3.Phi3Model", False),
    ],
)
def test_code_of_its_own_is_ours_only_by_the_names_of_all_classes(
    model_type: str, auto_map: object, ours: bool
) -> None:
    assert own_code_is_ours(model_type, auto_map) is ours


def test_a_copy_of_transformers_code_is_not_run_and_said(backbones: dict[str, str], tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(backbones["bert"], tmp_path / "bert"))
    fields = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    own = {"AutoConfig": "configuration_bert.BertConfig", "AutoModel": "modeling_bert.BertModel"}
    written(folder, **fields, auto_map=own)
    (folder / "modeling_bert.py").write_text("raise RuntimeError('run')", encoding="utf-8")
    check_backbone(str(folder))
    assert any("never run" in warning for warning in warnings_of(str(folder)))
    written(folder, **fields, auto_map={**own, "AutoModel": "modeling_bert.MyBertModel"})
    with pytest.raises(UserError, match="never run"):
        read(folder / "config.json")
