"""Packing: jobs that end together, and a file by which a job knows that it would run the same cells."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.bench.execution.grids import Grid
from tunefront.bench.errors import UserError
from tunefront.bench.execution import identity
from tunefront.bench.execution.identity import Identity
from tunefront.bench.execution.packing import FILE, Packing, flat, pack
from tunefront.bench.execution.shards import Shard
from tunefront.bench.records.urls import output_folder
from tunefront.methods.spelling import parse

MakeGrid = Callable[..., Grid]


def loads(seconds: list[float], packed: list[list[int]]) -> list[float]:
    return [sum(seconds[place] for place in job) for job in packed]


@pytest.mark.parametrize("seed", range(20))
def test_every_cell_is_in_one_job_and_none_ends_later_than_the_bound(seed: int) -> None:
    """The bound of the longest first: 4/3 of the best packing, which takes at least the mean and the longest cell."""
    generator = random.Random(seed)
    seconds = [generator.expovariate(1 / 50) for _ in range(generator.randint(1, 60))]
    groups = [generator.choice("abc") for _ in seconds]
    jobs = generator.randint(1, 12)
    packed = pack(seconds, groups, jobs)
    assert sorted(itertools.chain(*packed)) == list(range(len(seconds)))
    assert len(packed) == min(jobs, len(seconds))
    two_in_a_job = sorted(seconds, reverse=True)[jobs - 1 : jobs + 1]
    best = max(sum(seconds) / jobs, *seconds, sum(two_in_a_job) if len(two_in_a_job) == 2 else 0.0)
    assert max(loads(seconds, packed)) <= 4 / 3 * best * (1 + 1e-6)


def test_a_backbone_stays_together_where_that_costs_nothing() -> None:
    packed = pack([1.0] * 12, ["a", "b"] * 6, 4)
    assert [{place % 2 for place in job} for job in packed].count({0, 1}) == 0
    assert loads([1.0] * 12, packed) == [3.0] * 4


def test_a_backbone_is_divided_where_a_job_would_end_later() -> None:
    seconds, groups = [4.0, 3.0, 3.0, 2.0], ["a", "a", "a", "b"]
    assert loads(seconds, pack(seconds, groups, 2)) == [6.0, 6.0]


def test_fewer_cells_than_jobs_are_fewer_jobs() -> None:
    assert sorted(pack([3.0, 1.0], ["a", "a"], 8)) == [[0], [1]]
    assert pack([], [], 3) == []
    assert sum(map(len, pack([0.0] * 5, ["a"] * 5, 2))) == 5


def packing_of(grid: Grid, folder: Path) -> str:
    """A packing of the grid's cells in two jobs, in a file."""
    identities = [Identity.of(cell) for cell in grid.cells()]
    path = folder / FILE
    path.write_bytes(Packing.of([identities[:1], identities[1:]]).content())
    return str(path)


def test_a_job_has_exactly_its_listed_cells(grid: MakeGrid, tmp_path: Path) -> None:
    made = grid(methods=("features", "full", "ia3"))
    read = Packing.read(packing_of(made, tmp_path))
    cells = made.cells()
    assert read.job(Shard(1, 2)).select(cells) == tuple(cells[:1])
    assert read.job(Shard(2, 2)).select(reversed(cells)) == tuple(reversed(cells[1:]))
    with pytest.raises(UserError, match="2 jobs"):
        read.job(Shard(1, 3))
    again = Packing.of([[Identity.of(cell) for cell in cells[:1]], [Identity.of(cell) for cell in cells[1:]]])
    assert (again.jobs, again.ingredients) == (read.jobs, read.ingredients)
    assert again.content() == Path(read.location).read_bytes()


@pytest.mark.parametrize("place", ["folder", "url"])
def test_a_job_reads_its_packing_where_it_is(place: str, grid: MakeGrid, tmp_path: Path) -> None:
    made = grid(methods=("features", "full"))
    folder = f"memory://{tmp_path.name}" if place == "url" else str(tmp_path)
    with pytest.raises(UserError, match="there is no packing file"):
        Packing.read(f"{folder}/{FILE}")
    with output_folder(folder) as local:
        packing_of(made, local)
    cells = made.cells()
    assert Packing.read(f"{folder}/{FILE}").job(Shard(2, 2)).select(cells) == tuple(cells[1:])


