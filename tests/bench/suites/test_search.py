"""A fair search gives every method the same number of trials."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from tests.toys import pair_id, shipped
from tunefront.bench.errors import ErrorCollector
from tunefront.bench.suites.expand import expand
from tunefront.bench.suites.overrides import Overrides
from tunefront.bench.suites.search import rates, trials
from tunefront.bench.suites.toml import read_suite
from tunefront.methods.base import Backbone, Method, Search


@pytest.fixture
def sized() -> Iterator[type[Method]]:
    @dataclass(frozen=True)
    class Sized(Method):
        name: ClassVar[str] = "sized"
        search: ClassVar[Search | None] = Search("rank", (1, 4, 16, 64), (1e-4, 1e-3, 1e-2))
        rank: int = 4

        def attach(self, backbone: Backbone) -> None:
            backbone.freeze(keep=backbone.head)

    yield Sized
    del Sized
    gc.collect()


@pytest.mark.parametrize("budget", [1, 2, 3, 4, 5, 7, 8, 30])
@pytest.mark.parametrize("method", [m for m in shipped() if m.search is not None], ids=pair_id)
def test_every_method_gets_just_as_many_trials(method: Method, budget: int) -> None:
    tried = list(trials(method, budget))
    assert len({(each, tuple(trial.items())) for each, trial in tried}) == len(tried) == budget


def test_sizes_are_spread_and_each_has_at_least_two_rates(sized: type[Method]) -> None:
    tried = Counter(method.rank for method, _ in trials(sized(), 7))  # type: ignore[attr-defined]
    assert tried == {1: 3, 16: 2, 64: 2} or tried == {1: 3, 4: 2, 64: 2}
    assert Counter(method.rank for method, _ in trials(sized(), 3)) == {16: 3}  # type: ignore[attr-defined]
    assert {trial["learning_rate"] for _, trial in trials(sized(), 3, {})} == {1e-4, 1e-3, 1e-2}


def test_a_size_or_rate_that_is_given_is_not_searched(sized: type[Method]) -> None:
    fixed = sized(rank=2)  # type: ignore[call-arg]
    assert {method for method, _ in trials(fixed, 4, {})} == {fixed}
    tried = list(trials(sized(), 4, ["learning_rate"]))
    assert [method.rank for method, _ in tried] == [1, 4, 16, 64]  # type: ignore[attr-defined]
    assert all(not trial for _, trial in tried)


def test_rates_span_the_range_evenly_in_their_logarithm() -> None:
    assert rates(1e-4, 1e-2, 5) == [1e-4, 3.2e-4, 1e-3, 3.2e-3, 1e-2]
    assert rates(2e-3, 2e-3, 4) == [2e-3]


SUITE = """
methods = ["full", "houlsby", "houlsby:bottleneck=5", "icl:k=0"]
backbones = ["nano"]
tasks = ["docstrings/kind"]
shots = [80]
[search]
budget = 4
"""


def test_a_suite_asks_for_a_budget_and_holds_rows_out(tmp_path: Path) -> None:
    path = tmp_path / "fair.toml"
    path.write_text(SUITE, encoding="utf-8")
    cells = expand(str(path)).cells
    assert Counter(cell.method.name for cell in cells) == {"full": 4, "houlsby": 8, "icl": 1}
    assert Counter(cell.method.bottleneck for cell in cells if cell.method.name == "houlsby")[5] == 4  # type: ignore[attr-defined]
    assert all(cell.config.select for cell in cells)
    narrowed = expand(str(path), Overrides(settings={"learning_rate": "0.1"}, methods=["full"])).cells
    assert [cell.recipe.learning_rate for cell in narrowed] == [0.1]


def test_a_misspelt_budget_is_offered(tmp_path: Path) -> None:
    path, wrong = tmp_path / "fair.toml", ErrorCollector()
    path.write_text(SUITE.replace("budget = 4", "budgt = 4"), encoding="utf-8")
    read_suite(str(path), wrong)
    assert len(wrong.messages) == 1
    assert "did you mean 'budget'?" in wrong.messages[0]


@pytest.mark.parametrize("budget", ["0", "true", "2.5", "[4]", '"many"', "100000"])
def test_a_budget_is_a_whole_number(tmp_path: Path, budget: str) -> None:
    path, wrong = tmp_path / "fair.toml", ErrorCollector()
    path.write_text(SUITE.replace("budget = 4", f"budget = {budget}"), encoding="utf-8")
    assert read_suite(str(path), wrong).parts[0].budget is None
    assert len(wrong.messages) == 1
    assert "[search] budget must be a whole number from 1 to 1,000" in wrong.messages[0]
