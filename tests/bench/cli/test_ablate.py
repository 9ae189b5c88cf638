"""`tunefront ablate`: its cells run as those of a run do; mistakes exit with 2; a killed ablation goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.bench.world import World
from tunefront.bench.records import load_records

SMALL = ("ablate", "size", "--task", "docstrings/kind", "--draws", "0", "--values", "1,8")


@pytest.mark.usefixtures("reports")
def test_an_ablation_runs_records_and_reports_as_a_run_does(call: Any, world: World, tmp_path: Path) -> None:
    result = call(*SMALL, "--workers", "3", "--set", "epochs=1")
    assert result.exit_code == 0, result.output
    assert "SUMMARY of 4" in result.stdout
    assert "report: results/report/report.html" in result.stdout
    assert {record.label for record in load_records(tmp_path / "results")} == {
        "houlsby:bottleneck=1",
        "houlsby:bottleneck=8",
        "layernorm",
        "full",
    }
    assert world.calls[0]["workers"] == 3
    assert {cell.recipe.epochs for cell in world.calls[0]["cells"]} == {1.0}


@pytest.mark.usefixtures("reports")
def test_it_goes_on_where_it_stopped(call: Any, world: World) -> None:
    world.interrupt_after = 2
    assert call(*SMALL).exit_code == 130
    world.interrupt_after = None
    result = call(*SMALL)
    assert result.exit_code == 0
    assert "4 ok; 2 of them recorded before" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (("spams",), "spams"),
        (("spans", "--spans", "0-6"), "0 to 5"),
        (("spans", "--spans", ""), "span"),
        (("init", "--values", "1e-2,"), "--values"),
        (("init", "--method", "full"), "full"),
        (("losses", "--backbone", "tiny"), "tiny"),
        (("layers", "--spans", "1"), "--spans"),
        (("shots", "--shots", "0"), "shots"),
        (("size", "--method", "houlsbi"), "houlsby"),
    ],
)
def test_a_mistake_is_one_paragraph_and_exit_code_2(
    call: Any, world: World, arguments: tuple[str, ...], fact: str
) -> None:
    result = call("ablate", *arguments)
    assert result.exit_code == 2, result.output
    assert fact in result.stderr
    assert "Traceback" not in result.stderr
    assert not world.calls
