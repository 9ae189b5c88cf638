"""FLOPs with leading prompts and keys: analytic equal counted ones, and totals the counts of every batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.bench.meters.flops.test_analytic import exactly, same_batch
from tests.bench.models.families.leading import lead_keys, lead_prompts
from tests.toys import Listed, encode, fresh_copy, harness, mixed_task, toy_task
from tunefront.bench.meters.batches import BatchLog
from tunefront.bench.meters.flops.counted import FlopMeter, counted_flops
from tunefront.bench.models.tiny import FAMILIES, LANGUAGE_MODELS
from tunefront.methods.spelling import parse

ENCODERS = [name for name in FAMILIES if name != "deberta-v2"]
WAYS = {
    "keys": lead_keys,
    "prompt": lead_prompts,
    "cross keys": lambda backbone: lead_keys(backbone, 3, ("cross",)),
    "decoder prompt": lambda backbone: lead_prompts(backbone, 4, encoder=0),
    "encoder prompt": lambda backbone: lead_prompts(backbone, 4, decoder=0),
}


@pytest.mark.parametrize("dropout", [None, 0.0])
@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("way", ["keys", "prompt"])
@pytest.mark.parametrize("family", ENCODERS)
def test_encoders_count_as_dispatched(
    family: str, way: str, trained: bool, dropout: float | None, backbones: dict[str, str]
) -> None:
    backbone = fresh_copy(backbones[family], dropout=dropout)
    backbone.freeze(keep=backbone.head)
    WAYS[way](backbone).requires_grad_(trained)
    rows = encode(backbone, toy_task(words=(2, 50), rows=(24, 8)))
    for shape in ((1, 3), (5, 37)):
        exactly(backbone, rows.shaped(*shape), shape, shape, str(shape))


@pytest.mark.parametrize("dropout", [None, 0.0])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_language_models_count_as_dispatched(
    name: str, way: str, dropout: float | None, language_models: dict[str, str]
) -> None:
    if LANGUAGE_MODELS[name] == "decoder" and way not in ("keys", "prompt"):
        pytest.skip("one stack")
    backbone, train = rows_with_lead(language_models[name], way, dropout)
    same_batch(backbone, train, [0, 1, 2])
    same_batch(backbone, train, [3])


def rows_with_lead(folder: str, way: str, dropout: float | None) -> tuple[Any, Any]:
    task = mixed_task(8, 9)
    backbone = fresh_copy(folder, task, template=Listed(), dropout=dropout)
    backbone.freeze()
    WAYS[way](backbone)
    return backbone, encode(backbone, task)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_totals_equal_the_counts_of_every_batch(
    name: str, way: str, language_models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder's prompt is read once per batch in training and once before scoring, not with every row."""
    if LANGUAGE_MODELS[name] == "decoder" and way not in ("keys", "prompt"):
        pytest.skip("one stack")
    backbone, train = rows_with_lead(language_models[name], way, 0.0)
    test = encode(backbone, mixed_task(8, 9), "test")
    trainer = harness(backbone, parse("full"), rows=4, batch_size=4, steps=2)
    trainer.counting._identity = trainer.prompts._identity = ("lead", way, name)
    ran: list[list[int]] = []
    add = BatchLog.add

    def recorded(shapes: BatchLog, batch: Any) -> None:
        ran.append(batch.rows.tolist())
        add(shapes, batch)

    monkeypatch.setattr(BatchLog, "add", recorded)
    trainer.train(backbone.trainable(), backbone.loss, train)
    steps = list(ran)
    law, *_ = train.laws(200, training=True)
    meter = FlopMeter(("step", "lead", way, name, "float32", "None", "tokens"), lambda shape: 0, (law,))
    assert meter._flops_of() != meter._counted, "no law holds, so every shape was counted"
    scored = trainer.score(backbone.score, test)
    assert backbone.kept_lead is not None
    with torch.no_grad():
        batches = [counted_flops(lambda b=b: backbone.score(test.batch(b))) for b in test.scoring_order(4)]
        lead_flops = counted_flops(backbone.make_lead)
    assert scored.flops == sum(batches)
    assert scored.entry.analytic == scored.flops
    assert trainer.prompts.flops_once(backbone) == lead_flops
    assert trainer.prompts.entry_once(backbone, trainer.flop_ledger).analytic == lead_flops
    assert (lead_flops > 0) is (way == "prompt" and LANGUAGE_MODELS[name] == "decoder")
    backbone.model.train()
    assert trainer.cost.flops == sum(counted_flops(lambda r=r: backbone.loss(train.batch(r)).backward()) for r in steps)
    assert trainer.cost.flops == sum(entry.analytic for entry in trainer.cost.flops_by_phase.values())
