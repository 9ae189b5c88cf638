"""Examples in docstrings run, under the names of the installed modules."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

from tests.structure import PACKAGES


def _modules() -> list[str]:
    names = ["tunefront"]
    for name in PACKAGES:
        package = importlib.import_module(f"tunefront.{name}")
        names += [package.__name__, *(m.name for m in pkgutil.walk_packages(package.__path__, f"{package.__name__}."))]
    return [name for name in names if not name.endswith("__main__")]


@pytest.mark.parametrize("name", _modules())
def test_the_examples_of_a_module_give_their_results(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    modules = [importlib.import_module(f"tunefront.{name}") for name in ("reports.units", "methods.spelling")]
    assert all(any(test.examples for test in finder.find(module)) for module in modules)
