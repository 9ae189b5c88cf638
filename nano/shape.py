"""`nano`'s architecture, the forward pass of its two halves, and the model for training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

WIDTH, LAYERS, HEADS, FEED_FORWARD, CONTEXT = 256, 6, 4, 688, 2048
HEAD_SIZE = WIDTH // HEADS
ROTARY_BASE = 500_000.0
"""Llama 3's base: two thirds of the phases rotate so slowly that content can be compared over a whole prompt."""
READING_LAYERS = 3
"""Layers of the lower half, whose state at `Label:` is trained to represent the text's meaning."""


def config(vocabulary: int, end: int) -> LlamaConfig:
    """Llama's architecture with untied embeddings."""
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        intermediate_size=FEED_FORWARD,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": ROTARY_BASE},
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=end,
    )


def head_rows(head: int) -> slice:
    """A head's rows of a projection, or its columns of the output projection."""
    return slice(head * HEAD_SIZE, (head + 1) * HEAD_SIZE)


def lower(model: LlamaForCausalLM, ids: Tensor) -> Tensor:
    """States after the reading layers, not normalised: (batch, seq) -> (batch, seq, width)."""
    return through(model, model.model.embed_tokens(ids), slice(0, READING_LAYERS))


def upper(model: LlamaForCausalLM, states: Tensor) -> Tensor:
    """The normalised last states from the states of the reading layers; shapes kept."""
    return model.model.norm(through(model, states, slice(READING_LAYERS, None)))


def through(model: LlamaForCausalLM, states: Tensor, layers: slice) -> Tensor:
    """States after some layers; shapes kept."""
    positions = torch.arange(states.shape[1]).unsqueeze(0)
    rotary = model.model.rotary_emb(states, positions)
    for layer in model.model.layers[layers]:
        states = layer(states, attention_mask=None, position_embeddings=rotary)
    return states


class Nano(nn.Module):
    """The decoder, with a norm and a projection to the teacher's space for distillation in training; with random
    weights from torch's generator."""

    def __init__(self, vocabulary: int, end: int, teacher_width: int):
        super().__init__()
        self.model = LlamaForCausalLM(config(vocabulary, end))
        self.norm = nn.RMSNorm(WIDTH)
        self.towards_teacher = nn.Linear(WIDTH, teacher_width)

    def distance(self, states: Tensor, taught: Tensor) -> Tensor:
        """Mean over positions of one minus the cosine between projected states and the teacher's embeddings."""
        projected = functional.normalize(self.towards_teacher(self.norm(states)).float(), dim=-1)
        return (1 - (projected * taught).sum(-1)).mean()
