"""Properties of every registered method on every encoder and language model (style guide, section 9)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from tests.toys import (
    Untrained,
    encode,
    every_third,
    fit_without_steps,
    fresh_copy,
    harness,
    language_pairs,
    pair_id,
    pairs,
    shake,
    shipped,
    toy_task,
    tree,
    widened,
)
from tunefront.bench.meters.storage import checkpoint_bytes, save_trained
from tunefront.bench.models.checkpoints import persistent_buffers
from tunefront.bench.models.examples import EncodedExamples
from tunefront.bench.models.families import Backbone
from tunefront.bench.models.losses import LossWeights
from tunefront.bench.models.pretrained import Pretrained
from tunefront.bench.models.tiny import FAMILIES, LANGUAGE_MODELS
from tunefront.methods.base import Method, Unsupported, trained
from tunefront.methods.inject import matching
from tunefront.methods.spelling import parse, spell

NEAR_IDENTITY = {"houlsby": 1e-4, "compacter": 1e-4, "compacter_pp": 1e-4, "pfeiffer": 0.05}
"""How much attaching may change a score, for methods that start close to the backbone; others change none."""

LARGE_RATES = {
    "ia3": 0.1,
    "features": 0.3,
    "layernorm": 0.1,
    "bitfit": 0.03,
    "cartridge": 0.05,
    "compacter": 0.03,
    "compacter_pp": 0.03,
    "pfeiffer": 0.03,
    "prefix_tuning": 0.002,
    "prompt_tuning": 0.1,
    "scaling": 0.1,
}
"""Learning rates where 0.01 takes a random backbone more than 60 steps to learn six words by heart, or is too much."""
MANY_STEPS = {
    "bitfit": 200,
    "cartridge": 240,
    "compacter_pp": 200,
    "features": 200,
    "pfeiffer": 200,
    "prefix_tuning": 200,
    "prompt_tuning": 300,
}
"""Steps where 60 are too few at any rate."""

every_method = pytest.mark.parametrize(("method", "family"), pairs() + language_pairs(), ids=pair_id)
trained_to_the_end = pytest.mark.parametrize(("method", "family"), every_third(pairs() + language_pairs()), ids=pair_id)

TOY = toy_task(rows=(32, 16))
"""Rows for tests without complete training: tokenising them for each test takes a good part of the time."""


@dataclass
class Subject:
    """A method attached to a pristine backbone, with the toy task's rows."""

    method: Method
    backbone: Backbone
    train: EncodedExamples
    test: EncodedExamples

    def scores(self) -> Tensor:
        """Scores of all test rows, in evaluation mode."""
        self.backbone.model.eval()
        with torch.no_grad():
            return self.backbone.score(self.test.batch(range(len(self.test))))

    def states(self) -> Tensor:
        """The inputs of a head for all test rows, in evaluation mode."""
        self.backbone.model.eval()
        with torch.no_grad():
            return self.backbone.features(self.test.batch(range(len(self.test))))

    def ready(self) -> Subject:
        """Fits without a step, so that modules made in `fit` exist; rows are encoded afterwards."""
        fit_without_steps(self.method, self.backbone, self.train)
        self.train, self.test = encode(self.backbone, TOY), encode(self.backbone, TOY, "test")
        return self

    def trains(self) -> None:
        """Skips the test if the method trains nothing."""
        if not self.backbone.trainable():
            pytest.skip(f"{self.method.name} trains nothing")


Attach = Callable[..., Subject]


@pytest.fixture
def attach(folders: dict[str, str]) -> Attach:
    """Attaches a method, or skips with the reason that it gives."""

    def attached(method: Method, family: str, seed: int = 0, dropout: float | None = None) -> Subject:
        backbone = fresh_copy(folders[family], seed=seed, dropout=dropout)
        try:
            method.attach(backbone)
        except Unsupported as reason:
            pytest.skip(str(reason))
        return Subject(method, backbone, encode(backbone, TOY), encode(backbone, TOY, "test"))

    return attached


@cache
def read_once(folder: str) -> Pretrained:
    """A folder's backbone as read from its files, without any method."""
    return Pretrained(folder, torch.device("cpu"))


