"""What is counted on fake weights is what is counted on real ones, whatever the method and the model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import nn

from tests.bench.forecast.test_predict import PAIRS, cell
from tests.toys import encode, fresh_copy, harness
from tunefront.bench.cells import Cell
from tunefront.bench.execution.run_cell import run_cell
from tunefront.bench.meters import fake_weights
from tunefront.bench.meters.flops.counted import FlopMeter, counted_flops
from tunefront.bench.meters.flops.extrapolate import Counting
from tunefront.bench.models.families import Decoder
from tunefront.bench.records import Record
from tunefront.methods.spelling import parse
from tunefront.methods.torch_internals import FakeTensor


@pytest.fixture
def uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """No counts of earlier cells."""
    monkeypatch.setattr(FlopMeter, "_known", {})
    monkeypatch.setattr(Counting, "_forward_halves", {})


@dataclass(frozen=True)
class Both:
    """Records of a cell on real and on fake weights, whether any were fake, and the reasons for real ones instead."""

    real: Record
    fake: Record
    faked: bool
    fallbacks: list[object]


def run_both(subject: Cell, patch: pytest.MonkeyPatch) -> Both:
    real, _ = run_cell(subject)
    patch.setattr(fake_weights, "LEAST_PARAMETERS", 0)
    patch.setattr(FlopMeter, "_known", {})
    patch.setattr(Counting, "_forward_halves", {})
    fallbacks, faked = list[object](), list[bool]()
    original = fake_weights.fake_weights
    patch.setattr(fake_weights, "fake_weights", lambda model: faked.append(True) or original(model))
    patch.setattr(fake_weights.log, "debug", lambda *message: fallbacks.append(message))
    fake, _ = run_cell(subject)
    return Both(real, fake, bool(faked), fallbacks)


def assert_equal_costs(real: Record, fake: Record) -> None:
    assert fake.flops.model_dump() == real.flops.model_dump()
    assert fake.memory.phases == real.memory.phases
    assert fake.scores == real.scores
    assert fake.prompt == real.prompt


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
    both = run_both(cell(spelled, folders[backbone], toy_folder), monkeypatch)
    if both.real.status == "skipped":
        pytest.skip(str(both.real.reason))
    leads = spelled.partition(":")[0] in ("prompt_tuning", "prefix_tuning", "cartridge")
    assert both.faked is not leads
    assert not both.fallbacks
    assert_equal_costs(both.real, both.fake)


@pytest.mark.parametrize(
    "recipe",
    [{"dtype": "bfloat16"}, {"dropout": 0.1}, {"optimizer": "adafactor", "clip_norm": 1.0}],
    ids=lambda recipe: "-".join(map(str, recipe.values())),
)
@pytest.mark.parametrize(("spelled", "backbone"), [("full", "bert"), ("ia3", "llama"), ("houlsby", "t5")])
def test_whatever_the_recipe(
    spelled: str,
    backbone: str,
    recipe: dict[str, object],
    folders: dict[str, str],
    toy_folder: str,
    uncounted: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    both = run_both(cell(spelled, folders[backbone], toy_folder, **recipe), monkeypatch)
    assert both.real.status == "ok", both.real.reason
    assert both.faked
    assert bool(both.fallbacks) is (recipe.get("optimizer") == "adafactor")  # its updates depend on values
    assert_equal_costs(both.real, both.fake)


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


@pytest.mark.parametrize("spelled", ["icl:k=3", "ia3", "full"])
def test_a_large_model_is_not_computed(spelled: str, folders: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_weights, "LEAST_PARAMETERS", 0)
    backbone: Any = fresh_copy(folders["llama"])
    method = parse(spelled)
    method.attach(backbone)
    rows = encode(backbone)
    trainer = harness(backbone, method, steps=2)
    trainer.score(method.fit(backbone, rows, trainer), encode(backbone, split="test"))
    kinds = set[bool]()
    handle = backbone.model.model.register_forward_pre_hook(
        lambda module, _: kinds.add(isinstance(next(module.parameters()), FakeTensor))
    )
    trainer.memory.measure()
    trainer.prompts.flops_once(backbone)
    handle.remove()
    assert kinds == {True}


def test_demonstrations_are_read_once(
    folders: dict[str, str], toy_folder: str, uncounted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_weights, "LEAST_PARAMETERS", 0)
    read, kinds = Decoder.read, list[bool]()

    def recorded(backbone: Decoder, prefix: Any) -> Any:
        kinds.append(isinstance(next(backbone.model.parameters()), FakeTensor))
        return read(backbone, prefix)

    monkeypatch.setattr(Decoder, "read", recorded)
    made = cell("icl:k=3", folders["llama"], toy_folder)
    untimed = replace(made, config=replace(made.config, latency_queries=0))  # a first query alone reads them again
    record, _ = run_cell(untimed)
    assert record.status == "ok"
    assert record.flops.prefix
    assert kinds.count(False) == 1


def test_measuring_a_step_changes_no_weight(folders: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_weights, "LEAST_PARAMETERS", 0)
    backbone, method = fresh_copy(folders["llama"]), parse("full")
    method.attach(backbone)
    trainer = harness(backbone, method, steps=2)
    method.fit(backbone, encode(backbone), trainer)
    before = {name: (tensor.clone(), tensor._version) for name, tensor in backbone.model.named_parameters()}
    trainer.memory.measure()
    for name, tensor in backbone.model.named_parameters():
        assert torch.equal(tensor, before[name][0]), name
        assert tensor._version == before[name][1], name


def test_a_parameter_is_looked_up_as_it_is_now(folders: dict[str, str]) -> None:
    model, outside = fresh_copy(folders["gpt2"]).model, nn.Parameter(torch.zeros(2))
    inside = dict(model.named_parameters())
    now = fake_weights.current(model, {**inside, "outside": outside})
    assert now() == {**inside, "outside": outside}
    with fake_weights.fake_weights(model):
        assert now() == {**dict(model.named_parameters()), "outside": outside}
    assert now()["outside"] is outside
