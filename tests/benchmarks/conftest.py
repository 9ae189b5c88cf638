"""Benchmarks of ratios, each measured within one run; `tox -e bench` runs them, otherwise they are deselected."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import SHARED

HERE = Path(__file__).parent
SST2 = SHARED / "data" / "sst2"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselects the benchmarks unless --benchmark-only is given."""
    if config.getoption("--benchmark-only"):
        return
    timed = [item for item in items if HERE in item.path.parents]
    config.hook.pytest_deselected(items=timed)
    items[:] = [item for item in items if item not in timed]


@pytest.fixture(scope="session")
def task_name() -> str:
    """SST-2 if there is a data folder next to the checkout, else embedded text."""
    return f"dir:{SST2}" if SST2.is_dir() else "docstrings/kind"


@pytest.fixture(autouse=True)
def quiet_machine() -> Iterator[None]:
    """One thread, and no garbage collection inside a round."""
    import gc

    import torch

    torch.set_num_threads(1)
    gc.collect()
    gc.disable()
    yield
    gc.enable()
