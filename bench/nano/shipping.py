"""Exports a training checkpoint to the folder that ships."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from tokenizers import Tokenizer

from tunefront.bench.errors import UserError
from tunefront.bench.nano import FOLDER, shape, tokens
from tunefront.bench.nano.runs import CHECKPOINT

MOST_BYTES = 25_000_000
"""Maximum size of the weights, two bytes each."""


def ship(trained: Path, to: Path) -> int:
    """Writes configuration, float16 weights and tokenizer to the folder `to`; returns the bytes of the weights.

    Errors: UserError without a checkpoint, ValueError if the weights are too large to ship.
    """
    from transformers import LlamaForCausalLM

    if not (trained / CHECKPOINT).exists():
        raise UserError(f"there is no {trained / CHECKPOINT}; train first, with the same --out")
    checkpoint = torch.load(trained / CHECKPOINT, map_location="cpu", weights_only=True)
    tokenizer = Tokenizer.from_file(str(trained / "tokenizer.json"))
    model = LlamaForCausalLM(shape.config(tokenizer.get_vocab_size(), tokenizer.get_vocab()[tokens.END]))
    prefix = "model."
    weights = {name.removeprefix(prefix): w for name, w in checkpoint["nano"].items() if name.startswith(prefix)}
    model.load_state_dict(weights)
    size = sum(2 * weight.numel() for weight in model.parameters())
    if size > MOST_BYTES:
        raise ValueError(f"the weights take {size} bytes, more than the {MOST_BYTES} that may ship")
    model.half().save_pretrained(to)
    tokens.fast(tokenizer, shape.CONTEXT).save_pretrained(to)
    for file in to.iterdir():
        file.chmod(0o644)  # some are readable only by their owner
    return size


def fresh(to: Path, seed: int = 0) -> None:
    """Writes a model of `nano`'s shape and tokenizer with random weights, for comparison."""
    from transformers import AutoConfig, AutoTokenizer, LlamaForCausalLM

    torch.manual_seed(seed)
    LlamaForCausalLM(AutoConfig.from_pretrained(FOLDER)).save_pretrained(to)
    AutoTokenizer.from_pretrained(FOLDER).save_pretrained(to)


def facts() -> dict[str, int]:
    """Parameters and vocabulary size of the shipped model."""
    from safetensors import safe_open

    with safe_open(FOLDER / "model.safetensors", "pt") as weights:
        params = sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
    return {"params": params, "vocabulary": Tokenizer.from_file(str(FOLDER / "tokenizer.json")).get_vocab_size()}
