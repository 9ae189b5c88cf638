"""The ledgers of prices and of single queries in a report."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from tests.reports.compare.test_break_even import NUMBERS, PROMPT
from tests.reports.compare.test_prices import WHOLE
from tests.reports.compare.test_query_prices import PRICES, SHOWN, TRAINED
from tests.reports.factory import record
from tests.reports.prompted import prompted
from tunefront.bench.records import Percentiles
from tunefront.reports import write
from tunefront.reports.compare.measures import axis_costs
from tunefront.reports.compare.prices import Prices
from tunefront.reports.compare.query_prices import price_costs
from tunefront.reports.formats.terminal import as_rich
from tunefront.reports.plots import breakdowns
from tunefront.reports.sections import document
from tunefront.reports.tables import Table
from tunefront.reports.units import MISSING


def records(tasks=("dir:data/rte",)):
    return [
        made
        for task in tasks
        for made in (
            prompted(label="ia3", task=task, **NUMBERS, **TRAINED),
            prompted(label="icl:k=4", task=task, **PROMPT, **SHOWN),
        )
    ]


def page_of(*made, prices=PRICES):
    (page,) = document.compose(made or records(), prices=prices).pages
    return page


def ledger_of(page, tag):
    return next((ledger for ledger in page.ledgers if ledger.tag == tag), None)


def texts(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


def test_without_prices_there_is_no_ledger_of_them():
    assert ledger_of(page_of(prices=None), "prices") is None


def test_every_table_and_plot_has_the_date_and_the_source_of_its_prices():
    page = page_of()
    ledger = ledger_of(page, "prices")
    assert len(ledger.tables) == 6
    assert all(PRICES.stamp in table.note for table in ledger.tables)
    drawn = [picture for picture in breakdowns.pictures(page) if picture.ledger == "prices"]
    assert [picture.title for picture in drawn] == [
        "EUR by device-hours of training and n queries",
        "EUR by tokens of training and n queries",
        "Cheapest way by device-hours",
        "Cheapest way by tokens",
    ]
    assert all(PRICES.stamp in picture.note for picture in drawn)
    assert all("2026-01-31" in cost.title for cost in price_costs(PRICES))


def test_the_table_of_prices_has_the_numbers_worked_out_by_hand():
    """See the tests of query prices."""
    tables = {table.caption: table for table in ledger_of(page_of(), "prices").tables}
    space = "\u00a0EUR"
    assert texts(tables["Prices by tokens"]) == [
        ["ia3", f"4.00{space}", f"240{space}", MISSING],
        ["icl:k=4 with cache", MISSING, f"740{space}", f"0.00200{space}"],
        ["icl:k=4 without cache", MISSING, f"2,240{space}", MISSING],
    ]
    pays_off = next(table for caption, table in tables.items() if "pays off" in caption and "tokens" in caption)
    assert texts(pays_off) == [["ia3", f"4.00{space}", "after 7,996", "after 2,000"]]


def test_a_map_is_drawn_where_a_cache_expires_and_its_table_is_below():
    page = page_of()
    (table,) = [table for table in ledger_of(page, "prices").tables if table.caption == "Cheapest way by tokens"]
    assert [column.head for column in table.columns[1:]] == ["1", "3", "10", "30", "100", "300"]
    for_ever = Prices(PRICES.currency, PRICES.date, PRICES.source, tokens=PRICES.tokens.__class__(2.0, 8.0, 0.5))
    page = page_of(prices=for_ever)
    assert not [picture for picture in breakdowns.pictures(page) if picture.title.startswith("Cheapest")]


@pytest.mark.parametrize("width", [80, 60])
def test_tables_of_prices_fit_a_terminal(width):
    for table in ledger_of(page_of(), "prices").tables:
        stream = io.StringIO()
        Console(file=stream, width=width).print(as_rich(table))
        assert max(map(len, stream.getvalue().splitlines())) <= width


def test_the_plot_of_prices_marks_the_break_even_worked_out_by_hand():
    pictures = {picture.name: picture for picture in breakdowns.pictures(page_of()) if picture.ledger == "prices"}
    (tokens,) = [picture for name, picture in pictures.items() if name.endswith("prices-total-tokens")]
    assert "ia3 and icl:k=4 with cache at 7,996 queries" in tokens.alt
    assert "Circle" in tokens.note


def test_seconds_of_different_machines_are_not_priced():
    mixed = [*records(), prompted(label="full", environment__concurrent_cells=7, **NUMBERS, **TRAINED)]
    captions = [table.caption for table in ledger_of(page_of(*mixed), "prices").tables]
    assert not [caption for caption in captions if "device" in caption]
    assert "Prices by tokens" in captions


def test_where_nothing_has_a_price_it_is_said(tmp_path):
    """Records of different machines, and prices of a device alone."""
    alone = Prices(PRICES.currency, PRICES.date, PRICES.source, device=PRICES.device)
    mixed = [*records(), prompted(label="full", environment__concurrent_cells=7, **NUMBERS, **TRAINED)]
    ledger = ledger_of(page_of(*mixed, prices=alone), "prices")
    assert (ledger.short, ledger.tables) == ("nothing has a price", ())
    assert any("not priced" in text for text in ledger.text)
    assert write(mixed, tmp_path, formats=["html", "md", "tex", "pdf", "csv"], prices=alone)


def test_the_earliest_break_even_is_the_result_in_a_few_words():
    short = ledger_of(page_of(), "prices").short
    assert "ia3 costs less by device-hours than icl:k=4 without cache after about 40 queries" in short


def test_every_task_has_its_own_map():
    page = page_of(*records(("dir:data/rte", "dir:data/cb")))
    captions = [table.caption for table in ledger_of(page, "prices").tables]
    assert {"Cheapest way by tokens, rte", "Cheapest way by tokens, cb"} <= set(captions)


def timed(p50=0.01, count=30):
    return Percentiles(p50=p50, p95=2 * p50, count=count)


def test_the_ledger_of_single_queries_has_first_later_and_merged_ones():
    made = [
        record(label="full", latency_seconds__after_prefix=timed(0.004)),
        record(label="ia3", latency_seconds__after_prefix=timed(0.006), latency_seconds__merged=timed(0.005)),
        record(label="bitfit", latency_seconds__after_prefix=timed(0.005), latency_seconds__first=timed(0.5)),
    ]
    ledger = ledger_of(page_of(*made, prices=None), "latency")
    (table,) = ledger.tables
    heads = [(column.head, column.under) for column in table.columns]
    assert ("later query", "p99") not in heads, "no run has timed enough queries"
    place = {head: index for index, head in enumerate(heads)}
    rows = {row[0].text: row for row in table.rows}
    assert rows["ia3"][place["merged", "p50"]].text == "5.00\u00a0ms"
    assert rows["bitfit"][place["first query", "p95"]].text == "1.00\u00a0s"
    assert rows["full"][place["merged", "p50"]].text == MISSING
    assert "full" in ledger.short
    assert "ia3" in ledger.short


def test_single_queries_are_not_compared_between_machines():
    made = [
        record(label="full", latency_seconds__after_prefix=timed()),
        record(label="ia3", latency_seconds__after_prefix=timed(), environment__concurrent_cells=9),
    ]
    assert ledger_of(page_of(*made, prices=None), "latency") is None


def test_an_axis_can_show_prices_and_single_queries():
    page = page_of(
        *[
            made.model_copy(update={"latency_seconds": record(latency_seconds__after_prefix=timed()).latency_seconds})
            for made in records()
        ]
    )
    fields = [cost.field for cost in axis_costs(page.panel, price_costs(page.prices))]
    prices = {f"price_per_million_queries.{model}" for model in ("device", "tokens")}
    assert prices | {"latency_seconds.after_prefix.p50"} <= {*fields}


def test_a_report_is_written_with_the_prices_of_a_file(tmp_path: Path):
    path = tmp_path / "prices.toml"
    path.write_text(WHOLE, encoding="utf-8")
    for file in write(records(), tmp_path / "report", formats=["html", "md"], prices=path):
        if file.suffix in (".html", ".md"):
            assert "our contract" in file.read_text(encoding="utf-8")


def test_odd_texts_of_prices_are_shown_as_text(tmp_path: Path):
    odd = Prices(
        "=1+1<b>",
        "2026-01-31",
        "<script>alert(1)</script> $x$ \\input{y} #[z] | _a_ & 100 %",
        PRICES.device,
        PRICES.tokens,
    )
    files = {
        file.name: file for file in write(records(), tmp_path, formats=["html", "md", "tex", "pdf", "csv"], prices=odd)
    }
    page = files["report.html"].read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "\\input{y}" not in files["report.tex"].read_text(encoding="utf-8")
    assert not [line for line in files["ledgers.csv"].read_text(encoding="utf-8").splitlines() if line.startswith("=")]
