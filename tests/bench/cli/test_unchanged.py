"""A report is kept where a run ran nothing and its inputs are as they were, and drawn again in every other case."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reports.answered import world
from tests.reports.factory import record
from tests.s3 import Server
from tunefront.bench.cli.unchanged import NAME, digest_of, keep_inputs, kept_report
from tunefront.bench.records.store import Store


@pytest.fixture
def drawn(tmp_path: Path) -> tuple[Path, list[str]]:
    """A results folder with records and a report, and the keys of its records."""
    records = world(tmp_path, {"full": 0.8, "ia3": 0.7}, tasks=("sst2",), draws=(0,), rows=10)
    folder = tmp_path / "report"
    (folder / "plots").mkdir(parents=True)
    for name in ("report.html", "plots/a.svg"):
        (folder / name).write_text(name)
    keys = [record.key for record in records]
    digest = digest_of(str(tmp_path), keys)
    assert digest is not None
    keep_inputs(folder, digest, [str(folder / "report.html"), str(folder / "plots" / "a.svg")])
    return tmp_path, keys


def kept(drawn: tuple[Path, list[str]], keys: list[str] | None = None) -> list[str] | None:
    folder, own = drawn
    digest = digest_of(str(folder), own if keys is None else keys)
    assert digest is not None
    return kept_report(folder / "report", digest)


def test_nothing_changed(drawn: tuple[Path, list[str]]) -> None:
    found = kept(drawn)
    assert found is not None
    assert [Path(path).name for path in found] == ["report.html", "a.svg"]


def _touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


CHANGES: dict[str, Callable[[Path], object]] = {
    "a record is newer": lambda folder: _touch(next((folder / "records").iterdir())),
    "a record is gone": lambda folder: next((folder / "records").iterdir()).unlink(),
    "predictions are gone": lambda folder: next((folder / "predictions").iterdir()).unlink(),
    "a plan came": lambda folder: [(folder / "plans").mkdir(), (folder / "plans" / "a.json").write_text("{}")],
    "the report is gone": lambda folder: (folder / "report" / "report.html").unlink(),
    "a plot is gone": lambda folder: (folder / "report" / "plots" / "a.svg").unlink(),
    "the report was drawn by another command": lambda folder: _touch(folder / "report" / "report.html"),
    "the note is gone": lambda folder: (folder / "report" / NAME).unlink(),
    "the note is broken": lambda folder: (folder / "report" / NAME).write_text('{"digest": 1'),
    "the note is something else": lambda folder: (folder / "report" / NAME).write_text("[1]"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_anything_changed(drawn: tuple[Path, list[str]], change: str) -> None:
    CHANGES[change](drawn[0])
    assert kept(drawn) is None


def test_other_records_of_the_same_folder_have_another_report(drawn: tuple[Path, list[str]]) -> None:
    assert kept(drawn, drawn[1][:1]) is None


def test_a_url_that_says_nothing_of_contents_has_no_digest() -> None:
    Store("memory://unchanged").write(record())
    assert digest_of("memory://unchanged", []) is None


def test_the_digest_at_s3_changes_with_the_contents(s3: Server) -> None:
    store = Store(s3.new_url())
    seen = [digest_of(store.location, [])]
    for seed in (0, 1):
        store.write(record(key="k", seed=seed))
        seen.append(digest_of(store.location, ["k"]))
    assert len({*seen, None}) == 4
    assert digest_of(store.location, ["k"]) == seen[-1]
