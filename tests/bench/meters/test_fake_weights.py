"""What is counted on fake weights is what is counted on real ones, whatever the method and the model."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from tests.bench.forecast.test_predict import PAIRS, cell
from tests.toys import encode, fresh_copy, harness
from tunefront.bench.execution.run_cell import run_cell
from tunefront.bench.meters import fake_weights
from tunefront.bench.meters.flops.counted import FlopMeter, counted_flops
from tunefront.bench.meters.flops.extrapolate import Counting
from tunefront.methods.spelling import parse
from tunefront.methods.torch_internals import FakeTensor


@pytest.fixture
def uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """No counts of earlier cells."""
    monkeypatch.setattr(FlopMeter, "_known", {})
    monkeypatch.setattr(Counting, "_forward_halves", {})


@pytest.mark.parametrize(
    ("spelled", "backbone"),
    [pytest.param(*pair, marks=[] if place % 4 == 0 else [pytest.mark.slow]) for place, pair in enumerate(PAIRS)],
)
def test_a_record_has_the_same_flops_and_bytes(
    spelled: str,
    backbone: str,
    folders: dict[str, str],
    toy_folder: str,
    uncounted: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subject = cell(spelled, folders[backbone], toy_folder)
    real, _ = run_cell(subject)
    monkeypatch.setattr(fake_weights, "LEAST_PARAMETERS", 0)
    monkeypatch.setattr(FlopMeter, "_known", {})
    monkeypatch.setattr(Counting, "_forward_halves", {})
    fallbacks, faked = list[object](), list[bool]()
    original = fake_weights.fake_weights
    monkeypatch.setattr(fake_weights, "fake_weights", lambda model: faked.append(True) or original(model))
    monkeypatch.setattr(fake_weights.log, "debug", lambda *message: fallbacks.append(message))
    fake, _ = run_cell(subject)
    if real.status == "skipped":
        pytest.skip(str(real.reason))
    leads = spelled.partition(":")[0] in ("prompt_tuning", "prefix_tuning", "cartridge")
    assert bool(faked) is not leads
    assert not fallbacks
    assert fake.flops.model_dump() == real.flops.model_dump()
    assert fake.memory.phases == real.memory.phases
    assert fake.scores == real.scores
    assert fake.prompt == real.prompt


def test_weights_are_real_again_and_shared_ones_are_shared(folders: dict[str, str]) -> None:
    model = fresh_copy(folders["gpt2"]).model
    before = {
        name: (id(tensor), tensor.requires_grad) for name, tensor in model.named_parameters(remove_duplicate=False)
    }
    with fake_weights.fake_weights(model):
        fakes = dict(model.named_parameters(remove_duplicate=False))
        assert all(isinstance(tensor, FakeTensor) for tensor in fakes.values())
        assert len({id(tensor) for tensor in fakes.values()}) == len({place for place, _ in before.values()})
        assert all(tensor.requires_grad == before[name][1] for name, tensor in fakes.items())
    after = {
        name: (id(tensor), tensor.requires_grad) for name, tensor in model.named_parameters(remove_duplicate=False)
    }
    assert after == before


def test_what_reads_a_number_is_measured_on_real_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_weights, "LEAST_PARAMETERS", 0)
    model, kinds = nn.Linear(4, 4), list[bool]()

    def run() -> int:
        kinds.append(isinstance(model.weight, FakeTensor))
        return counted_flops(lambda: model(torch.ones(2, 4)).sum().tolist())

    assert fake_weights.measured(model, run) == 2 * 2 * 4 * 4
    assert kinds == [True, False]


def test_a_large_model_is_not_computed(folders: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_weights, "LEAST_PARAMETERS", 0)
    backbone: Any = fresh_copy(folders["llama"])
    method = parse("icl:k=3")
    rows = encode(backbone)
    trainer = harness(backbone, method)
    trainer.score(method.fit(backbone, rows, trainer), encode(backbone, split="test"))
    computed = copy.copy(trainer)
    kinds = set[bool]()
    handle = backbone.model.register_forward_pre_hook(
        lambda module, _: kinds.add(isinstance(next(module.parameters()), FakeTensor))
    )
    computed.memory.measure()
    computed.prompts.flops_once(backbone)
    handle.remove()
    assert kinds <= {True}
