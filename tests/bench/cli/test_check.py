"""`tunefront check`: the screen, JSON, Python, mended guesses, and bad input."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT
from tests.bench.data.sources.test_own_file import csv_file, lines, put, sentence
from tunefront import check
from tunefront.bench.errors import UserError

DATA = ROOT.parent / "shared" / "data"
FOLDERS = sorted(path.parent for path in DATA.glob("*/meta.json"))
FAST = ("--no-baseline",)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    csv_file(tmp_path, 200)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(call: Any, *arguments: str) -> dict[str, Any]:
    result = call("check", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def screen(call: Any, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> list[str]:
    monkeypatch.setenv("COLUMNS", "80")
    result = call("check", *arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout.splitlines()


def test_what_was_read_is_said(folder: Path, call: Any, backbones: dict[str, str]) -> None:
    read = found(call, "tickets.csv", "--backbone", backbones["bert"])
    columns = {column["name"]: column["read_as"] for column in read["columns"]}
    assert columns == {
        "ticket_id": "id",
        "customer": "left out",
        "title": "text",
        "review": "text",
        "sentiment": "label",
    }
    assert sum(read["rows"].values()) == 200
    assert {label["name"]: label["share"] for label in read["labels"]} == {"bad": 0.5, "good": 0.5}
    assert read["lengths"]["unit"] == "tokens"
    assert read["baseline"]["linear"] is not None
    assert read["power"]["rows"] > read["power"]["test_rows"]
    assert read["guessed"] == ["text", "label", "split"]


def test_rows_that_are_all_cut_are_not_said_to_be_whole(
    folder: Path, call: Any, backbones: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, "long.csv", lines("text,label", lambda n: f"{sentence(n) * 200},{n % 2}", 40))
    shown = "\n".join(screen(call, monkeypatch, "long.csv", "--backbone", backbones["bert"], *FAST))
    assert "none would be cut" not in shown


def test_a_wrong_guess_is_seen_and_mended_by_one_flag(folder: Path, call: Any) -> None:
    row = lambda i: f'"{sentence(i)}",{i % 2},{("bad", "good", "odd")[i * 7 % 3]}'  # noqa: E731
    put(folder, "odd.csv", lines("review,label,opinion", row, 120))
    before, after = found(call, "odd.csv", *FAST), found(call, "odd.csv", "--label", "opinion", *FAST)
    assert "label" in before["guessed"]
    assert "label" not in after["guessed"]
    assert [label["name"] for label in before["labels"]] == ["0", "1"]
    assert [label["name"] for label in after["labels"]] == ["bad", "good", "odd"]


def test_a_leaking_column_is_named(folder: Path, call: Any) -> None:
    row = lambda i: f'"{sentence(i)}",R{i % 2}{i % 10},{("bad", "good")[i % 2]}'  # noqa: E731
    put(folder, "leak.csv", lines("review,resolution,label", row, 200))
    (leak,) = [each for each in found(call, "leak.csv", *FAST)["findings"] if each["kind"] == "leak"]
    assert "'resolution'" in leak["text"]


def test_a_read_column_that_leaks_is_a_warning(folder: Path, call: Any) -> None:
    row = lambda i: f'"{sentence(i)}",this is case {i % 4},{("bad", "good")[i % 2]}'  # noqa: E731
    put(folder, "leak.csv", lines("review,summary,label", row, 200))
    read = found(call, "leak.csv", "--text", "review,summary", *FAST)
    assert [each["level"] for each in read["findings"] if "'summary'" in each["text"]] == ["warning"]


@pytest.mark.parametrize("classes", [2, 150])
def test_a_screen_has_80_columns_and_some_50_lines(
    tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch, classes: int
) -> None:
    csv_file(tmp_path, 1500, classes=[f"intent number {number}" for number in range(classes)])
    shown = screen(call, monkeypatch, "tickets.csv", *FAST)
    assert max(map(len, shown)) <= 80
    assert len(shown) <= 55


def test_the_next_command_reads_the_same(folder: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = screen(call, monkeypatch, "tickets.csv", "--text", "title,review", "--label", "sentiment", *FAST)
    assert "tunefront run --data tickets.csv --text title,review --label sentiment" in " ".join(shown)


def test_texts_cannot_control_the_terminal(folder: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    row = lambda i: f'"\x1b[31m[bold]{sentence(i)}\r\n\u202ered",a\x07{i % 5},[red]l{i % 2}[/red]'  # noqa: E731
    put(folder, "hostile.csv", lines("review[/bold],no\x1bte,label", row, 100))
    shown = "\n".join(screen(call, monkeypatch, "hostile.csv", *FAST))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown)
    assert "[red]l0[/red]" in shown
    assert "review[/bold]" in shown


def test_a_name_of_a_task_is_checked_too(folder: Path, call: Any, toy_folder: str) -> None:
    assert found(call, toy_folder, *FAST)["name"] == toy_folder
    assert found(call, "tickets.csv?label=sentiment", *FAST)["name"] == "file:tickets.csv?label=sentiment"


def test_labels_that_look_alike_are_reported_once(folder: Path, call: Any) -> None:
    csv_file(folder, 120, "odd.csv", ("bad", "good", "Good"))
    findings = found(call, "odd.csv", *FAST)["findings"]
    assert [each["kind"] for each in findings if "'Good'" in each["text"]] == ["alike"]


def test_nothing_is_written(folder: Path, call: Any) -> None:
    found(call, "tickets.csv", *FAST)
    assert [path.name for path in folder.iterdir()] == ["tickets.csv"]


def test_warnings_do_not_fail_the_command(folder: Path, call: Any) -> None:
    put(folder, "odd.csv", lines("text,label", lambda i: f'"{sentence(i % 7)}",{"good" if i % 3 else "bad"}', 90))
    assert [each for each in found(call, "odd.csv", *FAST)["findings"] if each["level"] == "warning"]


BAD = {
    "empty": "",
    "a header alone": "text,label\n",
    "one column": lines("text", sentence),
    "one class": lines("text,label", lambda i: f'"{sentence(i)}",good'),
    "all labels different": lines("text,label", lambda i: f'"{sentence(i)}",name of {i}'),
    "no text column": lines("a,label", lambda i: f"{i * 1.5},{i % 2}"),
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_bad_input_is_one_paragraph_and_exit_code_2(folder: Path, call: Any, content: str) -> None:
    put(folder, "bad.csv", content)
    result = call("check", "bad.csv")
    assert result.exit_code == 2, result.output
    assert len(result.stderr.strip().splitlines()) == 1
    assert "bad.csv" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (("tikets.csv",), "did you mean 'tickets.csv'"),
        (("tickets.csv", "--label", "sentimnt"), "did you mean 'sentiment'"),
        (("tickets.csv", "--test", "other.csv"), "other.csv"),
        (("tickets.csv", "--backbone", "no/such/folder/model"), "no/such/folder/model"),
        (("docstrings/kind", "--label", "x"), "--label"),
        (("tickets.csv?label=sentiment", "--kind", "regression"), "--kind"),
        (("",), "path"),
    ],
)
def test_a_mistake_is_one_paragraph_and_exit_code_2(folder: Path, call: Any, arguments: Any, fact: str) -> None:
    put(folder, "other.csv", lines("body,mark", lambda i: f'"{sentence(i)}",{i % 2}'))
    result = call("check", *arguments)
    assert result.exit_code == 2, result.output
    assert fact in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def test_a_file_larger_than_the_memory_for_data_is_refused_unread(
    folder: Path, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(folder, "line.csv", "")
    with path.open("wb") as file:
        file.truncate(10 * 2**30)  # one line, of which no byte is stored
    result = call("check", "line.csv")
    assert result.exit_code == 2, result.output
    assert "TUNEFRONT_MAX_DATA_BYTES" in result.stderr


def test_python_and_the_command_find_the_same(folder: Path, call: Any, tmp_path: Path) -> None:
    read = check("tickets.csv", label="sentiment", baseline=False).as_json()
    told = found(call, "tickets.csv", "--label", "sentiment", *FAST)
    for each in (read, told):
        each.pop("seconds"), each.pop("peak_memory_bytes")
    assert json.loads(json.dumps(read)) == told


def test_a_dataframe_can_be_checked(folder: Path) -> None:
    import pandas as pd

    frame = pd.read_csv("tickets.csv")
    assert check(frame, baseline=False).rows == check("tickets.csv", baseline=False).rows


def test_python_refuses_what_is_no_data() -> None:
    with pytest.raises(UserError, match="of type int"):
        check(3)


@pytest.mark.skipif(not FOLDERS, reason="../shared/data is not next to this checkout")
@pytest.mark.parametrize("name", [folder.name for folder in FOLDERS])
def test_a_shared_folder_has_a_screen(name: str, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = screen(call, monkeypatch, str(DATA / name), *FAST)
    assert max(map(len, shown)) <= 80
    assert len(shown) <= 60


def test_many_columns_are_grouped(folder: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = ",".join(f"n{place}" for place in range(200))
    row = lambda i: f'"{sentence(i)}",{i % 2},' + ",".join(str(i * place % 7) for place in range(200))  # noqa: E731
    put(folder, "wide.csv", lines(f"review,label,{numbers}", row, 80))
    shown = screen(call, monkeypatch, "wide.csv", *FAST)
    assert len(shown) < 50
    assert any("n0 and 199 more" in line for line in shown)


def test_lengths_of_multiple_choice_are_those_of_a_language_model(tmp_path: Path) -> None:
    rows = "\n".join(f"w{row % 9} w1,w2,w3,{'AB'[row % 2]}" for row in range(100))
    (tmp_path / "mc.csv").write_text(f"question,A,B,answer\n{rows}\n")
    assert check(tmp_path / "mc.csv").lengths.backbone == "nano"
