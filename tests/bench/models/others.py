"""Tiny random models of architectures that have no record of sites."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.bench.models.families.test_logits import added_model
from tunefront.bench.models.tiny import byte_level_tokenizer, make_backbone

STACKS = {
    "d_model": 32,
    "max_position_embeddings": 256,
    "init_std": 0.2,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_layers": 2,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 64,
}


def encoder_decoder(folder: Path, name: str, **own: Any) -> str:
    """The folder of a tiny random encoder-decoder whose configuration has BART's fields."""
    from transformers import AutoConfig, AutoModelForSeq2SeqLM

    tokenizer = byte_level_tokenizer("bart")
    tokens = {"vocab_size": len(tokenizer), "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
    torch.manual_seed(0)
    AutoModelForSeq2SeqLM.from_config(AutoConfig.for_model(name, **tokens, **STACKS, **own)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


OTHERS: dict[str, tuple[str, Callable[[Path], str]]] = {
    "ernie": ("encoder", lambda folder: str(make_backbone(folder, "ernie"))),
    "roformer": ("encoder", lambda folder: str(make_backbone(folder, "roformer", embedding_size=32))),
    "stablelm": ("decoder", lambda folder: added_model(folder, "stablelm")),
    "gpt_neo": (
        "decoder",
        lambda folder: added_model(
            folder, "gpt_neo", attention_types=[[["global", "local"], 1]], num_layers=2, window_size=256
        ),
    ),
    "marian": ("seq2seq", lambda folder: encoder_decoder(folder, "marian")),
    "blenderbot": ("seq2seq", lambda folder: encoder_decoder(folder, "blenderbot")),
}
"""Architecture -> its family, and what saves a model of it into a folder."""
