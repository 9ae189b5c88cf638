"""`tunefront prune`: what it lists, asks, deletes and keeps."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.bench.records.made import changed
from tests.reports.factory import failed, plan, record, sha
from tunefront.bench.cli import prune as command
from tunefront.bench.records import Record, load_records
from tunefront.bench.records.store import Store

FRAME = pd.DataFrame({"id": ["a"], "label": [1], "prediction": [1]})
EARLY, LATE = "2025-01-01T00:00:00+00:00", "2025-03-01T00:00:00+00:00"


def made(at: str = LATE, **changes: Any) -> Record:
    fields = {"recipe": {}, "settings": {}, "data__n_test": 1, **changes}
    return changed(record(**fields), {"environment.created_at": at})


OLD = made(EARLY, versions={"torch": "2.8.0"})
NEW = made()
FAILED = failed(label="houlsby:bottleneck=8", recipe={}, settings={})
MENDED = changed(failed(label="full", seed=1, recipe={}, settings={}), {"environment.created_at": EARLY})
OTHER_SEED = made(seed=1)
EDITED = made(EARLY, fingerprints={**NEW.fingerprints, "task": sha("before the edit")})


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return stored(tmp_path / "results", OLD, NEW, FAILED, MENDED, OTHER_SEED)


def stored(folder: Path, *records: Record) -> Path:
    store = Store(folder)
    store.prepare()
    for each in records:
        store.write(each, FRAME if each.status == "ok" else None)
    return folder


def keys(folder: Path | str) -> set[str]:
    return {one.key for one in load_records(folder)}


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A terminal whose user gives this answer; an exception is raised instead of one, a function is called before a
    yes."""

    def given(value: bool | BaseException | Callable[[], object]) -> list[str]:
        asked: list[str] = []

        def ask(console: object, question: str) -> bool:
            asked.append(question)
            if isinstance(value, BaseException):
                raise value
            return value if isinstance(value, bool) else value() is None

        monkeypatch.setattr(command, "can_ask", lambda console: True)
        monkeypatch.setattr(command, "ask", ask)
        return asked

    return given


def test_superseded_and_failed_records_are_deleted_with_their_predictions(
    call: Any, results: Path, answer: Any
) -> None:
    asked = answer(True)
    result = call("prune", str(results))
    assert result.exit_code == 0, result.output
    assert len(asked) == 1
    assert keys(results) == {NEW.key, OTHER_SEED.key}
    assert {path.stem for path in (results / "predictions").iterdir()} == {NEW.key, OTHER_SEED.key}
    assert "deleted 3 records" in result.stdout


@pytest.mark.parametrize("value", [False, KeyboardInterrupt()], ids=["no", "Ctrl-C"])
def test_without_a_yes_nothing_is_deleted(call: Any, results: Path, answer: Any, value: Any) -> None:
    answer(value)
    before = files(results)
    result = call("prune", str(results))
    assert result.exit_code == (0 if value is False else 130)
    assert "Nothing was deleted." in result.stderr
    assert files(results) == before


def test_without_a_terminal_it_is_a_mistake_that_names_both_ways_out(call: Any, results: Path) -> None:
    before = files(results)
    result = call("prune", str(results))
    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert "--dry-run" in result.stderr
    assert files(results) == before


def test_yes_asks_nothing(call: Any, results: Path) -> None:
    assert call("prune", str(results), "--yes").exit_code == 0
    assert keys(results) == {NEW.key, OTHER_SEED.key}


def test_a_dry_run_lists_with_reasons_and_deletes_nothing(call: Any, results: Path) -> None:
    before = files(results)
    result = call("prune", str(results), "--dry-run", "--yes")
    assert result.exit_code == 0
    shown = " ".join(result.stdout.split())
    assert "torch 2.8.0" in shown
    assert "loss is not finite" in shown
    assert "3 of 5 records" in shown
    assert files(results) == before


