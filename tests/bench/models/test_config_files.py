"""Fields of a config.json that are ignored, and those from which no model can be built."""

from __future__ import annotations

import contextlib
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.bench.models.folders import copy_of
from tests.toys import encode, fresh_copy, loaded, toy_task
from tunefront.bench.errors import UserError
from tunefront.bench.models.config import check_backbone, config_at, warnings_of
from tunefront.methods.base import Batch

IGNORED: list[dict[str, Any]] = [
    {"return_dict": False},
    {"slow_but_exact": True, "pretraining_tp": 4},
    {"use_return_dict": False},
    {"torchscript": True},
    {"output_hidden_states": True},
    {"output_attentions": True},
    {"use_cache": False},
    {"use_cache": True},
    {"chunk_size_feed_forward": 1},
    {"problem_type": "multi_label_classification"},
    {"num_labels": 7},
    {"id2label": {"0": "a", "1": "b", "2": "c"}, "label2id": {"a": 0, "b": 1, "c": 2}},
    {"architectures": ["NoSuchModel"]},
    {"torch_dtype": "float16"},
    {"dtype": "nonsense"},
    {"is_encoder_decoder": True},
    {"gradient_checkpointing": True},
    {"_name_or_path": "somebody/else"},
    {"name_or_path": "somebody/else"},
    {"to_dict": 3, "save_pretrained": None},
    {"base_model_tp_plan": {"a": "b"}, "attribute_map": {"hidden_size": "vocab_size"}, "extra_files": ["../x"]},
    {"quantization_config": None},
    {"quantization_config": {}},
    {"task_specific_params": {"summarization": {"max_length": 3}}},
]


@pytest.mark.parametrize("fields", IGNORED, ids=lambda fields: next(iter(fields)))
@pytest.mark.parametrize("name", ["bert", "distilbert", "gpt2", "t5", "bart"])
def test_settings_of_running_or_saving_change_no_score(
    fields: dict[str, Any], name: str, folders: dict[str, str], tmp_path: Path
) -> None:
    changed = str(copy_of(folders[name], tmp_path / "copy", **fields))
    check_backbone(changed)
    scores, task = [], toy_task(rows=(4, 1))
    for folder in (folders[name], changed):
        backbone = fresh_copy(folder, task)
        batch = encode(backbone, task).batch(range(4))
        with torch.no_grad():
            scores.append(backbone.score(batch))
            backbone.features(batch)
    assert torch.equal(*scores)


@pytest.mark.parametrize("fields", [{"is_decoder": True}, {"is_decoder": True, "add_cross_attention": True}])
@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_an_encoders_first_token_attends_to_the_others_whatever_its_file_says(
    fields: dict[str, Any], name: str, backbones: dict[str, str], tmp_path: Path
) -> None:
    folder = str(copy_of(backbones[name], tmp_path / "copy", **fields))
    check_backbone(folder)
    assert "is_decoder: true" in warnings_of(folder)[0]
    assert warnings_of(backbones[name]) == []
    backbone = fresh_copy(folder)
    with torch.no_grad():
        ids = torch.tensor([[2, 5, 6, 7], [2, 5, 6, 9]])
        batch = Batch({"input_ids": ids, "attention_mask": torch.ones_like(ids)}, torch.zeros(2), torch.arange(2))
        first = backbone.model(**batch.inputs).last_hidden_state[:, 0]
    assert (first[0] - first[1]).abs().max() > 1e-3


@pytest.mark.parametrize("fields", [{"is_causal": False}, {"use_bidirectional_attention": True}])
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_bidirectional_decoder_is_refused(
    fields: dict[str, Any], name: str, language_models: dict[str, str], tmp_path: Path
) -> None:
    folder = copy_of(language_models[name], tmp_path / "copy", **fields)
    with pytest.raises(UserError, match=f"has {next(iter(fields))}: "):
        check_backbone(str(folder))


@pytest.mark.parametrize("field", ["quantization_config", "compression_config"])
@pytest.mark.parametrize("kind", ["bitsandbytes", "gptq", "awq", "fp8", "compressed-tensors", None])
def test_a_quantised_configuration_is_an_error_before_the_run(
    field: str, kind: str | None, language_models: dict[str, str], tmp_path: Path
) -> None:
    folder = copy_of(language_models["llama"], tmp_path / "copy", **{field: {"quant_method": kind, "bits": 4}})
    with pytest.raises(UserError, match=rf"has a {field}, .*{kind or 'float32'}"):
        check_backbone(str(folder))


WRONG: list[Any] = ["12", None, -1, 0, 10**18, 1.5, True, [], {}, [[1]], "x" * 10**5, float("nan"), 10**400]
FIELDS = {
    "bert": ("hidden_size", "num_hidden_layers", "vocab_size", "hidden_act", "model_type", "initializer_range"),
    "gpt2": ("n_head", "layer_norm_epsilon", "attn_pdrop"),
    "t5": ("num_layers", "feed_forward_proj", "decoder_start_token_id"),
    "llama": ("num_key_value_heads", "rope_parameters", "head_dim"),
    "bart": ("max_position_embeddings", "pad_token_id"),
}


