"""Translates a GGUF file's architecture to transformers: configuration, tensor names, and the layout of tensors.

llama.cpp reorders the rows of Llama's query and key projections, because it rotates neighbouring pairs of values where
transformers rotates the two halves of a head, and it stores GPT-2's matrices transposed. Both are undone here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tunefront.bench.errors import UserError, nearest, printable
from tunefront.bench.models.gguf.reading import GGUF, decimal, metadata_error, whole_number
from tunefront.bench.models.gguf.rotation import FREQUENCIES, rope_parameters

Array = np.ndarray[Any, np.dtype[np.float32]]
Fields = dict[str, Any]  # Any: as in a config.json

_BLOCK = re.compile(r"blk\.(\d+)\.(.+)")
_OUTSIDE_LLAMA = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_INSIDE_LLAMA = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_OUTSIDE_GPT2 = {
    "token_embd": "transformer.wte",
    "position_embd": "transformer.wpe",
    "output_norm": "transformer.ln_f",
    "output": "lm_head",
}
_INSIDE_GPT2 = {
    "attn_norm": "ln_1",
    "attn_qkv": "attn.c_attn",
    "attn_output": "attn.c_proj",
    "ffn_norm": "ln_2",
    "ffn_up": "mlp.c_fc",
    "ffn_down": "mlp.c_proj",
}


@dataclass(frozen=True)
class Architecture:
    """A supported architecture.

    Args: model_class, transformers' class; outside and inside, llama.cpp's -> transformers' names of modules outside
    and inside the blocks; blocks, transformers' path of the blocks; configure, builds the fields of config.json;
    permuted and transposed, the modules whose rows llama.cpp reorders and whose matrices it transposes.
    """

    model_class: str
    outside: Mapping[str, str]
    inside: Mapping[str, str]
    blocks: str
    configure: Callable[[GGUF, str], Fields]
    permuted: tuple[str, ...] = ()
    transposed: tuple[str, ...] = ()


@dataclass(frozen=True)
class TensorSource:
    """A tensor of the model: the name of its source in the file, the change of layout, and the resulting shape."""

    source: str
    change: Callable[[Array], Array]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ModelDescription:
    """The model of a GGUF file: the fields of its config.json, and its tensors by transformers' names."""

    config: Fields
    parts: Mapping[str, TensorSource]


def describe(file: GGUF) -> ModelDescription:
    """Describes the model of a file. Errors: UserError for an unsupported architecture, tensors that do not belong to
    it, missing metadata, and position embeddings that transformers would not compute exactly."""
    name = file.metadata.get("general.architecture")
    if not isinstance(name, str):
        raise metadata_error(file, "general.architecture", "the name of an architecture")
    if name not in ARCHITECTURES:
        near = nearest(name, ARCHITECTURES)
        raise UserError(
            f"{file.what} is of the architecture {printable(name[:100], single_line=True)!r}; supported are "
            f"{', '.join(ARCHITECTURES)} (Mistral's and SmolLM's files are llama)"
            f"{f'; the nearest is {near}' if near else ''}. Give the original model's folder with config.json and "
            "safetensors, or its Hub id."
        )
    architecture = ARCHITECTURES[name]
    if whole_number(file, "split.count", 1) > 1:
        raise UserError(
            f"{file.what} is one of {whole_number(file, 'split.count')} files of a model that was split; join them "
            "with `llama-gguf-split --merge FIRST OUT`, and give that file."
        )
    config = architecture.configure(file, name)
    parts = dict(_part(file, architecture, source, config) for source in file.tensors if source != FREQUENCIES)
    embedding = file.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise UserError(f"{file.what} has no matrix token_embd.weight, which holds the tokens' vectors.")
    common = {
        "architectures": [architecture.model_class],
        "model_type": name,
        "vocab_size": embedding.shape[0],
        "tie_word_embeddings": "lm_head.weight" not in parts,
        "dtype": "float32",
    }
    return ModelDescription({**common, **config, **_special_ids(file, embedding.shape[0])}, parts)


def _part(file: GGUF, architecture: Architecture, source: str, config: Fields) -> tuple[str, TensorSource]:
    module, _, kind = source.rpartition(".")
    block = _BLOCK.fullmatch(module)
    inner = block[2] if block else module
    module_name = (architecture.inside if block else architecture.outside).get(inner)
    if module_name is None or kind not in ("weight", "bias"):
        raise UserError(
            f"{file.what} has the tensor {printable(source, single_line=True)!r}, which "
            f"{architecture.model_class} does not have, so its model is another one. Give the original model's folder "
            "with config.json and safetensors."
        )
    shape = file.tensors[source].shape
    name = f"{architecture.blocks}.{int(block[1])}.{module_name}.{kind}" if block else f"{module_name}.{kind}"
    if inner in architecture.permuted:
        heads = config["num_attention_heads" if inner == "attn_q" else "num_key_value_heads"]
        if shape[0] % (2 * heads):
            raise UserError(f"{file.what} has {shape[0]} rows in {source}, which is no multiple of 2 × {heads} heads.")
        return name, TensorSource(source, _halves(heads), shape)
    if kind == "weight" and inner in architecture.transposed:
        return name, TensorSource(source, np.transpose, shape[::-1])
    return name, TensorSource(source, _same, shape)


