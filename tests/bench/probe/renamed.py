"""A Llama with leaves of other names, which nobody has recorded: `tunefront_odd` to transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaMLP

from tunefront.bench.models.tiny import byte_level_tokenizer

NAMES = {"q_proj": "alpha", "k_proj": "beta", "v_proj": "gamma", "o_proj": "delta"}
NAMES |= {"gate_proj": "first", "up_proj": "second", "down_proj": "third"}


class OddConfig(LlamaConfig):
    model_type = "tunefront_odd"


def _renamed(module: nn.Module) -> None:
    """Gives the leaves their other names; the usual ones stay as attributes that are no children."""
    for usual, other in NAMES.items():
        if usual in module._modules:
            leaf = module._modules.pop(usual)
            module.add_module(other, leaf)


class _Odd:
    """Finds a leaf by its usual name."""

    def __getattr__(self, name: str) -> Any:
        return nn.Module.__getattr__(self, NAMES.get(name, name))  # type: ignore[arg-type]


class OddAttention(_Odd, LlamaAttention):
    pass


class OddMLP(_Odd, LlamaMLP):
    pass


class OddForCausalLM(LlamaForCausalLM):
    config_class = OddConfig

    def __init__(self, config: OddConfig):
        super().__init__(config)
        for layer in self.model.layers:
            layer.self_attn.__class__, layer.mlp.__class__ = OddAttention, OddMLP
            _renamed(layer.self_attn)
            _renamed(layer.mlp)


def register() -> None:
    """Makes the architecture known to transformers."""
    AutoConfig.register("tunefront_odd", OddConfig, exist_ok=True)
    AutoModelForCausalLM.register(OddConfig, OddForCausalLM, exist_ok=True)


def save(folder: Path) -> str:
    """Saves a tiny random model."""
    register()
    tokenizer = byte_level_tokenizer("llama")
    torch.manual_seed(0)
    config = OddConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        intermediate_size=64, max_position_embeddings=256, initializer_range=0.2, pad_token_id=0, bos_token_id=2,
        eos_token_id=1,
    )  # fmt: skip
    OddForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
