"""Tensors that are as they were each time they are handed out, in as little memory as there can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from tunefront.bench.meters.memory.peak import resident_bytes
from tunefront.bench.models import restorable as kinds
from tunefront.bench.models.restorable import ALIGNED, Copied, Mapped, Restorable, make_writable, restorable

CPU = torch.device("cpu")
KINDS: dict[str, Callable[[Sequence[Tensor]], Restorable]] = {
    "mapped": Mapped,
    "copied": lambda tensors: Copied(tensors, CPU),
}


def odd_tensors() -> list[Tensor]:
    """Of every kind that models have: transposed, expanded, scalar, empty, and in other dtypes."""
    return [
        torch.randn(7, 5),
        torch.randn(4, 6).t(),
        torch.arange(5).expand(1, -1),
        torch.arange(3).expand(4, -1),
        torch.tensor(3.5),
        torch.empty(0),
        torch.tensor([True, False, True]),
        torch.randn(3).bfloat16(),
        torch.tensor([-0.0, float("nan"), float("inf")]),
    ]


def same(one: Tensor, other: Tensor) -> bool:
    """To the bit, as far as Python prints it."""
    return one.dtype == other.dtype and one.shape == other.shape and repr(one.tolist()) == repr(other.tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_written_is_gone_the_next_time(kind: str) -> None:
    tensors = odd_tensors()
    before = [tensor.clone() for tensor in tensors]
    kept = KINDS[kind](tensors)
    first = kept.restored()
    assert all(same(one, other) for one, other in zip(first, before, strict=True))
    for tensor in first:
        tensor.fill_(1)
    again = kept.restored()
    assert all(same(one, other) for one, other in zip(again, before, strict=True))
    assert [tensor.data_ptr() for tensor in again] == [tensor.data_ptr() for tensor in first]


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_laid_out_as_torch_lays_out_its_own(kind: str) -> None:
    """Else kernels would take other ways, which add in another order."""
    tensors = odd_tensors()
    for tensor, given in zip(tensors, KINDS[kind](tensors).restored(), strict=True):
        own = torch.empty_like(tensor)
        assert given.stride() == own.stride()
        assert given.untyped_storage().nbytes() == own.untyped_storage().nbytes()
        assert given.storage_offset() == given.data_ptr() % ALIGNED == 0
        assert given._base is None


@pytest.mark.parametrize("kind", KINDS)
def test_writing_into_one_leaves_the_others(kind: str) -> None:
    first, second = KINDS[kind]([torch.zeros(3), torch.zeros(3)]).restored()
    first.add_(1)
    assert second.tolist() == [0.0] * 3


def test_the_tensors_outlive_what_gave_them() -> None:
    (given,) = Mapped([torch.arange(4000.0)]).restored()
    assert given.sum() == sum(range(4000))


def test_what_is_not_written_takes_no_second_copy() -> None:
    size = 64 * 2**20
    kept = Mapped([torch.ones(size // 8), torch.ones(size // 8)])
    first, _ = kept.restored()
    read = resident_bytes("VmRSS")
    if read is None:
        pytest.skip("there is no /proc here")
    first.mul_(2)
    assert (resident_bytes("VmRSS") or 0) - read < size // 8


def test_what_a_cell_trains_is_its_own_before_it_trains() -> None:
    """A fault for each page that is written first: so many that a clock would show them."""
    resource = pytest.importorskip("resource")
    pages = 4096
    given = Mapped([torch.ones(pages * resource.getpagesize() // 4)]).restored()

    def faults(write: Callable[[], object]) -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        write()
        return int(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

    first = faults(lambda: make_writable(given))
    assert faults(lambda: given[0].add_(1)) < max(pages, first) / 4


def test_making_writable_changes_no_bit_and_counts_as_no_change() -> None:
    tensors = [tensor for tensor in odd_tensors() if tensor.is_floating_point()]
    given = Mapped([*tensors, torch.tensor([1e-42, -1e-42])]).restored()
    before, versions = [tensor.clone() for tensor in given], [tensor._version for tensor in given]
    make_writable(given)
    assert all(same(one, other) for one, other in zip(given, before, strict=True))
    assert [tensor._version for tensor in given] == versions


def test_without_private_mappings_they_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> int:
        raise PermissionError

    assert isinstance(restorable([torch.zeros(2)], CPU), Mapped)
    monkeypatch.setattr(kinds.os, "memfd_create", refuse)
    assert isinstance(restorable([torch.zeros(2)], CPU), Copied)
    monkeypatch.delattr(kinds.os, "memfd_create")
    assert isinstance(restorable([torch.zeros(2)], CPU), Copied)
    assert isinstance(restorable([torch.zeros(2)], torch.device("meta")), Copied)
