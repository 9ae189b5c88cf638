"""`tunefront.run` and `tunefront.ablate` do the same as the commands."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.bench.world import World
from tunefront import ablate, load_records, run
from tunefront.bench.errors import UserError, UserErrors
from tunefront.methods.houlsby import Houlsby


def test_run_takes_instances_and_spelled_methods_and_returns_records_in_order(world: World, tmp_path: Path) -> None:
    out = tmp_path / "results"
    arguments = {"methods": ["ia3", Houlsby(8)], "backbones": ["tiny"], "tasks": ["docstrings/kind"], "seeds": [0, 1]}
    records = run(**arguments, out=out, settings={"epochs": 1})
    assert [(record.label, record.seed) for record in records] == [
        ("ia3", 0),
        ("houlsby:bottleneck=8", 0),
        ("ia3", 1),
        ("houlsby:bottleneck=8", 1),
    ]
    assert {record.recipe["epochs"] for record in records} == {1.0}
    assert sorted(record.key for record in load_records(out)) == sorted(record.key for record in records)


def test_ablate_varies_the_methods_and_runs_what_is_missing(world: World, tmp_path: Path) -> None:
    arguments = {"methods": [Houlsby(8), "full"], "tasks": ["docstrings/kind"], "draws": [0], "out": tmp_path}
    records = ablate("size", values=[2, 4], **arguments)
    assert [record.label for record in records] == ["houlsby:bottleneck=2", "houlsby:bottleneck=4", "full"]
    again = ablate("size", values=[4, 16], **arguments)
    assert [record.key for record in again if record in records] == [records[1].key, records[2].key]
    removed = ablate("spans", spans="0-2", methods=["lora"], settings={"epochs": 1}, out=tmp_path)
    assert {record.settings["removed_spans"] for record in removed} == {"0-2"}


def test_mistakes_in_an_ablation_come_through(world: World, tmp_path: Path) -> None:
    for what, given in (("sizes", {}), ("size", {"values": 8}), ("spans", {"spans": "0-6"}), ("init", {"spans": "0"})):
        with pytest.raises(UserError):
            ablate(what, out=tmp_path, **given)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        ablate("size", suite="quick", out=tmp_path)
    assert not world.calls


def test_run_never_forks_a_process_that_may_have_computed(world: World, tmp_path: Path) -> None:
    run(methods=["ia3"], out=tmp_path, workers=2)
    assert world.calls[0]["fork"] is False


def test_warnings_of_the_tasks_are_logged(world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world.overlap = ("100 % of the rows are in both train and test",)
    run(methods=["ia3"], out=tmp_path)
    assert [(entry.name, entry.levelname, entry.getMessage()) for entry in caplog.records] == [
        ("tunefront", "WARNING", world.overlap[0])
    ]


def test_mistakes_and_interruptions_come_through(world: World, tmp_path: Path) -> None:
    with pytest.raises(UserErrors, match="2 errors"):
        run(methods=["houlsbi"], tasks=["docstrings/knd"], out=tmp_path)
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        run(methods=["ia3"], out=tmp_path / "taken")
    world.interrupt_after = 0
    with pytest.raises(KeyboardInterrupt):
        run(methods=["ia3"], out=tmp_path)


@pytest.mark.parametrize("out", [None, "", "  "])
def test_no_place_for_results_is_a_mistake(
    out: Any, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="names no folder"):
        run(methods=["ia3"], out=out)
    assert list(tmp_path.iterdir()) == []
    assert not world.calls


def test_the_libraries_bars_are_off_as_in_the_command(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HUB_DISABLE_PROGRESS_BARS", "TRANSFORMERS_VERBOSITY"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    run(methods=["ia3"], out=tmp_path)
    assert (os.environ["HF_HUB_DISABLE_PROGRESS_BARS"], os.environ["TRANSFORMERS_VERBOSITY"]) == ("1", "error")
