"""Weights that do not match config.json: an error before anything runs, which names the tensor."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.bench.models.folders import copy_of, save, weights
from tests.bench.models.test_weights import as_bin
from tunefront.bench.errors import UserError
from tunefront.bench.models.config import check_backbone
from tunefront.bench.models.tiny import FAMILIES, LANGUAGE_MODELS, make_language_model

DEPTH = {
    "distilbert": "n_layers",
    "gpt2": "n_layer",
    "t5": "num_layers",
    "t5-gated": "num_layers",
    "bart": "encoder_layers",
}
WIDTH = {"distilbert": "hidden_dim", "gpt2": "n_inner", "opt": "ffn_dim", "t5": "d_ff", "t5-gated": "d_ff"}


@pytest.mark.parametrize("name", [*FAMILIES, *LANGUAGE_MODELS])
def test_a_saved_model_matches(name: str, folders: dict[str, str]) -> None:
    check_backbone(folders[name])


def test_no_thread_is_started_for_empty_tensors(
    backbones: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python waits for ever for a thread that gets no memory."""
    started: list[str] = []
    start = threading.Thread.start

    def count(thread: threading.Thread) -> None:
        started.append(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", count)
    monkeypatch.setenv("HF_DEACTIVATE_ASYNC_LOAD", "0")
    check_backbone(str(copy_of(backbones["bert"], tmp_path / "copy")))
    assert started == []
    assert os.environ["HF_DEACTIVATE_ASYNC_LOAD"] == "0"


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("name", [*FAMILIES, *LANGUAGE_MODELS])
def test_fewer_or_more_layers_than_the_weights_are_reported(
    name: str, layers: int, folders: dict[str, str], tmp_path: Path
) -> None:
    folder = copy_of(
        folders[name], tmp_path / "copy", layer_types=..., **{DEPTH.get(name, "num_hidden_layers"): layers}
    )
    facts = "[0-9]+ tensors that config.json has no place for" if layers == 1 else "lack [0-9]+ tensors"
    with pytest.raises(UserError, match=facts) as caught:
        check_backbone(str(folder))
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("change", ["width", "vocabulary"])
@pytest.mark.parametrize("name", ["bert", "distilbert", "gpt2", "opt", "llama", "t5", "t5-gated"])
def test_another_width_or_vocabulary_is_reported(
    name: str, change: str, folders: dict[str, str], tmp_path: Path
) -> None:
    fields = {WIDTH.get(name, "intermediate_size"): 48} if change == "width" else {"vocab_size": 5000}
    folder = copy_of(folders[name], tmp_path / "copy", **fields)
    with pytest.raises(UserError, match=r"another shape, .* by config\.json"):
        check_backbone(str(folder))


def test_a_model_far_larger_than_its_weights_is_reported_without_making_it(
    backbones: dict[str, str], tmp_path: Path
) -> None:
    folder = copy_of(backbones["bert"], tmp_path / "copy", vocab_size=10**8)
    with pytest.raises(UserError, match=r"3,2\d\d,\d{3},\d{3} parameters, .* 2\d,\d{3}:"):
        check_backbone(str(folder))


@pytest.mark.parametrize(
    ("tensors", "fits"),
    [
        ({"cls.predictions.bias": 19}, True),
        ({"classifier.weight": 2}, True),
        ({"qa_outputs.weight": 2}, True),
        ({"embeddings.position_ids": 80}, True),
        ({"encoder.layer.0.attention.self.query.lora_A.weight": 8}, False),
        ({"encoder.layer.0.crossattention.self.query.weight": 8}, False),
        ({"encoder.layer.7.output.dense.bias": 32}, False),
        ({"embeddings.extra.weight": 8}, False),
    ],
)
@pytest.mark.parametrize("prefix", ["", "bert."])
@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_unexpected_heads_and_constants_are_ignored_and_parts_of_the_model_are_not(
    tensors: dict[str, int], fits: bool, prefix: str, kind: str, backbones: dict[str, str], tmp_path: Path
) -> None:
    folder = copy_of(backbones["bert"], tmp_path / "copy")
    own = {f"{prefix}{name}": tensor for name, tensor in weights(folder).items()}
    heads = ("cls.", "classifier.", "qa_outputs.")
    more = {name if name.startswith(heads) else f"{prefix}{name}": torch.ones(size) for name, size in tensors.items()}
    save(folder, own | more)
    if kind == "bin":
        as_bin(folder)
    if fits:
        check_backbone(str(folder))
        return
    with pytest.raises(UserError, match=rf" 1 tensors .*{next(iter(tensors))}"):
        check_backbone(str(folder))


@pytest.mark.parametrize(
    ("name", "constants"),
    [
        ("gpt2", ["transformer.h.0.attn.bias", "transformer.h.0.attn.masked_bias"]),
        ("gpt_neox", ["gpt_neox.layers.0.attention.bias", "gpt_neox.layers.0.attention.masked_bias"]),
        ("gpt_neox", ["gpt_neox.layers.0.attention.rotary_emb.inv_freq"]),
        ("llama", ["model.layers.0.self_attn.rotary_emb.inv_freq"]),
        ("bart", ["model.encoder.version", "model.decoder.version"]),
        ("opt", ["model.decoder.version"]),
        ("t5", ["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"]),
    ],
)
def test_constants_of_older_versions_are_ignored(
    name: str, constants: list[str], language_models: dict[str, str], tmp_path: Path
) -> None:
    """Also masks of integers."""
    folder = copy_of(language_models[name], tmp_path / "copy")
    masks = {key: torch.ones(2, 2, dtype=torch.uint8 if key.endswith("bias") else torch.float32) for key in constants}
    save(folder, weights(folder) | masks)
    check_backbone(str(folder))


def test_a_missing_pooler_is_no_error(backbones: dict[str, str], tmp_path: Path) -> None:
    folder = copy_of(backbones["bert"], tmp_path / "copy")
    save(folder, {name: tensor for name, tensor in weights(folder).items() if not name.startswith("pooler.")})
    check_backbone(str(folder))


@pytest.mark.parametrize("name", ["embeddings.word_embeddings.weight", "encoder.layer.0.attention.self.key.bias"])
def test_a_missing_tensor_is_reported(name: str, backbones: dict[str, str], tmp_path: Path) -> None:
    folder = copy_of(backbones["bert"], tmp_path / "copy")
    save(folder, {key: tensor for key, tensor in weights(folder).items() if key != name})
    with pytest.raises(UserError, match=f"lack 1 tensors of BertModel, {name} first"):
        check_backbone(str(folder))


def test_an_output_layer_that_is_lacking_is_reported_where_none_is_tied(tmp_path: Path) -> None:
    """For example a classifier's checkpoint in place of a language model."""
    folder = make_language_model(tmp_path / "llama", "llama")
    save(folder, {name: tensor for name, tensor in weights(folder).items() if name != "lm_head.weight"})
    with pytest.raises(UserError, match=r"lack 1 tensors of LlamaForCausalLM, lm_head\.weight first"):
        check_backbone(str(folder))


@pytest.mark.parametrize("kind", [torch.int8, torch.uint8, torch.float8_e4m3fn])
def test_quantised_weights_are_reported_though_config_says_nothing(
    kind: Any, backbones: dict[str, str], tmp_path: Path
) -> None:
    folder = copy_of(backbones["bert"], tmp_path / "copy")
    tensors = weights(folder)
    tensors["encoder.layer.0.output.dense.weight"] = tensors["encoder.layer.0.output.dense.weight"].to(kind)
    save(folder, tensors)
    with pytest.raises(UserError, match=r"are quantised \(encoder\.layer\.0\.output\.dense\.weight"):
        check_backbone(str(folder))
