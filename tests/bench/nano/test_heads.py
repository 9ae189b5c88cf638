"""Heads fitted in closed form: labels look back at their texts, and texts recall the labels of texts like theirs."""

import numpy as np
import pytest
import torch

from tests.bench.nano.conftest import SUBJECTS
from tunefront.bench.nano import heads, shape
from tunefront.bench.nano.episodes import Difficulty, Rows
from tunefront.bench.nano.preparation import Material
from tunefront.bench.nano.shape import Nano

SLOW = 8
"""A rotary phase of 0.04 radians per token, which separates the nearest subject from earlier ones."""
FILES = Difficulty({"file": 1.0}, 2, 12, {"reserved": 1.0})


def untrained(material: Material) -> tuple[Nano, Nano]:
    """A model twice."""
    torch.manual_seed(0)
    first, second = (Nano.new(material, 384) for _ in range(2))
    second.load_state_dict(first.state_dict())
    return first, second


def taught(material: Material) -> torch.Tensor:
    """The teacher's embeddings as training reads them."""
    embeddings = material.train.embeddings.float()
    return torch.nn.functional.normalize(embeddings - embeddings.mean(0), dim=-1)


@pytest.fixture(scope="module")
def fitted(material: Material) -> Nano:
    """Heads fitted to a lower half that reads by construction: at `Label:` its state encodes the subject of its text.

    Nothing is trained or decomposed on the way, so processors differ in the last bits of it, and in no more. A token is
    a random vector, but for the eight subjects: each is an axis, and all of them share another. One head looks from
    every place, by what all tokens share, at the nearest subject, and copies its axis; the rest of the model is silent.
    """
    nano, _ = untrained(material)
    model, subjects = nano.model, len(SUBJECTS)
    (named,) = zip(*material.labels["words"], strict=True)  # one token each
    subject, shared, reach = subjects, subjects + 1, shape.WIDTH // shape.HEADS
    vectors = torch.randn(model.config.vocab_size, shape.WIDTH, generator=torch.Generator().manual_seed(0))
    vectors[:, : subjects + 2] = vectors[list(named)] = 0.0
    vectors[named, range(subjects)] = vectors[list(named), subject] = 1.0
    vectors = 0.64 * torch.nn.functional.normalize(vectors, dim=-1)
    with torch.no_grad():
        model.lm_head.weight.copy_(1.5 * vectors)
        vectors[:, shared] = 0.5
        model.model.embed_tokens.weight.copy_(vectors)
        for block in model.model.layers:
            block.self_attn.o_proj.weight.zero_()
            block.mlp.down_proj.weight.zero_()
        attention = model.model.layers[shape.READING_LAYERS - 1].self_attn
        for projection, of in ((attention.q_proj, shared), (attention.k_proj, subject)):
            projection.weight[:reach] = 0.0
            projection.weight[SLOW, of] = 4.0
        attention.v_proj.weight[:reach] = torch.eye(reach, shape.WIDTH)
        attention.o_proj.weight[:, :reach] = 0.05 * torch.eye(shape.WIDTH, reach)
        nano.towards_teacher.weight.zero_()
        nano.towards_teacher.weight[range(subjects), range(subjects)] = 1.0  # the teacher's axes, by the material
    heads.fit(nano, taught(material), material.episodes(material.train).batch(96, 128, FILES, np.random.default_rng(0)))
    return nano


@pytest.fixture(scope="module")
def probe(material: Material) -> Rows:
    return material.episodes(material.train).batch(16, 128, FILES, np.random.default_rng(1))


def shares(nano: Nano, drawn: Rows, layer: int, head: int) -> torch.Tensor:
    """The head's attention, (batch, seq, seq)."""
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    model, size = nano.model, shape.WIDTH // shape.HEADS
    own = slice(head * size, (head + 1) * size)
    with torch.no_grad():
        embedded = model.model.embed_tokens(torch.from_numpy(drawn.ids))
        states = shape.through(model, embedded, slice(0, layer))
        block, places = model.model.layers[layer], states.shape[1]
        normed = block.input_layernorm(states)
        both = (project(normed)[:, None, :, own] for project in (block.self_attn.q_proj, block.self_attn.k_proj))
        queries, keys = apply_rotary_pos_emb(*both, *model.model.rotary_emb(states, torch.arange(places)[None]))
        scores = (queries @ keys.transpose(-1, -2))[:, 0] / size**0.5
        return scores.masked_fill(torch.ones(places, places).triu(1).bool(), -torch.inf).softmax(-1)


def test_labels_look_back_at_what_asks_for_them(fitted: Nano, probe: Rows) -> None:
    rows, cue = torch.from_numpy(probe.places).T
    actual = shares(fitted, probe, shape.READING_LAYERS, heads.LOOKING)
    assert actual[rows, cue + 1, cue].mean() > 0.9  # one of up to 128 places; fitted, 0.99


def test_texts_look_at_the_labels_of_texts_like_them(fitted: Nano, probe: Rows) -> None:
    """Hardly at all at labels of the other class."""
    actual = shares(fitted, probe, shape.READING_LAYERS + 1, heads.COMPARING[0])
    own, other = [], []
    for pair, (row, place) in enumerate(probe.places):
        for earlier in range(pair):
            if probe.places[earlier, 0] == row:
                same = probe.right[earlier] == probe.right[pair]
                (own if same else other).append(float(actual[row, place, probe.places[earlier, 1] + 1]))
    assert np.mean(own) > 100 * np.mean(other)  # fitted, 324 times


def test_a_label_that_is_looked_at_gains(fitted: Nano, probe: Rows, material: Material) -> None:
    model, size = fitted.model, shape.WIDTH // shape.HEADS
    own = slice(heads.COMPARING[0] * size, (heads.COMPARING[0] + 1) * size)
    ids, (rows, cue) = torch.from_numpy(probe.ids), torch.from_numpy(probe.places).T
    block = model.model.layers[shape.READING_LAYERS + 1]
    with torch.no_grad():
        states = shape.through(model, shape.lower(model, ids), slice(shape.READING_LAYERS, shape.READING_LAYERS + 1))
        values = block.self_attn.v_proj(block.input_layernorm(states[rows, cue + 1]))[:, own]
        gained = values @ block.self_attn.o_proj.weight[:, own].T @ model.lm_head.weight[material.reserved].T
    right = torch.from_numpy(material.reserved)[gained.argmax(-1)] == ids[rows, cue + 1]
    assert right.float().mean() > 0.8  # one of 64 by chance; fitted, 0.95, before anything is trained


def test_only_the_named_heads_change(material: Material) -> None:
    before, after = untrained(material)
    heads.fit(
        after, taught(material), material.episodes(material.train).batch(16, 128, FILES, np.random.default_rng(0))
    )
    size = shape.WIDTH // shape.HEADS
    for name, weight in before.state_dict().items():
        changed = (weight != after.state_dict()[name]).nonzero()
        layer = name.split(".")[3] if "layers" in name else ""
        allowed = {"3": {heads.LOOKING}, "4": set(heads.COMPARING)}.get(layer, set()) if "self_attn" in name else set()
        axis = 1 if "o_proj" in name else 0
        assert {int(place[axis]) // size for place in changed} <= allowed, name
