"""The names of the items, and the methods that are used from a project."""

from __future__ import annotations

import types
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from tunefront.bench.cells import Cell
from tunefront.bench.pytest_plugin.items import item_id, own_methods
from tunefront.methods.base import Backbone, Method, Recipe
from tunefront.methods.spelling import parse


def test_an_id_acts_on_no_terminal() -> None:
    cell = Cell(parse("full"), "b\x9b2J", "dir:\x1b[2J", Recipe(), template="\u202ex")
    assert item_id(cell) == r"full-b\x9b2J-dir:\x1b[2J-shots=all-draw=0-seed=0-\u202ex"


def test_a_class_that_is_no_method_is_left_out_with_the_reason() -> None:
    @dataclass(frozen=True)
    class Odd(Method):
        name: ClassVar[str] = "odd_in_conftest"
        sizes: list[int] = None  # type: ignore[assignment]

        def attach(self, backbone: Backbone) -> None: ...

    @dataclass(frozen=True)
    class Raising(Method):
        name: ClassVar[str] = "raising_in_conftest"

        def __post_init__(self) -> None:
            raise TypeError("not today")

        def attach(self, backbone: Backbone) -> None: ...

    conftest: Any = types.ModuleType("conftest")
    conftest.__file__ = "conftest.py"
    conftest.Odd, conftest.Raising = Odd, Raising
    manager = types.SimpleNamespace(get_plugins=lambda: [conftest])
    config: Any = types.SimpleNamespace(pluginmanager=manager)
    own, skipped = own_methods(config)
    assert own == []
    assert "sizes" in skipped[0]
    assert "not today" in skipped[1]
    vars(conftest).clear()
    del Odd, Raising


@pytest.fixture(autouse=True)
def forget() -> Any:
    import gc

    yield
    gc.collect()
