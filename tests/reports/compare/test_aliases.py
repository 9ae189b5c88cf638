"""A folder under several names is one task, one backbone."""

from __future__ import annotations

from tests.reports.factory import failed, record
from tests.reports.streamed import passage
from tunefront.bench.records import Record
from tunefront.reports.compare.aliases import unify_names
from tunefront.reports.sections.document import compose

ROWS = {"method": "m" * 64, "backbone": "b" * 64, "task": "t" * 64}


def _record(**changes):
    return record(fingerprints=ROWS, **changes)


def test_two_spellings_of_a_task_are_one_column_under_the_shorter():
    records = [_record(task="dir:../x/toy", seed=1), _record(task="dir:toy"), _record(task="dir:toy", label="ia3")]
    for ordered in (records, records[::-1]):
        report = compose(ordered)
        assert [page.panel.tasks for page in report.pages] == [("dir:toy",)]
        (full, ia3) = report.pages[0].panel.entries
        assert (len(full.scores("dir:toy")), len(ia3.scores("dir:toy"))) == (2, 1)


def test_two_spellings_of_a_backbone_are_one_panel():
    report = compose([_record(backbone="models/nano"), _record(backbone="/home/me/models/nano", seed=1)])
    assert [page.panel.backbone for page in report.pages] == ["models/nano"]


def test_other_rows_other_pooling_and_unknown_rows_keep_their_names():
    other = {**ROWS, "task": "u" * 64}
    records = [
        _record(task="a"),
        record(task="bb", fingerprints=other),
        record(task="ccc", fingerprints={}),
        _record(task="a", backbone="nano", model__pooling="first"),
    ]
    assert unify_names(records) == records


def test_a_failed_cell_without_fingerprints_goes_by_its_name():
    records = [_record(task="dir:toy"), _record(task="dir:../toy"), failed(task="dir:../toy"), failed(task="gone")]
    assert [renamed.task for renamed in unify_names(records)] == ["dir:toy", "dir:toy", "dir:toy", "gone"]


def test_a_name_of_several_contents_is_kept():
    records = [
        _record(task="toy"),
        record(task="x/toy", fingerprints={**ROWS, "task": "u" * 64}),
        _record(task="x/toy"),
    ]
    assert [renamed.task for renamed in unify_names(records)] == ["toy", "x/toy", "toy"]


def test_the_earlier_tasks_of_a_stream_are_named_as_the_tasks_are() -> None:
    """Two machines ran one stream from differently named folders."""
    prints = {"dir:x/a": "a" * 64, "dir:x/b": "b" * 64, "a": "a" * 64, "b": "b" * 64}

    def step(first: str, second: str) -> Record:
        made = passage("full", "sequential", (first, second), ((0.8,), (0.6, 0.7)))[0]
        known = {**ROWS, "task": prints[second], "earlier task 1": prints[first]}
        return made.model_copy(update={"fingerprints": known})

    there, here = unify_names([step("dir:x/a", "dir:x/b"), step("a", "b")])
    assert there.task == here.task == "b"
    assert there.stream.earlier == here.stream.earlier
    assert set(there.stream.earlier_scores or {}) == set(there.stream.earlier or ()) == {"a"}
