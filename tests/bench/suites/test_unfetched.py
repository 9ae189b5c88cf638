"""What was not fetched is left out of a suite with the command that fetches it; what a call names is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.world import World
from tunefront.bench.suites.expand import expand
from tunefront.bench.suites.overrides import Overrides

SUITE = """
[[part]]
methods = ["full"]
backbones = ["minilm"]
tasks = ["docstrings/kind", "sentiment/movies"]

[[part]]
methods = ["ia3"]
backbones = ["smollm2", "nano"]
tasks = ["docstrings/kind"]
"""


@pytest.fixture
def suite(tmp_path: Path) -> str:
    path = tmp_path / "suite.toml"
    path.write_text(SUITE, encoding="utf-8")
    return str(path)


@pytest.fixture
def unfetched(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which nothing was fetched."""
    world.fetched = False
    monkeypatch.setattr("tunefront.bench.suites.unfetched.is_converted", lambda name: False)


def test_its_cells_are_left_out_and_the_command_is_named(suite: str, unfetched: None) -> None:
    expansion = expand(suite)
    assert {(cell.backbone, cell.task) for cell in expansion.cells} == {
        ("minilm", "docstrings/kind"),
        ("nano", "docstrings/kind"),
    }
    (notice,) = expansion.warnings
    for fact in ("smollm2", "sentiment/movies", "tunefront fetch sentiment smollm2", "MB"):
        assert fact in notice


def test_once_it_is_fetched_the_same_call_has_its_cells_too(suite: str, world: World) -> None:
    expansion = expand(suite)
    assert {(cell.backbone, cell.task) for cell in expansion.cells} == {
        *(("minilm", task) for task in ("docstrings/kind", "sentiment/movies")),
        *((name, "docstrings/kind") for name in ("smollm2", "nano")),
    }
    assert expansion.warnings == ()


@pytest.mark.parametrize(
    "overrides", [Overrides(backbones=["smollm2"]), Overrides(tasks=["sentiment/movies"], backbones=["minilm"])]
)
def test_what_the_call_names_is_looked_up(suite: str, unfetched: None, overrides: Overrides) -> None:
    named = {(cell.backbone, cell.task) for cell in expand(suite, overrides).cells}
    assert named  # the fake sources have it all: the real ones raise NotFetched


def test_tasks_of_the_call_take_the_place_of_those_that_were_not_fetched(suite: str, unfetched: None) -> None:
    expansion = expand(suite, Overrides(tasks=["docstrings/match"]))
    assert {(cell.backbone, cell.task) for cell in expansion.cells} == {
        ("minilm", "docstrings/match"),
        ("nano", "docstrings/match"),
    }


def test_a_backbone_that_no_part_names_runs_the_part_of_its_kind(
    suite: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {cell.method.name for cell in expand(suite, Overrides(backbones=["tiny"])).cells} == {"full"}
    monkeypatch.setattr("tests.bench.world.DECODERS", ["nano", "smollm2", "tiny"])
    assert {cell.method.name for cell in expand(suite, Overrides(backbones=["tiny"])).cells} == {"ia3"}
