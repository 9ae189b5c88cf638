"""In-context learning: which demonstrations, in which order, and what is made of their scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.bench.models.scoring.plain import plain_scores
from tests.toys import encode, fresh_copy, harness, toy_task
from tunefront.bench.cells import Cell
from tunefront.bench.data.task import Task
from tunefront.bench.execution.identity import Identity
from tunefront.bench.models.tiny import FAMILIES
from tunefront.bench.settings import resolve_recipe
from tunefront.bench.templates import Prompt
from tunefront.bench.training.harness import MeasuringHarness
from tunefront.methods.base import Scorer, Unsupported
from tunefront.methods.icl import ICL
from tunefront.methods.spelling import parse, spell


@pytest.fixture(params=["gpt2", "t5"])
def folder(request: pytest.FixtureRequest, language_models: dict[str, str]) -> str:
    return language_models[request.param]


def fitted(folder: str, method: ICL, task: Task | None = None, seed: int = 0) -> tuple[Any, MeasuringHarness, Scorer]:
    """A backbone with the method's scorer."""
    backbone = fresh_copy(folder, task, seed)
    method.attach(backbone)
    trainer = harness(backbone, method, seed)
    return backbone, trainer, method.fit(backbone, encode(backbone, task), trainer)


def scores(folder: str, method: ICL, task: Task | None = None, seed: int = 0) -> Tensor:
    """Of all test rows."""
    backbone, trainer, scorer = fitted(folder, method, task, seed)
    return trainer.score(scorer, encode(backbone, task, "test")).values


def demonstration_ids(folder: str, method: ICL, task: Task | None = None) -> list[tuple[str, ...]]:
    """The ids of each prompt's demonstrations."""
    return fitted(folder, method, task)[1].prompts.ids


def uneven(labels: Sequence[int]) -> Task:
    """The toy task, its training rows so chosen that they have these labels in this order."""
    task = toy_task()
    rows = {label: [row for row in task.splits["train"] if row.label == label] for label in (0, 1)}
    train = [rows[label].pop(0) for label in labels]
    return Task("uneven", task.kind, {**task.splits, "train": train}, task.input_fields, ("good", "bad"), task.metrics)


def test_the_first_k_drawn_rows_are_the_demonstrations_in_drawn_order(folder: str) -> None:
    assert demonstration_ids(folder, ICL(k=5)) == [("0", "1", "2", "3", "4")]
    assert demonstration_ids(folder, ICL(), toy_task(rows=(7, 3))) == [tuple("0123456")]
    assert demonstration_ids(folder, ICL(k=0)) == []


def test_an_order_is_a_permutation_of_the_same_rows_and_always_the_same_one(folder: str) -> None:
    orders = [demonstration_ids(folder, ICL(k=6, order=number))[0] for number in range(5)]
    assert orders[0] == tuple("012345")
    assert all(sorted(order) == list("012345") for order in orders)
    assert len(set(orders)) == 5
    assert demonstration_ids(folder, ICL(k=6, order=3)) == [orders[3]]
    assert not torch.equal(scores(folder, ICL(k=6)), scores(folder, ICL(k=6, order=3)))


def test_balanced_takes_labels_in_turn_and_keeps_the_drawn_order(folder: str) -> None:
    """Of labels 1 1 1 0 1 0 0 1, four rows: the first two of either label, where the draw has them."""
    task = uneven([1, 1, 1, 0, 1, 0, 0, 1])
    ids = [row.id for row in task.splits["train"]]
    assert demonstration_ids(folder, ICL(k=4), task) == [tuple(ids[:4])]
    assert demonstration_ids(folder, ICL(k=4, balanced=True), task) == [(ids[0], ids[1], ids[3], ids[5])]
    assert demonstration_ids(folder, ICL(k=5, balanced=True), task) == [(ids[0], ids[1], ids[2], ids[3], ids[5])]
    assert demonstration_ids(folder, ICL(balanced=True), task) == [tuple(ids)]


def test_an_ensemble_is_the_mean_of_the_probabilities_of_its_prompts(folder: str) -> None:
    """Each prompt computed apart, by itself."""
    single = [scores(folder, ICL(k=4, order=order)).softmax(1) for order in (2, 3, 4)]
    actual = scores(folder, ICL(k=4, order=2, ensemble=3))
    assert torch.allclose(actual.exp(), sum(single) / 3, atol=1e-6)
    assert demonstration_ids(folder, ICL(k=4, order=2, ensemble=3)) == [
        demonstration_ids(folder, ICL(k=4, order=order))[0] for order in (2, 3, 4)
    ]


@pytest.mark.parametrize("method", [ICL(k=0, calibrate=True), ICL(k=4, calibrate=True)], ids=spell)
def test_calibration_is_the_diagonal_of_zhao_et_al(method: ICL, folder: str) -> None:
    """W = diag(p_cf)^-1 with p_cf the mean of what "N/A", "[MASK]" and the empty string get; q is W p, normalised.

    From texts and plain forward passes alone.
    """
    actual = scores(folder, method).softmax(1)
    backbone = fresh_copy(folder)
    demonstrations = encode(backbone).prompts[: method.k]
    empty = [Prompt(f"Text: {filler}\nLabel:", ("good", "bad"), 0) for filler in ("N/A", "[MASK]", "")]

    def probabilities(prompts: Sequence[Prompt]) -> Tensor:
        return plain_scores(backbone.model, backbone.tokenizer, prompts, demonstrations).softmax(1)

    weights = torch.diag(1 / probabilities(empty).mean(0))
    expected = probabilities(encode(backbone, split="test").prompts[:12]) @ weights
    assert torch.allclose(actual[:12], expected / expected.sum(1, keepdim=True), atol=1e-5)


