"""Tensors that are restored to their values, in as little memory as possible."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from tunefront.bench.meters.memory.peak import resident_bytes
from tunefront.bench.models import restorable as kinds
from tunefront.bench.models.restorable import ALIGNMENT, Copied, Mapped, Restorable, make_writable, restorable

CPU = torch.device("cpu")
KINDS: dict[str, Callable[[Sequence[Tensor]], Restorable]] = {
    "mapped": Mapped,
    "copied": lambda tensors: Copied(tensors, CPU),
}


def odd_tensors() -> list[Tensor]:
    """The kinds of tensors in models: transposed, expanded, scalar, empty, and of other dtypes."""
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


def same(first: Tensor, second: Tensor) -> bool:
    """Equal to the bit, as far as Python prints it."""
    return first.dtype == second.dtype and first.shape == second.shape and repr(first.tolist()) == repr(second.tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_restoring_drops_changes(kind: str) -> None:
    tensors = odd_tensors()
    before = [tensor.clone() for tensor in tensors]
    kept = KINDS[kind](tensors)
    first = kept.restore()
    assert all(same(*pair) for pair in zip(first, before, strict=True))
    for tensor in first:
        tensor.fill_(1)
    again = kept.restore()
    assert all(same(*pair) for pair in zip(again, before, strict=True))
    assert [tensor.data_ptr() for tensor in again] == [tensor.data_ptr() for tensor in first]


@pytest.mark.parametrize("kind", KINDS)
def test_the_layout_is_that_of_new_torch_tensors(kind: str) -> None:
    """Otherwise kernels could take other paths, with another order of sums."""
    tensors = odd_tensors()
    for tensor, restored in zip(tensors, KINDS[kind](tensors).restore(), strict=True):
        own = torch.empty_like(tensor)
        assert restored.stride() == own.stride()
        assert restored.untyped_storage().nbytes() == own.untyped_storage().nbytes()
        assert restored.storage_offset() == restored.data_ptr() % ALIGNMENT == 0
        assert restored._base is None


@pytest.mark.parametrize("kind", KINDS)
def test_writing_into_one_leaves_the_others(kind: str) -> None:
    first, second = KINDS[kind]([torch.zeros(3), torch.zeros(3)]).restore()
    first.add_(1)
    assert second.tolist() == [0.0] * 3


def test_the_tensors_outlive_the_object_that_made_them() -> None:
    (tensor,) = Mapped([torch.arange(4000.0)]).restore()
    assert tensor.sum() == sum(range(4000))


def test_unwritten_tensors_take_no_second_copy() -> None:
    size = 64 * 2**20
    kept = Mapped([torch.ones(size // 8), torch.ones(size // 8)])
    first, _ = kept.restore()
    resident = resident_bytes("VmRSS")
    if resident is None:
        pytest.skip("there is no /proc here")
    first.mul_(2)
    assert (resident_bytes("VmRSS") or 0) - resident < size // 8


def test_make_writable_takes_the_page_faults() -> None:
    """The first write to each page is a fault; a clock would show that many."""
    resource = pytest.importorskip("resource")
    pages = 4096
    tensors = Mapped([torch.ones(pages * resource.getpagesize() // 4)]).restore()

    def faults(write: Callable[[], object]) -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        write()
        return int(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

    first = faults(lambda: make_writable(tensors))
    assert faults(lambda: tensors[0].add_(1)) < max(pages, first) / 4


def test_make_writable_changes_no_bit_and_no_version() -> None:
    tensors = [tensor for tensor in odd_tensors() if tensor.is_floating_point()]
    restored = Mapped([*tensors, torch.tensor([1e-42, -1e-42])]).restore()
    before, versions = [tensor.clone() for tensor in restored], [tensor._version for tensor in restored]
    make_writable(restored)
    assert all(same(*pair) for pair in zip(restored, before, strict=True))
    assert [tensor._version for tensor in restored] == versions


def test_without_private_mappings_they_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> int:
        raise PermissionError

    assert isinstance(restorable([torch.zeros(2)], CPU), Mapped)
    monkeypatch.setattr(kinds.os, "memfd_create", refuse)
    assert isinstance(restorable([torch.zeros(2)], CPU), Copied)
    monkeypatch.delattr(kinds.os, "memfd_create")
    assert isinstance(restorable([torch.zeros(2)], CPU), Copied)
    assert isinstance(restorable([torch.zeros(2)], torch.device("meta")), Copied)
