"""Seconds of single queries: against a clock of the test's own, and what of them is kept and timed."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.conftest import make_toy
from tunefront.bench.cells import Cell
from tunefront.bench.execution import latency
from tunefront.bench.execution.identity import DECIDING, Identity
from tunefront.bench.execution.latency import Limit, percentiles, query_seconds
from tunefront.bench.execution.run_cell import run_cell
from tunefront.bench.meters.time import Clock
from tunefront.bench.records import DETERMINISTIC, Latency, Record
from tunefront.bench.settings import RunConfig, resolve_recipe
from tunefront.methods.base import Backbone, Batch, Examples, Harness, Method, Scorer
from tunefront.methods.spelling import parse


class Ticks:
    """A clock that moves only when a query takes time."""

    def __init__(self, *queries: float):
        self.now, self._queries = 0.0, itertools.cycle(queries)

    def ask(self, _: object) -> None:
        self.now += next(self._queries)


def timed(ticks: Ticks, limit: Limit, warm_up: int = 0) -> list[float]:
    clock = Clock(torch.device("cpu"), lambda: ticks.now)
    made: Iterator[Any] = itertools.count()
    return query_seconds(ticks.ask, made, limit, clock, warm_up)


@pytest.mark.parametrize(("count", "known"), [(1, ("p50",)), (19, ("p50",)), (20, ("p50", "p95"))])
def test_a_percentile_that_was_not_observed_is_missing(count: int, known: tuple[str, ...]) -> None:
    found = percentiles([float(lap) for lap in range(count)])
    assert found is not None
    assert tuple(name for name in ("p50", "p95", "p99") if getattr(found, name) is not None) == known


def test_percentiles_are_seconds_that_a_query_took() -> None:
    """Of 1 to 100 s in any order: 50, 95 and 99 queries of 100 took at most so long."""
    laps = np.random.default_rng(0).permutation(np.arange(1.0, 101.0)).tolist()
    found = percentiles(laps)
    assert found is not None
    assert (found.p50, found.p95, found.p99, found.count) == (50.0, 95.0, 99.0, 100)
    laps[laps.index(100.0)] = 10_000.0
    assert percentiles(laps) == found, "the slowest query alone changes none of them"


@pytest.mark.parametrize("count", [20, 37, 100, 250])
def test_percentiles_are_those_of_numpy_by_nearest_rank(count: int) -> None:
    laps = np.random.default_rng(count).exponential(size=count).tolist()
    found = percentiles(laps)
    assert found is not None
    known = {name: part for name, part in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)) if getattr(found, name)}
    for name, part in known.items():
        assert getattr(found, name) == np.quantile(laps, part, method="inverted_cdf")


def test_the_first_queries_are_not_counted() -> None:
    assert timed(Ticks(9.0, 1.0, 2.0, 3.0), Limit(3, 3), warm_up=1) == [1.0, 2.0, 3.0]


def test_no_query_starts_that_would_not_end_in_time() -> None:
    assert timed(Ticks(1.0), Limit(2, 100, seconds=5.5)) == [1.0] * 5
    assert timed(Ticks(1.0), Limit(2, 4, seconds=5.5)) == [1.0] * 4


def test_a_few_queries_are_timed_however_long_they_take() -> None:
    assert timed(Ticks(7.0), Limit(2, 100, seconds=0.1)) == [7.0, 7.0]


@dataclass(frozen=True)
class Slow(Method):
    """Waits in every scoring, and remembers by a clock of its own how long those of one row took."""

    name: ClassVar[str] = "slow_to_answer"
    seen: ClassVar[list[float]] = []

    def attach(self, backbone: Backbone) -> None:
        backbone.freeze(keep=backbone.head)

    def fit(self, backbone: Backbone, examples: Examples, harness: Harness) -> Scorer:
        def score(batch: Batch) -> Tensor:
            start = time.perf_counter()
            time.sleep(0.002 if len(self.seen) % 7 else 0.02)
            values = backbone.score(batch)
            if len(batch.labels) == 1:
                self.seen.append(time.perf_counter() - start)
            return values

        return score


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy(tmp_path_factory.mktemp("latency") / "toy", rows=(20, 4, 12))


@pytest.fixture
def cell(folder: Path, backbones: dict[str, str], language_models: dict[str, str]) -> Callable[..., Cell]:
    def made(spelled: str, name: str = "bert", **settings: Any) -> Cell:
        method, template = parse(spelled), "plain" if name in language_models else None
        recipe, path = resolve_recipe(method, {"steps": 2, "batch_size": 4}), (backbones | language_models)[name]
        return Cell(method, path, f"dir:{folder}", recipe, template=template, config=RunConfig(**settings))

    return made


def ran(cell: Cell) -> Record:
    record, _ = run_cell(cell)
    assert record.status == "ok", record.reason
    return record


def test_recorded_percentiles_are_those_of_an_independent_clock(cell: Callable[..., Cell]) -> None:
    """The test's clock stops within each query, so every recorded second is at least its own; by little, but where
    other programs take the processor in between, as for no half of the queries."""
    Slow.seen.clear()
    found = ran(cell("slow_to_answer", latency_queries=100)).latency_seconds.after_prefix
    assert found is not None
    assert found.count == 100
    own = sorted(Slow.seen[-100:])
    for name, place in (("p50", 49), ("p95", 94), ("p99", 98)):
        assert own[place] <= getattr(found, name)
    assert found.p50 is not None
    assert found.p95 is not None
    assert found.p50 <= 2 * own[89], "one query in seven takes ten times as long as the others"
    assert found.p95 >= 0.02


def test_waiting_for_queries_is_on_no_other_clock(cell: Callable[..., Cell]) -> None:
    Slow.seen.clear()
    record = ran(cell("slow_to_answer", latency_queries=100))
    assert sum(Slow.seen) > 0.2
    assert record.seconds.train == 0.0
    assert record.seconds.eval is not None
    assert record.seconds.eval < sum(Slow.seen)


def test_the_number_of_queries_is_the_one_that_is_given(cell: Callable[..., Cell]) -> None:
    """There are 12 rows, which are asked again."""
    found = ran(cell("bitfit", latency_queries=30)).latency_seconds.after_prefix
    assert found is not None
    assert found.count == 30
    assert found.p95 is not None
    assert found.p99 is None
    assert ran(cell("bitfit", latency_queries=0)).latency_seconds == Latency()


def test_by_default_queries_take_a_share_of_the_time(
    cell: Callable[..., Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "SHARE", 0.0)
    found = ran(cell("bitfit")).latency_seconds.after_prefix
    assert found is not None
    assert found.count == latency.FEWEST
    monkeypatch.setattr(latency, "SHARE", 1e9)
    found = ran(cell("bitfit")).latency_seconds.after_prefix
    assert found is not None
    assert found.count == latency.MOST


@pytest.mark.parametrize(
    ("method", "name", "known"),
    [
        ("bitfit", "bert", set()),
        ("features", "bert", set()),
        ("houlsby:bottleneck=4", "bert", set()),
        ("lora:rank=2", "bert", {"merged"}),
        ("ia3", "bert", {"merged"}),
        ("fish:density=0.05", "bert", {"merged"}),
        ("lora:rank=2", "gpt2", {"merged"}),
        ("prompt_tuning:length=4", "bert", set()),
        ("prompt_tuning:length=4", "gpt2", {"first"}),
        ("icl:k=0", "gpt2", set()),
        ("icl:k=3", "gpt2", {"first"}),
        ("icl:k=3", "t5", set()),
    ],
)
def test_a_first_query_and_merged_weights_are_timed_where_there_are_any(
    method: str, name: str, known: set[str], cell: Callable[..., Cell]
) -> None:
    """A prompt of an encoder, and demonstrations of an encoder-decoder, are read with every query."""
    found = ran(cell(method, name, latency_queries=3)).latency_seconds
    assert found.after_prefix is not None
    assert {series for series in ("first", "merged") if getattr(found, series) is not None} == known


def test_a_first_query_reads_the_demonstrations_too(cell: Callable[..., Cell]) -> None:
    """Sixteen demonstrations are over a hundred tokens more than a query."""
    found = ran(cell("icl:k=16", "llama", latency_queries=25, context_length=None)).latency_seconds
    assert found.first is not None
    assert found.after_prefix is not None
    assert found.first.p50 is not None
    assert found.after_prefix.p50 is not None
    assert found.first.p50 > found.after_prefix.p50


def test_timing_queries_changes_no_score(cell: Callable[..., Cell]) -> None:
    few, none = ran(cell("lora:rank=2", latency_queries=40)), ran(cell("lora:rank=2", latency_queries=0))
    assert few.scores == none.scores
    assert not [name for name in DETERMINISTIC if name.startswith("latency")]


def test_the_code_that_times_queries_is_in_no_key() -> None:
    assert "bench/execution/latency.py" not in DECIDING


def test_another_number_of_queries_is_another_record(cell: Callable[..., Cell]) -> None:
    assert Identity.of(cell("bitfit")).key != Identity.of(cell("bitfit", latency_queries=7)).key
