"""The progress display, in a terminal and in a log."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace

import pytest
from rich.console import Console

from tests import ROOT
from tests.bench.world import World
from tests.reports.factory import record
from tunefront.bench.cells import Cell
from tunefront.bench.cli.progress import Display
from tunefront.bench.cli.titles import Titles
from tunefront.bench.records import Collapse
from tunefront.methods.base import Recipe
from tunefront.methods.spelling import parse

LONG = "houlsby:bottleneck=256,std=0.01"


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def cell(method: str = "ia3", seed: int = 0) -> Cell:
    return Cell(parse(method), "minilm", "docstrings/param_type", Recipe(), seed=seed)


def shown(display: Display, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(display.render())
    out = console.file
    assert isinstance(out, io.StringIO)
    return out.getvalue().rstrip("\n").split("\n")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def display(log: io.StringIO, clock: Clock) -> Display:
    return Display(Console(file=log, width=80), clock)


@pytest.mark.parametrize("width", [80, 120])
def test_each_running_cell_has_one_line_with_its_phase_and_step(width: int) -> None:
    display = Display(Console(file=io.StringIO(), width=width))
    display.titles = Titles.of([cell(LONG), cell("full")])
    display.planned(20, 8)
    display.started(cell(LONG))
    display.started(cell("full"))
    display.step(cell(LONG), "train", 34, 57)
    head, *running = shown(display, width)
    assert "8/20 cells (8 recorded before)" in head
    assert len(running) == 2
    assert "training 34/57" in running[0]
    assert running[0].startswith(f"  {LONG} · param_type")
    assert "starting" in running[1]
    assert all(len(line) <= width for line in running)


def test_time_left_follows_the_pace_of_the_cells_that_ran_not_of_those_found(display: Display, clock: Clock) -> None:
    display.planned(10, 5)
    assert display.left() is None
    display.started(cell())
    clock.now += 12
    display.finished(cell(), World().record(cell()))
    assert display.left() == pytest.approx(4 * 12)
    assert "12 s, about 48 s left" in shown(display, 100)[0]


def test_the_time_left_counts_what_a_running_cell_has_done(display: Display, clock: Clock) -> None:
    display.planned(3, 0)
    display.started(cell())
    clock.now += 10
    display.finished(cell(), World().record(cell()))
    display.started(cell(seed=1))
    display.step(cell(seed=1), "train", 50, 100)
    clock.now += 5
    assert display.left() == pytest.approx(15 / 1.4 * 1.6)


def test_a_log_gets_one_line_a_cell_and_no_control_characters(display: Display, log: io.StringIO) -> None:
    with display:
        display.planned(3, 1)
        for seed, status in enumerate(["ok", "failed"]):
            display.started(cell(LONG, seed))
            display.step(cell(LONG, seed), "train", 1, 2)
            display.finished(cell(LONG, seed), World(answers={"houlsby": status}).record(cell(LONG, seed)))
    lines = log.getvalue().splitlines()
    assert lines[0] == "3 cells, 1 recorded before, 2 to run"
    assert lines[1].startswith("[2/3] ✓ 0.750")
    assert lines[1].endswith("seed 0")
    assert lines[2].startswith("[3/3] ✗ failed")
    assert len(lines) == 3  # the reason is said once, at the end of the run
    assert "\x1b" not in log.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_what_varies_is_seen_at_any_width(width: int) -> None:
    display = Display(Console(file=io.StringIO(), width=width))
    cells = [replace(cell(LONG), draw_seed=draw) for draw in (0, 1, 2)]
    display.titles = Titles.of(cells)
    display.planned(3, 0)
    for each in cells:
        display.started(each)
        display.step(each, "train", 1234, 1250)
    _, *running = shown(display, width)
    assert [line.partition("draw ")[2][0] for line in running] == ["0", "1", "2"]
    assert all(len(line) <= width - 2 for line in running)


def test_the_reason_of_the_last_failure_is_seen_while_cells_run(display: Display) -> None:
    display.planned(3, 0)
    display.finished(cell(), World(answers={"ia3": "failed"}).record(cell()))
    *_, hint = shown(display, 80)
    assert "1 failed" in hint
    assert "is failed [here]" in hint


def test_work_after_the_last_cell_is_named_instead_of_a_time_left(
    display: Display, log: io.StringIO, clock: Clock
) -> None:
    display.planned(1, 0)
    display.started(cell())
    clock.now += 10
    display.finished(cell(), record())
    assert "left" in shown(display, 80)[0]
    display.working("scoring mixed batches")
    assert "left" not in shown(display, 80)[0]
    assert shown(display, 80)[-1].strip() == log.getvalue().splitlines()[-1] == "scoring mixed batches"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_number_of_the_head_is_cut(width: int, clock: Clock) -> None:
    display = Display(Console(file=io.StringIO(), width=width), clock)
    display.planned(1200, 1000)
    display.started(cell())
    clock.now += 3599
    display.finished(cell(), World().record(cell()))
    (line,) = shown(display, width)
    assert "1001/1200 cells" in line
    assert ("(1000 recorded before)" in line) == (width > 60)
    assert line.rstrip().endswith("59 min 59 s, about 198 h 56 min left")


def test_a_dumb_terminal_gets_the_lines_of_a_log(monkeypatch: pytest.MonkeyPatch, log: io.StringIO) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with Display(Console(file=log, width=80, force_terminal=True)) as display:
        display.planned(1, 0)
        display.finished(cell(), World().record(cell()))
    assert "[1/1] ✓ 0.750" in log.getvalue()
    assert "\x1b" not in log.getvalue()


def test_a_process_forked_while_the_display_is_drawn_can_write() -> None:
    code = """
