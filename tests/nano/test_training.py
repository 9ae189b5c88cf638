"""The start, the fitted heads and the loop: what they change, and that a run is repeatable."""

import contextlib
import functools

import numpy as np
import pytest
import torch

from nano import curriculum, heads, shape
from nano.curriculum import STAGES, Stage, batches
from nano.episodes import Difficulty, Episodes
from nano.material import Material
from nano.shape import Nano
from nano.start import begin
from nano.training import Objectives, train

FILES = Difficulty({"file": 1.0}, 3, 12, {"reserved": 1.0})
OBJECTIVES = ("phrases", "labelled", "language", "reading", "episodes")


@pytest.fixture(autouse=True)
def little_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few episodes, and no bfloat16, whose products take ten times as long on a processor that has none."""
    monkeypatch.setattr(torch.optim, "Muon", functools.partial(torch.optim.Muon, ns_steps=1))
    monkeypatch.setattr(torch, "autocast", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(curriculum, "FITTED_SHAPE", (8, 64))


@pytest.fixture(scope="module")
def started(material: Material) -> dict[str, torch.Tensor]:
    return begin(material).state_dict()


@pytest.fixture
def nano(material: Material, started: dict[str, torch.Tensor]) -> Nano:
    vocabulary = material.tokenizer.get_vocab_size()
    nano = Nano(vocabulary, material.layout.end, 384)
    nano.load_state_dict(started)
    return nano


def test_a_seed_starts_with_the_same_weights(material: Material, started: dict[str, torch.Tensor]) -> None:
    again = begin(material).state_dict()
    assert all(torch.equal(weight, again[name]) for name, weight in started.items())


def test_only_the_named_heads_are_fitted(material: Material, nano: Nano, started: dict[str, torch.Tensor]) -> None:
    drawn = Episodes(material, np.random.default_rng(0)).batch(16, 64, FILES)
    heads.fit(nano, material.embeddings.float(), drawn)
    changed = set()
    for name, weight in nano.state_dict().items():
        axis = 1 if "o_proj" in name else 0
        places = (weight != started[name]).nonzero()[:, axis].unique().tolist()
        changed |= {(name.removeprefix("model.model.").split(".")[1], place // shape.HEAD_SIZE) for place in places}
    assert changed == {("3", heads.LOOKING), *(("4", head) for head in heads.COMPARING)}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_objective_trains_what_it_reads(material: Material, nano: Nano, objective: str) -> None:
    (batch,) = batches(material, [Stage(1, {objective: 1.0}, 32, FILES, tokens=64)])
    Objectives(nano, material.embeddings.float(), compiled=False).loss(batch.objective, batch.rows).backward()
    moved = {name.removeprefix("model.") for name, weight in nano.named_parameters() if weight.grad is not None}
    assert "model.layers.0.mlp.up_proj.weight" in moved
    assert ("lm_head.weight" in moved) == ("model.layers.5.mlp.up_proj.weight" in moved) == (objective != "reading")
    assert ("towards_teacher.weight" in moved) == (objective in ("reading", "episodes"))


def test_two_runs_end_with_the_same_weights(material: Material, started: dict[str, torch.Tensor], nano: Nano) -> None:
    mix = dict.fromkeys(OBJECTIVES, 0.2)
    stages = [
        Stage(2, mix, 32, FILES, tokens=64),
        Stage(2, mix, 32, FILES, tokens=64, fits_heads=True),
    ]
    train(nano, material, stages, compiled=False)
    first = {name: weight.clone() for name, weight in nano.state_dict().items()}
    nano.load_state_dict(started)
    train(nano, material, stages, compiled=False)
    assert all(torch.equal(weight, first[name]) for name, weight in nano.state_dict().items())
    assert not torch.equal(first["norm.weight"], started["norm.weight"])


def test_a_stage_fits_heads_first_and_lets_the_rate_fall(material: Material) -> None:
    stages = [
        Stage(2, {"phrases": 1.0}, 16, FILES, tokens=32),
        Stage(4, {"language": 1.0}, 32, FILES, tokens=32, rate=0.6, final_rate=0.2, fits_heads=True),
    ]
    drawn = list(batches(material, stages))
    assert [batch.rows.ids.shape for batch in drawn] == [(2, 16)] * 2 + [(1, 32)] * 4
    assert [batch.fitted_on is not None for batch in drawn] == [False, False, True, False, False, False]
    assert [batch.rate for batch in drawn] == pytest.approx([1, 1, 0.6, 0.5, 0.4, 0.3])


def test_the_shipped_model_took_two_thousand_steps() -> None:
    assert sum(stage.steps for stage in STAGES) == 2000
