"""Winners after some trials, and their expected score: the closed form against all subsets, one by one."""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections.abc import Sequence
from typing import Any

import pytest

from tests.reports.factory import record
from tests.reports.searched import searched
from tunefront.bench.records import Record
from tunefront.reports.compare.recipe_choice import choose
from tunefront.reports.compare.trials import Search, find_searches, tried_values, winning_chances


def only(records: Sequence[Record]) -> Search:
    (search,) = find_searches(records)
    return search


def by_brute_force(search: Search, count: int) -> tuple[float, float]:
    """Mean and standard deviation over every order of every subset: the first of the best trials of an order wins."""
    tests = []
    for order in itertools.permutations(search.trials, count):
        scored = [trial for trial in order if trial.selection is not None]
        if scored:
            winner = max(scored, key=lambda trial: trial.selection or 0.0)  # the first of equals
            assert winner.test is not None
            tests.append(winner.test)
    return statistics.fmean(tests), statistics.pstdev(tests)


@pytest.mark.parametrize("lost", [0, 2])
@pytest.mark.parametrize("ties", [False, True])
def test_the_closed_form_is_the_mean_over_all_orders_of_all_subsets(ties: bool, lost: int) -> None:
    rng = random.Random(f"{ties}{lost}")
    scores = [(rng.choice([0.5, 0.6]) if ties else rng.random(), rng.random()) for _ in range(6 - lost)]
    search = only(searched(scores) + searched([None] * lost, first=7 - lost))
    for count in range(1, 7):
        assert search.expected(count) == pytest.approx(by_brute_force(search, count)), count
    assert search.expected(7) is None


def test_chances_of_all_trials_sum_to_one() -> None:
    for trials, count in itertools.combinations_with_replacement(range(1, 9), 2):
        if count <= trials:
            assert math.fsum(winning_chances(trials, trials, count)) == pytest.approx(1)


def test_the_winner_of_the_first_trials_is_chosen_on_selection_rows() -> None:
    search = only(searched([(0.5, 0.9), (0.7, 0.1), (0.6, 0.8), (0.7, 0.2)]))
    winners = [search.winner(count) for count in (1, 2, 3, 4)]
    assert [winner.number for winner in winners if winner] == [1, 2, 2, 2]  # of equals the first
    assert [trial.number for trial in search.ranked] == [2, 4, 3, 1]
    assert search.winner(2) == search.winner(4)


def test_a_trial_that_lost_a_run_does_not_win() -> None:
    scores = [(0.5, 0.5), (0.6, 0.6), (0.9, 0.9)]
    first = searched(scores, draw_seed=0)
    second = [*searched(scores[:2], draw_seed=1), *searched([None], first=3, draw_seed=1)]
    search = only([*first, *second])
    winner = search.winner(3)
    assert winner is not None
    assert (winner.number, len(winner.records), winner.test) == (2, 2, pytest.approx(0.6))
    assert [trial.lost for trial in search.trials] == [0, 0, 1]


@pytest.mark.parametrize(
    ("rates", "scores", "edges"),
    [
        ([1e-4, 1e-3, 1e-2], [0.5, 0.6, 0.7], [("learning_rate", "0.01", True)]),
        ([1e-4, 1e-3, 1e-2], [0.7, 0.6, 0.5], [("learning_rate", "0.0001", False)]),
        ([1e-4, 1e-3, 1e-2], [0.5, 0.7, 0.6], []),
        ([1e-4, 1e-3, 1e-2], [0.5, 0.7, None], []),  # the higher one failed: it was tried
        ([1e-4, 1e-3, 1e-2], [0.5, 0.7, math.nan], []),
        ([1e-3], [0.7], []),
        ([1e-3, 1e-3], [0.7, 0.6], []),
    ],
)
def test_a_rate_at_an_end_of_what_was_tried_is_found(
    rates: list[float], scores: list[float | None], edges: list[tuple[str, str, bool]]
) -> None:
    records = searched([None if score is None else (score, score) for score in scores], rates=rates)
    assert [(edge.name, edge.value, edge.highest) for edge in only(records).edges] == edges
    selection = choose([one for one in records if one.status == "ok"], [one for one in records if one.status != "ok"])
    chosen = [(edge.name, edge.value, edge.highest) for choice in selection.choices for edge in choice.edges]
    assert chosen == edges


def test_a_size_at_an_end_is_found_by_its_number() -> None:
    given: dict[str, Any] = {"sizes": [8, 64, 256], "rates": [1e-3] * 3}
    found = only(searched([(0.5, 0.5), (0.6, 0.6), (0.9, 0.9)], **given)).edges
    assert [(edge.name, edge.value) for edge in found] == [("rank", "256")]
    assert only(searched([(0.5, 0.5), (0.9, 0.9), (0.6, 0.6)], **given)).edges == ()


def test_drawn_sizes_are_one_row_and_those_of_a_grid_are_rows_of_their_own() -> None:
    scores = [(0.5, 0.5), (0.6, 0.6), (0.9, 0.9), (0.1, 0.1)]
    kwargs: dict[str, Any] = {"sizes": [8, 8, 64, 64], "rates": [1e-4, 1e-3, 1e-4, 1e-3]}
    selection = choose(searched(scores, **kwargs))
    (choice,) = selection.choices
    assert (choice.label, choice.trials, dict(choice.chosen)["rank"]) == ("lora", 4, "64")
    assert {selection.row(kept) for kept in selection.records} == {"lora"}
    grid = choose(searched(scores, sampler="grid", **kwargs))
    assert sorted((choice.label, choice.trials) for choice in grid.choices) == [("lora:rank=64", 2), ("lora:rank=8", 2)]


def test_failed_trials_count_as_trials_and_other_failed_records_do_not() -> None:
    ok, failed = searched([(0.5, 0.5), (0.6, 0.6)]), searched([None], first=3)
    assert [(choice.trials, choice.incomplete) for choice in choose(ok, failed).choices] == [(3, 1)]
    other = [record(label="lora", method="lora", status="failed")]
    assert [(choice.trials, choice.incomplete) for choice in choose(ok, other).choices] == [(2, 0)]


def test_searches_are_told_apart_by_how_they_drew() -> None:
    records = [*searched([(0.5, 0.5)] * 3, seed=0), *searched([(0.6, 0.6)] * 4, seed=1)]
    assert sorted(len(search.trials) for search in find_searches(records)) == [3, 4]
    assert find_searches([record()]) == []


def test_what_another_search_left_is_no_search() -> None:
    """Its first trials are cells of the other one, whose records say so."""
    left = searched([(0.5, 0.5)] * 4, first=5)
    assert find_searches(left) == []
    assert [search.sampler for search in find_searches([*left, *searched([(0.6, 0.6)] * 4, sampler="optuna")])] == [
        "optuna"
    ]


def test_numbers_in_a_spelled_method_are_read() -> None:
    made = record(method="lora:rank=8,alpha=0.5,sites=query_value,scale=none")
    values = tried_values(made)
    assert (values["rank"], values["alpha"], values["sites"]) == (8, 0.5, "query_value")
    assert values["learning_rate"] == made.recipe["learning_rate"]
