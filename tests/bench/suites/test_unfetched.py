"""What was not fetched is left out of a suite with the command that fetches it; what a call names is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.world import World
from tunefront.bench.errors import UserErrors
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
    monkeypatch.setattr("tunefront.bench.models.gguf.converted.is_converted", lambda name: False)


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


OTHER = """
methods = ["features"]
backbones = ["minilm", "nano"]
tasks = ["docstrings/match"]
"""


@pytest.fixture
def with_fallback(tmp_path: Path) -> str:
    """A suite that needs fetched archives alone, with another file to run where none is there."""
    text = 'fallback = "other.toml"\n' + SUITE.replace('"docstrings/kind", ', "").replace(', "nano"', "")
    (tmp_path / "other.toml").write_text(OTHER, encoding="utf-8")
    path = tmp_path / "first.toml"
    path.write_text(text.replace('tasks = ["docstrings/kind"]', 'tasks = ["sentiment/movies"]'), encoding="utf-8")
    return str(path)


def methods_of(suite: str, **overrides: list[str]) -> set[tuple[str, str, str]]:
    cells = expand(suite, Overrides(**overrides)).cells  # type: ignore[arg-type]
    return {(cell.method.name, cell.backbone, cell.task) for cell in cells}


def test_where_nothing_was_fetched_the_fallback_runs(with_fallback: str, unfetched: None) -> None:
    expansion = expand(with_fallback)
    assert {(cell.method.name, cell.backbone) for cell in expansion.cells} == {
        ("features", "minilm"),
        ("features", "nano"),
    }
    (notice,) = expansion.warnings
    for fact in ("smollm2", "sentiment/movies", "other.toml", "tunefront fetch", "MB"):
        assert fact in notice


def test_where_something_was_fetched_the_suite_itself_runs(with_fallback: str, world: World) -> None:
    assert {name for name, *_ in methods_of(with_fallback)} == {"full", "ia3"}
    assert expand(with_fallback).warnings == ()


def test_the_fallback_runs_the_lists_of_the_call(with_fallback: str, unfetched: None) -> None:
    assert methods_of(with_fallback, tasks=["docstrings/kind"]) == {
        ("features", "minilm", "docstrings/kind"),
        ("features", "nano", "docstrings/kind"),
    }
    assert methods_of(with_fallback, backbones=["nano"]) == {("features", "nano", "docstrings/match")}


def test_a_call_that_needs_nothing_fetched_has_no_fallback(with_fallback: str, unfetched: None) -> None:
    named = methods_of(with_fallback, tasks=["docstrings/kind"], backbones=["minilm"])
    assert named == {("full", "minilm", "docstrings/kind")}


@pytest.mark.parametrize("name", ["no_such_suite", "gone.toml", "", 3])
def test_a_fallback_that_is_no_suite_is_an_error(
    with_fallback: str, unfetched: None, tmp_path: Path, name: object
) -> None:
    value = f'"{name}"' if isinstance(name, str) else name
    path = tmp_path / "broken.toml"
    path.write_text(Path(with_fallback).read_text("utf-8").replace('"other.toml"', str(value)), encoding="utf-8")
    with pytest.raises(UserErrors, match="fallback"):
        expand(str(path))


def test_quick_falls_back_to_the_embedded_tasks_and_models(world: World, unfetched: None) -> None:
    assert expand("quick").cells == expand("embedded").cells
    assert {cell.task.split("/")[0] for cell in expand("embedded").cells} == {"docstrings"}
