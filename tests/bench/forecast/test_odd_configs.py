"""Odd values in a config.json: a plan is made, or the error is one paragraph; nothing else happens.

To run more cases: TUNEFRONT_ODD_CONFIGS=2000 pytest tests/bench/forecast/test_odd_configs.py
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from tunefront import plan
from tunefront.bench.errors import UserError

CASES = int(os.environ.get("TUNEFRONT_ODD_CONFIGS", "24"))
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
SMALL |= {"vocab_size": 100, "max_position_embeddings": 64}
STACKS = {
    f"{stack}_{name}": size for stack in ("encoder", "decoder") for name, size in (("layers", 2), ("ffn_dim", 64))
}
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": {**SMALL, "type_vocab_size": 2, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "pad_token_id": 0},
    "roberta": {**SMALL, "type_vocab_size": 1, "pad_token_id": 1, "layer_norm_eps": 1e-5},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "vocab_size": 100, "dropout": 0.1},
    "deberta-v2": {**SMALL, "relative_attention": True, "position_buckets": 8, "pos_att_type": "p2c|c2p"},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64, "vocab_size": 100, "n_inner": None},
    "llama": {**SMALL, "num_key_value_heads": 1, "rope_theta": 1e4, "rope_scaling": None, "head_dim": 16},
    "mistral": {**SMALL, "num_key_value_heads": 1, "sliding_window": 32},
    "qwen3": {**SMALL, "num_key_value_heads": 1, "head_dim": 16, "layer_types": ["full_attention"] * 2},
    "opt": {**SMALL, "ffn_dim": 64, "word_embed_proj_dim": 32, "do_layer_norm_before": True},
    "t5": {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, "feed_forward_proj": "gated-gelu"},
    "bart": {**STACKS, "d_model": 32, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "vocab_size": 100},
}
MORE = (
    *("rope_scaling", "rope_parameters", "layer_types", "dtype", "torch_dtype", "quantization_config", "id2label"),
    *(
        "label2id",
        "num_labels",
        "problem_type",
        "auto_map",
        "architectures",
        "pad_token_id",
        "eos_token_id",
        "use_cache",
    ),
    *("bos_token_id", "decoder_start_token_id", "is_decoder", "is_encoder_decoder", "tie_word_embeddings", "to_dict"),
    *("_attn_implementation", "attn_implementation", "pruned_heads", "sliding_window", "use_sliding_window"),
    *("initializer_range", "return_dict", "output_attentions", "chunk_size_feed_forward", "transformers_version"),
    *("name_or_path", "text_config", "sub_configs", "attribute_map", "generation_config", "partial_rotary_factor"),
    *("rotary_pct", "position_embedding_type", "gradient_checkpointing", "torchscript", "hidden_act", "__class__"),
)


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


ODD = (
    *(None, True, False, 0, -1, 1.5, -0.5, 1e308, float("nan"), float("inf"), 10**30, 2**63, 10**6, 10**9),
    *("", "x", "32", "gelu\u0000", "../../x", [], [1], ["a"], [None], {}, {"a": 1}, {"": None}, nested(60)),
    *({"rope_type": "yarn"}, {"type": "linear", "factor": None}, {"rope_type": "linear", "factor": "2"}),
)


def case(number: int) -> dict[str, Any]:
    generator = random.Random(number)
    model_type = generator.choice(sorted(CONFIGS))
    fields: dict[str, Any] = {"model_type": model_type, **CONFIGS[model_type]}
    for _ in range(generator.choice((1, 1, 2))):
        fields[generator.choice([*fields, *MORE])] = generator.choice(ODD)
    return fields


def planned(path: Path) -> str | None:
    """The error message, None if there is none."""
    try:
        plan(methods=["full"], backbones=[str(path)], length=8, shots=[2], queries=1, settings={"steps": 1})
    except UserError as error:
        return str(error)
    return None


@pytest.mark.filterwarnings("ignore")  # transformers' warnings about such fields
@pytest.mark.parametrize("number", range(CASES))
def test_an_odd_configuration_is_planned_or_an_error_of_one_paragraph(number: int, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(case(number)), encoding="utf-8")
    message = planned(path)
    if message is not None:
        assert "\n" not in message
        assert len(message) < 900


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        (b"\xff\xfe{\x00}\x00", "not valid JSON"),
        (b'{"model_type": "bert", "hidden_size": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b'{"model_type": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deep"),
        (b"null", "must be a JSON object"),
        (b"", "not valid JSON"),
        (b'{"model_type": null}', "no model_type"),
        (b'{"model_type": ["bert"]}', "no model_type"),
        (b'{"model_type": "bert", "hidden_size": null, "num_attention_heads": -2}', "num_attention_heads is -2"),
        (b'{"model_type": "llama", "rope_parameters": ["a"]}', "rope_parameters is ["),
        (b'{"model_type": "qwen3", "layer_types": true}', "layer_types is true"),
        (b'{"model_type": "bert", "eos_token_id": {}}', "eos_token_id"),
        (b'{"model_type": "bert", "attribute_map": {"hidden_size": "x"}, "hidden_size": 30}', "not a multiple"),
    ],
)
def test_the_error_names_the_field_or_the_problem(content: bytes, fact: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    message = planned(path)
    assert message is not None
    assert fact in message
    assert "\n" not in message


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    for path in (tmp_path, tmp_path / "config.json"):
        assert planned(path) is not None
