"""`tunefront report` on results folders with unusable, missing or foreign files."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.reports.factory import failed, record
from tunefront.bench.records.store import Store


@pytest.fixture
def results(tmp_path: Path) -> Path:
    store = Store(tmp_path / "results")
    store.prepare()
    for label in ("full", "ia3"):
        store.write(record(label=label, recipe={}, settings={}, data__n_test=1), pd.DataFrame({"id": ["0"]}))
    return tmp_path / "results"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "records").iterdir())


def test_odd_records_are_left_out_and_the_rest_is_drawn(call: Any, results: Path) -> None:
    old = json.loads((results / "records" / names(results)[0]).read_text(encoding="utf-8"))
    for number in range(36):
        content = {**old, "key": f"{number:08}", "schema_version": 1}
        (results / "records" / f"{number:08}.json").write_text(json.dumps(content), encoding="utf-8")
    (results / "records" / "aaaaaaaa.json").write_bytes(b"")
    (results / "records" / "cccccccc.json").mkdir()
    os.mkfifo(results / "records" / "dddddddd.json")
    before = names(results)
    result = call("report", str(results), "--format", "csv")
    assert result.exit_code == 0, result.output
    said = result.stderr.replace("\n", " ")
    assert "36 files" in said
    assert "aaaaaaaa.json" in said
    assert "cccccccc.json (a folder)" in said
    assert "dddddddd.json (a pipe)" in said
    assert said.count("warning:") == 3
    assert names(results) == before
    assert len((results / "report" / "report.csv").read_text(encoding="utf-8").splitlines()) == 3


def test_where_nothing_can_be_read_it_is_one_paragraph(call: Any, results: Path) -> None:
    for name in names(results):
        path = results / "records" / name
        path.write_text(path.read_text(encoding="utf-8").replace('"reason"', '"raison"'), encoding="utf-8")
    before = names(results)
    result = call("report", str(results))
    assert result.exit_code == 2
    assert "2 files" in result.stderr
    assert "raison" in result.stderr
    assert "warning" not in result.stderr
    assert names(results) == before
    assert not (results / "report").exists()


@pytest.mark.parametrize("command", ["report", "stale"])
def test_results_that_are_no_folder_are_a_mistake(command: str, call: Any, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    for results, message in (("taken", "is a file"), ("nowhere", "does not exist"), ("x" * 400, "too long")):
        result = call(command, results)
        assert result.exit_code == 2, result.output
        assert message in result.stderr


def test_a_report_says_which_cells_lack_predictions(call: Any, results: Path) -> None:
    shutil.rmtree(results / "predictions")
    result = call("report", str(results), "--format", "md")
    assert result.exit_code == 0
    assert "predictions for full on sst2, draw 0, seed 0; ia3 on sst2, draw 0, seed 0" in result.stderr.replace(
        "\n", ""
    )
    assert "full on sst2, draw 0, seed 0; ia3 on sst2, draw 0, seed 0" in (results / "report" / "report.md").read_text(
        "utf-8"
    )
    Store(results).write(record(label="full", recipe={}, settings={}, data__n_test=1), pd.DataFrame({"id": ["0"]}))
    result = call("report", str(results), "--format", "csv")
    assert "predictions for ia3 on sst2" in result.stderr.replace("\n", "")


def stored(folder: Path, *records: Any) -> Path:
    store = Store(folder)
    store.prepare()
    for each in records:
        store.write(each, pd.DataFrame({"id": ["0"]}) if each.status == "ok" else None)
    return folder


def made(**changes: Any) -> Any:
    return record(**{"recipe": {}, "settings": {}, "data__n_test": 1, **changes})


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(folder: Path) -> int:
    return len((folder / "report.csv").read_text(encoding="utf-8").splitlines()) - 1


def test_several_folders_make_one_report_in_the_working_directory(call: Any, here: Path) -> None:
    stored(here / "a", made(), made(seed=1))
    stored(here / "b", made(seed=1), made(seed=2))
    result = call("report", "a", "b", "a/", "--format", "csv")
    assert result.exit_code == 0, result.output
    assert "1 cell is in several folders" in result.stderr
    assert "warning" not in result.stderr
    assert rows(here / "tunefront-report") == 3
    assert not (here / "a" / "report").exists()


def test_a_folder_given_twice_is_one_folder(call: Any, here: Path) -> None:
    stored(here / "a", made())
    (here / "link").symlink_to("a")
    assert call("report", "a", "link", "a/", "--format", "csv").exit_code == 0
    assert rows(here / "a" / "report") == 1


def test_different_scores_of_a_cell_are_a_warning(call: Any, here: Path) -> None:
    stored(here / "a", made())
    other = made().model_copy(update={"scores": made(scores__test={"accuracy": 0.1}).scores})
    stored(here / "b", other)
    result = call("report", "a", "b", "--format", "csv")
    assert result.exit_code == 0
    assert "different scores" in result.stderr
    result = call("report", "a", "b", "--format", "csv", "--where", "results=b")
    assert "several folders" not in result.stderr
    assert "0.1" in (here / "tunefront-report" / "report.csv").read_text(encoding="utf-8")


def test_what_cannot_be_compared_names_the_folders(call: Any, here: Path) -> None:
    stored(here / "a", made())
    stored(here / "b b", made(seed=1, environment__device="cuda"))
    result = call("report", "a", "b b")
    assert result.exit_code == 2
    assert "(cpu in a, cuda in b b)" in result.stderr
    assert not (here / "tunefront-report").exists()


def test_a_folder_that_does_not_exist_is_a_mistake_and_an_empty_one_a_warning(call: Any, here: Path) -> None:
    stored(here / "a", made())
    (here / "empty").mkdir()
    assert call("report", "a", "gone", "empty").exit_code == 2
    result = call("report", "a", "empty", "--format", "csv")
    assert result.exit_code == 0
    assert "warning: empty has no records" in result.stderr
    result = call("report", "empty", str(here / "empty" / "."))
    assert result.exit_code == 2
    assert result.stderr.count("has no records") == 1


def test_a_folder_of_results_folders_names_them(call: Any, here: Path) -> None:
    stored(here / "all" / "a", made())
    result = call("report", "all")
    assert result.exit_code == 2
    assert "have records: a." in result.stderr
    assert "The folder above it has records." in call("report", "all/a/records").stderr


def test_plans_of_all_folders_are_compared(call: Any, here: Path) -> None:
    from tests.reports.factory import plan

    stored(here / "a", made())
    stored(here / "b", made(seed=1))
    (here / "b" / "plans").mkdir()
    predicted = plan(made(seed=1))
    (here / "b" / "plans" / f"{predicted.key}.json").write_text(predicted.model_dump_json(), encoding="utf-8")
    assert call("report", "a", "b", "--format", "md").exit_code == 0
    assert "predict" in (here / "tunefront-report" / "report.md").read_text(encoding="utf-8").lower()


def test_only_failures_in_all_folders_are_a_report(call: Any, here: Path) -> None:
    stored(here / "a", failed(recipe={}, settings={}))
    stored(here / "b", failed(seed=1, recipe={}, settings={}))
    assert call("report", "a", "b", "--format", "md").exit_code == 0
    assert "2 cells failed" in (here / "tunefront-report" / "report.md").read_text(encoding="utf-8")


def test_a_folder_without_predictions_is_named(call: Any, here: Path) -> None:
    stored(here / "a", made())
    shutil.rmtree(stored(here / "b", made(seed=1)) / "predictions")
    result = call("report", "a", "b", "--format", "csv")
    assert result.exit_code == 0
    assert "b/predictions has no complete predictions" in result.stderr


def test_two_folders_with_a_record_each_are_a_report(call: Any, here: Path) -> None:
    stored(here / "a", made())
    stored(here / "b", made(seed=1))
    result = call("report", "a", "b", "--format", "html,md,csv")
    assert result.exit_code == 0, result.output
    assert rows(here / "tunefront-report") == 2


def test_the_predictions_of_a_cell_are_read_from_the_folder_of_its_record(
    call: Any, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunefront.reports.formats import writing

    known: list[dict[str, str]] = []
    files = writing.AnswerFiles
    monkeypatch.setattr(writing, "AnswerFiles", lambda places: known.append(dict(places)) or files(places))
    stored(here / "a", made())
    stored(here / "b", made(), made(seed=1))
    shutil.rmtree(here / "a" / "predictions")
    assert call("report", "a", "b", "--format", "csv").exit_code == 0
    assert known == [{made().key: "b", made(seed=1).key: "b"}]


PRICES = 'currency = "EUR"\ndate = 2026-01-31\nsource = "us"\ndevice.hour = 1.5\n'


def test_a_report_has_prices_with_their_date_and_source(call: Any, results: Path, tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text(PRICES, encoding="utf-8")
    result = call("report", str(results), "--prices", "prices.toml", "--format", "md")
    assert result.exit_code == 0, result.output
    page = (results / "report" / "report.md").read_text(encoding="utf-8")
    assert "Prices in EUR as of 2026-01-31, from us." in page
    assert "Prices in" not in _without_prices(call, results)


def _without_prices(call: Any, results: Path) -> str:
    assert call("report", str(results), "--format", "md").exit_code == 0
    return (results / "report" / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (None, "prices.toml"),
        (PRICES.replace("1.5", "-1"), "device.hour"),
        (PRICES.replace("hour", "hours"), "did you mean 'hour'"),
        ("currency", "TOML"),
    ],
)
def test_prices_that_cannot_be_used_are_one_paragraph(
    text: str | None, word: str, call: Any, results: Path, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "prices.toml").write_text(text, encoding="utf-8")
    result = call("report", str(results), "--prices", "prices.toml", "--format", "csv")
    assert result.exit_code == 2
    assert word in result.stderr.replace("\n", " ")
    assert "\n\n" not in result.stderr.strip()
    assert "Traceback" not in result.stderr
    assert not (results / "report").exists()
