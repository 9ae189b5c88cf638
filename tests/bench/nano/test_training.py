"""The loop: learns, logs, and a run that was interrupted ends as one that was not."""

import contextlib
import functools
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tunefront.bench.errors import UserError
from tunefront.bench.nano import recall, runs, shipping, start, training
from tunefront.bench.nano.curriculum import Stage
from tunefront.bench.nano.episodes import IGNORED, Difficulty
from tunefront.bench.nano.preparation import Material
from tunefront.bench.nano.shape import Nano
from tunefront.bench.nano.training import Training

AUTOCAST = Training._autocast
DIFFICULTY = Difficulty({"same text": 0.5, "file": 0.5}, 3, 12, {"reserved": 1.0})
MIX = {"phrases": 0.2, "labelled": 0.2, "language": 0.2, "reading": 0.2, "episodes": 0.2}
STAGES = (
    Stage("first", 3, MIX, 64, DIFFICULTY, tokens=128),
    Stage("second", 3, MIX, 64, DIFFICULTY, tokens=128, final_rate=0.1, fits_heads=True),
)


@pytest.fixture(autouse=True)
def little_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its products take ten times as long on a processor that has none: one of Muon's five iterations is enough to show
    what is shown here, and autocast is left to `in_bfloat16`."""
    monkeypatch.setattr(torch.optim, "Muon", functools.partial(torch.optim.Muon, ns_steps=1))
    monkeypatch.setattr(Training, "_autocast", lambda self: contextlib.nullcontext())


@pytest.fixture
def in_bfloat16(little_bfloat16: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Autocast as it is in training."""
    monkeypatch.setattr(Training, "_autocast", AUTOCAST)


def begun(material: Material, out: Path, stages: tuple[Stage, ...] = STAGES) -> tuple[Nano, Training]:
    torch.manual_seed(0)
    nano = Nano.new(material, 384)
    start.begin(nano.model, material.train.ids, material.train.embeddings)
    probe = [material.episodes(material.development).batch(2, 64, DIFFICULTY, np.random.default_rng(0))]
    out.mkdir(exist_ok=True)
    return nano, Training(nano, material, {"probe": probe}, out, torch.device("cpu"), stages, compiled=False)


@pytest.mark.parametrize(("saved_every", "broken_at"), [(2, 5), (3, 3)])  # within a stage, and as heads are fitted
def test_an_interrupted_run_ends_as_one_that_was_not(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved_every: int, broken_at: int
) -> None:
    monkeypatch.setattr(training, "SAVED_EVERY", saved_every)
    monkeypatch.setattr(training, "LOGGED_EVERY", 1)
    whole, run = begun(material, tmp_path / "whole")
    run.run()

    class Interrupted(Exception):
        pass

    _, run = begun(material, tmp_path / "stopped")
    step = run._one_step

    def breaking(stage: Stage, rate: float) -> dict[str, object]:
        if run._step == broken_at:
            raise Interrupted
        return step(stage, rate)

    monkeypatch.setattr(run, "_one_step", breaking)
    with pytest.raises(Interrupted):
        run.run()
    resumed, run = begun(material, tmp_path / "stopped")
    run.run()
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name
    both = [(tmp_path / out / runs.CURVES).read_text().splitlines() for out in ("whole", "stopped")]
    first, second = ([{**json.loads(line), "seconds": 0} for line in lines] for lines in both)
    assert first == second


def test_a_folder_of_another_run_is_refused(material: Material, tmp_path: Path) -> None:
    _, run = begun(material, tmp_path)
    run.run()
    _, other = begun(material, tmp_path, STAGES[:1])
    with pytest.raises(UserError, match="another run \\(stages differ\\)"):
        other.run()


@pytest.mark.usefixtures("in_bfloat16")
def test_curves_are_logged(material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "LOGGED_EVERY", 2)
    _, run = begun(material, tmp_path)
    run.run()
    lines = [json.loads(line) for line in (tmp_path / "curves.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == [2, 4, 6]
    assert steps[-1]["tokens"] == 6 * 128
    assert 0 <= lines[-1]["probes"]["probe"]["0-0"] <= 1


def test_the_rate_warms_up_and_falls_in_the_stage_that_says_so(material: Material, tmp_path: Path) -> None:
    _, run = begun(material, tmp_path)
    run._step = 10_000
    assert run._rate(STAGES[0], 2) == training.RATE
    assert run._rate(STAGES[1], 0) == training.RATE
    assert run._rate(STAGES[1], 3) == pytest.approx(0.1 * training.RATE)
    run._step = 0
    assert run._rate(STAGES[0], 0) == pytest.approx(training.RATE / training.WARMUP)


def test_a_batch_that_comes_again_is_learned_by_heart(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To next to nothing from as good as chance, so that no processor's rounding matters; and what is learned is which
    token comes next."""
    rng = np.random.default_rng(0)
    drawn = recall.labelled(8, 64, material.recalled, material.reserved, material.layout, rng)
    monkeypatch.setattr(recall, "labelled", lambda *_: drawn)
    monkeypatch.setattr(training, "WARMUP", 5)
    stage = Stage("recall", 15, {"labelled": 1.0}, 64, DIFFICULTY, tokens=512)
    nano, run = begun(material, tmp_path, (stage,))
    before = run._loss("labelled", stage)[0].item()
    run.run()
    assert run._loss("labelled", stage)[0].item() < before / 50
    ids, targets = map(torch.from_numpy, drawn)
    with torch.no_grad():
        predicted = nano.model(input_ids=ids).logits.argmax(-1)[:, :-1]
    assert (predicted == ids[:, 1:])[targets[:, :-1] != IGNORED].all()


def test_what_ships_scores_as_what_was_trained(material: Material, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    nano, run = begun(material, tmp_path)
    run.run()
    material.tokenizer.save(str(tmp_path / "tokenizer.json"))
    size = shipping.ship(tmp_path, tmp_path / "model")
    weights = sum(weight.numel() for weight in nano.model.parameters())
    assert size == 2 * weights
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    prompt = tokenizer("Text: The river opens.\nLabel: <label3>\n\n", return_tensors="pt").input_ids
    trained = nano.eval().model
    for name, weight in trained.named_parameters():
        weight.data = weight.data.half().float()  # as near as float16 has it; buffers stay as they are
        assert torch.equal(loaded.get_parameter(name), weight), name
    with torch.no_grad():
        assert torch.allclose(loaded(prompt).logits, trained(prompt).logits, atol=1e-5)


def test_weights_that_are_too_large_do_not_ship(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, run = begun(material, tmp_path)
    run.run()
    material.tokenizer.save(str(tmp_path / "tokenizer.json"))
    monkeypatch.setattr(shipping, "MOST_BYTES", 1000)
    with pytest.raises(ValueError, match="more than the 1000 that may ship"):
        shipping.ship(tmp_path, tmp_path / "model")
