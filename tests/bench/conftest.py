"""Grids on a tiny backbone, a nursery of processes that run them, and a harness that trains nothing."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from tests.bench.execution.grids import Grid, Nursery, nursery
from tests.bench.world import call, reports, world

__all__ = ["call", "reports", "world"]


@pytest.fixture(scope="session")
def nest() -> Iterator[Nursery]:
    """One nursery for all tests."""
    if sys.platform == "win32":
        pytest.skip("forks")
    with nursery() as started:
        yield started


@pytest.fixture(scope="package", autouse=True)
def quick_garbage() -> Iterator[None]:
    """As in a worker: imported objects are never garbage, so that collecting between phases is fast."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """A user's method that a test loads is unknown to the next one."""
    before = set(sys.modules)
    yield
    loaded = [name for name in set(sys.modules) - before if name.startswith("_tunefront_")]
    for name in loaded:
        del sys.modules[name]
    if loaded:
        gc.collect()


@pytest.fixture
def grid(backbones: dict[str, str], toy_folder: str) -> Callable[..., Grid]:
    """Makes a grid on the tiny BERT and the toy task."""

    def made(**fields: Any) -> Grid:
        return Grid(backbones["bert"], toy_folder, **fields)

    return made


@pytest.fixture
def few_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe tries some of the methods: all of them take seconds."""
    from tunefront.bench.execution import capabilities
    from tunefront.bench.probe import probing

    names = ("full", "features", "houlsby", "ia3", "icl", "layernorm", "lora", "scaling", "cartridge")

    def default_methods(files: Sequence[str] = ()) -> list[Any]:
        known = capabilities.default_methods(files)
        return [method for method in known if method.name in names or method.name.startswith("probed_by_")]

    monkeypatch.setattr(probing, "default_methods", default_methods)


@pytest.fixture(scope="session")
def others(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The folder of a tiny model of each architecture without a record, by name."""
    from tests.bench.models.others import OTHERS

    base = tmp_path_factory.mktemp("others")
    return {name: make(base / name) for name, (_, make) in OTHERS.items()}