def _halves(heads: int) -> Callable[[Array], Array]:
    """Undoes llama.cpp's order of a head's rows, in which the rows of its two halves alternate."""

    def change(values: Array) -> Array:
        rows = values.shape[0] // heads
        return values.reshape(heads, rows // 2, 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)

    return change


def _same(values: Array) -> Array:
    return values


def _llama(file: GGUF, name: str) -> Fields:
    """The fields that Llama, Qwen2 and Qwen3 share."""
    width, heads = whole_number(file, f"{name}.embedding_length"), _heads(file, f"{name}.attention.head_count")
    groups = _heads(file, f"{name}.attention.head_count_kv", heads)
    head = whole_number(file, f"{name}.attention.key_length", width // heads)
    for key in (f"{name}.attention.value_length", f"{name}.rope.dimension_count"):
        if whole_number(file, key, head) != head:
            raise UserError(
                f"{file.what} has heads of {head} numbers and {key} of {file.metadata[key]}, and "
                "transformers' models of this architecture have one size for both. Give the original model's folder."
            )
    return {
        "hidden_size": width,
        "intermediate_size": whole_number(file, f"{name}.feed_forward_length"),
        "num_hidden_layers": whole_number(file, f"{name}.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "head_dim": head,
        "hidden_act": "silu",
        "max_position_embeddings": whole_number(file, f"{name}.context_length"),
        "rms_norm_eps": decimal(file, f"{name}.attention.layer_norm_rms_epsilon"),
        "rope_parameters": rope_parameters(file, name, head),
    }


def _llama_itself(file: GGUF, name: str) -> Fields:
    biases = {"attention_bias": "blk.0.attn_q.bias" in file.tensors, "mlp_bias": "blk.0.ffn_up.bias" in file.tensors}
    return {**_llama(file, name), **biases}


def _qwen2(file: GGUF, name: str) -> Fields:
    fields = _llama(file, name)
    del fields["head_dim"]  # always width / heads
    return {**fields, "use_sliding_window": False}


def _qwen3(file: GGUF, name: str) -> Fields:
    biases = {"attention_bias": "blk.0.attn_q.bias" in file.tensors}
    return {**_llama(file, name), **biases, "use_sliding_window": False}


def _gpt2(file: GGUF, name: str) -> Fields:
    return {
        "n_embd": whole_number(file, f"{name}.embedding_length"),
        "n_layer": whole_number(file, f"{name}.block_count"),
        "n_head": _heads(file, f"{name}.attention.head_count"),
        "n_inner": whole_number(file, f"{name}.feed_forward_length"),
        "n_positions": whole_number(file, f"{name}.context_length"),
        "layer_norm_epsilon": decimal(file, f"{name}.attention.layer_norm_epsilon"),
        "activation_function": "gelu_new",  # the file does not say; llama.cpp computes this one
    }


def _heads(file: GGUF, name: str, default: int | None = None) -> int:
    """A number of heads, at least 1. Errors: UserError for blocks with different numbers."""
    value = file.metadata.get(name)
    if isinstance(value, np.ndarray) and len(set(value.tolist())) > 1:
        raise UserError(f"{file.what} has blocks of different {name}, which transformers' models do not support.")
    heads = int(value[0]) if isinstance(value, np.ndarray) and value.size else whole_number(file, name, default)
    if heads < 1:
        raise metadata_error(file, name, "at least 1")
    return heads


def _special_ids(file: GGUF, tokens: int) -> Fields:
    """The ids of special tokens; None for an id outside the vocabulary."""
    roles = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"}
    ids = {field: file.metadata.get(f"tokenizer.ggml.{name}_token_id") for field, name in roles.items()}
    return {field: id_ if type(id_) is int and 0 <= id_ < tokens else None for field, id_ in ids.items()}


ARCHITECTURES: dict[str, Architecture] = {
    "llama": Architecture(
        "LlamaForCausalLM", _OUTSIDE_LLAMA, _INSIDE_LLAMA, "model.layers", _llama_itself, permuted=("attn_q", "attn_k")
    ),
    "qwen2": Architecture("Qwen2ForCausalLM", _OUTSIDE_LLAMA, _INSIDE_LLAMA, "model.layers", _qwen2),
    "qwen3": Architecture("Qwen3ForCausalLM", _OUTSIDE_LLAMA, _INSIDE_LLAMA, "model.layers", _qwen3),
    "gpt2": Architecture(
        "GPT2LMHeadModel",
        _OUTSIDE_GPT2,
        _INSIDE_GPT2,
        "transformer.h",
        _gpt2,
        transposed=("attn_qkv", "attn_output", "ffn_up", "ffn_down"),
    ),
}
"""By the name that both llama.cpp and transformers use. GPT-NeoX is not supported: its files do not name the activation
function, and published models differ in it."""
