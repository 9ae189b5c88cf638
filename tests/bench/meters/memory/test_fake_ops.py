"""Operators on fake tensors that are answered from memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from tunefront.bench.meters.memory.fake_ops import Fakes, signature
from tunefront.bench.meters.memory.tracker import Ledger

MODE = FakeTensorMode(allow_non_fake_inputs=True)


def fake(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    with MODE:
        return torch.empty(shape, dtype=dtype)


def asked(run: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> tuple[list[object], list[str]]:
    """What a call gives twice under a ledger, and the operators that torch was asked about."""
    model = nn.Linear(1, 1)
    model.weight = nn.Parameter(fake(1, 1))
    names: list[str] = []
    dispatched = FakeTensorMode.__torch_dispatch__

    def noting(mode: FakeTensorMode, func: torch._ops.OpOverload, *rest: object) -> object:
        names.append(str(func))
        return dispatched(mode, func, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(FakeTensorMode, "__torch_dispatch__", noting)
    with torch.no_grad(), Ledger(model):
        return [run(), run()], names


def described(value: object) -> object:
    assert isinstance(value, FakeTensor)
    return value.shape, value.stride(), value.dtype, value.device, value.untyped_storage().nbytes()


@pytest.mark.parametrize(
    ("operator", "run"),
    [
        ("add.Tensor", lambda: fake(3, 4) + 1),
        ("mul.Tensor", lambda: fake(4, 3).t() * fake(3, 4)),
        ("_to_copy.default", lambda: fake(2, 5).bfloat16()),
        ("sum.dim_IntList", lambda: fake(2, 3, 4).sum(1, keepdim=True)),
        ("where.self", lambda: torch.where(fake(3, 4) > 0, fake(3, 4), fake(3, 1))),
        ("cat.default", lambda: torch.cat([fake(2, 3), fake(1, 3)])),
        ("index.Tensor", lambda: fake(6, 3)[torch.tensor([0, 2])]),
        ("mm.default", lambda: fake(6, 3) @ fake(2, 3).t()),
    ],
)
def test_a_result_made_again_is_as_torch_makes_it(
    operator: str, run: Callable[[], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    (first, second), names = asked(run, monkeypatch)
    assert described(first) == described(second)
    assert first.untyped_storage()._cdata != second.untyped_storage()._cdata  # type: ignore[attr-defined]
    assert names.count(f"aten.{operator}") == 1


def test_several_results_are_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    (first, second), names = asked(lambda: torch.var_mean(fake(3, 4), 1), monkeypatch)
    assert isinstance(second, tuple)
    assert [described(one) for one in first] == [described(one) for one in second]  # type: ignore[attr-defined]
    assert names.count("aten.var_mean.correction") == 1


def test_what_shares_memory_or_changes_it_is_asked_about_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    value = fake(3, 4)
    unsafe = torch.ops.aten._unsafe_view.default  # whose schema does not tell
    (first, second), names = asked(lambda: (value.view(12), unsafe(value, [4, 3]), value.mul_(2)), monkeypatch)
    for results in (first, second):
        for one in results:  # type: ignore[attr-defined]
            assert one.untyped_storage()._cdata == value.untyped_storage()._cdata
    assert names.count("aten._unsafe_view.default") == names.count("aten.mul_.Tensor") == 2


def test_a_number_is_told_with_its_type() -> None:
    whole = torch.arange(3)
    assert signature([whole, 1]) != signature([whole, 1.0]) != signature([whole, True])
    assert signature([whole, [2, None]]) == signature([torch.zeros(3, dtype=torch.long), (2, None)])
    assert signature([torch.zeros(2, 3)]) != signature([torch.zeros(3, 2).t()])
    assert signature([torch.zeros(2)]) != signature([torch.zeros(2, dtype=torch.float64)])


def test_a_whole_and_a_broken_factor_give_other_types(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fake(3, dtype=torch.long)
    (found, _), _ = asked(lambda: (whole * 2, whole * 2.0), monkeypatch)
    assert [one.dtype for one in found] == [torch.long, torch.float32]  # type: ignore[attr-defined]


def test_devices_and_the_default_type_are_told_apart() -> None:
    fakes, zeros = Fakes(MODE), torch.ops.aten.zeros_like.default
    here = fake(3)
    with MODE:
        there = torch.empty(3, device="cuda")
    assert [fakes.run(zeros, (FakeTensor,), (one,), {}).device.type for one in (here, there)] == ["cpu", "cuda"]
    whole, before = fake(3, dtype=torch.long), torch.get_default_dtype()
    single = fakes.run(torch.ops.aten.mul.Tensor, (FakeTensor,), (whole, 1.5), {})
    torch.set_default_dtype(torch.float64)
    try:
        double = fakes.run(torch.ops.aten.mul.Tensor, (FakeTensor,), (whole, 1.5), {})
    finally:
        torch.set_default_dtype(before)
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)


def test_a_real_model_has_none() -> None:
    assert Fakes.of(nn.Linear(2, 2)) is None


LONG = 2 * 10**6
"""Pairs of so many tokens would take terabytes."""


@pytest.mark.parametrize(
    "make",
    [
        lambda row: row[:, None] == row[None, :],
        lambda row: row[:, None] - row[None, :],
        lambda row: row[:, None] * 2.5 + row[None, :],
        lambda row: torch.ones(len(row), len(row), dtype=torch.bool).tril_(),
        lambda row: torch.zeros((len(row), len(row))).masked_fill_(row[:, None] == row[None, :], 1.0),
        lambda row: torch.where(row[:, None] > row[None, :], 1, 0),
        lambda row: torch.full((len(row), len(row)), -1.0),
    ],
)
def test_a_large_tensor_of_real_ones_is_fake_beside_a_fake_model(make: Callable[[Tensor], Tensor]) -> None:
    """Masks over pairs of tokens: their bytes count, and nothing is computed."""
    model = nn.Linear(1, 1)
    model.weight = nn.Parameter(fake(1, 1))
    row = torch.arange(LONG)
    with torch.no_grad(), Ledger(model) as ledger, ledger.phase("forward"):
        made = make(row)
    assert isinstance(made, FakeTensor)
    assert made.shape == (LONG, LONG)
    assert sum(ledger.peaks["forward"].values()) >= LONG * LONG * made.element_size()


def test_small_tensors_of_real_ones_stay_real() -> None:
    model = nn.Linear(1, 1)
    model.weight = nn.Parameter(fake(1, 1))
    with torch.no_grad(), Ledger(model):
        made = torch.arange(100)[:, None] == torch.arange(100)[None, :]
    assert not isinstance(made, FakeTensor)
    assert made.diagonal().all()
