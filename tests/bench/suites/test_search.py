"""A fair search gives every method the same number of trials."""

from __future__ import annotations

import gc
import importlib.util
import itertools
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.toys import pair_id, shipped
from tunefront.bench.errors import ErrorCollector, UserError
from tunefront.bench.suites.expand import expand
from tunefront.bench.suites.grids import build_grids
from tunefront.bench.suites.overrides import Overrides
from tunefront.bench.suites.search import Space, random_trials, rates, trials
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
    path.write_text(SUITE.replace("budget = 4", "trails = 4"), encoding="utf-8")
    read_suite(str(path), wrong)
    assert len(wrong.messages) == 1
    assert "did you mean 'trials'?" in wrong.messages[0]


@pytest.mark.parametrize("budget", ["0", "true", "2.5", "[4]", '"many"', "100000"])
def test_a_budget_is_a_whole_number(tmp_path: Path, budget: str) -> None:
    path, wrong = tmp_path / "fair.toml", ErrorCollector()
    path.write_text(SUITE.replace("budget = 4", f"budget = {budget}"), encoding="utf-8")
    assert read_suite(str(path), wrong).parts[0].trials is None
    assert len(wrong.messages) == 1
    assert "[search] budget must be a whole number from 1 to 1,000" in wrong.messages[0]


def drawn(method: Method, count: int, seed: int = 0, **of_space: Any) -> list[tuple[Method, dict[str, Any]]]:
    return list(itertools.islice(random_trials(Space.of(method, **of_space), seed), count))


@pytest.mark.parametrize("method", [m for m in shipped() if m.search is not None], ids=pair_id)
def test_a_longer_random_search_begins_with_a_shorter_one(method: Method) -> None:
    tried = drawn(method, 8)
    assert tried[0] == (method, {})
    assert drawn(method, 4) == tried[:4]
    assert len({(each, *values.items()) for each, values in tried}) == 8
    assert method.search is not None
    low, high = min(method.search.learning_rates), max(method.search.learning_rates)
    assert all(low <= values["learning_rate"] <= high for _, values in tried[1:])
    assert drawn(method, 8, seed=1)[1:] != tried[1:]


def test_draws_lie_at_the_same_place_of_every_range(sized: type[Method]) -> None:
    def places(method: Method) -> list[float]:
        assert method.search is not None
        low, high = (math.log(end(method.search.learning_rates)) for end in (min, max))
        return [(math.log(values["learning_rate"]) - low) / (high - low) for _, values in drawn(method, 6)[1:]]

    searched = [method for method in shipped() if method.search is not None and not Space.of(method).own_size]
    assert len(searched) > 5
    for method in searched:
        assert places(method) == pytest.approx(places(sized()), abs=0.01)


def test_a_method_of_a_size_of_its_own_draws_other_rates(sized: type[Method]) -> None:
    """Else it would share cells with the searched method, wherever that draws its size."""
    fixed = drawn(sized(rank=16), 8)  # type: ignore[call-arg]
    assert {method for method, _ in fixed} == {sized(rank=16)}  # type: ignore[call-arg]
    free = drawn(sized(), 8)
    assert not [tried for tried in fixed if tried in free]


def test_many_draws_fill_the_range_evenly_in_its_logarithm(sized: type[Method]) -> None:
    """Each of 200 draws falls into one of the ten equal parts of the range, and into one of four sizes: at chance."""
    tried = drawn(sized(), 201)[1:]
    parts = Counter(min(9, int(10 * (math.log10(values["learning_rate"]) + 4) / 2)) for _, values in tried)
    sizes = Counter(method.rank for method, _ in tried)  # type: ignore[attr-defined]
    assert set(parts) == set(range(10))
    assert max(parts.values()) < 40
    assert set(sizes) == {1, 4, 16, 64}
    assert min(sizes.values()) > 25


def test_a_space_without_rates_ends_when_all_of_it_is_tried(sized: type[Method]) -> None:
    tried = drawn(sized(), 30, given=["learning_rate"])
    assert sorted(method.rank for method, _ in tried) == [1, 4, 16, 64]  # type: ignore[attr-defined]
    assert drawn(sized(rank=2), 30, given=["learning_rate"]) == [(sized(rank=2), {})]  # type: ignore[call-arg]
    listed = drawn(sized(), 30, given=["learning_rate"], listed={"epochs": (3, 20)})
    assert len(listed) == 8
    assert {values["epochs"] for _, values in listed} == {3, 20}


