"""FLOPs of every phase, from every source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.toys import (
    Listed,
    attach,
    encode,
    fresh_copy,
    harness,
    mixed_task,
    pair_id,
    shipped,
    takes_choices,
    toy_task,
)
from tunefront.bench.execution.run_cell import run_cell
from tunefront.bench.meters.batches import BatchLog
from tunefront.bench.meters.flops.by_phase import NO_FLOPS, FlopLedger
from tunefront.bench.meters.flops.counted import counted_flops, counted_step
from tunefront.bench.models.tiny import LANGUAGE_MODELS
from tunefront.bench.records import PhaseFlops, parse_record
from tunefront.bench.suites.expand import expand
from tunefront.bench.suites.overrides import Overrides
from tunefront.bench.training.feature_cache import FeatureStore
from tunefront.bench.training.harness import MeasuringHarness
from tunefront.methods.base import Batch, Method
from tunefront.methods.icl import ICL
from tunefront.methods.spelling import parse


def fitted(folder: str, method: Method, features: Any = None, **recipe: Any) -> tuple[Any, MeasuringHarness, Any, Any]:
    """A backbone with a method fitted in two steps, its harness, its scorer, and rows to score."""
    chosen = Path(folder).name in LANGUAGE_MODELS and takes_choices(method, folder)
    task = mixed_task(8, 9) if chosen else toy_task(rows=(8, 9), words=(1, 20))
    backbone = fresh_copy(folder, task, **({"template": Listed()} if task.kind == "multiple choice" else {}))
    attach(method, backbone)
    train, test = encode(backbone, task), encode(backbone, task, "test")
    trainer = harness(backbone, method, features=features, rows=4, batch_size=4, steps=2, **recipe)
    return backbone, trainer, method.fit(backbone, train, trainer), test


@pytest.mark.parametrize("method", shipped(), ids=pair_id)
@pytest.mark.parametrize("name", ["bert", "qwen2", "t5-gated"])
def test_analytic_is_counted_in_every_phase(name: str, method: Method, folders: dict[str, str]) -> None:
    if method.packages:
        pytest.skip("modules of another package declare no products")
    backbone, trainer, scorer, test = fitted(folders[name], method)
    scored = trainer.score(scorer, test)
    phases = {**trainer.cost.flops_by_phase, "evaluation": scored.entry}
    once = trainer.prompts.entry_once(backbone, trainer.flop_ledger)
    started = phases.get("prefill", NO_FLOPS)
    phases["prefill"] = once + started
    assert scored.entry is not None
    assert once.counted == trainer.prompts.flops_once(backbone)
    learns = {"forward", "backward"} if backbone.trainable() else set()
    precomputes = {"features"} & set(trainer.cost.flops_by_phase)
    assert set(phases) == learns | precomputes | {"evaluation", "prefill"}
    for phase, entry in phases.items():
        assert entry.analytic == entry.counted, phase
        no_tokens = bool(precomputes) and phase in ("forward", "backward")  # a head on cached states reads no tokens
        assert (entry.rule is None) == no_tokens
        assert (entry.elementwise is None) == (phase == "backward")
        assert (entry.weight_gradients is not None) == (phase == "backward")
    assert scored.entry.counted == scored.flops
    assert sum(phases[phase].counted for phase in learns | precomputes) + started.counted == trainer.cost.flops
    if learns:
        backward = phases["backward"]
        assert backward.analytic == backward.activation_gradients + backward.weight_gradients


def test_calibrating_belongs_to_the_prefill(language_models: dict[str, str]) -> None:
    method = ICL(k=2, ensemble=2, calibrate=True)
    backbone, trainer, scorer, test = fitted(language_models["gpt2"], method)
    once = trainer.prompts.entry_once(backbone, trainer.flop_ledger)
    assert once.counted == once.analytic == trainer.prompts.flops_once(backbone)
    assert trainer.prompts.calibrating.counted == trainer.prompts.flops > 0
    entry = trainer.score(scorer, test).entry
    assert entry is not None
    assert entry.counted == entry.analytic
    assert once.rule is not None


def test_the_counted_halves_equal_those_of_every_step(
    backbones: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Any] = []
    add = BatchLog.add
    monkeypatch.setattr(BatchLog, "add", lambda self, batch: (ran.append((self.training, batch)), add(self, batch))[1])
    backbone, trainer, *_ = fitted(backbones["bert"], parse("houlsby:bottleneck=3"))
    backbone.model.train()
    steps = [counted_step(lambda b=b: backbone.loss(b)) for training, b in ran if training]
    assert trainer.cost.flops_by_phase["forward"].counted == sum(forward for forward, _ in steps)
    assert trainer.cost.flops_by_phase["backward"].counted == sum(whole - forward for forward, whole in steps)


def test_the_halves_are_known_after_counting_the_steps(
    backbones: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, trainer, *_ = fitted(backbones["bert"], parse("full"), learning_rate=1e-4)
    monkeypatch.setattr(trainer.counting, "_step", lambda *_: lambda shape: pytest.fail(f"{shape} is counted again"))
    shapes = BatchLog(encode(backbone), training=True)
    shapes.times.update({(4, 8): 2, (1, 60): 1})
    assert trainer.counting.forward_half(backbone.loss, shapes) > 0


@pytest.mark.parametrize("name", ["bert", "opt"])
def test_features_from_the_cache_give_the_same_entries(name: str, folders: dict[str, str], tmp_path: Path) -> None:
    costs = [fitted(folders[name], parse("features"), FeatureStore(tmp_path))[1].cost for _ in range(2)]
    assert costs[0].flops_by_phase == costs[1].flops_by_phase
    assert costs[0].flops_by_phase["features"].analytic == costs[0].flops_by_phase["features"].counted
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


def test_a_methods_own_loss_is_only_counted(backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["bert"])
    attach(parse("full"), backbone)
    trainer = harness(backbone, parse("full"), batch_size=4, steps=1)

    def twice(batch: Batch) -> Tensor:
        return backbone.loss(batch) + backbone.loss(batch)

    trainer.train(backbone.trainable(), twice, encode(backbone))
    for entry in trainer.cost.flops_by_phase.values():
        assert entry.counted
        assert entry == PhaseFlops(counted=entry.counted)


def test_a_scorer_is_identified_by_its_calls_of_the_backbone(backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["bert"])
    rows, trainer = encode(backbone), harness(backbone, parse("full"))

    def once(batch: Batch) -> Tensor:
        return backbone.score(batch).log_softmax(1)

    def twice(batch: Batch) -> Tensor:
        return backbone.score(batch) + backbone.score(batch)

    def from_features(batch: Batch) -> Tensor:
        return backbone.head(backbone.features(batch))

    own, wrapped = trainer.score(backbone.score, rows).entry, trainer.score(once, rows).entry
    assert own == wrapped
    assert own is not None
    assert own.analytic == own.counted
    for other in (twice, from_features):
        entry = trainer.score(other, rows).entry
        assert entry is not None
        assert entry == PhaseFlops(counted=entry.counted)


def test_calls_from_outside_are_counted_within_the_context(backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["bert"])
    batch, score = encode(backbone).batch(range(2)), backbone.score
    with backbone.counting_calls() as calls:
        score(batch)  # which reads features
        backbone.features(batch)
        backbone.loss(batch)
    backbone.score(batch)
    assert calls == {"score": 1, "features": 1}


def test_the_rule_follows_parameters_and_tokens(language_models: dict[str, str], backbones: dict[str, str]) -> None:
    encoder, seq2seq = fresh_copy(backbones["bert"]), fresh_copy(language_models["t5"])
    ledger = FlopLedger(encoder, 1000)
    phases = ledger.training(encoder.loss, {(3, 7): 2, (5, 0): 4}, 10, 30)
    assert phases["forward"].rule == 2 * 1000 * (3 * 7) * 2
    assert phases["backward"].rule == 2 * phases["forward"].rule
    assert (phases["forward"].counted, phases["backward"].counted) == (10, 20)
    ledger = FlopLedger(seq2seq, 1000)
    shape = (2, 9, 5, 4)  # prompts, their tokens, choices, theirs
    assert ledger.training(seq2seq.loss, {shape: 1}, 1, 2)["forward"].rule == 1000 * (2 * 9 + 5 * 4)
    # Scoring starts every choice of a prompt with one step.
    assert ledger.rows(seq2seq.score, {shape: 3}, 1).rule == 3 * 1000 * (2 * 9 + 2 + 5 * 3)
    assert ledger.rows(seq2seq.features, {shape: 1}, 1).rule == 1000 * (2 * 9 + 2)
    assert FlopLedger(seq2seq).rows(seq2seq.score, {shape: 3}, 1).rule is None


def test_an_unknown_architecture_keeps_the_other_sources(
    backbones: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = fresh_copy(backbones["bert"])
    monkeypatch.setattr(backbone.model.config, "model_type", "mamba")
    entry = FlopLedger(backbone, 10).rows(backbone.score, {(2, 3): 1}, 77)
    assert entry == PhaseFlops(counted=77, rule=2 * 10 * 6)


def test_entries_add_what_both_know() -> None:
    first = PhaseFlops(counted=1, analytic=2, elementwise=3, rule=4)
    second = PhaseFlops(counted=10, elementwise=30, rule=40)
    assert first + second == PhaseFlops(counted=11, elementwise=33, rule=44)
    assert NO_FLOPS + first == first


def test_reading_demonstrations_follows_from_their_tokens(language_models: dict[str, str]) -> None:
    backbone = fresh_copy(language_models["llama"])
    with torch.no_grad():
        counted = counted_flops(lambda: backbone._base(input_ids=torch.ones(1, 11, dtype=torch.long)))
    entry = FlopLedger(backbone, 100).prefix(11, counted)
    assert (entry.analytic, entry.rule) == (counted, 2 * 100 * 11)
    assert FlopLedger().prefix(11, counted) == PhaseFlops(counted=counted)
    assert FlopLedger(backbone, 100).prefix(11, 0) == NO_FLOPS


@pytest.mark.parametrize(
    ("method", "name", "phases"),
    [
        ("features", "bert", ("features", "forward", "backward", "evaluation")),
        ("icl:k=2", "gpt2", ("prefill", "evaluation")),
        ("icl:k=2", "t5", ("evaluation",)),
    ],
)
def test_a_record_has_the_flops_of_every_phase(
    method: str, name: str, phases: tuple[str, ...], folders: dict[str, str], toy_folder: str
) -> None:
    settings = {"epochs": 1.0, "eval_rows": 6}
    overrides = Overrides(
        methods=[method],
        backbones=[folders[name]],
        tasks=[toy_folder],
        shots=[8],
        draws=[0],
        seeds=[0],
        settings=settings,
    )
    record, _ = run_cell(expand("quick", overrides).cells[0])
    assert record.reason is None
    assert record.flops.phases is not None
    assert tuple(record.flops.phases) == phases
    for name, phase in record.flops.phases.items():
        assert phase.analytic == phase.counted
        assert (phase.rule is None) == ("features" in record.flops.phases and name in ("forward", "backward"))
    trained = [
        phase.counted or 0 for name, phase in record.flops.phases.items() if name not in ("prefill", "evaluation")
    ]
    assert sum(trained) == record.flops.train
    assert record.flops.phases["evaluation"].counted == record.flops.inference_per_example * record.data.n_test
    assert ("prefill" in record.flops.phases) == (record.flops.prefix is not None)
    assert parse_record(record.model_dump_json().encode(), f"{record.key}.json") == record