import os, sys, time
from rich.console import Console
from tunefront.bench.cells import Cell
from tunefront.bench.cli.progress import Display
from tunefront.methods.base import Recipe
from tunefront.methods.spelling import parse
with Display(Console(file=sys.stderr, force_terminal=True, width=80)) as display:
    display.planned(50, 0)
    display.started(Cell(parse("ia3"), "minilm", "x", Recipe()))
    for _ in range(50):
        child = os.fork()
        if child == 0:
            print("child", file=sys.stderr, flush=True)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        time.sleep(0.01)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("child") == 50


def test_a_collapsed_cell_has_no_tick_and_says_why(display: Display, log: io.StringIO) -> None:
    answers = {"one_answer": True, "answer": "bad", "answer_share": 0.997, "label_share": 0.5}
    baseline = {"baseline_answer": "bad", "baseline_share": 0.5, "p_value": 0.21}
    known = [
        Collapse(collapsed=False, one_answer=False, p_value=0.01),
        Collapse(collapsed=True, **answers, **baseline),
        Collapse(collapsed=True, one_answer=False, **baseline),
        Collapse(),
    ]
    display.planned(4, 0)
    for collapse in known:
        display.finished(cell(), record(scores__test={"accuracy": 0.6}).model_copy(update={"collapse": collapse}))
    better, one_answer, why, not_better, why_not, unknown = log.getvalue().splitlines()[1:]
    assert "] ✓ 0.600 " in better
    assert "] † 0.600 " in one_answer
    assert "99 %" in why
    assert "bad" in why
    assert "] † 0.600 " in not_better
    assert "0.21" in why_not
    assert "] ✓ 0.600 " in unknown


def test_an_answer_of_any_text_is_cut_and_escaped(display: Display, log: io.StringIO) -> None:
    display.planned(1, 0)
    odd = Collapse(collapsed=True, one_answer=True, answer=f"\x1b[31m{'long ' * 99}", answer_share=1.0, label_share=0.5)
    display.finished(cell(), record().model_copy(update={"collapse": odd}))
    line = log.getvalue().splitlines()[-1]
    assert "\x1b" not in line
    assert len(line) < 90


def test_demonstrations_that_do_not_fit_are_said(display: Display, log: io.StringIO) -> None:
    display.planned(2, 0)
    kept = {"prompt.demonstration_ids": (("1", "2"),), "prompt.demonstrations_per_row": 0.5}
    display.finished(cell("icl:k=2"), record(label="icl:k=2", prompt__shortened_test=6, **kept))
    assert "only 0.5 of 2 demonstrations fit" in log.getvalue()
    display.finished(
        cell("icl:k=2"),
        record(label="icl:k=2", prompt__shortened_test=0, **{**kept, "prompt.demonstrations_per_row": 2}),
    )
    assert log.getvalue().count("demonstrations fit") == 1
