"""Fits heads to the lower half's representations, so that labels are recalled by the texts before them.

Training alone was slow to find this circuit. So three maps are fitted on episodes, in closed form, and then trained
further:

1. in layer 3 a head attends from every position to a `Label:` right before it, and writes the meaning of its text (the
   teacher's first principal axes, by the distillation's projection) into a subspace;
2. in layer 4 two heads, each with half of those axes, attend from `Label:` to the positions whose written meaning is
   near that of its own text;
3. the same heads copy the label at that position: a map from states at labels to their rows of the output layer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from nano.episodes import Rows
from nano.shape import HEAD_SIZE, READING_LAYERS, WIDTH, Nano, head_rows, lower, through

LOOKING, COMPARING = 1, (1, 2)
"""The heads that are set, of layer 3 and of layer 4."""
_BELOW, _ABOVE = READING_LAYERS, READING_LAYERS + 1
_HALF = HEAD_SIZE // 2
_AXES = HEAD_SIZE // len(COMPARING)
"""Axes of meaning per comparing head; one head can write all of them."""
_LOOKING_BACK, _FREQUENCIES = 12.0, 16
_NEARNESS = 14.0
"""Logit of a text with the same meaning."""
_LOUDNESS = 1.5
"""Scale of copied vectors, relative to the norm of the state that they are added to."""
_RIDGE = 1.0


@torch.no_grad()
def fit(nano: Nano, taught: Tensor, drawn: Rows) -> None:
    """Sets one head of layer 3 and two of layer 4, in place.

    Args: taught, the teacher's centred embeddings (texts, width); drawn, episodes, of which the first tokens of labels
    are used.
    """
    model = nano.model
    ids = torch.from_numpy(drawn.ids)
    rows, cue = (torch.from_numpy(column) for column in drawn.places.T)
    read = lower(model, ids)
    states = _normed(read)
    pairs = torch.arange(_HALF - _AXES // 2, _HALF)  # the slowest phases, with which content can be compared
    slow = torch.cat([pairs, _HALF + pairs])
    axes = torch.linalg.svd(taught, full_matrices=False).Vh[:HEAD_SIZE]
    # Applied to states divided by their root mean square.
    meaning = axes @ nano.towards_teacher.weight * nano.norm.weight
    centre = states[rows, cue].mean(0)
    meaning = meaning - torch.outer(meaning @ centre, centre) / centre.square().sum()
    meaning = meaning / (states[rows, cue] @ meaning.T).norm(dim=1).mean()

    blocks = model.model.layers
    attention = blocks[_BELOW].self_attn
    attention.o_proj.weight[:, head_rows(LOOKING)] = 0.0
    later = through(model, read, slice(_BELOW, _ABOVE)).reshape(-1, WIDTH)
    quiet = torch.linalg.eigh(later.T @ later).eigenvectors[:, :HEAD_SIZE]  # directions of low variance
    _look_back(model, states, rows, cue)
    _project(blocks[_BELOW], LOOKING, "v_proj", meaning, slice(None))
    attention.o_proj.weight[:, head_rows(LOOKING)] = read[rows, cue + 1].norm(dim=1).mean() * quiet

    later = _normed(through(model, read, slice(_BELOW, _ABOVE)))
    for place, head in enumerate(COMPARING):
        some = slice(place * _AXES, (place + 1) * _AXES)
        matched = ((later[rows, cue] @ meaning[some].T) * (later[rows, cue + 1] @ quiet[:, some])).sum(1).mean()
        if place == 0:
            strength = _NEARNESS * HEAD_SIZE**0.5 / matched
        _project(blocks[_ABOVE], head, "q_proj", strength * meaning[some], slow)
        _project(blocks[_ABOVE], head, "k_proj", quiet[:, some].T, slow)
        _copy(model, head, later[rows, cue + 1], ids[rows, cue + 1], read[rows, cue].norm(dim=1).mean())


def _look_back(model: LlamaForCausalLM, states: Tensor, rows: Tensor, cue: Tensor) -> None:
    """Queries that detect labels and keys that detect `Label:`, rotated so that one position back scores best."""
    query, key = (_discriminant(states, rows, places) for places in (cue + 1, cue))
    turned = model.model.rotary_emb.inv_freq[:_FREQUENCIES]
    forward, back = torch.zeros(HEAD_SIZE), torch.zeros(HEAD_SIZE)
    forward[:_FREQUENCIES] = 1.0
    back[:_FREQUENCIES], back[_HALF : _HALF + _FREQUENCIES] = turned.cos(), turned.sin()
    strength = _LOOKING_BACK * HEAD_SIZE**0.5 / _FREQUENCIES
    _project(model.model.layers[_BELOW], LOOKING, "q_proj", strength * torch.outer(forward, query), slice(None))
    _project(model.model.layers[_BELOW], LOOKING, "k_proj", torch.outer(back, key), slice(None))


def _discriminant(states: Tensor, rows: Tensor, places: Tensor) -> Tensor:
    """A linear discriminant: states at these positions have mean 1 along it, all states mean 0."""
    flat = states.reshape(-1, WIDTH)
    everywhere = flat.mean(0)
    spread = (flat - everywhere).T @ (flat - everywhere) / len(flat) + 1e-2 * torch.eye(WIDTH)
    here = states[rows, places].mean(0)
    direction = torch.linalg.solve(spread, here - everywhere)
    direction = direction - everywhere * (direction @ everywhere) / everywhere.square().sum()
    return direction / (direction @ here)


def _copy(model: LlamaForCausalLM, head: int, states: Tensor, labels: Tensor, norm: Tensor) -> None:
    """Maps states at labels to the labels' rows of the output layer, by ridge regression of rank 64."""
    output = model.lm_head.weight[labels]
    output = output - output.mean(0)
    gram = states.T @ states + _RIDGE * len(states) * torch.eye(WIDTH)
    left, values, right = torch.linalg.svd(torch.linalg.solve(gram, states.T @ output), full_matrices=False)
    left, right, roots = left[:, :HEAD_SIZE], right[:HEAD_SIZE].T, values[:HEAD_SIZE].sqrt()
    strength = _LOUDNESS * norm / (states @ (left * roots) @ (right * roots).T).norm(dim=1).mean()
    block = model.model.layers[_ABOVE]
    _project(block, head, "v_proj", (left * roots).T, slice(None))
    block.self_attn.o_proj.weight[:, head_rows(head)] = strength * right * roots


def _project(block: Any, head: int, name: str, weight: Tensor, rows: slice | Tensor) -> None:
    """Sets these rows of a head's projection, divided by the weight of the layer's norm, and the others to zero."""
    whole = torch.zeros(HEAD_SIZE, WIDTH)
    whole[rows] = weight / block.input_layernorm.weight
    getattr(block.self_attn, name).weight[head_rows(head)] = whole


def _normed(states: Tensor) -> Tensor:
    return states * states.square().mean(-1, keepdim=True).add(1e-6).rsqrt()