@pytest.mark.parametrize(("name", "field"), [(name, field) for name, fields in FIELDS.items() for field in fields])
def test_a_field_of_any_wrong_value_is_an_error_or_another_model(
    name: str, field: str, folders: dict[str, str], tmp_path: Path
) -> None:
    """No other exception, and no error that only a cell would find."""
    task = toy_task()
    for number, value in enumerate(WRONG):
        folder = str(copy_of(folders[name], tmp_path / str(number), **{field: value}))
        message = None
        try:
            check_backbone(folder)
        except UserError as error:
            message = str(error)
        if message is None:
            backbone = fresh_copy(folder, task)
            backbone.score(encode(backbone, task).batch(range(2)))
        else:
            assert folder in message
            assert len(message) < 1500


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b"\xff\xfe{\x00}\x00", "is not valid JSON"),
        (b'{"model_type": "bert"', "is not valid JSON"),
        (b'{"a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested too deep"),
        (b'{"model_type": "bert", "hidden_size": ' + b"9" * 5000 + b"}", "is not valid JSON"),
        (b'{"model_type": "brt"}', "'brt'(?s:.*)Did you mean 'bert'"),
        (b'{"model_type": ["bert"]}', "names no model_type"),
        (b'{"model_type": "mistral", "layer_types": ["full_attention"]}', "layer_types"),  # read as ministral
    ],
)
def test_a_file_that_is_no_configuration_is_an_error(
    content: bytes, message: str, backbones: dict[str, str], tmp_path: Path
) -> None:
    folder = copy_of(backbones["bert"], tmp_path / "copy")
    (folder / "config.json").write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        check_backbone(str(folder))
    assert str(folder / "config.json") in str(caught.value)


NULLS: dict[str, Any] = {"null": None, "left out": ...}


@pytest.mark.parametrize(
    ("name", "field"),
    [("bart", "dropout"), ("bart", "activation_dropout"), ("opt", "dropout"), ("roberta", "pad_token_id")],
)
def test_null_means_the_architectures_default(name: str, field: str, folders: dict[str, str], tmp_path: Path) -> None:
    folder, own = (str(copy_of(folders[name], tmp_path / kind, **{field: value})) for kind, value in NULLS.items())
    check_backbone(folder)
    backbone = fresh_copy(folder)
    backbone.model.train()
    backbone.loss(encode(backbone).batch(range(4))).backward()
    assert getattr(backbone.model.config, field) == getattr(config_at(own), field)


def test_a_byte_order_mark_is_ignored(backbones: dict[str, str], tmp_path: Path) -> None:
    folder = copy_of(backbones["bert"], tmp_path / "copy")
    text = (folder / "config.json").read_text("utf-8")
    (folder / "config.json").write_text(f"\ufeff{text}", encoding="utf-8")
    check_backbone(str(folder))
    assert config_at(str(folder)).hidden_size == 32


def test_a_file_of_any_depth_in_a_known_field_is_an_error(backbones: dict[str, str], tmp_path: Path) -> None:
    deep: Any = 1
    for _ in range(900):
        deep = {"a": deep}
    folder = copy_of(backbones["bert"], tmp_path / "copy")
    fields = json.loads((folder / "config.json").read_text("utf-8")) | {"rope_scaling": deep, "extra": deep}
    (folder / "config.json").write_text(json.dumps(fields), encoding="utf-8")
    with pytest.raises(UserError, match="nested too deep"):
        check_backbone(str(folder))


@pytest.mark.parametrize(
    "fields",
    [
        {"layer_norm_eps": -1.0},
        {"initializer_range": float("nan")},
        {"hidden_dropout_prob": 1.5},
        {"classifier_dropout": "half"},
        {"attention_probs_dropout_prob": -0.1},
        {"rope_theta": float("inf")},
    ],
)
def test_a_number_that_no_model_has_is_reported(
    fields: dict[str, Any], backbones: dict[str, str], tmp_path: Path
) -> None:
    folder = copy_of(backbones["bert"], tmp_path / "copy", **fields)
    with pytest.raises(UserError, match=f"{next(iter(fields))} is .*, and must be"):
        check_backbone(str(folder))


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("llama", {"pad_token_id": -1}),
        ("bert", {"pad_token_id": -1}),
        ("llama", {"eos_token_id": 50_256}),
        ("llama", {"rope_parameters": {"rope_type": "nonsense", "rope_theta": 1e4}}),
        ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4, "other": 1}}),
        ("llama", {"rope_scaling": {"type": "dynamic", "factor": 0.5}}),
        ("llama", {"rope_scaling": {"rope_type": "yarn", "factor": "x"}}),
    ],
)
def test_transformers_itself_logs_nothing(
    name: str, fields: dict[str, Any], folders: dict[str, str], tmp_path: Path
) -> None:
    """Errors of a configuration come in one message of ours, without lines from transformers."""
    messages = list[str]()
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("transformers").addHandler(handler)
    folder = str(copy_of(folders[name], tmp_path / "copy", **fields))
    try:
        with contextlib.suppress(UserError):
            check_backbone(folder)
            loaded(folder)
    finally:
        logging.getLogger("transformers").removeHandler(handler)
    assert messages == []
