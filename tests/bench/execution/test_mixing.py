"""Fitted cells are scored together, as each alone, and their records say so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.bench.execution.streams import alone, toy_tasks
from tunefront.bench.checkpoints.loading import scores_from_checkpoint
from tunefront.bench.errors import UserError
from tunefront.bench.execution import mixing
from tunefront.bench.execution.engines.local import Local
from tunefront.bench.execution.grid import Outcome, run_grid
from tunefront.bench.execution.mixed_model import MixedModel
from tunefront.bench.execution.mixing import Mixtures, fit_members
from tunefront.bench.models.session import Session
from tunefront.bench.records.store import Store
from tunefront.methods.base import Unsupported
from tunefront.methods.spelling import parse


def test_members_are_scored_as_alone_and_nothing_runs_twice(backbones: dict[str, str], tmp_path: Path) -> None:
    cells = alone(backbones["bert"], toy_tasks(tmp_path / "data", 2), ("ia3", "lora", "knn"))
    store = Store(tmp_path / "out")
    outcome = Mixtures.of(cells).run(store)
    assert [record.status for record in outcome.records] == ["ok"] * 6
    for record in outcome.records:
        mixed = store.read(record.key).mixed  # type: ignore[union-attr]
        assert mixed.members == tuple(other.key for other in outcome.records)
        assert mixed.largest_difference < 1e-5  # type: ignore[operator]
        assert mixed.changed_answers == 0
        assert mixed.n_rows == 72
        assert set(mixed.rows_per_second or ()) == {"mixed", "switching", "separate"}
        weights, peaks = mixed.weights_bytes or {}, mixed.peak_bytes or {}
        assert weights["mixed"] == weights["switching"] < weights["separate"]
        assert all(peaks[way] > weights[way] for way in peaks)
    again = Mixtures.of(cells).run(store)
    assert (again.ran, again.reused) == (0, 6)
    assert again.records == outcome.records


def test_no_worker_is_forked_from_a_process_that_has_computed(
    backbones: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether methods can share a batch is found in this process, with the model."""
    forks = []

    def seen(cells: Any, store: Any, engine: Any, progress: Any) -> Outcome:
        forks.append(engine.fork)
        return run_grid(cells, store, engine, progress)

    monkeypatch.setattr(mixing, "run_grid", seen)
    cells = alone(backbones["bert"], toy_tasks(tmp_path / "data", 2), ("ia3",))
    store = Store(tmp_path / "out")
    Mixtures.of(cells).run(store, Local(fork=True))
    Mixtures.of(cells).run(store, Local(fork=True))
    assert forks == [False, True]  # the second time nothing had to be found out


def test_other_members_are_mixed_again_and_none_is_trained_again(backbones: dict[str, str], tmp_path: Path) -> None:
    cells = alone(backbones["bert"], toy_tasks(tmp_path / "data", 2), ("ia3", "lora"))
    store = Store(tmp_path / "out")
    assert Mixtures.of(cells[:2]).run(store).ran == 2
    outcome = Mixtures.of(cells).run(store)
    assert (outcome.ran, outcome.reused) == (2, 2)
    assert {len(record.mixed.members or ()) for record in outcome.records} == {4}


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_language_models_mix_demonstrations_and_training(
    family: str, language_models: dict[str, str], tmp_path: Path
) -> None:
    tasks = toy_tasks(tmp_path / "data", 2)
    cells = alone(language_models[family], tasks, ("lora", "icl:k=2", "prompt_tuning:length=3"), "plain")
    records = Mixtures.of(cells).run(Store(tmp_path / "out")).records
    assert all(record.mixed.largest_difference < 1e-4 for record in records)  # type: ignore[operator]


def test_methods_that_cannot_share_a_batch_are_refused_before_anything_runs(
    backbones: dict[str, str], tmp_path: Path
) -> None:
    cells = alone(backbones["bert"], toy_tasks(tmp_path / "data", 2), ("ia3", "full", "fish:density=0.01"))
    store = Store(tmp_path / "out")
    with pytest.raises(UserError, match=r"(?s)full.*fish"):
        Mixtures.of(cells).run(store)
    assert not list((tmp_path / "out").glob("records/*.json"))


def test_a_method_that_the_backbone_does_not_support_is_skipped(backbones: dict[str, str], tmp_path: Path) -> None:
    cells = alone(backbones["bert"], toy_tasks(tmp_path / "data", 2), ("ia3", "icl"))
    records = Mixtures.of(cells).run(Store(tmp_path / "out")).records
    assert [record.status for record in records] == ["ok", "ok", "skipped", "skipped"]
    assert [len(record.mixed.members or ()) for record in records] == [2, 2, 0, 0]


def test_one_member_or_unequal_settings_are_mistakes(backbones: dict[str, str], tmp_path: Path) -> None:
    tasks = toy_tasks(tmp_path / "data", 2)
    cells = alone(backbones["bert"], tasks, ("ia3",))
    with pytest.raises(UserError, match="at least two"):
        Mixtures.of(cells[:1])
    with pytest.raises(UserError, match="no cell"):
        Mixtures.of([])
    others = alone(backbones["roberta"], tasks, ("ia3",))
    with pytest.raises(UserError, match="one backbone"):
        fit_members([cells[0], others[0]], Session())


def test_which_methods_are_loaded_from_their_checkpoints() -> None:
    assert [scores_from_checkpoint(parse(method)) for method in ("ia3", "features", "knn", "icl", "cartridge")] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_one_model_answers_rows_of_all_members(backbones: dict[str, str], tmp_path: Path) -> None:
    cells = alone(backbones["bert"], toy_tasks(tmp_path / "data", 2), ("ia3", "houlsby"))
    model = MixedModel(cells)
    assert len(model.members) == 4
    rows = [(name, text) for text in ("good film", "the book was very awful", "a") for name in model.members]
    scores, answers = model.scores(rows), model.predict(rows)
    assert {*answers} <= {"good", "bad", "other"}
    for (name, text), together in zip(rows, scores, strict=True):
        (by_itself,) = model.scores([(name, {"text": text})])
        assert (together - by_itself).abs().max() < 1e-5
    assert [len(each) for each in scores[:4]] == [2, 3, 2, 3]


def test_one_model_reads_more_demonstrations_for_shorter_rows(language_models: dict[str, str], tmp_path: Path) -> None:
    cells = alone(language_models["gpt2"], toy_tasks(tmp_path / "data", 1), ("icl:k=3", "lora"), "plain")
    model = MixedModel(cells)
    rows = [(name, text) for text in ("good", "the book " * 40) for name in model.members]
    assert all(scores.isfinite().all() for scores in model.scores(rows))


def test_unknown_members_and_missing_fields_are_mistakes(backbones: dict[str, str], tmp_path: Path) -> None:
    cells = alone(backbones["bert"], toy_tasks(tmp_path / "data", 1), ("ia3", "lora"))
    model = MixedModel(cells)
    with pytest.raises(UserError, match="did you mean"):
        model.predict([(model.members[0].replace("ia3", "ia4"), "good")])
    with pytest.raises(UserError, match="text"):
        model.predict([(model.members[0], {"words": "good"})])
    with pytest.raises(UserError, match="two members"):
        MixedModel([*cells, cells[0]])
    with pytest.raises(Unsupported, match="backbone"):
        MixedModel(alone(backbones["bert"], [cells[0].task], ("ia3", "full")))
