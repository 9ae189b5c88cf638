"""Shares of a run: each cell in one of them, by its key, and the union is the whole run."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench.execution.grids import Grid, deterministic
from tunefront.bench.errors import UserError
from tunefront.bench.execution.grid import run_grid
from tunefront.bench.execution.shards import MOST_SHARDS, Shard
from tunefront.bench.records.store import Store

KEYS = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(2_000)]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 64])
def test_every_key_is_in_one_share_and_shares_are_even(count: int) -> None:
    shards = [Shard(number, count) for number in range(1, count + 1)]
    held = [[key for key in KEYS if shard.holds(key)] for shard in shards]
    assert sorted(itertools.chain(*held)) == sorted(KEYS)
    even = len(KEYS) / count
    assert all(abs(len(keys) - even) <= 5 * even**0.5 for keys in held)


def test_a_share_is_read_as_it_is_written() -> None:
    for text in ("1/1", "2/8", f"{MOST_SHARDS}/{MOST_SHARDS}"):
        assert str(Shard.of(f" {text} ")) == text


@pytest.mark.parametrize(
    "text",
    [
        *(
            "0/8",
            "9/8",
            "a/b",
            "1/0",
            "1/8/2",
            "",
            " ",
            "/",
            "1/",
            "/8",
            "1",
            "1 / 8",
            "-1/8",
            "+1/8",
            "1.0/8",
            "1e1/8",
        ),
        *("٢/٨", "²/8", "1⁄8", "１/８", "1/8\n2/8", "1/8\0", f"1/{10**30}", f"{'9' * 5_000}/8", f"1/{MOST_SHARDS + 1}"),
    ],
)
def test_any_other_text_is_a_mistake_in_one_paragraph(text: str) -> None:
    with pytest.raises(UserError) as raised:
        Shard.of(text)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("place", ["folder", "s3"])
def test_the_union_of_eight_shares_is_the_whole_run(
    place: str, grid: Callable[..., Grid], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    cells = grid(methods=("features", "full", "ia3"), seeds=4).cells()
    url = request.getfixturevalue("s3").new_url() if place == "s3" else tmp_path / "shared"
    whole, shared = Store(tmp_path / "whole"), Store(url)
    run_grid(cells, whole)
    for number in (3, 1, 8, 2, 4, 7, 6, 5):
        share = Shard(number, 8).select(cells)
        outcome = run_grid(share, shared)
        assert (outcome.ran, outcome.reused) == (len(share), 0)
    assert deterministic(shared) == deterministic(whole)
    assert run_grid(cells, shared).ran == 0
    assert Shard(1, 1).select(cells) == tuple(cells)


def test_a_cell_stays_in_its_share_when_the_suite_grows(grid: Callable[..., Grid]) -> None:
    few, more = (
        grid(methods=("full", "ia3"), seeds=2).cells(),
        grid(methods=("features", "full", "ia3"), seeds=4).cells(),
    )
    for number in range(1, 6):
        shard = Shard(number, 5)
        assert set(shard.select(few)) == set(shard.select(more)) & set(few)
