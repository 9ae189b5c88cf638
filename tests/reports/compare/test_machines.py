"""Seconds of unlike machines are neither averaged nor ranked anywhere in a report, and a filter shows those of one."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.bench.records.made import changed
from tests.reports.compare.test_break_even import NUMBERS, PROMPT
from tests.reports.compare.test_query_prices import PRICES, SHOWN, TRAINED
from tests.reports.factory import grid, ledger, plan, record
from tests.reports.prompted import prompted
from tests.reports.streamed import alone, passage
from tunefront.bench.records import CpuSeconds, ExamplesPerSecond, Latency, Percentiles, Record, Seconds
from tunefront.bench.records.answers import AnswerFiles
from tunefront.reports import write
from tunefront.reports.compare.checks import find_timing_mismatch, timing_filter
from tunefront.reports.compare.filters import select
from tunefront.reports.compare.panels import build
from tunefront.reports.compare.recipe_choice import choose
from tunefront.reports.formats.page_data import page_data
from tunefront.reports.sections.document import compose
from tunefront.reports.sections.forecast import totals
from tunefront.reports.sections.studies.collect import studies_of

OTHER = "Another CPU (R) @ 3.10GHz"
TIMES = (Seconds, CpuSeconds, Latency, ExamplesPerSecond)


def timed(**changes: Any) -> list[Record]:
    """Records of two methods with every kind of clock time."""
    query = Percentiles(p50=0.011, p95=0.013, p99=0.017, count=100)
    made = [ledger(each) for each in grid(["full", "ia3", "houlsby"], tasks=["sst2", "trec"], **changes)]
    return [changed(each, {"latency_seconds.after_prefix": query, "cpu_seconds.train": 3.21}) for each in made]


def unlike() -> list[Record]:
    """The same, of which every other one ran on another processor."""
    return [
        changed(each, {"environment.cpu_model": OTHER, "environment.host": "node-2"}) if place % 2 else each
        for place, each in enumerate(timed())
    ]


def asked() -> list[Record]:
    """A trained method and a prompt, whose queries have prices by the hour and by tokens."""
    return [prompted(label="ia3", **NUMBERS, **TRAINED), prompted(label="icl:k=4", **PROMPT, **SHOWN)]


def without_times(records: list[Record]) -> list[Record]:
    """The same records as if no clock had run."""
    names = [name for name, field in Record.model_fields.items() if field.annotation in TIMES]
    empty = {name: Record.model_fields[name].get_default() for name in names}
    return [each.model_copy(update=empty) for each in records]


def tables(records: list[Record], folder: Path) -> dict[str, list[str]]:
    """The rows of every table of the report and of its CSV files, but for that of single records; and its plots."""
    write(records, str(folder), ["html", "md", "csv"])
    rows = {"md": [line for line in (folder / "report.md").read_text().splitlines() if line.startswith("|")]}
    for path in sorted(folder.rglob("*.csv")):
        if path.name != "report.csv":
            rows[path.name] = path.read_text().splitlines()
    return rows | {"plots": sorted(path.name for path in folder.glob("plots/*"))}


def test_no_table_depends_on_the_seconds_of_unlike_machines(tmp_path: Path) -> None:
    with_times, likes = tables(unlike(), tmp_path / "a"), tables(timed(), tmp_path / "b")
    assert with_times == tables(without_times(unlike()), tmp_path / "c")
    assert {name for name in likes if likes[name] != with_times[name]} == {"md", "summary.csv", "ledgers.csv", "plots"}


def test_neither_the_interactive_page_nor_a_price_depends_on_them() -> None:
    made = [
        changed(each, {"environment.cpu_model": OTHER}) if place % 2 else each for place, each in enumerate(asked())
    ]

    def shown(records: list[Record]) -> Any:
        report = compose(records, prices=PRICES)
        ledgers = [ledger for page in report.pages for ledger in page.ledgers if ledger.tag == "prices"]
        return json.loads(page_data(report).text)["panels"], [ledger.tables for ledger in ledgers]

    assert shown(made) == shown(without_times(made))
    assert shown(asked()) != shown(without_times(asked()))


def test_what_is_left_out_is_said_and_the_named_filter_shows_it(tmp_path: Path) -> None:
    report = compose(unlike())
    (text,) = [text for text in report.warnings if "cpu_model differs" in text]
    option, condition = shlex.split(timing_filter(unlike()))
    assert option == "--where"
    assert shlex.quote(condition) in text
    chosen = select(unlike(), [condition])
    assert find_timing_mismatch(chosen) is None
    assert timing_filter(chosen) == ""
    assert len({each.environment.cpu_model for each in chosen}) == 1
    assert find_timing_mismatch(select(unlike(), [f"environment.cpu_model={OTHER}"])) is None


@pytest.mark.parametrize("field", ["cpu_model", "device_name", "threads", "concurrent_cells"])
def test_each_condition_makes_machines_unlike(field: str) -> None:
    value: Any = 7 if field in ("threads", "concurrent_cells") else "other"
    records = [record(), record(seed=1, **{f"environment.{field}": value}), record(seed=2)]
    assert f"{field} differs" in (find_timing_mismatch(records) or "")
    kept = select(records, [shlex.split(timing_filter(records))[1]])
    assert [each.seed for each in kept] == [0, 2]


def test_names_of_hosts_alone_do_not_make_machines_unlike() -> None:
    records = [changed(each, {"environment.host": f"node-{place}"}) for place, each in enumerate(timed())]
    assert find_timing_mismatch(records) is None
    (panel,) = build(choose(records))
    assert panel.timing_mismatch is None
    assert panel.seconds(panel.entries[0], lambda each: each.seconds.train) is not None


def test_the_hosts_are_listed_with_the_machines(tmp_path: Path) -> None:
    write(unlike(), str(tmp_path), ["md"])
    text = (tmp_path / "report.md").read_text()
    assert "node-1" in text
    assert "node-2" in text


def streams(other: str | None) -> list[Record]:
    """A stream whose second order ran elsewhere, if `other` names the processor there."""
    tasks, scores = ("sst2", "trec", "subj"), ((0.8,), (0.8, 0.7), (0.8, 0.7, 0.9))
    fields = {} if other is None else {"environment__cpu_model": other}
    turned = ("trec", "sst2", "subj")
    return [
        *alone("full", {"sst2": 0.8, "trec": 0.7, "subj": 0.9}),
        *passage("full", "sequential", tasks, scores),
        *passage("full", "sequential", turned, scores, **fields),
    ]


def test_seconds_of_a_stream_are_left_out_if_its_machines_differ() -> None:
    def times(other: str | None) -> tuple[list[str], str]:
        (study,) = studies_of(streams(other), AnswerFiles({}))
        (table,) = [table for table in study.tables if table.caption.startswith("Cost of")]
        return [cell.text for row in table.rows for cell in row[-2:]], table.note

    known, _ = times(None)
    left_out, note = times(OTHER)
    assert any(text != "—" for text in known)
    assert set(left_out) == {"—"}
    assert "cpu_model differs" in note


def test_predicted_seconds_are_compared_with_runs_on_a_like_machine_only() -> None:
    records = [ledger(each) for each in grid(["full", "ia3"], tasks=["sst2"])]
    here, there = ([plan(each, **fields) for each in records] for fields in ({}, {"environment__cpu_model": OTHER}))

    def ledgers(plans: list[Record]) -> Any:
        (page,) = compose(records, plans=plans).pages
        return next(found for found in page.ledgers if found.tag == "predicted")

    captions = [table.caption for table in ledgers(here).tables]
    assert [table.caption for table in ledgers(there).tables] == [name for name in captions if "seconds" not in name]
    assert "seconds at worst" in ledgers(here).short
    assert "seconds" not in ledgers(there).short
    assert f"{len(records)} runs" in ledgers(there).text[-1]
    assert "left out" in ledgers(there).text[-1]


def test_predicted_seconds_of_several_machines_are_not_added_up() -> None:
    plans = [plan(each) for each in timed()]
    other = changed(plans[0], {"environment.cpu_model": OTHER})
    assert "not added up" not in totals(plans)
    assert "not added up" in totals([other, *plans[1:]])
