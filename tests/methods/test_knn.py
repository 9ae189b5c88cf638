"""Nearest neighbours on frozen features: votes by hand, what ships, and what it takes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.toys import Listed, encode, fresh_copy, harness, mixed_task, toy_task
from tunefront.bench.data.task import Task
from tunefront.bench.errors import UserError
from tunefront.bench.execution.run_cell import run_cell
from tunefront.bench.models.tiny import FAMILIES, LANGUAGE_MODELS
from tunefront.bench.suites.expand import expand
from tunefront.bench.suites.overrides import Overrides
from tunefront.bench.training.harness import MeasuringHarness
from tunefront.methods.base import Unsupported
from tunefront.methods.knn import KNN, Neighbours


def neighbours(labels: list[float], k: int, classes: int | None = 2, **fields: Any) -> Neighbours:
    """Rows at 1, 2, 3, ... on a line, which queries (x, 0) are near to by Euclidean distance."""
    states = torch.tensor([[float(place), 0.0] for place in range(1, len(labels) + 1)])
    kind = torch.long if classes else torch.float32
    return Neighbours(
        states, torch.tensor(labels, dtype=kind), classes, k, **{"metric": "euclidean", "temperature": None} | fields
    )


def fitted(folder: str, method: KNN, task: Task | None = None) -> tuple[Any, MeasuringHarness, Any]:
    backbone = fresh_copy(folder, task)
    method.attach(backbone)
    trainer = harness(backbone, method)
    return backbone, trainer, method.fit(backbone, encode(backbone, task), trainer)


def states_of(backbone: Any, rows: Any) -> Tensor:
    with torch.no_grad():
        return torch.cat([backbone.features(rows.batch([row])) for row in range(len(rows))])


@pytest.mark.parametrize("family", [*FAMILIES, *LANGUAGE_MODELS])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_votes_are_those_of_a_search_written_by_hand(family: str, metric: str, folders: dict[str, str]) -> None:
    backbone, trainer, scorer = fitted(folders[family], KNN(k=3, metric=metric))
    train, test = encode(backbone), encode(backbone, split="test")
    scores = trainer.score(scorer, test).values
    stored, queries = states_of(backbone, train).double(), states_of(backbone, test).double()
    for query, given in zip(queries, scores, strict=True):
        if metric == "cosine":
            away = 1 - stored @ query / (stored.norm(dim=1) * query.norm())
        else:
            away = (stored - query).norm(dim=1)
        nearest = away.argsort()[:3]
        if away.sort().values[2:4].diff() < 1e-5:
            continue  # rounding may take either row for the third
        expected = [
            sum(train.labels[nearest] == label) / 3
            + max([1 / (1 + float(away[place])) for place in nearest if train.labels[place] == label], default=0) / 6
            for label in (0, 1)
        ]
        assert given.tolist() == pytest.approx([float(value) for value in expected], abs=1e-3)


def test_votes_are_counted() -> None:
    scores = neighbours([0, 0, 1, 1, 1], k=3)(torch.tensor([[1.0, 0.0], [5.0, 0.0]]))
    shares = torch.tensor([[2 / 3, 1 / 3], [0.0, 1.0]])
    bonus = torch.tensor([[1 / 6, 1 / 18], [0.0, 1 / 6]])  # 1 / (1 + distance) of the nearest, half a vote at most
    assert torch.allclose(scores, shares + bonus, atol=1e-6)


@pytest.mark.parametrize(("labels", "winner"), [([0, 0, 1, 1], 1), ([1, 0, 0, 1], 0), ([1, 1, 0, 0], 0)])
def test_of_equal_votes_the_nearer_neighbours_class_wins(labels: list[float], winner: int) -> None:
    """The query lies at 2.6: next to it come the rows at 3, 2, 4 and 1."""
    assert neighbours(labels, k=4)(torch.tensor([[2.6, 0.0]])).argmax(1).tolist() == [winner]


def test_a_vote_more_counts_for_more_than_any_closeness() -> None:
    rows = Neighbours(torch.tensor([[0.0], [9e4], [9e4]]), torch.tensor([0, 1, 1]), 2, 3, "euclidean", None)
    assert rows(torch.tensor([[0.0]])).argmax(1).tolist() == [1]


def test_a_temperature_weighs_votes_by_distance() -> None:
    actual = neighbours([0, 1, 1], k=3, temperature=0.5)(torch.tensor([[1.0, 0.0]]))
    weights = torch.exp(-torch.tensor([0.0, 1.0, 2.0]) / 0.5)
    weights = weights / weights.sum()
    assert torch.allclose(actual, torch.tensor([[weights[0], weights[1] + weights[2]]]), atol=1e-6)


def test_regression_is_the_mean_of_the_neighbours_values() -> None:
    values = neighbours([2.0, 4.0, 9.0, 1.0], k=2, classes=None)
    assert values(torch.tensor([[1.2, 0.0], [3.9, 0.0]])).tolist() == [[3.0], [5.0]]


@pytest.mark.parametrize("classes", [2, None])
@pytest.mark.parametrize("temperature", [None, 0.1])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_a_query_that_is_no_number_has_no_scores(metric: str, temperature: float | None, classes: int | None) -> None:
    rows = neighbours([0, 1, 1], 2, classes, metric=metric, temperature=temperature)
    scores = rows(torch.tensor([[float("nan"), 1.0], [1.0, 1.0]]))
    assert scores.isnan().all(1).tolist() == [True, False]


def test_training_rows_without_numbers_are_refused(backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["bert"])
    KNN().attach(backbone)
    with torch.no_grad():
        backbone.model.pooler.dense.bias[0] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        KNN().fit(backbone, encode(backbone), harness(backbone, KNN()))


def test_a_row_without_direction_is_far_from_all() -> None:
    rows = Neighbours(torch.zeros(2, 3), torch.tensor([0, 1]), 2, 1, "cosine", None)
    assert rows(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])).isfinite().all()


@pytest.mark.parametrize("family", [*FAMILIES, *LANGUAGE_MODELS])
def test_it_beats_chance_on_an_easy_task(family: str, folders: dict[str, str]) -> None:
    """Rows are one of six words, so that some training row is the query itself."""
    task = toy_task(rows=(64, 40), words=(0, 0))
    backbone, trainer, scorer = fitted(folders[family], KNN(k=1), task)
    test = encode(backbone, task, "test")
    assert torch.equal(trainer.score(scorer, test).values.argmax(1), test.labels)


def test_regression_goes_through_an_encoder(backbones: dict[str, str]) -> None:
    task = toy_task("regression", rows=(64, 40), words=(0, 0))
    backbone, trainer, scorer = fitted(backbones["roberta"], KNN(k=3), task)
    test = encode(backbone, task, "test")
    scores = trainer.score(scorer, test).values
    assert torch.allclose(scores, test.labels[:, None], atol=1e-6)


@pytest.mark.parametrize("family", ["bert", "llama", "t5"])
def test_its_rows_are_persistent_buffers_and_nothing_is_trained(family: str, folders: dict[str, str]) -> None:
    backbone, trainer, _ = fitted(folders[family], KNN())
    kept = {name: value for name, value in backbone.model.state_dict().items() if name.startswith("neighbours.")}
    assert {name: (tuple(value.shape), value.dtype) for name, value in kept.items()} == {
        "neighbours.states": ((64, 32), torch.float32),
        "neighbours.labels": ((64,), torch.int64),
    }
    assert backbone.trainable() == {}
    assert (trainer.cost.steps, trainer.cost.final_loss) == (0, None)
    assert trainer.cost.flops == trainer.cost.flops_by_phase["features"].counted > 0


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_scoring_counts_the_distances_to_every_stored_row(family: str, folders: dict[str, str]) -> None:
    """Whatever was counted before: of one method and backbone a draw of other size has other costs."""
    for shots in (24, 64):
        backbone = fresh_copy(folders[family])
        KNN().attach(backbone)
        trainer, rows = harness(backbone, KNN()), encode(backbone, split="test")
        scorer = KNN().fit(backbone, encode(backbone).take(range(shots)), trainer)
        scored, alone = trainer.score(scorer, rows), trainer.score(backbone.features, rows)
        assert scored.flops == alone.flops + 2 * len(rows) * shots * 32
        assert scored.entry is not None
        assert scored.entry.analytic == scored.flops
        assert scored.entry.rule is not None


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_multiple_choice_has_no_classes_to_vote_for(name: str, language_models: dict[str, str]) -> None:
    with pytest.raises(Unsupported, match="multiple choice"):
        KNN().attach(fresh_copy(language_models[name], mixed_task(), template=Listed()))


@pytest.mark.parametrize(("name", "ships"), [("bert", 8 * 32 * 4 + 8 * 8), ("gpt2", 8 * 32 * 4 + 8 * 8)])
def test_its_record_counts_rows_and_no_head(name: str, ships: int, folders: dict[str, str], toy_folder: str) -> None:
    asked = Overrides(
        methods=["knn"],
        backbones=[folders[name]],
        tasks=[toy_folder],
        shots=[8],
        draws=[0],
        seeds=[0],
        settings={"eval_rows": 6},
    )
    record, _ = run_cell(expand("quick", asked).cells[0])
    assert record.reason is None
    assert (record.parameters.trainable, record.parameters.head, record.parameters.inserted) == (0, 0, 0)
    assert record.parameters.total == record.parameters.backbone
    assert record.storage.checkpoint_bytes is not None
    assert ships < record.storage.checkpoint_bytes < ships + 300
    assert record.flops.phases is not None
    assert all(phase.analytic == phase.counted for phase in record.flops.phases.values())
    assert record.flops.train == record.flops.phases["features"].counted


def test_too_few_rows_are_said_before_anything_runs(folders: dict[str, str], toy_folder: str) -> None:
    asked = Overrides(
        methods=["knn:k=9"],
        backbones=[folders["bert"]],
        tasks=[toy_folder],
        shots=[8],
        draws=[0],
        seeds=[0],
        settings={"eval_rows": 6},
    )
    with pytest.raises(UserError, match="knn:k=9 needs 9 training rows"):
        expand("quick", asked)
    assert KNN(k=9).fewest_rows == 9


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"k": 0}, "k must be at least 1"),
        ({"metric": "manhattan"}, "metric must be one of cosine, euclidean"),
        ({"temperature": 0.0}, "temperature must be a finite number above 0"),
        ({"temperature": float("nan")}, "temperature must be a finite number above 0"),
        ({"temperature": float("inf")}, "temperature must be a finite number above 0"),
    ],
)
def test_values_that_mean_nothing_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        KNN(**fields)
