"""Records that a newer record of the same cell replaces."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bench.records.made import changed
from tests.reports.factory import failed, record, sha
from tests.reports.streamed import alone, passage
from tunefront.bench.records import Record
from tunefront.reports.compare.superseded import find_superseded, without_mended
from tunefront.reports.sections.document import compose

EARLY, LATE = "2025-01-01T00:00:00+00:00", "2025-03-01T00:00:00+00:00"
PRINTS = {**record().fingerprints, "draw": sha("draw"), "harness": sha("harness")}
OLD = {"torch": "2.8.0", "transformers": "5.0.0"}


def at(time: str | None, made: Record) -> Record:
    return changed(made, {"environment.created_at": time})


def bad(time: str = EARLY, status: str = "failed", **changes: Any) -> Record:
    """A failed record of the same cell as `record()`."""
    same = {"label": "full", "method": "full", "recipe": record().recipe, "settings": record().settings}
    return at(time, failed(status, **{**same, "fingerprints": record().fingerprints, **changes}))


def test_the_older_of_two_records_of_a_cell_is_superseded_and_says_by_what() -> None:
    old, new = at(EARLY, record(versions=OLD)), at(LATE, record())
    (found,) = find_superseded([new, old])
    assert (found.record, found.newer) == (old, new)
    assert found.changes == ["torch 2.8.0, now 2.9.0"]
    assert not found.is_other_data


def test_each_older_record_points_at_the_newest() -> None:
    times = [f"2025-0{month}-01T00:00:00+00:00" for month in (1, 2, 3)]
    records = [at(time, record(versions={"torch": time})) for time in times]
    assert [(found.record, found.newer) for found in find_superseded(records)] == [
        (records[0], records[2]),
        (records[1], records[2]),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"draw_seed": 1},
        {"shots": 16},
        {"template": "t"},
        {"task": "trec"},
        {"backbone": "nano"},
        {"label": "ia3"},
        {"recipe": {**record().recipe, "epochs": 4.0}},
        {"settings": {**record().settings, "max_length": 64}},
        {"settings": {**record().settings, "threads": 2}},
        {"settings": {**record().settings, "device": "cuda"}},
        {"data__draw_source": "few_shot/16_shot"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_another_choice_is_another_cell(changes: dict[str, Any]) -> None:
    assert not find_superseded([at(EARLY, record(**changes)), at(LATE, record())])


@pytest.mark.parametrize(("early", "late"), [(EARLY, EARLY), (None, None), ("yesterday", "today")])
def test_records_that_do_not_tell_which_is_newer_are_all_kept(early: str | None, late: str | None) -> None:
    assert not find_superseded([at(early, record(versions=OLD)), at(late, record())])


def test_a_failed_or_skipped_record_supersedes_nothing() -> None:
    assert not find_superseded([at(EARLY, record()), bad(LATE), bad(LATE, "skipped")])


@pytest.mark.parametrize(
    ("changes", "other"),
    [
        ({"fingerprints": {**PRINTS, "task": sha("other")}}, True),
        ({"fingerprints": {**PRINTS, "backbone": sha("other")}}, True),
        ({"fingerprints": {**PRINTS, "draw": sha("other")}}, True),
        ({"method_file": "other/mine.py"}, True),
        ({"fingerprints": {**PRINTS, "method": sha("other")}}, False),
        ({"fingerprints": {**PRINTS, "harness": sha("other")}}, False),
        ({"fingerprints": {}}, False),
    ],
)
def test_other_rows_weights_or_files_under_one_name_are_other_data(changes: dict[str, Any], other: bool) -> None:
    new = record(fingerprints=PRINTS, method_file="mine.py")
    old = record(**{"fingerprints": PRINTS, "method_file": "mine.py", **changes}, versions=OLD)
    (found,) = find_superseded([at(EARLY, old), at(LATE, new)])
    assert found.is_other_data is other


def test_a_newer_record_of_the_same_rows_is_named_before_a_newest_of_others() -> None:
    times = [f"2025-0{month}-01T00:00:00+00:00" for month in (1, 2, 3)]
    newest = record(fingerprints={**PRINTS, "task": sha("other")})
    records = [at(times[0], record(versions=OLD)), at(times[1], record()), at(times[2], newest)]
    found = find_superseded(records)
    assert [(one.newer, one.is_other_data) for one in found] == [(records[1], False), (records[2], True)]


@pytest.mark.parametrize("status", ["failed", "skipped"])
def test_a_cell_that_was_mended_since_is_not_shown_as_failed(status: str) -> None:
    records = [at(LATE, record()), bad(EARLY, status)]
    kept, note = without_mended(records)
    assert kept == records[:1]
    assert note.startswith("1 ")
    report = compose(records)
    assert report.absent is None
    assert len(report.records) == 1
    assert note in report.background[0].note
    assert not [text for text in report.warnings if "failed" in text or "skipped" in text]


def test_a_failure_from_other_published_draws_than_named_is_mended_too() -> None:
    """Only ok records say where their rows were drawn from."""
    kept, _ = without_mended([at(LATE, record(data__draw_source="few_shot/16_shot")), bad()])
    assert [one.status for one in kept] == ["ok"]


def test_a_failure_that_is_newer_than_the_score_is_shown() -> None:
    report = compose([at(EARLY, record()), bad(LATE)])
    assert report.absent is not None


def test_a_failure_of_another_cell_is_shown() -> None:
    report = compose([at(LATE, record()), bad(seed=1)])
    assert report.absent is not None


def test_records_without_failures_are_as_they_were() -> None:
    records = [at(EARLY, record(versions=OLD)), at(LATE, record())]
    assert without_mended(records) == (records, "")


def test_the_steps_of_a_stream_are_cells_of_their_own() -> None:
    tasks = {"a": 0.8, "b": 0.7}
    records = [*alone("full", tasks), *passage("full", "sequential", ("a", "b"), ((0.8,), (0.6, 0.7)))]
    assert find_superseded([at(EARLY, record) for record in records[:-1]] + [at(LATE, records[-1])]) == []
    step = records[-1]
    (found,) = find_superseded([at(EARLY, step), at(LATE, step)])
    assert not found.is_other_data
    prints = [{**step.fingerprints, "earlier task 1": sha(text)} for text in ("then", "now")]
    then, now = (step.model_copy(update={"fingerprints": each}) for each in prints)
    (found,) = find_superseded([at(EARLY, then), at(LATE, now)])
    assert found.is_other_data