RANDOM = SUITE.replace("budget = 4", 'trials = 4\nsampler = "random"\nseed = 3')


def test_cells_know_their_place_in_the_search(tmp_path: Path) -> None:
    path = tmp_path / "fair.toml"
    path.write_text(RANDOM.replace("[search]", "[search]\nepochs = [1, 2]"), encoding="utf-8")
    cells = expand(str(path)).cells
    places = [cell.trial for cell in cells]
    assert all(place is not None and (place.sampler, place.seed) == ("random", 3) for place in places)
    counts = Counter(place.method for place in places if place is not None)
    assert counts == {"full": 4, "houlsby": 4, "houlsby:bottleneck=5": 4, "icl:k=0": 1}
    assert [place.number for place in places if place is not None and place.method == "full"] == [1, 2, 3, 4]


def test_a_grid_counts_its_trials_too_and_cells_without_a_search_have_none(tmp_path: Path) -> None:
    path = tmp_path / "fair.toml"
    path.write_text(SUITE, encoding="utf-8")
    cells = expand(str(path), Overrides(methods=["full"])).cells
    assert [(cell.trial.number, cell.trial.seed) for cell in cells if cell.trial] == [(n, None) for n in (1, 2, 3, 4)]
    alone = expand(str(path), Overrides(methods=["full"], settings={"learning_rate": "0.1"})).cells
    assert [cell.trial for cell in alone] == [None]


def test_the_call_sets_trials_and_their_sampler(tmp_path: Path) -> None:
    path = tmp_path / "plain.toml"
    path.write_text(SUITE.partition("[search]")[0], encoding="utf-8")
    cells = expand(str(path), Overrides(methods=["full", "houlsby"], trials=6, sampler="random")).cells
    assert Counter(cell.method.name for cell in cells) == {"full": 6, "houlsby": 6}
    assert all(cell.config.select for cell in cells)
    shorter = expand(str(path), Overrides(methods=["full", "houlsby"], trials=2, sampler="random")).cells
    assert set(shorter) <= set(cells)


@pytest.mark.parametrize(
    ("search", "facts"),
    [
        ("trials = 0", ["trials", "1 to 1,000", "0"]),
        ("trials = 4\nbudget = 4", ["budget", "trials"]),
        ('trials = 4\nsampler = "randum"', ["'randum'", "'random'"]),
        ("trials = 4\nsampler = 3", ["sampler", "'3'"]),
        ('trials = 4\nsampler = "random"\nseed = "many"', ["seed", "'many'"]),
        ('trials = 4\nsampler = "random"\nseed = -1', ["seed", "-1"]),
        ('sampler = "random"', ["random", "trials"]),
        ('learning_rate = [1e-3]\nsampler = "random"', ["random", "trials"]),
        ("seed = 1", ["seed", "trials"]),
        ("trials = 4\nseed = 1", ["seed", "grid", "random"]),
    ],
)
def test_a_wrong_search_says_what_is_wrong(tmp_path: Path, search: str, facts: list[str]) -> None:
    path = tmp_path / "fair.toml"
    path.write_text(SUITE.replace("budget = 4", search), encoding="utf-8")
    with pytest.raises(UserError) as raised:
        expand(str(path), Overrides(methods=["full"]))
    assert all(fact in str(raised.value) for fact in facts), raised.value


@pytest.mark.parametrize(("options", "fact"), [({"trials": 0}, "trials"), ({"sampler": "optun"}, "'optuna'")])
def test_wrong_options_name_what_is_valid(options: dict[str, Any], fact: str) -> None:
    with pytest.raises(UserError, match=fact):
        Overrides(**options)
    wrong = ErrorCollector()
    Overrides.from_texts({name: str(value) for name, value in options.items()}, wrong)
    assert len(wrong.messages) == 1


def test_a_missing_optuna_is_an_error_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    path = tmp_path / "fair.toml"
    path.write_text(RANDOM.replace("random", "optuna"), encoding="utf-8")
    wrong = ErrorCollector()
    build_grids(read_suite(str(path), wrong), Overrides(), wrong)
    assert len(wrong.messages) == 1
    assert "tunefront[optuna]" in wrong.messages[0]
