"""The cache of operators on fake tensors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from tunefront.bench.meters.fake_ops import Fakes, signature
from tunefront.bench.meters.memory.tracker import Ledger

MODE = FakeTensorMode(allow_non_fake_inputs=True)


def fake(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    with MODE:
        return torch.empty(shape, dtype=dtype)


def run_twice(run: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> tuple[list[object], list[str]]:
    """The results of two calls under a ledger, and the operators that reached torch."""
    model = nn.Linear(1, 1)
    model.weight = nn.Parameter(fake(1, 1))
    names: list[str] = []
    dispatched = FakeTensorMode.__torch_dispatch__

    def recorded(mode: FakeTensorMode, func: torch._ops.OpOverload, *rest: object) -> object:
        names.append(str(func))
        return dispatched(mode, func, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(FakeTensorMode, "__torch_dispatch__", recorded)
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
def test_a_cached_result_equals_torchs_result(
    operator: str, run: Callable[[], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    (first, second), names = run_twice(run, monkeypatch)
    assert described(first) == described(second)
    assert first.untyped_storage()._cdata != second.untyped_storage()._cdata  # type: ignore[attr-defined]
    assert names.count(f"aten.{operator}") == 1


def test_several_results_are_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    (first, second), names = run_twice(lambda: torch.var_mean(fake(3, 4), 1), monkeypatch)
    assert isinstance(second, tuple)
    assert [described(each) for each in first] == [described(each) for each in second]  # type: ignore[attr-defined]
    assert names.count("aten.var_mean.correction") == 1


@pytest.mark.parametrize(
    ("operator", "view"),
    [
        ("view.default", lambda value: value.view(12)),
        ("_unsafe_view.default", lambda value: torch.ops.aten._unsafe_view(value, [4, 3])),  # its schema hides the view
        ("t.default", lambda value: value.t()),
        ("slice.Tensor", lambda value: value[1:]),
        ("expand.default", lambda value: value[:, :1].expand(3, 2)),
        ("unsqueeze.default", lambda value: value[1:, 2:].unsqueeze(0)),
        ("detach.default", lambda value: value.detach()),
    ],
)
def test_a_cached_view_equals_torchs_view(
    operator: str, view: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [fake(3, 4), fake(3, 4)]
    following = iter(values)
    (first, second), names = run_twice(lambda: view(next(following)), monkeypatch)
    assert names.count(f"aten.{operator}") == 1
    assert described(first) == described(second) == described(view(fake(3, 4)))
    for value, result in zip(values, (first, second), strict=True):
        assert result.untyped_storage()._cdata == value.untyped_storage()._cdata  # type: ignore[attr-defined]
        assert result.storage_offset() == view(value).storage_offset()  # type: ignore[attr-defined]


def test_a_cached_view_starts_where_the_viewed_memory_does(monkeypatch: pytest.MonkeyPatch) -> None:
    value = fake(4, 4)
    (first, second), _ = run_twice(lambda: [part.view(2, 2) for part in value.unbind()], monkeypatch)
    assert [part.storage_offset() for part in first] == [part.storage_offset() for part in second] == [0, 4, 8, 12]  # type: ignore[attr-defined]


def test_operators_that_write_are_not_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    value = fake(3, 4)
    results, names = run_twice(lambda: value.mul_(2), monkeypatch)
    assert all(result is value for result in results)
    assert names.count("aten.mul_.Tensor") == 2


def test_a_view_of_a_tensor_in_a_list_is_not_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    value = fake(3, 4)
    (first, second), _ = run_twice(lambda: torch.broadcast_tensors(value, fake(3, 1))[0], monkeypatch)
    assert described(first) == described(second)
    assert second.untyped_storage()._cdata == value.untyped_storage()._cdata  # type: ignore[attr-defined]


def test_the_key_of_a_number_includes_its_type() -> None:
    whole = torch.arange(3)
    assert signature([whole, 1]) != signature([whole, 1.0]) != signature([whole, True])
    assert signature([whole, [2, None]]) == signature([torch.zeros(3, dtype=torch.long), (2, None)])
    assert signature([torch.zeros(2, 3)]) != signature([torch.zeros(3, 2).t()])
    assert signature([torch.zeros(2)]) != signature([torch.zeros(2, dtype=torch.float64)])


def test_integer_and_float_factors_give_different_dtypes(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fake(3, dtype=torch.long)
    (products, _), _ = run_twice(lambda: (whole * 2, whole * 2.0), monkeypatch)
    assert [product.dtype for product in products] == [torch.long, torch.float32]  # type: ignore[attr-defined]


def test_the_key_includes_devices_and_the_default_dtype() -> None:
    fakes, zeros = Fakes(MODE), torch.ops.aten.zeros_like.default
    here = fake(3)
    with MODE:
        there = torch.empty(3, device="cuda")
    assert [fakes.run(zeros, (FakeTensor,), (tensor,), {}).device.type for tensor in (here, there)] == ["cpu", "cuda"]
    whole, before = fake(3, dtype=torch.long), torch.get_default_dtype()
    single = fakes.run(torch.ops.aten.mul.Tensor, (FakeTensor,), (whole, 1.5), {})
    torch.set_default_dtype(torch.float64)
    try:
        double = fakes.run(torch.ops.aten.mul.Tensor, (FakeTensor,), (whole, 1.5), {})
    finally:
        torch.set_default_dtype(before)
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)


def test_a_real_model_has_no_fakes() -> None:
    assert Fakes.of(nn.Linear(2, 2)) is None


LONG = 2 * 10**6
"""Tokens, all pairs of which would take terabytes."""


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
def test_a_large_tensor_made_from_real_ones_is_fake_for_a_fake_model(make: Callable[[Tensor], Tensor]) -> None:
    """Masks over pairs of tokens: their bytes count, and nothing is computed."""
    model = nn.Linear(1, 1)
    model.weight = nn.Parameter(fake(1, 1))
    row = torch.arange(LONG)
    with torch.no_grad(), Ledger(model) as ledger, ledger.phase("forward"):
        made = make(row)
    assert isinstance(made, FakeTensor)
    assert made.shape == (LONG, LONG)
    assert sum(ledger.peaks["forward"].values()) >= LONG * LONG * made.element_size()


def test_small_tensors_made_from_real_ones_stay_real() -> None:
    model = nn.Linear(1, 1)
    model.weight = nn.Parameter(fake(1, 1))
    with torch.no_grad(), Ledger(model):
        made = torch.arange(100)[:, None] == torch.arange(100)[None, :]
    assert not isinstance(made, FakeTensor)
    assert made.diagonal().all()
