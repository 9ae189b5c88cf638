"""Initial weights: token embeddings with meaning, and recall heads.

Both are only an initialisation: every weight is trained from the first step.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional
from transformers import LlamaForCausalLM

from nano.material import Material
from nano.shape import HEAD_SIZE, HEADS, WIDTH, Nano, head_rows

_EARLIER, _LATER = 0, 1
"""Layers of an induction pair of heads, which recalls the token after an earlier occurrence."""
_READING_LAYER, _READING_HEADS = 2, 3
"""Layer and number of heads that average the preceding tokens."""
_RIDGE = 1.0
_NOISE, _NORM, _SHARED = 0.02, 0.64, 0.5
_OUTPUT = 1.5
_WRITTEN, _COPIED, _READ = 0.08, 0.2, 0.2
_PLACES = 16
"""Number of the highest rotary frequencies, which identify the previous position."""
_WINDOW, _NEARNESS = (0.03, 0.19), 1.0
"""Range of rotary frequencies, in radians per token, that separates the last ten tokens from earlier ones."""


def begin(material: Material) -> Nano:
    """A model with its initial embeddings, output layer and recall heads.

    The output layer starts as the embeddings, so that a copied embedding raises its token's logit.
    """
    vocabulary, teacher_width = material.tokenizer.get_vocab_size(), material.embeddings.shape[1]
    torch.manual_seed(0)
    nano = Nano(vocabulary, material.layout.end, teacher_width)
    model, generator = nano.model, torch.Generator().manual_seed(0)
    start = token_embeddings(material.texts, material.embeddings, vocabulary)
    start += _NOISE * torch.randn(start.shape, generator=generator)
    start = _NORM * functional.normalize(start, dim=-1)
    shared = functional.normalize(torch.randn(WIDTH, generator=generator), dim=0)
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(start + _SHARED * shared)
        model.lm_head.weight.copy_(_OUTPUT * start)
        axes = torch.eye(WIDTH).reshape(HEADS, HEAD_SIZE, WIDTH)  # principal axes of the embeddings first
        for head in range(_READING_HEADS):
            _reading_head(model, head, axes[head], shared)
        _recall_heads(model, shared, generator)
    return nano


def token_embeddings(texts: Sequence[np.ndarray], embedded: Tensor, vocabulary: int, width: int = WIDTH) -> Tensor:
    """Initial token embeddings: (vocabulary, width), with standard deviation 0.04.

    The vectors whose mean over a text's tokens best approximates the teacher's embedding of it (ridge regression), on
    their `width` principal axes. So texts of similar meaning are near from the first step. model2vec showed that a
    sentence encoder can be distilled into static vectors.

    Args: texts, token ids of the snippets; embedded, their teacher embeddings (snippets, teacher's width).
    """
    lengths = [len(text) for text in texts]
    rows = np.repeat(np.arange(len(texts)), lengths)
    shares = np.repeat([1 / length for length in lengths], lengths)
    counts = sparse.csr_matrix((shares, (rows, np.concatenate(texts))), (len(texts), vocabulary))
    centred = (embedded.float() - embedded.float().mean(0)).numpy()
    gram = torch.from_numpy((counts.T @ counts).toarray()).float() + _RIDGE * torch.eye(vocabulary)
    vectors = torch.linalg.solve(gram, torch.from_numpy(counts.T @ centred).float())
    axes = torch.linalg.svd(vectors, full_matrices=False).Vh[:width]
    start = vectors @ axes.T
    return start * (0.04 / start.std())


def _reading_head(model: LlamaForCausalLM, head: int, axes: Tensor, shared: Tensor) -> None:
    """Sets a head to average some axes of about the last ten tokens, with larger weights for nearer ones, in place."""
    attention, rows = model.model.layers[_READING_LAYER].self_attn, head_rows(head)
    turned = model.model.rotary_emb.inv_freq
    still = torch.zeros(HEAD_SIZE)
    still[: len(turned)][(turned > _WINDOW[0]) & (turned < _WINDOW[1])] = _NEARNESS
    attention.q_proj.weight[rows] = torch.outer(still, shared)
    attention.k_proj.weight[rows] = torch.outer(still, shared)
    attention.v_proj.weight[rows] = axes
    attention.o_proj.weight[:, rows] = _READ * axes.T


def _recall_heads(model: LlamaForCausalLM, shared: Tensor, generator: torch.Generator) -> None:
    """Sets the first heads of two layers to an induction pair (Olsson et al. 2022, arXiv:2209.11895), in place.

    The earlier head attends to the previous position, only by rotary phases: its queries and keys read only `shared`,
    the common direction of all embeddings. It writes that token into a subspace. The later head attends to positions
    whose predecessor matches its own token, by that subspace, and copies the token there.
    """
    first, half = head_rows(0), HEAD_SIZE // 2
    by_one_place = model.model.rotary_emb.inv_freq[:_PLACES]
    query, key = torch.zeros(HEAD_SIZE), torch.zeros(HEAD_SIZE)
    query[:_PLACES] = 1.0
    key[:_PLACES], key[half : half + _PLACES] = by_one_place.cos(), by_one_place.sin()
    read, written, copied = (_subspace(generator) for _ in range(3))
    attention = model.model.layers[_EARLIER].self_attn
    attention.q_proj.weight[first] = torch.outer(query, shared)
    attention.k_proj.weight[first] = torch.outer(key, shared)
    attention.v_proj.weight[first] = read
    attention.o_proj.weight[:, first] = _WRITTEN * written.T
    attention = model.model.layers[_LATER].self_attn
    attention.q_proj.weight[first] = read
    attention.k_proj.weight[first] = written
    attention.v_proj.weight[first] = copied
    attention.o_proj.weight[:, first] = _COPIED * copied.T


def _subspace(generator: torch.Generator) -> Tensor:
    """Orthonormal rows, (head size, width)."""
    return torch.linalg.qr(torch.randn(WIDTH, HEAD_SIZE, generator=generator)).Q.T