def test_an_ensemble_is_calibrated_as_a_whole(folder: str) -> None:
    plain, calibrated = ICL(k=4, ensemble=2), ICL(k=4, ensemble=2, calibrate=True)
    backbone, trainer, scorer = fitted(folder, plain)
    prior = trainer.scores(scorer, backbone.content_free()).softmax(1).mean(0)
    assert torch.allclose(scores(folder, calibrated), scores(folder, plain).log_softmax(1) - prior.log(), atol=1e-5)


def test_without_demonstrations_it_is_zero_shot(folder: str) -> None:
    backbone = fresh_copy(folder)
    rows = encode(backbone, split="test")
    with torch.no_grad():
        expected = backbone.score(rows.batch(range(len(rows))))
    assert torch.allclose(scores(folder, ICL(k=0)), expected, atol=1e-5)


def test_nothing_is_trained_and_nothing_is_kept_on_the_method(folder: str) -> None:
    method = ICL(k=4, ensemble=2, calibrate=True)
    backbone, trainer, scorer = fitted(folder, method)
    trainer.score(scorer, encode(backbone, split="test"))
    assert backbone.trainable() == {}
    assert (trainer.cost.steps, trainer.cost.flops, trainer.cost.clock.seconds) == (0, 0, 0)
    assert trainer.cost.final_loss is None
    assert method == ICL(k=4, ensemble=2, calibrate=True)
    assert set(vars(method)) == {"k", "order", "balanced", "ensemble", "calibrate"}


def test_every_query_of_the_evaluation_follows_the_same_demonstrations(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, trainer, scorer = fitted(folder, ICL(k=4))
    seen, rows, score = [], [], backbone.score

    def noting(batch: Any, prefix: Any = None) -> Tensor:
        seen.append(prefix)
        rows.extend(batch.rows.tolist())
        return score(batch, prefix)

    monkeypatch.setattr(backbone, "score", noting)
    trainer.score(scorer, encode(backbone, split="test"))
    assert {id(prefix) for prefix in seen} == {id(trainer.prompts._prefixes[0])}
    assert sorted(set(rows)) == list(range(40))
    assert trainer.prompts._prefixes[0].text.count("Label:") == 4


def test_it_depends_on_no_seed(folder: str) -> None:
    method = ICL(k=4, order=2, ensemble=2)
    assert torch.equal(scores(folder, method, seed=0), scores(folder, method, seed=7))


def test_keys_and_values_of_the_demonstrations_are_computed_once(language_models: dict[str, str]) -> None:
    """However many batches are scored, each token of a demonstration goes through the first layer once."""
    backbone = fresh_copy(language_models["gpt2"])
    read: list[int] = []
    backbone.model.transformer.h[0].mlp.c_fc.register_forward_hook(
        lambda _, args, out: read.append(args[0][..., 0].numel())
    )
    trainer = harness(backbone, ICL(k=4), rows=1)
    trainer.counting.rows = lambda *_: 0  # type: ignore[method-assign]
    scorer = ICL(k=4).fit(backbone, encode(backbone), trainer)
    assert read == [trainer.prompts.tokens]
    rows = encode(backbone, split="test")
    assert backbone.side_by_side
    read.clear()
    trainer.score(scorer, rows)
    (one,) = trainer.prompts.prepend_to(rows).by_prefix.values()
    assert sum(read) == sum(map(len, one.tokens)), "one-token choices feed nothing, so only queries are read"


@pytest.mark.parametrize("family", FAMILIES)
def test_encoders_have_no_prompt(family: str, backbones: dict[str, str]) -> None:
    with pytest.raises(Unsupported, match="an encoder has no prompt to put rows into"):
        ICL(k=0).attach(fresh_copy(backbones[family]))


def test_a_changed_order_changes_the_records_key(language_models: dict[str, str], toy_folder: str) -> None:
    def name(spelled: str) -> str:
        method = parse(spelled)
        cell = Cell(method, language_models["gpt2"], toy_folder, resolve_recipe(method), template="plain")
        return Identity.of(cell).key

    names = [name(f"icl:k=4{field}") for field in ("", ",order=1", ",order=2", ",ensemble=2", ",calibrate=true")]
    assert len(set(names)) == 5
    assert name("icl:k=4,order=0") == names[0]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"k": -1}, "k must be at least 0"),
        ({"order": -1}, "order must be at least 0"),
        ({"ensemble": 0}, "ensemble must be at least 1"),
        ({"k": 0, "order": 1}, "k=0 has no demonstrations"),
        ({"k": 0, "ensemble": 2}, "k=0 has no demonstrations"),
        ({"k": 0, "balanced": True}, "k=0 has no demonstrations"),
    ],
)
def test_values_that_mean_nothing_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ICL(**fields)


def test_rows_that_it_needs_are_known_beforehand() -> None:
    assert [ICL().fewest_rows, ICL(k=0).fewest_rows, ICL(k=7).fewest_rows] == [1, 0, 7]
