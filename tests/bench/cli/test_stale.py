"""Messages about records whose cell has changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.bench.world import World
from tunefront.bench.cli.main import app
from tunefront.bench.execution.stale import cell_of, staleness
from tunefront.bench.records.store import Store
from tunefront.bench.suites.expand import expand
from tunefront.bench.suites.overrides import Overrides

CHOSEN = Overrides(methods=["ia3"], backbones=["tiny"], tasks=["docstrings/kind"], seeds=[3], settings={"epochs": 2})


def recorded(world: World, **changes: Any) -> Any:
    (cell,) = expand("quick", CHOSEN).cells
    return world.record(cell).model_copy(update=changes)


def test_a_cell_comes_back_from_its_record(world: World) -> None:
    (cell,) = expand("quick", CHOSEN).cells
    assert cell_of(world.record(cell)) == cell


def test_a_record_that_would_be_made_again_is_not_stale(world: World) -> None:
    assert [entry.changes for entry in staleness([recorded(world)])] == [()]


def test_changed_rows_versions_and_sources_are_each_named(world: World) -> None:
    record = recorded(world)
    world.task_rows, world.versions = "t1", {"torch": "2.7.0", "scipy": "1.0"}
    (entry,) = staleness([record])
    assert entry.changes == ("torch 2.6.0 then, 2.7.0 now", "scipy absent then, 1.0 now", "the task's rows changed")


def test_a_record_of_another_way_to_make_keys_is_stale(world: World) -> None:
    (entry,) = staleness([recorded(world, key="0" * 64)])
    assert entry.changes == ("tunefront itself: it now computes keys in another way",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "gone:size=1"}, "no method 'gone'"),
        ({"method": "houlsby:width=1"}, "has no field 'width'"),
        ({"method": "mine:size=1", "method_file": "mine.py"}, "no method 'mine'"),
        ({"method": "no such thing"}, "'no such thing' is not the name of a method"),
        ({"recipe": {"momentum": 0.9}}, "the recipe had momentum"),
        ({"settings": {"threads": 0}}, "threads must be at least 1"),
    ],
)
def test_a_cell_that_cannot_be_run_any_more_says_why(world: World, changes: dict[str, Any], message: str) -> None:
    (entry,) = staleness([recorded(world, **changes)])
    assert message in entry.changes[0]


def test_the_command_prints_what_changed_and_exits_0(world: World, tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.prepare()
    store.write(recorded(world))
    fresh = CliRunner().invoke(app, ["stale", str(tmp_path)])
    assert fresh.exit_code == 0
    assert "nothing is stale" in fresh.stdout
    world.task_rows = "t1"
    changed = CliRunner().invoke(app, ["stale", str(tmp_path)])
    assert changed.exit_code == 0
    assert "1 of 1 records are stale" in changed.stdout
    assert "rows" in changed.stdout


def test_a_name_of_thousands_of_characters_is_cut(call: Any, tmp_path: Path) -> None:
    from tunefront.bench.records import Record
    from tunefront.bench.records.store import Store

    store = Store(tmp_path / "out")
    store.prepare()
    for number, names in enumerate(({"backbone": "x" * 5000}, {"task": "dir:" + "y" * 5000})):
        fields = {"method": "full", "label": "full", "backbone": "nano", "task": "docstrings/kind", **names}
        store.write(Record(key=f"{number:08}", status="ok", **fields))  # type: ignore[arg-type]
    result = call("stale", str(tmp_path / "out"))
    assert "bug in tunefront" not in result.output
    assert result.output.count("x") < 1000
    assert result.output.count("y") < 1000