@cache
def published_weights(folder: str) -> dict[str, Tensor]:
    """The tensors of a folder by name, as transformers reads them."""
    return snapshot(read_once(folder).load())


def recompute_activations(model: nn.Module) -> None:
    """Turns gradient checkpointing on, under its name in this release of transformers."""
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def trained_names(model: nn.Module) -> set[str]:
    """Every name of every trained parameter: tied embeddings have two."""
    return {name for name, parameter in model.named_parameters(remove_duplicate=False) if parameter.requires_grad}


def frozen_names(backbone: Backbone) -> set[str]:
    """Every name in the state dict that is neither trained nor an added buffer."""
    kept = persistent_buffers(backbone.model).keys() - backbone.published_buffers
    return set(backbone.model.state_dict()) - trained_names(backbone.model) - kept


@every_method
def test_fit_leaves_frozen_weights_untouched(method: Method, family: str, attach: Attach) -> None:
    subject = attach(method, family)
    model = subject.backbone.model
    before, frozen = snapshot(model), frozen_names(subject.backbone)
    trainer = harness(subject.backbone, method, counted=False, steps=3, learning_rate=0.1)
    trainer.score(method.fit(subject.backbone, subject.train, trainer), subject.test)
    assert frozen_names(subject.backbone) == frozen, "fit() changed what is trained"
    for name in frozen:
        assert torch.equal(model.state_dict()[name], before[name]), name


@every_method
def test_attaching_changes_no_score(method: Method, family: str, folders: dict[str, str], attach: Attach) -> None:
    """A head that a method gives to a language model has its own scores: its inputs stay unchanged."""
    untouched = fresh_copy(folders[family])
    plain = Subject(method, untouched, encode(untouched, TOY), encode(untouched, TOY, "test"))
    scores, states, had_a_head = plain.scores(), plain.states(), untouched.head is not None
    subject = attach(method, family).ready()
    if subject.backbone.lead_lengths:
        pytest.skip("what leads is seen by every token from the start")
    new_head = subject.backbone.head is not None and not had_a_head
    before, after = (states, subject.states()) if new_head else (scores, subject.scores())
    change = ((after - before).abs() / before.abs().clamp(min=1)).max().item()
    assert change <= NEAR_IDENTITY.get(method.name, 0.0)


