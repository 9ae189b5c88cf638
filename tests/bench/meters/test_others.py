"""Peak memory, parameters, storage and time, against known values."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from tests.toys import fresh_copy
from tunefront.bench.meters.memory import peak
from tunefront.bench.meters.memory.peak import peak_memory, resident_bytes
from tunefront.bench.meters.parameters import count_parameters
from tunefront.bench.meters.storage import checkpoint_bytes, checkpoint_dtypes, save_trained
from tunefront.bench.meters.time import Clock
from tunefront.methods.base import trained
from tunefront.methods.full import Full
from tunefront.methods.houlsby import Houlsby

CPU = torch.device("cpu")
MB = 2**20


def _resets() -> bool:
    return sys.platform == "linux" and peak._reset_resident_peak()


@pytest.mark.skipif(not _resets(), reason="the resident peak cannot be reset here")
def test_the_peak_of_a_phase_excludes_other_phases() -> None:
    """200 MB allocated in one phase raise its peak by this, but not that of the next phase."""
    with peak_memory(CPU) as quiet:
        pass
    with peak_memory(CPU) as loud:
        tensor = torch.ones(200 * MB // 4)
        del tensor
    with peak_memory(CPU) as after:
        pass
    assert loud.start_resident_bytes is not None
    assert loud.peak_resident_bytes - loud.start_resident_bytes == pytest.approx(200 * MB, rel=0.1)
    assert quiet.peak_resident_bytes - quiet.start_resident_bytes < 20 * MB
    assert after.peak_resident_bytes - after.start_resident_bytes < 20 * MB
    assert abs(after.start_resident_bytes - quiet.start_resident_bytes) < 40 * MB
    assert loud.peak_allocated_bytes is None


@pytest.mark.skipif(not _resets(), reason="the resident peak cannot be reset here")
def test_memory_freed_before_a_phase_is_not_in_its_start() -> None:
    """100 MB in blocks so small that the allocator keeps them, especially while the last one is alive."""
    before = resident_bytes("VmRSS")
    blocks = [torch.ones(MB // 64) for _ in range(1600)]
    last = blocks.pop()
    del blocks
    with peak_memory(CPU) as phase:
        pass
    assert phase.start_resident_bytes - before < 20 * MB
    assert phase.peak_resident_bytes - phase.start_resident_bytes < 20 * MB
    del last


def test_a_peak_that_cannot_be_reset_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "_reset_resident_peak", lambda: False)
    with peak_memory(CPU) as phase:
        pass
    assert phase.peak_resident_bytes is None


def test_without_proc_there_are_no_resident_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(peak, "Path", lambda path: tmp_path / str(path).strip("/"))
    with peak_memory(CPU) as phase:
        pass
    assert (phase.start_resident_bytes, phase.peak_resident_bytes) == (None, None)


def test_a_peak_is_read_even_when_the_phase_fails() -> None:
    measuring = peak_memory(CPU)
    phase = measuring.__enter__()
    error = KeyError()
    assert not measuring.__exit__(KeyError, error, None)
    assert (phase.peak_resident_bytes is None) == (not _resets())


def test_parameters_are_split_into_backbone_inserted_and_head(backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["bert"])
    before = sum(p.numel() for name, p in backbone.model.named_parameters() if not name.startswith("head."))
    Houlsby(bottleneck=4).attach(backbone)
    counts = count_parameters(backbone.model, backbone.head, before)
    adapter, norms, head = 2 * 4 * 32 + 32 + 4, 2 * 32 * 5, 2 * 33
    assert counts.backbone == before
    assert counts.inserted == 4 * adapter
    assert counts.head == head
    assert counts.total == before + 4 * adapter + head
    assert counts.trainable == 4 * adapter + norms + head


def test_an_untrained_head_is_not_counted(backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["bert"])
    before = sum(p.numel() for name, p in backbone.model.named_parameters() if not name.startswith("head."))
    backbone.freeze()
    counts = count_parameters(backbone.model, backbone.head, before)
    assert (counts.total, counts.inserted, counts.head, counts.trainable) == (before, 0, 0, 0)


def test_a_shared_tensor_counts_once() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    counts = count_parameters(model, None, 15)
    assert (counts.total, counts.inserted, counts.head, counts.trainable) == (15, 0, 0, 15)


@pytest.mark.parametrize("method", [Houlsby(bottleneck=4), Full()], ids=["houlsby", "full"])
def test_the_checkpoint_has_exactly_the_trained_parameters(
    method: Full | Houlsby, backbones: dict[str, str], tmp_path: Path
) -> None:
    backbone = fresh_copy(backbones["roberta"])
    method.attach(backbone)
    path = tmp_path / "checkpoint.safetensors"
    size = save_trained(backbone.model, path)
    assert size == path.stat().st_size == checkpoint_bytes(backbone.model)
    kept = trained(backbone.model)
    with safe_open(path, framework="pt") as file:
        assert set(file.keys()) == set(kept)
        assert all(torch.equal(file.get_tensor(name), kept[name]) for name in kept)
    assert checkpoint_dtypes(backbone.model) == {"float32": sum(parameter.numel() for parameter in kept.values())}
    data = 4 * sum(parameter.numel() for parameter in kept.values())
    assert data < size < data + 300 * len(kept), "the rest is the header"


def test_the_dtypes_of_a_checkpoint_are_counted_separately() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2).to(torch.bfloat16), nn.Linear(9, 9).requires_grad_(False))
    assert checkpoint_dtypes(model) == {"float32": 12, "bfloat16": 8}
    assert checkpoint_dtypes(model.requires_grad_(False)) == {}


def test_measuring_the_checkpoint_leaves_no_file(
    backbones: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert checkpoint_bytes(fresh_copy(backbones["bert"]).model) > 0
    assert list(tmp_path.iterdir()) == []


def test_the_clock_counts_only_the_time_inside() -> None:
    now = [100.0]
    clock = Clock(CPU, lambda: now[0])
    now[0] += 7  # before
    with clock.running():
        now[0] += 2
    now[0] += 11  # between

    def failing() -> None:
        with clock.running():
            now[0] += 3
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    now[0] += 13  # after
    assert clock.seconds == 5


def test_the_clock_adds_up_the_processor_time_of_the_same_blocks() -> None:
    now, cpu = [100.0], [7.0]
    clock = Clock(CPU, lambda: now[0], lambda: cpu[0])
    cpu[0] += 50  # before
    for wall, worked in ((2, 1), (3, 6)):
        with clock.running():
            now[0] += wall
            cpu[0] += worked
        cpu[0] += 90  # between
    assert (clock.seconds, clock.cpu_seconds) == (5, 7)


def test_processor_time_is_that_of_all_threads_and_not_of_sleep() -> None:
    """No amount is asserted: a machine may be busy. Two threads cannot hide their work, and sleeping is none."""

    def work() -> None:
        start = time.thread_time()
        while time.thread_time() < start + 0.05:
            sum(range(1000))

    asleep, working = Clock(CPU), Clock(CPU)
    with asleep.running():
        time.sleep(0.2)
    threads = [threading.Thread(target=work) for _ in range(2)]
    with working.running():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert working.cpu_seconds >= 0.1
    assert asleep.cpu_seconds < asleep.seconds
