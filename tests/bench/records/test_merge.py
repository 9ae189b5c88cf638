"""Records of several folders: a cell in two of them counts once, and its predictions follow it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.bench.records.made import changed
from tests.reports.factory import failed, plan, record
from tunefront.bench.errors import UserError
from tunefront.bench.records import Record, Records, load_plans, load_records
from tunefront.bench.records.merge import NEVER, distinct, find_overlap, merge, score_gap, written_at
from tunefront.bench.records.store import Store

FRAME = pd.DataFrame({"id": ["a"], "label": [1], "prediction": [1]})
EARLY, LATE = "2025-01-01T00:00:00+00:00", "2025-03-01T00:00:00+00:00"


def cell(at: str = EARLY, accuracy: float = 0.5, **changes: Any) -> Record:
    """A record of one and the same cell, written at a time."""
    fields = {"recipe": {}, "settings": {}, "data__n_test": 1, **changes}
    made = record(key="c" * 64, scores__test={"accuracy": accuracy}, **fields)
    return changed(made, {"environment.created_at": at})


def stored(folder: Path, *records: Record, predictions: bool = True) -> str:
    store = Store(folder)
    store.prepare()
    for each in records:
        store.write(each, FRAME if predictions and each.status == "ok" else None)
    return str(folder)


@pytest.mark.parametrize("newest_first", [True, False])
def test_of_one_key_the_newest_record_and_its_folder_are_kept(tmp_path: Path, newest_first: bool) -> None:
    folders = [stored(tmp_path / "new", cell(LATE)), stored(tmp_path / "old", cell(EARLY))]
    records = load_records(*(folders if newest_first else reversed(folders)))
    assert [one.environment.created_at for one in records] == [LATE]
    assert records.places == {"c" * 64: folders[0]}
    assert [other.folder for other in records.others] == [folders[1]]


def test_a_record_with_predictions_is_kept_before_a_newer_one_without(tmp_path: Path) -> None:
    whole = stored(tmp_path / "whole", cell(EARLY))
    bare = stored(tmp_path / "bare", cell(LATE), predictions=False)
    assert load_records(whole, bare).places == {"c" * 64: whole}


@pytest.mark.parametrize("status", ["failed", "skipped"])
def test_an_ok_record_is_kept_before_a_newer_one_that_is_not(tmp_path: Path, status: str) -> None:
    ok = stored(tmp_path / "ok", cell(EARLY))
    bad = failed(status, recipe={}, settings={}, environment__created_at=LATE)
    other = stored(tmp_path / "bad", bad.model_copy(update={"key": "c" * 64}))
    assert [one.status for one in load_records(other, ok)] == ["ok"]


def test_equal_scores_are_counted_and_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    records = load_records(stored(tmp_path / "a", cell()), stored(tmp_path / "b", cell(LATE)))
    overlap = find_overlap(records)
    assert overlap.note.startswith("1 cell ")
    assert not overlap.warning
    assert not [line for line in caplog.records if line.levelno >= logging.WARNING]


def test_other_scores_are_a_warning_with_number_size_and_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    a, b, c = (
        stored(tmp_path / name, cell(at, accuracy))
        for name, at, accuracy in (("a", EARLY, 0.5), ("b", LATE, 0.75), ("c", EARLY, 0.7))
    )
    warning = find_overlap(load_records(a, b, c)).warning
    assert warning in caplog.text
    assert "1 cell " in warning
    assert "0.25 (accuracy)" in warning
    assert f"{b}: 1" in warning


def test_a_missing_score_is_a_difference_without_a_size() -> None:
    one, other = cell(), changed(cell(), {"scores.test": {"accuracy": None}})
    assert score_gap(one, other) == (float("inf"), "accuracy")
    assert score_gap(other, other) is None
    both = merge_two(one, other)
    assert "inf" not in find_overlap(both).warning


def merge_two(one: Record, other: Record) -> Records:
    from tunefront.bench.records import Stored

    return merge([Stored("a", one), Stored("b", other)])


def test_a_folder_given_twice_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = stored(tmp_path / "a", cell())
    link = tmp_path / "link"
    link.symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    assert distinct([folder, f"{folder}/", str(link), "a", "./a", f"file://{folder}"]) == [folder]
    assert not load_records(folder, link).others


def test_a_url_given_twice_counts_once() -> None:
    assert distinct(["memory://x/", "memory://x", "memory://y"]) == ["memory://x/", "memory://y"]


def test_folders_that_do_not_exist_yet_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    assert len(distinct([tmp_path / "x", tmp_path / "x" / ".", tmp_path / "y"])) == 2


def test_a_blank_folder_is_refused() -> None:
    with pytest.raises(UserError):
        distinct([" "])


def test_records_of_a_url_and_a_folder_are_merged(tmp_path: Path) -> None:
    url = "memory://merge/url"
    store = Store(url)
    store.prepare()
    store.write(cell(LATE), FRAME)
    records = load_records(stored(tmp_path / "a", cell(EARLY)), url)
    assert records.places == {"c" * 64: url}


def test_plans_of_all_folders_are_read_the_newest_of_each(tmp_path: Path) -> None:
    for name, at, seconds in (("a", EARLY, 1.0), ("b", LATE, 2.0)):
        predicted = plan(cell(at), seconds__train=seconds)
        (tmp_path / name / "plans").mkdir(parents=True)
        path = tmp_path / name / "plans" / f"{predicted.key}.json"
        path.write_text(predicted.model_dump_json(), encoding="utf-8")
    assert [one.seconds.train for one in load_plans(tmp_path / "a", tmp_path / "b")] == [2.0]


@pytest.mark.parametrize("text", [None, "", "yesterday", "2025-13-45"])
def test_a_record_without_a_time_is_older_than_all_others(text: str | None) -> None:
    assert written_at(changed(cell(), {"environment.created_at": text})) == NEVER


def test_a_time_without_a_zone_is_utc() -> None:
    assert (
        written_at(cell("2025-01-01T00:00:00")) == written_at(cell("2025-01-01T00:00:00Z")) == written_at(cell(EARLY))
    )


def test_the_table_of_several_folders_has_a_column_for_them(tmp_path: Path) -> None:
    one = stored(tmp_path / "a", cell())
    two = stored(tmp_path / "b", record(seed=5, recipe={}, settings={}))
    assert load_records(one, two).to_frame()["results"].tolist() == [one, two]
    assert "results" not in load_records(one).to_frame()
