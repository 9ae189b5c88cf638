"""The end of a run: what is printed where, in which order, and only once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bench.world import World
from tunefront.bench.cells import Cell
from tunefront.bench.cli.ending import show_not_run
from tunefront.bench.cli.terminal import Console
from tunefront.bench.cli.titles import Titles
from tunefront.methods.base import Recipe
from tunefront.methods.spelling import parse

SMALL = ("run", "--method", "ia3", "--backbone", "tiny", "--task", "docstrings/kind", "--seeds", "0")


def said(capsys: pytest.CaptureFixture[str], cells: list[Cell], **answers: str) -> list[str]:
    made = World(answers=answers)
    show_not_run([made.record(cell) for cell in cells], Titles.of(cells), Console(stderr=True))
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def cell(method: str, task: str = "docstrings/kind", seed: int = 0) -> Cell:
    return Cell(parse(method), "minilm", task, Recipe(), seed=seed)


def test_a_reason_of_many_cells_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    cells = [cell("ia3", task, seed) for task in ("docstrings/kind", "docstrings/match") for seed in range(3)]
    assert said(capsys, cells, ia3="failed") == [
        "failed: ia3 on kind, match (6 cells): ia3:start=none is failed [here]",
    ]


def test_a_single_cell_is_named_with_its_seed(capsys: pytest.CaptureFixture[str]) -> None:
    cells = [cell("ia3"), cell("full", seed=1)]
    assert said(capsys, cells, ia3="skipped") == ["skipped: ia3 · kind · seed 0: ia3:start=none is skipped [here]"]


def test_reasons_that_differ_in_the_row_alone_are_one(capsys: pytest.CaptureFixture[str]) -> None:
    cells = [cell("ia3", seed=seed) for seed in range(2)]
    records = [World(answers={"ia3": "failed"}).record(each) for each in cells]
    changed = [
        record.model_copy(update={"reason": f"row '{place}': no prompt"}) for place, record in enumerate(records)
    ]
    show_not_run(changed, Titles.of(cells), Console(stderr=True))
    assert capsys.readouterr().err == "failed: ia3 on kind (2 cells): row '0': no prompt\n"


@pytest.mark.usefixtures("reports")
def test_the_path_of_the_report_is_the_last_line(call: Any, world: World) -> None:
    world.answers = {"ia3": "failed"}
    last = call(*SMALL).stdout.splitlines()[-1]
    assert last == "report: results/report/report.html"


@pytest.mark.usefixtures("reports")
def test_warnings_and_failures_come_after_the_table_and_before_the_counts(
    call: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.answers = {"ia3": "failed"}
    result = call(*SMALL)
    text = result.output
    places = [text.index(part) for part in ("SUMMARY", "warning: the summary warns", "\nfailed: ", "1 cell: 1 failed")]
    assert places == sorted(places)
    assert "warning" not in result.stdout
    assert "failed: " not in result.stdout


@pytest.mark.usefixtures("reports")
def test_an_interrupted_run_says_why_cells_failed(call: Any, world: World) -> None:
    world.answers = {"ia3": "failed"}
    world.interrupt_after = 1
    result = call("run", "--method", "ia3", "--backbone", "tiny", "--task", "docstrings/kind", "--seeds", "0,1")
    assert result.exit_code == 130
    assert result.stderr.count("is failed [here]") == 1
    assert result.stderr.index("is failed [here]") < result.stderr.index("Stopped")
    assert "SUMMARY" not in result.stdout
