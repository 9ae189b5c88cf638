"""Feature-based transfer: the head sees stored states and never the backbone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.toys import encode, fresh_copy, harness
from tunefront.bench.meters.memory.phases import PhaseMemory
from tunefront.bench.models.tiny import FAMILIES
from tunefront.methods.features import Features


@pytest.mark.parametrize("family", FAMILIES)
def test_only_the_head_is_trained(family: str, backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones[family])
    Features().attach(backbone)
    assert set(backbone.trainable()) == {n for n in backbone.model.state_dict() if n.startswith("head.")}


def test_the_count_is_the_closed_formula(backbones: dict[str, str]) -> None:
    counts = {}
    for family in FAMILIES:
        backbone = fresh_copy(backbones[family])
        Features().attach(backbone)
        counts[family] = sum(p.numel() for p in backbone.trainable().values())
    linear, dense = 2 * (32 + 1), 32 * (32 + 1)
    assert counts == {f: linear if f == "bert" else linear + dense for f in FAMILIES}


def test_the_backbone_runs_once_a_row_however_long_the_head_trains(backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["bert"])
    method = Features()
    method.attach(backbone)
    rows, seen = encode(backbone), []
    handle = backbone.model.encoder.layer[0].register_forward_hook(lambda module, args, out: seen.append(len(args[0])))
    trainer = harness(backbone, method, epochs=10)
    # FLOPs and memory are measured apart, on batches of their own.
    trainer.counting.rows = trainer.counting.steps = lambda *_: 10**12  # type: ignore[method-assign,assignment]
    trainer.memory.batch = lambda *_: PhaseMemory()  # type: ignore[method-assign]
    method.fit(backbone, rows, trainer)
    handle.remove()
    assert sum(seen) == len(rows)
    assert trainer.cost.steps == 10 * 4


def test_the_losses_are_those_of_a_logistic_head_on_the_same_states(backbones: dict[str, str]) -> None:
    """A linear head written by hand, on separately computed states, takes the same path."""
    backbone = fresh_copy(backbones["bert"], dropout=0.0)
    method = Features()
    method.attach(backbone)
    rows = encode(backbone)
    with torch.no_grad():
        states = torch.cat([backbone.model.eval()(**rows.batch([r]).inputs).pooler_output for r in range(len(rows))])
    weight = backbone.head.output.weight.detach().clone().requires_grad_()
    bias = backbone.head.output.bias.detach().clone().requires_grad_()
    # A batch of all rows: the order plays no part.
    trainer = harness(backbone, method, steps=12, batch_size=64, learning_rate=0.05, clip_norm=0.0, weight_decay=0.0)
    method.fit(backbone, rows, trainer)
    optimizer = torch.optim.Adam([weight, bias], lr=0.05, betas=(0.9, 0.999), eps=1e-6)
    losses = []
    for step in range(12):
        factor = 0.5 if step == 0 else (12 - step) / 11  # one step of warm-up, then down to zero
        optimizer.param_groups[0]["lr"] = 0.05 * factor
        logits = states @ weight.T + bias
        loss = nn.functional.nll_loss(logits.log_softmax(-1), rows.labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert trainer.cost.losses == pytest.approx(losses, rel=1e-5)
    assert losses[-1] < losses[0]
    assert torch.allclose(backbone.head.output.weight, weight, atol=1e-5)
