"""Heads fitted in closed form: labels look back at their texts, and texts recall the labels of texts like theirs."""

import numpy as np
import pytest
import torch

from tunefront.bench.nano import heads, shape, start, training
from tunefront.bench.nano.curriculum import Stage
from tunefront.bench.nano.episodes import Difficulty, Rows
from tunefront.bench.nano.preparation import Material
from tunefront.bench.nano.shape import Nano
from tunefront.bench.nano.training import Training

FILES = Difficulty({"file": 1.0}, 2, 12, {"reserved": 1.0})
READING = Stage("reading", 40, {"reading": 1.0}, 64, FILES, tokens=512)


@pytest.fixture(scope="module")
def fitted(material: Material, tmp_path_factory: pytest.TempPathFactory) -> tuple[Nano, Nano]:
    """A model whose lower half has learned to read, before and after."""
    torch.manual_seed(0)
    before, after = (Nano.new(material, 384) for _ in range(2))
    start.begin(before.model, material.train.ids, material.train.embeddings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "WARMUP", 5)
        out = tmp_path_factory.mktemp("reading")
        Training(before, material, {}, out, torch.device("cpu"), (READING,), compiled=False).run()
    after.load_state_dict(before.state_dict())
    embeddings = material.train.embeddings.float()
    drawn = material.episodes(material.train).batch(96, 128, FILES, np.random.default_rng(0))
    heads.fit(after, torch.nn.functional.normalize(embeddings - embeddings.mean(0), dim=-1), drawn)
    return before, after


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


def test_labels_look_back_at_what_asks_for_them(fitted: tuple[Nano, Nano], probe: Rows) -> None:
    rows, asked = torch.from_numpy(probe.places).T
    found = shares(fitted[1], probe, shape.READING_LAYERS, heads.LOOKING)
    assert found[rows, asked + 1, asked].mean() > 0.5  # one of up to 128 places


def test_texts_look_at_the_labels_of_texts_like_them(fitted: tuple[Nano, Nano], probe: Rows) -> None:
    """More than half as much again at a label of the own class as at one of the other, of as many places."""
    found = shares(fitted[1], probe, shape.READING_LAYERS + 1, heads.COMPARING[0])
    own, other = [], []
    for pair, (row, place) in enumerate(probe.places):
        for earlier in range(pair):
            if probe.places[earlier, 0] == row:
                same = probe.right[earlier] == probe.right[pair]
                (own if same else other).append(float(found[row, place, probe.places[earlier, 1] + 1]))
    assert np.mean(own) > 1.5 * np.mean(other)


def test_a_label_that_is_looked_at_gains(fitted: tuple[Nano, Nano], probe: Rows, material: Material) -> None:
    model, size = fitted[1].model, shape.WIDTH // shape.HEADS
    own = slice(heads.COMPARING[0] * size, (heads.COMPARING[0] + 1) * size)
    ids, (rows, asked) = torch.from_numpy(probe.ids), torch.from_numpy(probe.places).T
    block = model.model.layers[shape.READING_LAYERS + 1]
    with torch.no_grad():
        states = shape.through(model, shape.lower(model, ids), slice(shape.READING_LAYERS, shape.READING_LAYERS + 1))
        values = block.self_attn.v_proj(block.input_layernorm(states[rows, asked + 1]))[:, own]
        gained = values @ block.self_attn.o_proj.weight[:, own].T @ model.lm_head.weight[material.reserved].T
    right = torch.from_numpy(material.reserved)[gained.argmax(-1)] == ids[rows, asked + 1]
    assert right.float().mean() > 4 / len(material.reserved)  # four times chance, before anything is trained


def test_only_the_named_heads_change(fitted: tuple[Nano, Nano]) -> None:
    before, after = (nano.model.state_dict() for nano in fitted)
    size = shape.WIDTH // shape.HEADS
    for name, weight in before.items():
        changed = (weight != after[name]).nonzero()
        layer = name.split(".")[2] if "layers" in name else ""
        allowed = {"3": {heads.LOOKING}, "4": set(heads.COMPARING)}.get(layer, set()) if "self_attn" in name else set()
        axis = 1 if "o_proj" in name else 0
        assert {int(place[axis]) // size for place in changed} <= allowed, name
