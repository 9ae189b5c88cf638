"""Printing: no text controls the terminal, and a printing error loses no results."""

from __future__ import annotations

import ast
import io
import json
import logging
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table
from rich.text import Text

from tests import ROOT
from tests.bench.world import World
from tunefront.bench.cells import Cell
from tunefront.bench.cli import terminal
from tunefront.bench.cli.console import handle_errors, print_plain, warnings_on
from tunefront.bench.cli.progress import Display
from tunefront.bench.cli.terminal import Console, encodable, lost_output
from tunefront.bench.errors import UserError, in_short, printable
from tunefront.methods.base import Recipe
from tunefront.methods.spelling import parse

HOSTILE = {
    "\x1b[2J": r"\x1b[2J",
    "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "\x9b31m": r"\x9b31m",
    "a\rb": r"a\rb",
    "a\bb": r"a\x08b",
    "\x7f": r"\x7f",
    "\u202egnp.exe": r"\u202egnp.exe",
    "\u2066x": r"\u2066x",
    "\ud800": r"\ud800",
    "\u2028": r"\u2028",
    "\x00": r"\x00",
}


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_terminal_would_act_on_is_written_out(text: str) -> None:
    assert printable(text) == HOSTILE[text]


@pytest.mark.parametrize("text", ["", "plain", "a\n\tb", "naïve 中文 ✓ עברית", "[red]x[/red]"])
def test_other_text_is_as_it_was(text: str) -> None:
    assert printable(text) == text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def attached(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Replaces both streams by a terminal; called inside a test, because pytest sets its own streams before each."""
    made = Terminal()
    monkeypatch.setattr(sys, "stdout", made)
    monkeypatch.setattr(sys, "stderr", made)
    monkeypatch.setenv("TERM", "xterm")
    return made


@pytest.mark.parametrize("text", ["\x1b]0;x\x07", "\x9b2J", "\u202ex", "\ud800", "\x1b[2Jx"])
def test_nothing_hostile_reaches_the_terminal_by_any_way(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = attached(monkeypatch)
    console = Console(color_system=None)
    table = Table(text, title=text, caption=text)
    table.add_row(text)
    table.add_row(Text(text))
    console.print(text)
    console.print(Text(text))
    console.print(table)
    print_plain(console, text)
    with warnings_on(console):
        logging.getLogger("tunefront").warning("of %s", text)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(text, stacklevel=1)
    with pytest.raises(Exception) as ended, handle_errors(console):  # noqa: PT011
        raise UserError(text)
    assert ended.value.exit_code == 2  # type: ignore[attr-defined]
    with Display(console) as display:
        cell = Cell(parse("ia3"), text, text, Recipe(), template=text)
        display.preparing(text)
        display.planned(1, 0)
        display.started(cell)
        display.step(cell, text, 1, 2)
    seen = re.sub(r"\x1b\[(\?25[lh]|2K|1A)|\r", "", screen.getvalue())  # the cursor and lines of rich's live display
    assert seen.count(printable(text)) >= 6
    assert printable(seen) == seen


def test_what_looks_like_markup_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = attached(monkeypatch)
    table = Table("[red]head[/red]")
    table.add_row("[bold]cell[/bold] :smile:")
    Console(color_system=None).print(table, "[/nothing]")
    for text in ("[red]head[/red]", "[bold]cell[/bold] :smile:", "[/nothing]"):
        assert text in screen.getvalue()


@pytest.mark.parametrize(
    ("encoding", "there"), [("ascii", r"ok x - - ... \xe9 \u4e2d"), ("latin-1", r"ok x - - ... é \u4e2d")]
)
def test_an_encoding_without_our_characters_gets_others(encoding: str, there: str) -> None:
    assert encodable("✓ ✗ – · … é 中", encoding) == there
    assert encodable("✓", "utf-8") == "✓"
    assert encodable("✓ x", "no-such-encoding") == "ok x"


def test_a_stream_that_fails_is_let_go_and_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    terminal.forget_lost_output()
    monkeypatch.setattr(sys, "stdout", Full())
    Console().print("x")
    Console().print("y")
    assert lost_output() == "No space left on device"
    terminal.forget_lost_output()


@pytest.mark.parametrize("path", sorted((ROOT / "bench" / "cli").glob("*.py")), ids=lambda path: path.stem)
def test_the_command_has_no_other_way_to_print(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not {"print", "typer.echo", "typer.secho", "sys.stdout.write", "sys.stderr.write"} & set(calls)
    imported = [
        f"{node.module}.{name.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for name in node.names
        if name.asname is None and not _only_for_types(tree, node)
    ]
    assert "rich.console.Console" not in imported or path.stem == "progress", "take the console of cli.console"


def _only_for_types(tree: ast.Module, node: ast.ImportFrom) -> bool:
    return any(
        isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING" and node in block.body
        for block in tree.body
    )


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("\x1b[2J\nnext"), r"ValueError: \x1b[2J"),
        (ValueError(), "ValueError"),
        (UserError("plain"), "plain"),
        (ValueError("x" * 10**7), "ValueError: " + "x" * 500),
    ],
)
def test_an_error_is_one_short_printable_line(error: Exception, text: str) -> None:
    assert in_short(error) == text


def run(arguments: list[str], tmp_path: Path, **settings: Any) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | settings.pop("env", {})
    command = [sys.executable, "-m", "tunefront", *arguments]
    return subprocess.run(command, cwd=tmp_path, env=environment, text=True, timeout=60, **settings)


@pytest.mark.parametrize("variables", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "POSIX", "PYTHONUTF8": "0"}])
def test_any_encoding_prints(variables: dict[str, str], tmp_path: Path) -> None:
    for arguments in (["list", "suites"], ["--help"], ["run", "--help"], ["plan", "--help"]):
        done = run(arguments, tmp_path, env=variables | {"PYTHONCOERCECLOCALE": "0"}, capture_output=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.isascii()


@pytest.mark.skipif(sys.platform == "win32", reason="shell")
@pytest.mark.parametrize(
    ("shell", "code"), [("| true", 0), ("> /dev/full", 1), (">&-", 0), ("2>&- >&-", 0), ("2> /dev/full", 0)]
)
def test_a_reader_that_goes_ends_the_printing_alone(shell: str, code: int, tmp_path: Path) -> None:
    if "full" in shell and not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    command = f"set -o pipefail; {sys.executable} -m tunefront list suites {shell}"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.usefixtures("reports")
@pytest.mark.parametrize("status", ["ok", "failed"])
def test_records_and_report_are_there_whoever_reads(
    status: str, call: Any, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A printing error does not fail the run: the exit code is that of its cells."""

    def broken(*_: object) -> int:
        raise BrokenPipeError(32, "Broken pipe")

    world.answers = {"ia3": status}
    monkeypatch.setattr(terminal, "_redirect_to_null", lambda *_: None)  # the streams are pytest's
    monkeypatch.setattr(
        terminal._Outlet, "_stream", property(lambda _: type("S", (), {"write": broken, "flush": broken})())
    )
    result = call("run", "--method", "ia3", "--backbone", "tiny", "--task", "docstrings/kind", "--seeds", "0")
    assert result.exit_code == (1 if status == "failed" else 0)
    assert (tmp_path / "results" / "report" / "report.html").is_file()
    assert len(list((tmp_path / "results" / "records").iterdir())) == 1


@pytest.mark.usefixtures("reports")
def test_a_summary_that_breaks_costs_no_report(
    call: Any, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> object:
        raise RuntimeError("no table")

    monkeypatch.setattr(sys.modules["tunefront.reports.sections.summary"], "summary_table", broken)
    result = call("run", "--method", "ia3", "--backbone", "tiny", "--task", "docstrings/kind", "--seeds", "0")
    assert result.exit_code == 1
    assert "no table" in result.stderr
    assert "1 ok" in result.stdout
    assert (tmp_path / "results" / "report" / "report.html").is_file()


@pytest.mark.usefixtures("world")
def test_json_is_for_programs(call: Any) -> None:
    assert isinstance(json.loads(call("list", "suites", "--json").stdout), list)