@pytest.mark.parametrize(
    ("option", "gone"), [("--failed", {FAILED.key, MENDED.key}), ("--superseded", {OLD.key, MENDED.key})]
)
def test_a_kind_can_be_chosen(call: Any, results: Path, option: str, gone: set[str]) -> None:
    before = keys(results)
    assert call("prune", str(results), option, "--yes").exit_code == 0
    assert before - keys(results) == gone


def test_where_chooses_among_them(call: Any, results: Path) -> None:
    assert call("prune", str(results), "--where", "seed=1", "--yes").exit_code == 0
    assert keys(results) == {OLD.key, NEW.key, FAILED.key, OTHER_SEED.key}


@pytest.mark.parametrize("where", ["seed=9", "sead=1", "results=a", "seed"])
def test_a_filter_that_fits_nothing_is_a_mistake(call: Any, results: Path, where: str) -> None:
    assert call("prune", str(results), "--where", where, "--yes").exit_code == 2
    assert len(keys(results)) == 5


def test_records_of_other_rows_are_kept_and_named_unless_they_are_chosen(call: Any, tmp_path: Path) -> None:
    results = stored(tmp_path / "results", EDITED, NEW)
    result = call("prune", str(results), "--yes")
    assert result.exit_code == 0
    assert "--other-data" in result.stdout
    assert keys(results) == {EDITED.key, NEW.key}
    assert call("prune", str(results), "--other-data", "--yes").exit_code == 0
    assert keys(results) == {NEW.key}


def test_of_records_of_two_data_sets_with_one_name_the_newest_of_each_is_kept(call: Any, tmp_path: Path) -> None:
    before = made("2024-01-01T00:00:00+00:00", fingerprints=EDITED.fingerprints, versions={"torch": "2.8.0"})
    results = stored(tmp_path / "results", before, EDITED, NEW)
    assert call("prune", str(results), "--yes").exit_code == 0
    assert keys(results) == {EDITED.key, NEW.key}


def test_nothing_to_delete_is_said(call: Any, tmp_path: Path) -> None:
    results = stored(tmp_path / "results", NEW)
    result = call("prune", str(results))
    assert result.exit_code == 0
    assert "nothing to delete" in result.stdout


def test_a_running_cell_stops_it(call: Any, results: Path) -> None:
    before = files(results)
    with Store(results).claim(OTHER_SEED.key):
        result = call("prune", str(results), "--yes")
        listed = call("prune", str(results), "--dry-run")
    assert result.exit_code == 2
    assert "running" in result.stderr
    assert listed.exit_code == 0
    assert {path for path in files(results) if path.suffix != ".lock"} == before


