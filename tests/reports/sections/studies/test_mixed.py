"""The section of mixed batches says what the records say."""

from __future__ import annotations

from pathlib import Path

from tests.reports.streamed import alone
from tunefront.bench.records import Mixed, Record
from tunefront.bench.records.answers import AnswerFiles
from tunefront.reports import write
from tunefront.reports.sections.studies.collect import studies_of


def members(separate: bool = True) -> list[Record]:
    records = [*alone("ia3", {"sst2": 0.8, "trec": 0.7}), *alone("full", {"sst2": 0.9, "trec": 0.6})]
    speeds = {"mixed": 300.0, "switching": 150.0, **({"separate": 100.0} if separate else {})}
    weights = {"mixed": 2_000_000, "switching": 2_000_000, **({"separate": 8_000_000} if separate else {})}
    mixed = Mixed(
        members=tuple(record.key for record in records),
        largest_difference=2e-7,
        changed_answers=0,
        n_rows=64,
        rows_per_second=speeds,
        weights_bytes=weights,
        peak_bytes={way: size + 1000 for way, size in weights.items()},
    )
    return [record.model_copy(update={"mixed": mixed}) for record in records]


def test_the_tables_have_a_row_per_way_and_per_member() -> None:
    (study,) = studies_of(members(), AnswerFiles({}))
    ways, rows = study.tables
    assert [row[1].text for row in ways.rows] == ["300", "150", "100"]
    assert [(row[0].text, row[1].text) for row in rows.rows] == [
        ("ia3", "sst2"),
        ("ia3", "trec"),
        ("full", "sst2"),
        ("full", "trec"),
    ]
    assert [row[2].text for row in rows.rows] == ["80.0", "70.0", "90.0", "60.0"]
    assert any("2.0e-07" in text for text in study.intro)


def test_a_way_that_was_not_measured_has_no_row() -> None:
    (study,) = studies_of(members(separate=False), AnswerFiles({}))
    assert len(study.tables[0].rows) == 2


def test_members_stay_in_the_comparison_of_methods(tmp_path: Path) -> None:
    written = write(members(), tmp_path / "report", formats=["md", "html", "tex", "csv"])
    text = next(Path(path) for path in written if str(path).endswith(".md")).read_text()
    assert "Mixed batches" in text
    assert text.index("ia3") < text.index("Mixed batches on")


def test_records_that_were_never_mixed_have_no_study() -> None:
    assert studies_of(alone("ia3", {"sst2": 0.8}), AnswerFiles({})) == ()
