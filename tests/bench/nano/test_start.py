"""The starting weights: near texts are near, and recalling works before the first step."""

import numpy as np
import pytest
import torch

from tunefront.bench.nano import shape, start
from tunefront.bench.nano.preparation import Material
from tunefront.bench.nano.shape import Nano


def begun(material: Material) -> Nano:
    torch.manual_seed(0)
    nano = Nano.new(material, 384)
    start.begin(nano.model, material.train.ids, material.train.embeddings)
    return nano


def test_mean_token_embeddings_approximate_the_teacher(material: Material) -> None:
    read = material.train
    size = material.tokenizer.get_vocab_size()
    vectors = start.token_embeddings(read.ids, read.embeddings, size, 12)
    assert vectors.shape == (size, 12)
    means = torch.stack([vectors[torch.from_numpy(ids)].mean(0) for ids in read.ids])
    means = torch.nn.functional.normalize(means - means.mean(0), dim=-1)
    wanted = read.embeddings.float()
    wanted = torch.nn.functional.normalize(wanted - wanted.mean(0), dim=-1)
    agreement = np.corrcoef((means @ means.T).flatten().numpy(), (wanted @ wanted.T).flatten().numpy())[0, 1]
    assert agreement > 0.8


def test_one_head_attends_to_the_previous_place(material: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever tokens mean: they are drawn here, since axes that they are decomposed into have anyone's signs."""
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    drawn = torch.randn(material.tokenizer.get_vocab_size(), shape.WIDTH, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(start, "token_embeddings", lambda *_: drawn)
    model = begun(material).model
    ids = torch.from_numpy(np.random.default_rng(0).choice(material.recalled, (1, 40)))
    size = shape.WIDTH // shape.HEADS
    with torch.no_grad():
        states = model.model.layers[0].input_layernorm(model.model.embed_tokens(ids))
        attention = model.model.layers[0].self_attn
        queries, keys = (project(states)[:, None, :, :size] for project in (attention.q_proj, attention.k_proj))
        cosine, sine = model.model.rotary_emb(states, torch.arange(40)[None])
        queries, keys = apply_rotary_pos_emb(queries, keys, cosine, sine)
        scores = (queries @ keys.transpose(-1, -2))[0, 0] / size**0.5
        shares = scores.masked_fill(torch.ones(40, 40).triu(1).bool(), -torch.inf).softmax(-1)
    assert shares.diagonal(-1).mean() > 0.4  # one of up to 40 places: 0.1 on average by chance
