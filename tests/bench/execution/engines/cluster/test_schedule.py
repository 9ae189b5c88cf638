"""Which cell a free worker of a cluster runs next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.bench.execution.grids import Grid
from tunefront.bench.execution.engines import Work
from tunefront.bench.execution.engines.cluster.schedule import Expected, Waiting
from tunefront.bench.execution.identity import Identity

MakeGrid = Callable[..., Grid]


def works(count: int, *backbones: str) -> list[Work]:
    """Works that differ in their seed and, in turn, in their backbone; their keys are 0, 1, ..."""
    cell = Grid("a", "dir:t", ("features",)).cells()[0]
    made = []
    for seed in range(count):
        one = replace(cell, seed=seed, backbone=backbones[seed % len(backbones)])
        made.append(Work(one, Identity(str(seed), "", {}, None, None)))
    return made


def first(waiting: list[Work], costs: dict[str, Expected], backbone: str | None, free: int | None) -> Work | None:
    """What one of two workers takes first."""
    return Waiting(waiting, costs).take(backbone, free, 2)


def test_the_longest_comes_first_and_those_of_unknown_length_in_their_order() -> None:
    made = works(4, "a")
    assert first(made, {"2": Expected(5.0), "1": Expected(1.0)}, None, None) is made[2]
    waiting = Waiting(made, {})
    taken = [waiting.take(None, None, 2) for _ in range(3)]
    waiting.add(made[0])  # it waits again, behind the others
    assert [*taken, waiting.take(None, None, 2), waiting.take(None, None, 2)] == [*made, made[0]]
    assert not waiting
    assert waiting.take(None, None, 2) is None


def test_a_worker_keeps_its_backbone_until_a_longer_cell_would_end_the_run() -> None:
    waiting = works(6, "a", "b")
    even = {str(place): Expected(1.0) for place in range(6)}
    assert first(waiting, even, "b", None) is waiting[1]
    assert first(waiting, {**even, "0": Expected(20.0)}, "b", None) is waiting[0]


def test_no_cell_starts_that_its_node_has_no_memory_for() -> None:
    waiting = works(3, "a")
    costs = {"0": Expected(9.0, 100), "1": Expected(2.0, 10), "2": Expected(3.0, 20)}
    assert first(waiting, costs, None, 50) is waiting[2]
    assert first(waiting, costs, None, 15) is waiting[1]
    assert first(waiting, costs, None, 5) is None
    assert first(waiting, costs, None, None) is waiting[0]  # nothing else runs there: it may try


def test_the_next_cell_is_found_without_looking_at_all_that_wait() -> None:
    """Counted, not timed: ten times the cells cost no more lookups each."""

    class Counted(dict[str, Expected]):
        lookups = 0

        def get(self, key: str, default: object = None) -> object:  # type: ignore[override]
            Counted.lookups += 1
            return super().get(key, default)

    made = works(200, "a", "b")
    waiting = Waiting(made, Counted({work.key: Expected(float(work.cell.seed)) for work in made}))
    while waiting:
        waiting.take("a", None, 2)
    assert Counted.lookups == len(made)


@given(st.lists(st.floats(0.1, 100.0), min_size=1, max_size=30), st.integers(1, 5))
def test_workers_end_no_later_than_four_thirds_of_the_best(seconds: list[float], workers: int) -> None:
    """The bound of longest-first scheduling (Graham 1969), with one backbone."""
    made = works(len(seconds), "a")
    costs = {work.key: Expected(each) for work, each in zip(made, seconds, strict=True)}
    waiting = Waiting(made, costs)
    ends = [0.0] * workers
    while waiting:
        free = ends.index(min(ends))
        work = waiting.take("a", None, workers)
        assert work is not None
        ends[free] += costs[work.key].seconds or 0.0
    longest = sorted(seconds, reverse=True)
    best = max(
        longest[0], sum(seconds) / workers, sum(longest[workers - 1 : workers + 1]) if workers < len(seconds) else 0
    )
    assert max(ends) <= best * 4 / 3 + 1e-6
