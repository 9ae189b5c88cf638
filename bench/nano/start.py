"""Initial weights: token embeddings with meaning, and recall heads.

Both are only an initialisation: every weight is trained from the first step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from tunefront.bench.nano import shape

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

RECALLING = (0, 1)
"""Layers of an induction pair of heads, which recalls the token after an earlier occurrence."""
READING_LAYER, READING_HEADS = 2, 3
"""Layer and number of heads that average the preceding tokens."""
_RIDGE = 1.0
_NOISE, _NORM, _SHARED = 0.02, 0.64, 0.5
_OUTPUT = 1.5
_WRITTEN, _COPIED, _READ = 0.08, 0.2, 0.2
_PLACES = 16
"""Number of the highest rotary frequencies, which identify the previous position."""
_WINDOW, _NEARNESS = (0.03, 0.19), 1.0
"""Range of rotary frequencies, in radians per token, that separates the last ten tokens from earlier ones."""


def begin(model: LlamaForCausalLM, texts: Sequence[np.ndarray], embedded: Tensor, seed: int = 0) -> None:
    """Sets embeddings, output layer and recall heads, in place.

    The output layer starts as the embeddings, so that a copied embedding raises its token's logit.
    Args: texts, token ids of the snippets; embedded, their teacher embeddings (snippets, teacher's width).
    """
    generator = torch.Generator().manual_seed(seed)
    vocabulary = model.config.vocab_size
    start = token_embeddings(texts, embedded, vocabulary, shape.WIDTH)
    start += _NOISE * torch.randn(start.shape, generator=generator)
    start = _NORM * torch.nn.functional.normalize(start, dim=-1)
    shared = torch.nn.functional.normalize(torch.randn(shape.WIDTH, generator=generator), dim=0)
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(start + _SHARED * shared)
        model.lm_head.weight.copy_(_OUTPUT * start)
        size = shape.WIDTH // shape.HEADS
        axes = torch.eye(shape.WIDTH).reshape(shape.HEADS, size, shape.WIDTH)  # principal axes of the embeddings first
        for head in range(READING_HEADS):
            reading_head(model, head, axes[head], shared)
        recall_heads(model, *RECALLING, shared, generator)


def token_embeddings(texts: Sequence[np.ndarray], embedded: Tensor, vocabulary: int, width: int) -> Tensor:
    """Initial token embeddings: (vocabulary, width), with standard deviation 0.04.

    The vectors whose mean over a text's tokens best approximates the teacher's embedding of it (ridge regression), on
    their `width` principal axes. So texts of similar meaning are near from the first step. model2vec showed that a
    sentence encoder can be distilled into static vectors.
    """
    rows = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    columns = np.concatenate(list(texts))
    shares = np.repeat([1 / len(text) for text in texts], [len(text) for text in texts])
    counts = sparse.csr_matrix((shares, (rows, columns)), (len(texts), vocabulary))
    centred = (embedded.float() - embedded.float().mean(0)).numpy()
    gram = torch.from_numpy((counts.T @ counts).toarray()).float() + _RIDGE * torch.eye(vocabulary)
    vectors = torch.linalg.solve(gram, torch.from_numpy(counts.T @ centred).float())
    axes = torch.linalg.svd(vectors, full_matrices=False).Vh[:width]
    start = vectors @ axes.T
    return start * (0.04 / start.std())


def reading_head(model: LlamaForCausalLM, head: int, axes: Tensor, shared: Tensor) -> None:
    """Sets a head to average some axes of about the last ten tokens, with larger weights for nearer ones, in place."""
    attention, size = model.model.layers[READING_LAYER].self_attn, shape.WIDTH // shape.HEADS
    rows = slice(head * size, (head + 1) * size)
    turned = model.model.rotary_emb.inv_freq
    still = torch.zeros(size)
    still[: len(turned)][(turned > _WINDOW[0]) & (turned < _WINDOW[1])] = _NEARNESS
    attention.q_proj.weight[rows] = torch.outer(still, shared)
    attention.k_proj.weight[rows] = torch.outer(still, shared)
    attention.v_proj.weight[rows] = axes
    attention.o_proj.weight[:, rows] = _READ * axes.T


def recall_heads(model: LlamaForCausalLM, earlier: int, later: int, shared: Tensor, generator: torch.Generator) -> None:
    """Sets the first heads of two layers to an induction pair (Olsson et al. 2022, arXiv:2209.11895), in place.

    The earlier head attends to the previous position, only by rotary phases: its queries and keys read only `shared`,
    the common direction of all embeddings. It writes that token into a subspace. The later head attends to positions
    whose predecessor matches its own token, by that subspace, and copies the token there.
    """
    attention, size = model.model.layers[earlier].self_attn, shape.WIDTH // shape.HEADS
    head, half = slice(0, size), size // 2
    by_one_place = model.model.rotary_emb.inv_freq[:_PLACES]
    query, key = torch.zeros(size), torch.zeros(size)
    query[:_PLACES] = 1.0
    key[:_PLACES], key[half : half + _PLACES] = by_one_place.cos(), by_one_place.sin()
    read, written, copied = (_subspace(size, generator) for _ in range(3))
    attention.q_proj.weight[head] = torch.outer(query, shared)
    attention.k_proj.weight[head] = torch.outer(key, shared)
    attention.v_proj.weight[head] = read
    attention.o_proj.weight[:, head] = _WRITTEN * written.T
    attention = model.model.layers[later].self_attn
    attention.q_proj.weight[head] = read
    attention.k_proj.weight[head] = written
    attention.v_proj.weight[head] = copied
    attention.o_proj.weight[:, head] = _COPIED * copied.T


def _subspace(size: int, generator: torch.Generator) -> Tensor:
    """Orthonormal rows, (size, width)."""
    return torch.linalg.qr(torch.randn(shape.WIDTH, size, generator=generator)).Q.T
