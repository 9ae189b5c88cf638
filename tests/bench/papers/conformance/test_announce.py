"""Announcing differences before anything runs."""

from __future__ import annotations

from tunefront.bench.cells import Cell
from tunefront.bench.papers.conformance.announce import announce_differences
from tunefront.bench.suites.sweeps import method_of
from tunefront.methods.base import Recipe


def cell(method: str, task: str, *deviations: str, paper: str | None = "tfew2022") -> Cell:
    return Cell(method_of(method), "nano", task, Recipe(), paper=paper, deviations=deviations if paper else None)


def test_what_all_share_comes_first_and_the_rest_by_method_and_task() -> None:
    cells = [
        cell("ia3", "rte", "dtype is float32, not bfloat16", "start is none, not trained"),
        cell("full", "rte", "dtype is float32, not bfloat16"),
        cell("full", "copa", "dtype is float32, not bfloat16", "shots is 8, not 32"),
    ]
    assert announce_differences(cells) == [
        "Liu et al. 2022 (T-Few): 3 differences between this run and the paper's code, kept in the records "
        "and listed in the report.",
        "every method: dtype is float32, not bfloat16.",
        "ia3 on rte: start is none, not trained.",
        "full on copa: shots is 8, not 32.",
    ]


def test_a_run_without_differences_says_so_and_one_without_a_paper_says_nothing() -> None:
    assert announce_differences([cell("ia3", "rte")]) == [
        "Liu et al. 2022 (T-Few): no difference found between this run and the paper's code."
    ]
    assert announce_differences([cell("ia3", "rte", paper=None)]) == []
