"""Fits heads to the lower half's representations, so that labels are recalled by the texts before them.

Training alone was slow to find this circuit: the lower half's state at `Label:` separated files long before the whole
model did, and no head of the upper half attended from a label back to its `Label:` (the card's table of curves has the
accuracy before and after). So three maps are fitted on episodes, in closed form, and then trained further:

1. in layer 3 a head attends from every position to a `Label:` right before it, and writes the meaning of its text (the
   teacher's first principal axes, by the distillation's projection) into a subspace;
2. in layer 4 two heads, each with half of those axes, attend from `Label:` to the positions whose written meaning is
   near that of its own text;
3. the same heads copy the label at that position: a map from states at labels to their rows of the output layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tunefront.bench.nano import shape

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

    from tunefront.bench.nano.episodes import Rows
    from tunefront.bench.nano.shape import Nano

LOOKING, COMPARING = 1, (1, 2)
"""The heads that are set, of layer 3 and of layer 4."""
_SIZE = shape.WIDTH // shape.HEADS
_HALF = _SIZE // 2
AXES = _SIZE // len(COMPARING)
"""Axes of meaning per comparing head; one head can write all of them."""
_LOOKING_BACK, _FREQUENCIES = 12.0, 16
_NEARNESS = 14.0
"""Logit of a text with the same meaning."""
_WRITTEN, _LOUDNESS = 1.0, 1.5
"""Scales of written and of copied vectors, relative to the norm of the state that they are added to."""
_RIDGE = 1.0


@torch.no_grad()
def fit(nano: Nano, taught: Tensor, drawn: Rows) -> None:
    """Sets one head of layer 3 and two of layer 4, in place.

    Args: taught, the teacher's centred embeddings (texts, width); drawn, episodes, of which the first tokens of labels
    are used.
    """
    model = nano.model
    below, above = shape.READING_LAYERS, shape.READING_LAYERS + 1
    ids = torch.from_numpy(drawn.ids)
    rows, cue = (torch.from_numpy(column) for column in drawn.places.T)
    read = shape.lower(model, ids)
    states = _normed(read)
    count = AXES * len(COMPARING)
    pairs = torch.arange(_HALF - AXES // 2, _HALF)  # the slowest phases, with which content can be compared
    slow = torch.cat([pairs, _HALF + pairs])
    axes = torch.linalg.svd(taught, full_matrices=False).Vh[:count]
    meaning = (
        axes @ nano.towards_teacher.weight * nano.norm.weight
    )  # applied to states divided by their root mean square
    centre = states[rows, cue].mean(0)
    meaning = meaning - torch.outer(meaning @ centre, centre) / centre.square().sum()
    meaning = meaning / (states[rows, cue] @ meaning.T).norm(dim=1).mean()

    blocks = model.model.layers
    attention = blocks[below].self_attn
    attention.o_proj.weight[:, _rows(LOOKING)] = 0.0
    later = shape.through(model, read, slice(below, above)).reshape(-1, shape.WIDTH)
    quiet = torch.linalg.eigh(later.T @ later).eigenvectors[:, :count]  # directions of low variance: (width, count)
    _look_back(model, below, states, rows, cue)
    _project(blocks[below], LOOKING, "v_proj", meaning, slice(0, count))
    written = _WRITTEN * read[rows, cue + 1].norm(dim=1).mean()
    attention.o_proj.weight[:, _rows(LOOKING)][:, :count] = written * quiet

    later = _normed(shape.through(model, read, slice(below, above)))
    for place, head in enumerate(COMPARING):
        some = slice(place * AXES, (place + 1) * AXES)
        matched = ((later[rows, cue] @ meaning[some].T) * (later[rows, cue + 1] @ quiet[:, some])).sum(1).mean()
        if place == 0:
            strength = _NEARNESS * _SIZE**0.5 / matched
        _project(blocks[above], head, "q_proj", strength * meaning[some], slow)
        _project(blocks[above], head, "k_proj", quiet[:, some].T, slow)
        _copy(model, head, later[rows, cue + 1], ids[rows, cue + 1], read[rows, cue].norm(dim=1).mean())


def _look_back(model: LlamaForCausalLM, layer: int, states: Tensor, rows: Tensor, cue: Tensor) -> None:
    """Queries that detect labels and keys that detect `Label:`, rotated so that one position back scores best."""
    query, key = (_discriminant(states, rows, places) for places in (cue + 1, cue))
    turned = model.model.rotary_emb.inv_freq[:_FREQUENCIES]
    forward, back = torch.zeros(_SIZE), torch.zeros(_SIZE)
    forward[:_FREQUENCIES] = 1.0
    back[:_FREQUENCIES], back[_HALF : _HALF + _FREQUENCIES] = turned.cos(), turned.sin()
    strength = _LOOKING_BACK * _SIZE**0.5 / _FREQUENCIES
    _project(model.model.layers[layer], LOOKING, "q_proj", strength * torch.outer(forward, query), slice(None))
    _project(model.model.layers[layer], LOOKING, "k_proj", torch.outer(back, key), slice(None))


def _discriminant(states: Tensor, rows: Tensor, places: Tensor) -> Tensor:
    """A linear discriminant: states at these positions have mean 1 along it, all states mean 0."""
    flat = states.reshape(-1, shape.WIDTH)
    everywhere = flat.mean(0)
    spread = (flat - everywhere).T @ (flat - everywhere) / len(flat) + 1e-2 * torch.eye(shape.WIDTH)
    here = states[rows, places].mean(0)
    direction = torch.linalg.solve(spread, here - everywhere)
    direction = direction - everywhere * (direction @ everywhere) / everywhere.square().sum()
    return direction / (direction @ here)


def _copy(model: LlamaForCausalLM, head: int, states: Tensor, labels: Tensor, norm: Tensor) -> None:
    """Maps states at labels to the labels' rows of the output layer, by ridge regression of rank 64."""
    output = model.lm_head.weight[labels]
    output = output - output.mean(0)
    gram = states.T @ states + _RIDGE * len(states) * torch.eye(shape.WIDTH)
    left, values, right = torch.linalg.svd(torch.linalg.solve(gram, states.T @ output), full_matrices=False)
    left, right, roots = left[:, :_SIZE], right[:_SIZE].T, values[:_SIZE].sqrt()
    strength = _LOUDNESS * norm / (states @ (left * roots) @ (right * roots).T).norm(dim=1).mean()
    block = model.model.layers[shape.READING_LAYERS + 1]
    _project(block, head, "v_proj", (left * roots).T, slice(None))
    block.self_attn.o_proj.weight[:, _rows(head)] = strength * right * roots


def _project(block: Any, head: int, name: str, weight: Tensor, rows: slice | Tensor) -> None:
    """Sets these rows of a head's projection, divided by the weight of the layer's norm, and the others to zero."""
    whole = torch.zeros(_SIZE, shape.WIDTH)
    whole[rows] = weight / block.input_layernorm.weight
    getattr(block.self_attn, name).weight[_rows(head)] = whole


def _rows(head: int) -> slice:
    return slice(head * _SIZE, (head + 1) * _SIZE)


def _normed(states: Tensor) -> Tensor:
    return states * states.square().mean(-1, keepdim=True).add(1e-6).rsqrt()
