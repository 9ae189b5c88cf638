"""What a test of the registry leaves behind is forgotten."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest

from tunefront.bench.collector import frozen


@pytest.fixture(scope="module")
def quick_garbage() -> Iterator[None]:
    """Only what these tests make is looked through when they forget it."""
    with frozen():
        yield


@pytest.fixture
def forgotten() -> Iterator[None]:
    """Methods that a test defines or loads are unknown to the next one."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("_tunefront_"):
            del sys.modules[name]
    gc.collect()
