"""Cached features: whole or absent, and never used if they are corrupted."""

from __future__ import annotations

import errno
import logging
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.toys import encode, fresh_copy, harness
from tunefront.bench.meters.memory.peak import Growth, PeakMemory
from tunefront.bench.models.tiny import FAMILIES
from tunefront.bench.training.feature_cache import FeatureStore, RowValues
from tunefront.methods.base import Method
from tunefront.methods.spelling import parse

STATES = RowValues(torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), 0.1 + 0.2, 12345678901234567, 0.7)


def same(first: RowValues | None, second: RowValues | None) -> bool:
    assert first is not None
    assert second is not None
    costs = [(states.seconds, states.cpu_seconds, states.flops) for states in (first, second)]
    return torch.equal(first.values, second.values) and costs[0] == costs[1]


def test_features_are_read_as_written_bit_for_bit(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "deep" / "features")
    assert store.read("a") is None
    store.write("a", STATES)
    assert same(store.read("a"), STATES)
    assert store.read("b") is None
    store.write("a", RowValues(STATES.values.T, 1.0, 2))  # not contiguous, over the old one
    assert torch.equal(store.read("a").values, STATES.values.T)  # type: ignore[union-attr]


@pytest.mark.parametrize("damage", ["truncated", "empty", "other", "header", "no cost", "folder"])
def test_a_corrupted_file_is_named_removed_and_counts_as_none(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = FeatureStore(tmp_path)
    store.write("a", STATES)
    path = tmp_path / "a.safetensors"
    whole = path.read_bytes()
    if damage == "no cost":
        from safetensors.torch import save_file

        save_file({"values": STATES.values}, path)
    elif damage == "folder":
        path.unlink()
        path.mkdir()
        assert store.read("a") is None
        return
    else:
        broken = {"truncated": whole[:-7], "empty": b"", "other": b"not this" * 9, "header": b"\xff" * 8 + whole[8:]}
        path.write_bytes(broken[damage])
    with caplog.at_level(logging.WARNING, "tunefront"):
        assert store.read("a") is None
    assert str(path) in caplog.text
    assert "computed again" in caplog.text
    assert not path.exists()
    store.write("a", STATES)
    assert same(store.read("a"), STATES)


def test_flipped_bits_in_the_values_are_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file of the right length with a wrong number would change scores silently."""
    store = FeatureStore(tmp_path)
    store.write("a", STATES)
    path = tmp_path / "a.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 0x40
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING, "tunefront"):
        assert store.read("a") is None
    assert str(path) in caplog.text


@pytest.mark.parametrize("step", ["save", "replace"])
def test_a_full_disk_leaves_nothing_behind_and_is_not_fatal(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*args: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    store = FeatureStore(tmp_path)
    store.write("old", STATES)
    monkeypatch.setattr(os, {"save": "fsync", "replace": "replace"}[step], full)
    store.write("a", STATES)
    assert "could not be cached" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["old.safetensors"]
    assert same(store.read("old"), STATES)


def fit(
    folder: str, store: FeatureStore, method: Method | None = None, **recipe: object
) -> tuple[torch.Tensor, object]:
    method = method or parse("features")
    backbone = fresh_copy(folder)
    method.attach(backbone)
    trainer = harness(backbone, method, features=store, epochs=3, **recipe)
    scorer = method.fit(backbone, encode(backbone), trainer)
    return trainer.score(scorer, encode(backbone, split="test")).values, trainer.cost


@pytest.mark.parametrize("family", FAMILIES)
def test_a_second_cell_takes_the_stored_states_at_the_same_price(
    family: str, backbones: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FeatureStore(tmp_path)
    first, paid = fit(backbones[family], store)
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(FeatureStore, "write", lambda *_: pytest.fail("computed a second time"))
    second, charged = fit(backbones[family], store)
    assert torch.equal(first, second)
    assert (charged.flops, charged.examples, charged.losses) == (paid.flops, paid.examples, paid.losses)
    stored = store.read(next(tmp_path.iterdir()).stem)
    assert stored is not None
    assert charged.clock.seconds >= stored.seconds > 0
    assert charged.clock.cpu_seconds >= stored.cpu_seconds > 0
    without, cost = fit(backbones[family], None)  # type: ignore[arg-type]
    assert torch.equal(without, first)
    assert cost.flops == paid.flops


def test_broken_states_are_computed_again_to_the_same_scores(backbones: dict[str, str], tmp_path: Path) -> None:
    first, _ = fit(backbones["bert"], FeatureStore(tmp_path))
    (path,) = tmp_path.iterdir()
    read = FeatureStore(tmp_path).read(path.stem)
    assert read is not None
    kept = read.values.clone()  # the values are the file's own memory
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    again, _ = fit(backbones["bert"], FeatureStore(tmp_path))
    assert torch.equal(first, again)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    repaired = FeatureStore(tmp_path).read(path.stem)
    assert repaired is not None
    assert torch.equal(repaired.values, kept)


def test_different_states_are_stored_separately(
    backbones: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By dtype, threads and torch's version: sums depend on them, so a record would depend on the cache."""
    store = FeatureStore(tmp_path)
    fit(backbones["bert"], store)
    assert len(list(tmp_path.iterdir())) == 1
    fit(backbones["bert"], store, dtype="bfloat16")
    assert len(list(tmp_path.iterdir())) == 2
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    fit(backbones["bert"], store)
    torch.set_num_threads(threads)
    assert len(list(tmp_path.iterdir())) == 3
    monkeypatch.setattr("tunefront.bench.training.harness.versions", lambda: {"torch": "0.1"})
    fit(backbones["bert"], store)
    assert len(list(tmp_path.iterdir())) == 4


def test_states_of_another_accelerator_are_stored_separately(
    backbones: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Machines of a cluster share a cache: a record would have the seconds, and the last digits, of another one."""
    backbone = fresh_copy(backbones["bert"])
    trainer, rows = harness(backbone, parse("features"), features=FeatureStore(tmp_path)), encode(backbone)
    trainer.device = torch.device("cuda")
    keys = set()
    for name in ("first", "second", "second"):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _, name=name: name)
        keys.add(trainer._features_key("states", rows))
    assert len(keys) == 2


def test_states_of_other_weights_are_stored_separately(backbones: dict[str, str], tmp_path: Path) -> None:
    """A method that inserts seeded modules or trains before it caches must not get another seed's states."""
    store = FeatureStore(tmp_path)
    for weight in (1.0, 2.0, 2.0):
        backbone = fresh_copy(backbones["bert"])
        method = parse("features")
        method.attach(backbone)
        with torch.no_grad():
            backbone.model.embeddings.LayerNorm.weight.fill_(weight)
        method.fit(backbone, encode(backbone), harness(backbone, method, features=store, epochs=1))
    assert len(list(tmp_path.iterdir())) == 2


def test_states_are_shared_among_heads(backbones: dict[str, str], tmp_path: Path) -> None:
    for seed in (0, 1):
        backbone, method = fresh_copy(backbones["bert"], seed=seed), parse("features")
        method.attach(backbone)
        trainer = harness(backbone, method, features=FeatureStore(tmp_path), epochs=1)
        method.fit(backbone, encode(backbone), trainer)
    assert len(list(tmp_path.iterdir())) == 1


def test_the_memory_growth_of_cached_states_is_charged(backbones: dict[str, str], tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    _, paid = fit(backbones["bert"], store)
    key = next(tmp_path.iterdir()).stem
    stored = store.read(key)
    assert stored is not None
    assert stored.grown == paid.grown
    store.write(key, replace(stored, grown=Growth(resident_bytes=10**9)))
    _, charged = fit(backbones["bert"], store)
    peak = PeakMemory(start_resident_bytes=5, peak_resident_bytes=7)
    peak.at_least(charged.grown)
    assert peak.peak_resident_bytes == 10**9 + 5
    assert peak.peak_allocated_bytes is None


def test_an_unreadable_cache_is_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example another user's: features are computed, with a warning."""

    def closed(path: Path) -> bool:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "is_file", closed)
    with caplog.at_level(logging.WARNING, "tunefront"):
        assert FeatureStore(tmp_path).read("key") is None
    assert str(tmp_path) in caplog.text


def test_a_corrupted_file_that_cannot_be_removed_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key.safetensors").write_bytes(b"half")

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    assert FeatureStore(tmp_path).read("key") is None