def test_a_folder_that_may_not_be_changed_is_one_paragraph(
    call: Any, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, access = files(results), os.access
    monkeypatch.setattr(os, "access", lambda path, *more: "results" not in str(path) and access(path, *more))
    result = call("prune", str(results), "--yes")
    assert result.exit_code == 2
    assert "permissions" in result.stderr
    assert files(results) == before


def test_a_file_that_cannot_be_deleted_ends_it_and_the_count_is_said(
    call: Any, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink = Path.unlink

    def refuse(path: Path, *arguments: Any, **options: Any) -> None:
        if path.stem == sorted([OLD.key, FAILED.key, MENDED.key])[1]:
            raise PermissionError(1, "Operation not permitted", str(path))
        unlink(path, *arguments, **options)

    monkeypatch.setattr(Path, "unlink", refuse)
    result = call("prune", str(results), "--yes")
    assert result.exit_code == 2
    assert "Operation not permitted" in result.stderr
    assert "deleted 1 record," in result.stdout
    assert "2 records kept" in result.stdout
    assert len(keys(results)) == 4


def test_an_interruption_between_two_cells_keeps_the_rest(
    call: Any, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunefront.bench.records import deletion

    remove = deletion.delete

    def interrupted(*arguments: Any) -> bool:
        remove(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(deletion, "delete", interrupted)
    result = call("prune", str(results), "--yes")
    assert result.exit_code == 130
    assert len(keys(results)) == 4
    assert {NEW.key, OTHER_SEED.key} <= keys(results)


def test_a_record_whose_newer_one_is_gone_by_now_is_kept(call: Any, results: Path, answer: Any) -> None:
    answer((results / "records" / f"{NEW.key}.json").unlink)
    assert call("prune", str(results)).exit_code == 0
    assert OLD.key in keys(results)


def test_plans_go_with_superseded_records_and_stay_with_failed_ones(call: Any, results: Path) -> None:
    (results / "plans").mkdir()
    for each in (OLD, FAILED, NEW):
        predicted = plan(each)
        (results / "plans" / f"{each.key}.json").write_text(predicted.model_dump_json(), encoding="utf-8")
    assert call("prune", str(results), "--yes").exit_code == 0
    assert {path.stem for path in (results / "plans").iterdir()} == {FAILED.key, NEW.key}


def test_files_that_it_does_not_know_are_kept(call: Any, results: Path) -> None:
    foreign = [
        results / "notes.txt",
        results / "records" / "mine.json",
        results / "records" / f"{OLD.key}.json.corrupt",
        results / "predictions" / "mine.parquet",
        results / "report" / "report.html",
    ]
    for path in foreign:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine", encoding="utf-8")
        os.utime(path, (time.time() - 1e6,) * 2)
    assert call("prune", str(results), "--yes").exit_code == 0
    assert all(path.read_text(encoding="utf-8") == "mine" for path in foreign)


def test_old_predictions_of_no_record_go_unless_a_kind_is_chosen(call: Any, results: Path) -> None:
    path = results / "predictions" / f"{sha('x')}.parquet"
    path.write_bytes(b"PAR1")
    os.utime(path, (time.time() - 1e6,) * 2)
    assert call("prune", str(results), "--failed", "--yes").exit_code == 0
    assert path.exists()
    result = call("prune", str(results), "--yes")
    assert "1 file without a record" in result.stdout
    assert not path.exists()


def test_a_url_is_pruned(call: Any) -> None:
    store = Store("memory://prune/url")
    store.prepare()
    for each in (OLD, NEW):
        store.write(each, FRAME)
    assert call("prune", store.location, "--yes").exit_code == 0
    assert keys(store.location) == {NEW.key}


def test_folders_are_looked_at_one_by_one(call: Any, tmp_path: Path) -> None:
    first, second = stored(tmp_path / "a", OLD), stored(tmp_path / "b", NEW)
    assert call("prune", str(first), str(second), f"{first}/", "--yes").exit_code == 0
    assert keys(first) == {OLD.key}


def test_missing_and_empty_folders_are_all_named(call: Any, results: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = call("prune", str(results), "nowhere", "empty", "--yes")
    assert result.exit_code == 2
    assert "nowhere does not exist" in result.stderr
    assert "empty has no records" in result.stderr
    assert len(keys(results)) == 5


def test_hostile_names_do_not_reach_the_terminal_and_long_lists_are_cut(call: Any, tmp_path: Path) -> None:
    odd = [
        failed(label=f"m{number}\x1b[31m", task="t" * 300 + "\n[red]", reason="x\x07" * 900, recipe={}, settings={})
        for number in range(60)
    ]
    results = stored(tmp_path / "results", *odd)
    result = call("prune", str(results), "--dry-run")
    assert result.exit_code == 0
    assert not {"\x1b", "\x07"} & set(result.stdout)
    assert "m59" in result.stdout
    cut = call("prune", str(results))
    assert "20 more rows" in cut.stdout
    assert "m59" not in cut.stdout
    assert all(len(line) <= 80 for line in cut.stdout.splitlines() if "results" not in line)


def test_a_pruned_folder_can_be_reported(call: Any, tmp_path: Path) -> None:
    results = stored(tmp_path / "results", OLD, NEW)
    refused = call("report", str(results), "--format", "csv")
    assert refused.exit_code == 2
    assert "tunefront prune" in refused.stderr
    assert call("prune", str(results), "--yes").exit_code == 0
    assert call("report", str(results), "--format", "csv").exit_code == 0