@every_method
def test_every_trained_tensor_moves_within_three_steps(method: Method, family: str, attach: Attach) -> None:
    """Compared with its start; if training leaves other tensors, with those after very small steps."""

    def fitted(learning_rate: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        subject, before = attach(method, family), {}
        recipe = {"steps": 3, "learning_rate": learning_rate, "weight_decay": 0.0}
        trainer = harness(subject.backbone, method, counted=False, **recipe)
        train = trainer.train

        def noting(parameters: dict[str, nn.Parameter], *given: Any) -> None:
            before.update({name: value.detach().clone() for name, value in parameters.items()})
            train(parameters, *given)

        trainer.train = noting  # type: ignore[method-assign,assignment]
        method.fit(subject.backbone, subject.train, trainer)
        return before, {name: value.detach().clone() for name, value in subject.backbone.trainable().items()}

    before, after = fitted(0.01)
    if not before:
        pytest.skip(f"{method.name} trains nothing")
    if before.keys() != after.keys():
        _, before = fitted(1e-30)
    assert before.keys() == after.keys()
    assert not [name for name, value in after.items() if torch.equal(value, before[name])]


@every_method
def test_published_names_and_bits_survive_attaching(
    method: Method, family: str, folders: dict[str, str], attach: Attach
) -> None:
    """If a method rebuilds weights, the published ones have the names that torch gives to the originals; if peft has
    replaced a module, those of the module in it."""
    published = published_weights(folders[family])
    model = attach(method, family).ready().backbone.model
    attached = model.state_dict()

    def now(name: str) -> str:
        path, _, tensor = name.rpartition(".")
        module = model.get_submodule(path)
        if is_parametrized(module, tensor):
            return f"{path}.parametrizations.{tensor}.original"
        return f"{path}.base_layer.{tensor}" if method.name == "peft" and hasattr(module, "base_layer") else name

    assert [name for name in published if now(name) not in attached] == []
    assert [name for name in published if not torch.equal(published[name], attached[now(name)])] == []


@trained_to_the_end
def test_it_beats_chance_on_an_easy_task(method: Method, family: str, folders: dict[str, str]) -> None:
    """Rows are one of six words, all of them seen in training, so that every row can be learned with a margin larger
    than rounding. Language models learn to rank the answers, not to write them."""
    is_encoder, only_head = family in FAMILIES, method.name == "features"
    task = toy_task(rows=(128, 64), words=(0, 0))
    options = {} if is_encoder else {"losses": LossWeights(likelihood=0, unlikelihood=0)}
    backbone = fresh_copy(folders[family], task, dropout=0.0, **options)
    try:
        method.attach(backbone)
    except Unsupported as reason:
        pytest.skip(str(reason))
    rate = 0.03 if is_encoder and only_head else LARGE_RATES.get(method.name, 0.01)  # an encoder's head has two layers
    trainer = harness(backbone, method, steps=MANY_STEPS.get(method.name, 60), counted=False, learning_rate=rate)
    scorer = method.fit(backbone, encode(backbone, task), trainer)
    if not trainer.cost.steps:
        pytest.skip(f"{method.name} trains nothing")
    rows = encode(backbone, task, "test")
    scores = trainer.score(scorer, rows).values
    ahead = scores.gather(1, rows.labels[:, None]) - scores.gather(1, 1 - rows.labels[:, None])
    assert ahead.min() > 0.1  # the margin of every row; the smallest is 1.4, and by chance half the rows are below zero


@every_method
def test_one_seed_gives_the_same_scores_bit_for_bit(method: Method, family: str, attach: Attach) -> None:
    def run(seed: int) -> tuple[Tensor, bool]:
        subject = attach(method, family, seed)
        trainer = harness(subject.backbone, method, seed, steps=4, counted=False, learning_rate=0.01)
        scores = trainer.score(method.fit(subject.backbone, subject.train, trainer), subject.test).values
        return scores, bool(subject.backbone.trainable())

    (first, trains), (again, _), (other, _) = run(3), run(3), run(4)
    assert torch.equal(first, again)
    assert torch.equal(first, other) is not trains, "only training depends on a seed"


@every_method
def test_padding_and_batch_mates_change_no_row(method: Method, family: str, attach: Attach) -> None:
    subject = attach(method, family)
    backbone, rows, score = subject.backbone, subject.test, subject.backbone.score
    trainer = harness(backbone, method, kind=Untrained)
    scorer = method.fit(backbone, subject.train, trainer)
    if not backbone.trainable():  # it trains nothing: its only result is its scorer
        rows, score = trainer.prompts.prepend_to(rows), scorer
    shake(backbone.trainable())
    backbone.model.eval()
    places = range(16) if family in FAMILIES else range(0, 16, 3)
    with torch.no_grad():
        together = score(rows.batch(range(16)))[list(places)]
        alone = torch.cat([score(rows.batch([row])) for row in places])
        apart = torch.cat([score(widened(rows.batch([row]), rows, 1 + row)) for row in places])
        if family in LANGUAGE_MODELS:
            left = torch.cat([score(widened(rows.batch([row]), rows, 1 + row, left=True)) for row in places])
            assert torch.allclose(together, left, rtol=1e-4, atol=1e-5)
    assert torch.allclose(together, alone, rtol=1e-4, atol=1e-5)
    assert torch.allclose(together, apart, rtol=1e-4, atol=1e-5)


@every_method
def test_a_deep_copy_is_independent(method: Method, family: str, attach: Attach) -> None:
    subject = attach(method, family).ready()
    shake(subject.backbone.trainable())
    before = subject.scores()
    copied = copy.copy(subject.backbone)
    copied.model = copy.deepcopy(subject.backbone.model)
    if copied.head is not None:
        copied.head = copied.model.head
    other = Subject(method, copied, subject.train, subject.test)
    assert torch.equal(other.scores(), before)
    assert not {id(p) for p in copied.model.parameters()} & {id(p) for p in subject.backbone.model.parameters()}
    subject.trains()
    harness(copied, method, counted=False, steps=2, learning_rate=0.1).train(
        copied.trainable(), copied.loss, subject.train
    )
    assert torch.equal(subject.scores(), before), "training the copy changed the original"
    trained_copy = other.scores()
    assert not torch.equal(trained_copy, before)
    inserted = {n: p for n, p in subject.backbone.trainable().items() if not n.startswith("head.")}
    shake(inserted, 0.5)
    assert torch.equal(other.scores(), trained_copy), "the copy uses the original's plugs"


@every_method
def test_gradient_checkpointing_gives_the_same_gradients(method: Method, family: str, attach: Attach) -> None:
    def gradients(checkpointing: bool) -> tuple[dict[str, Tensor], int]:
        subject = attach(method, family).ready()
        model = subject.backbone.model
        subject.trains()
        if all(name.startswith("head.") for name in subject.backbone.trainable()):
            pytest.skip("trains only the head, nothing goes back through the model")
        shake(subject.backbone.trainable())
        if checkpointing:
            recompute_activations(model)
        model.train()
        calls = []
        matching(model, subject.backbone.sites.ffn_up).popitem()[1].register_forward_hook(lambda *_: calls.append(1))
        torch.manual_seed(5)
        subject.backbone.loss(subject.train.batch(range(16))).backward()
        return {name: value.grad.clone() for name, value in subject.backbone.trainable().items()}, len(calls)

    (plain, once), (checkpointed, again) = gradients(False), gradients(True)
    assert 0 < once < again, "blocks are not computed again"
    assert plain.keys() == checkpointed.keys()
    for name, gradient in plain.items():
        assert torch.allclose(gradient, checkpointed[name], rtol=1e-4, atol=1e-7), name


@every_method
def test_what_is_saved_is_what_is_trained(method: Method, family: str, attach: Attach, tmp_path: Path) -> None:
    """Also buffers that the method added; none of the backbone's own."""
    backbone = attach(method, family).ready().backbone
    model, own = backbone.model, backbone.published_buffers
    size = save_trained(model, tmp_path / "checkpoint.safetensors", own)
    saved = load_file(tmp_path / "checkpoint.safetensors")
    assert size == (tmp_path / "checkpoint.safetensors").stat().st_size
    assert checkpoint_bytes(model, own) == (size if saved else 0)
    added = persistent_buffers(model).keys() - own
    assert saved.keys() == trained(model).keys() | added
    assert all(torch.equal(saved[name], model.state_dict()[name]) for name in saved)


@every_method
def test_after_any_method_a_backbone_is_as_freshly_loaded(
    method: Method, family: str, folders: dict[str, str], attach: Attach
) -> None:
    used = attach(method, family, dropout=0.3)
    recompute_activations(used.backbone.model)
    method.fit(used.backbone, used.train, harness(used.backbone, method, steps=2, learning_rate=0.1))
    used.backbone.model.config.num_labels = 7
    restored = fresh_copy(folders[family], seed=9)
    fresh = read_once(folders[family]).fresh_copy(toy_task(), 9)
    assert tree(restored.model) == tree(fresh.model)
    ours, theirs = restored.model.state_dict(), fresh.model.state_dict()
    assert list(ours) == list(theirs)
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    buffers = dict(fresh.model.named_buffers())  # not all of them are in the state dict
    assert all(torch.equal(value, buffers[name]) for name, value in restored.model.named_buffers())


@pytest.mark.parametrize("method", shipped(), ids=pair_id)
def test_each_method_runs_on_a_backbone(method: Method, folders: dict[str, str]) -> None:
    reasons = []
    for folder in folders.values():
        try:
            method.attach(fresh_copy(folder))
        except Unsupported as reason:
            reasons.append(str(reason))
    assert len(reasons) < len(folders), reasons
    assert all(reasons)


@pytest.mark.parametrize("method", shipped(), ids=pair_id)
def test_a_method_is_a_value_that_its_spelling_gives_back(method: Method) -> None:
    assert parse(spell(method)) == method
    assert hash(parse(spell(method))) == hash(method)
    with pytest.raises(AttributeError):
        method.learned = 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("family", FAMILIES)
def test_encoders_refuse_multiple_choice_with_a_reason(family: str, backbones: dict[str, str]) -> None:
    task = toy_task("multiple choice")
    with pytest.raises(Unsupported, match="toy is multiple choice"):
        fresh_copy(backbones[family], task)
