"""GGUF files of tiny models, written by gguf's own writer as llama.cpp's conversion writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind
from safetensors.numpy import load_file

Tensors = dict[str, np.ndarray]
Pairs = list[tuple[str, np.ndarray, Kind]]

_LLAMA = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_GPT2 = {
    "transformer.wte": "token_embd",
    "transformer.wpe": "position_embd",
    "transformer.ln_f": "output_norm",
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}
CODES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gpt2": "gpt2"}
"""model_type -> what llama.cpp calls the architecture."""
MATRICES_ONLY = 2
"""Dimensions of what is quantised; norms and biases stay float32."""


def write_model(
    path: Path, folder: Path, kind: Kind = Kind.F32, entries: dict[str, Any] | None = None, extra: Pairs | None = None
) -> Path:
    """The model of a folder as a GGUF file whose matrices are of `kind`, with further tensors. `entries` of metadata
    take the place of what would be written; None leaves one out."""
    config = json.loads((folder / "config.json").read_text())
    code = CODES[config["model_type"]]
    metadata = {**_config(config, code), **_tokenizer(folder, _PRE[code]), **(entries or {})}
    return write(path, code, metadata, [*tensors_of(folder, config, kind), *(extra or [])])


_PRE = {"llama": "gpt-2", "gpt2": "gpt-2", "qwen2": "qwen2", "qwen3": "qwen2"}


def write(path: Path, code: str, entries: dict[str, Any], tensors: Pairs) -> Path:
    """A file of these entries of metadata and tensors, each (name, bytes as stored, kind)."""
    writer = gguf.GGUFWriter(path, code)
    for name, value in entries.items():
        if value is None or name == "general.architecture":
            continue
        if isinstance(value, bool):
            writer.add_bool(name, value)
        elif isinstance(value, int):
            writer.add_uint32(name, value)
        elif isinstance(value, float):
            writer.add_float32(name, value)
        elif isinstance(value, str):
            writer.add_string(name, value)
        else:
            writer.add_array(name, value)
    for name, values, kind in tensors:
        writer.add_tensor(name, values, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def stored(values: np.ndarray, kind: Kind, seed: int = 0) -> np.ndarray:
    """A matrix as a file stores it. Where gguf cannot quantise, blocks of random numbers take its place: their scales,
    which are float16, are small, and every other byte may be anything."""
    if kind == Kind.F32:
        return values.astype(np.float32)
    try:
        return gguf.quantize(values, kind)
    except NotImplementedError:
        block, size = gguf.GGML_QUANT_SIZES[kind]
        generator = np.random.default_rng(seed)
        blocks = generator.integers(0, 256, (values.size // block, size), np.uint8)
        for place in _SCALES[kind]:
            scale = generator.uniform(1e-4, 1e-3, len(blocks)).astype(np.float16)
            blocks[:, place : place + 2] = scale.view(np.uint8).reshape(-1, 2)
        return blocks.reshape(*values.shape[:-1], -1)


_SCALES = {Kind.Q4_K: (0, 2), Kind.Q5_K: (0, 2), Kind.Q6_K: (208,), Kind.Q2_K: (80, 82), Kind.Q3_K: (108,)}
"""Where a block's scales are. Source: the blocks' definitions in ggml-common.h."""


def tensors_of(folder: Path, config: dict[str, Any], kind: Kind) -> Pairs:
    """A model's tensors as llama.cpp names, orders and transposes them."""
    found: Pairs = []
    gpt2 = config["model_type"] == "gpt2"
    for name, values in load_file(folder / "model.safetensors").items():
        module, _, ending = name.rpartition(".")
        parts = module.split(".")
        number = next((part for part in parts if part.isdigit()), None)
        inner = module if number is None else ".".join(parts[parts.index(number) + 1 :])
        code = (_GPT2 if gpt2 else _LLAMA)[inner]
        if CODES[config["model_type"]] == "llama" and code in ("attn_q", "attn_k"):
            heads = config["num_attention_heads" if code == "attn_q" else "num_key_value_heads"]
            values = permuted(values, heads)
        if gpt2 and number is not None and values.ndim == MATRICES_ONLY:
            values = np.ascontiguousarray(values.T)
        of = kind if values.ndim == MATRICES_ONLY else Kind.F32
        full = code if number is None else f"blk.{number}.{code}"
        found.append((f"{full}.{ending}", stored(values, of), of))
    return found


def permuted(values: np.ndarray, heads: int) -> np.ndarray:
    """Rows as llama.cpp orders them. Source: `LlamaModel.permute` in its conversion."""
    return (
        values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)
    )


def _config(config: dict[str, Any], code: str) -> dict[str, Any]:
    if code == "gpt2":
        return {
            "gpt2.context_length": config["n_positions"],
            "gpt2.embedding_length": config["n_embd"],
            "gpt2.block_count": config["n_layer"],
            "gpt2.feed_forward_length": config["n_inner"],
            "gpt2.attention.head_count": config["n_head"],
            "gpt2.attention.layer_norm_epsilon": config["layer_norm_epsilon"],
        }
    head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    return {
        f"{code}.context_length": config["max_position_embeddings"],
        f"{code}.embedding_length": config["hidden_size"],
        f"{code}.block_count": config["num_hidden_layers"],
        f"{code}.feed_forward_length": config["intermediate_size"],
        f"{code}.attention.head_count": config["num_attention_heads"],
        f"{code}.attention.head_count_kv": config["num_key_value_heads"],
        f"{code}.attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
        f"{code}.rope.freq_base": config["rope_parameters"]["rope_theta"],
        f"{code}.attention.key_length": head,
        f"{code}.attention.value_length": head,
        **({f"{code}.rope.dimension_count": head} if code == "llama" else {}),
    }


def _tokenizer(folder: Path, pre: str) -> dict[str, Any]:
    made = json.loads((folder / "tokenizer.json").read_text())
    says = json.loads((folder / "tokenizer_config.json").read_text())
    return tokenizer_entries(made, says, pre)


def tokenizer_entries(made: dict[str, Any], says: dict[str, Any], pre: str) -> dict[str, Any]:
    """The metadata of a byte-level tokenizer.json, and of the special tokens that tokenizer_config.json names."""
    vocabulary = {**made["model"]["vocab"], **{token["content"]: token["id"] for token in made["added_tokens"]}}
    tokens = sorted(vocabulary, key=lambda token: vocabulary[token])
    marked = {token["content"]: 3 if token["special"] else 4 for token in made["added_tokens"]}
    named = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}
    ids = {f"tokenizer.ggml.{name}_token_id": vocabulary[says[role]] for name, role in named.items() if says.get(role)}
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [marked.get(token, 1) for token in tokens],
        "tokenizer.ggml.merges": [" ".join(pair) for pair in made["model"]["merges"]],
        "tokenizer.ggml.add_bos_token": made["post_processor"] is not None,
        **ids,
    }