def why(location: str, grid: Grid) -> str:
    with pytest.raises(UserError) as raised:
        Packing.read(location).job(Shard(2, 2)).select(grid.cells())
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_what_differs_on_this_machine_is_named(grid: MakeGrid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = grid(methods=("features", "full", "ia3"))
    location = packing_of(made, tmp_path)
    versions: Any = identity.versions
    with monkeypatch.context() as patched:
        patched.setattr(identity, "versions", lambda further: {**versions(further), "torch": "9.9"})
        text = why(location, made)
        assert "torch is 9.9, not" in text
        assert "2 of the 2 cells" in text
        assert "harness" not in text
    with monkeypatch.context() as patched:
        patched.setattr(identity, "harness_fingerprint", lambda: "0" * 64)
        assert "the code of the harness differs" in why(location, made)
    with monkeypatch.context() as patched:
        patched.setattr(identity.locate, "fingerprint", lambda _: "0" * 64)
        assert "the backbone's files" in why(location, made)
    with monkeypatch.context() as patched:
        patched.setattr(identity, "_task_fingerprint", lambda _: "0" * 64)
        assert "the task's rows" in why(location, made)
    with monkeypatch.context() as patched:
        patched.setattr(identity, "source_fingerprint", lambda _: "0" * 64)
        assert "the method's source (ia3" in why(location, made)


def test_a_cell_that_the_call_does_not_ask_for_is_named(grid: MakeGrid, tmp_path: Path) -> None:
    made = grid(methods=("features", "full", "ia3"))
    location = packing_of(made, tmp_path)
    assert "ia3" in why(location, grid(methods=("features", "full")))


def test_what_a_suite_no_longer_asks_for_is_named(grid: MakeGrid, tmp_path: Path) -> None:
    """Not the method, which the suite still has."""
    location = packing_of(grid(methods=("features", "full", "ia3"), seeds=2), tmp_path)
    text = why(location, grid(methods=("features", "full", "ia3"), seeds=2, steps=4))
    assert "steps=3" in text
    assert "others" not in text  # the seeds of a method are named once
    assert "seed=1" in why(location, grid(methods=("features", "full", "ia3")))


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{}", b"[1]", b"\xff\xfe", b"[" * 100_000),
        b'{"version": 1, "tunefront": "0", "jobs": [[1]], "values": {}, "cells": {}}',
        b'{"version": 1, "tunefront": "0", "jobs": [["a"]], "values": {}, "cells": {}}',
        b'{"version": 1, "tunefront": "0", "jobs": [["a"]], "values": {"m": [1]}, "cells": {"a": [7]}}',
        b'{"version": 1, "tunefront": "0", "jobs": [["a"]], "values": {"m": [1]}, "cells": {"a": [-1]}}',
        b'{"version": 1, "tunefront": "0", "jobs": [["a"]], "values": {"m": [1]}, "cells": {"a": []}}',
        b'{"version": 2, "tunefront": "9", "jobs": [], "values": {}, "cells": {}}',
    ],
)
def test_another_file_is_a_mistake(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"other\.json"):
        Packing.read(str(path))


@pytest.mark.parametrize("version", [0, 2, 10**30])
def test_a_file_of_another_version_names_what_wrote_it(version: int, tmp_path: Path) -> None:
    """Whatever else is in it: a later version may have other fields."""
    path = tmp_path / "other.json"
    path.write_text(f'{{"version": {version}, "tunefront": "9.8.7", "tasks": [], "jobs": 3}}')
    with pytest.raises(UserError, match=r"9\.8\.7") as raised:
        Packing.read(str(path))
    assert "same tunefront" in str(raised.value)


def test_a_packing_of_the_same_cells_with_other_methods_differs(grid: MakeGrid) -> None:
    cell = grid(methods=("ia3",)).cells()[0]
    first, second = (Packing.of([[Identity.of(each)]]) for each in (cell, replace(cell, method=parse("full"))))
    assert first.content() != second.content()


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"m": 1},
        {"versions": 3, "method": ["full"], "backbone": {"a": 1}, "task": None},
        {"fingerprints.task": {"a": 1}, "versions": [1], "schema_version": {}},
    ],
)
def test_a_file_that_describes_no_cells_is_a_mistake(values: dict[str, Any], grid: MakeGrid, tmp_path: Path) -> None:
    made = grid(methods=("ia3",))
    (asked,) = (flat(Identity.of(cell).ingredients) for cell in made.cells())
    path = tmp_path / "strange.json"
    for described in (values, asked | values):
        path.write_bytes(Packing((("a",), ("b",)), {"a": dict(asked), "b": described}).content())
        assert "strange.json" in why(str(path), made)
