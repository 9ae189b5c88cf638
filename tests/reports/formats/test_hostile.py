"""Markup and formulas in records: labels, tasks, templates and backbones may be any text."""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from html.parser import HTMLParser
from typing import Any

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from tests.bench.records.made import changed
from tests.reports.factory import failed, ledger, record
from tests.reports.page import own
from tunefront import reports
from tunefront.reports import units
from tunefront.reports.formats import csvs, html, latex, markdown, pdf
from tunefront.reports.names import make_visible
from tunefront.reports.plots import panel_plots
from tunefront.reports.sections import document
from tunefront.reports.sections.summary import summary_table
from tunefront.reports.tables import Cell, Column, Table

FORMULAS = (
    "=cmd|' /C calc'!A0",
    "+1+cmd",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "＝1+1",
    " =1",
    '=HYPERLINK("http://e")',
)
MARKUP = (
    "<img src=x onerror=alert(1)>",
    '"><script>alert(1)</script>',
    "javascript:alert(1)",
    "[click](javascript:alert(1))",
    "![seen](http://evil.test/p.png)",
    "<https://evil.test>",
    "https://evil.test/a www.evil.test",
    "a | b | c",
    "`a` ~~b~~ **c** __d__",
    "# not a head",
    "- no list",
    "1. no list",
    "&lt;b&gt; &#60;",
    "@everyone",
    "$x^2$ \\input{/etc/passwd} \\write18{ls} ^^5cinput",
    "[no argument]",
    "*no star",
    "#eval(1) #let x = 1 @ref <label> $ x $",
    "{{ 7 * 7 }} {% raw %}",
    "../../../etc/passwd",
    "CON",
    "a\0b",
    "ä" * 300,
)
TERMINAL = (
    "\x1b[31mred",
    "\x1b]0;title\x07",
    "\x9b31m",
    "back\x08\x08",
    "over\rwritten",
    "\u202egnp.exe",
    "a\u200bb\ufeff",
    "\ud800",
)
HOSTILE = (*FORMULAS, *MARKUP, *TERMINAL)


def named(text: str, **changes: Any) -> Any:
    """A record in which every name is this text."""
    names = dict.fromkeys(
        ("label", "method", "backbone", "template", "data.draw_source", "environment.cpu_model", "scores.headline"),
        text,
    )
    fields: dict[str, Any] = {**names, "task": f"dir:{text}", "scores.test": {text: 0.5}, "recipe": {text: text}}
    fields |= {"settings": {text: text}, "versions": {text: text}}
    fields |= {"collapse.collapsed": True, "collapse.one_answer": True, "collapse.answer": text}
    fields |= {"collapse.answer_share": 1.0, "collapse.label_share": 0.5}
    return changed(record(**changes), fields)


def composed(text: str) -> document.Report:
    records = [ledger(named(text)), named(text, seed=1), failed().model_copy(update={"reason": text, "label": text})]
    return document.compose(records, notes=[text])


@pytest.fixture(params=HOSTILE, ids=lambda text: ascii(text[:12]))
def report(request: pytest.FixtureRequest) -> document.Report:
    """A report on records with such names."""
    return composed(request.param)


def unseen(text: str) -> set[str]:
    return {ascii(c) for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c != "\n"}


def test_no_cell_of_a_csv_is_a_formula(report: document.Report) -> None:
    for text in (csvs.records(report), csvs.summary(report), csvs.ledgers(report)):
        assert unseen(text) == set()
        rows = list(csv.reader(io.StringIO(text, newline="")))
        assert {len(row) for row in rows} == {len(rows[0])}
        for cell in (cell for row in rows for cell in row):
            assert not re.match(r"\s*[=@+\-＝＋－＠]", cell) or re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?", cell), cell


def test_negative_numbers_of_a_csv_stay_numbers() -> None:
    made = document.compose([record(scores__test={"accuracy": -0.25}, training__final_loss=-1e-9, label="-0.25")])
    (row,) = csv.DictReader(io.StringIO(csvs.records(made)))
    assert (row["scores.test.accuracy"], row["training.final_loss"], row["label"]) == ("-0.25", "-1e-09", "-0.25")


def test_nothing_in_markdown_is_markup(report: document.Report) -> None:
    text = markdown.render(report, [[] for _ in report.pages])
    assert unseen(text) == set()
    kinds = {"link_open", "image", "html_inline", "code_inline", "code_block", "fence", "s_open", "hr"}
    tokens = MarkdownIt("commonmark", {"linkify": False}).enable(["table", "strikethrough"]).parse(text)
    flat = [token for block in tokens for token in (block, *(block.children or []))]
    assert not [token.type for token in flat if token.type in kinds]
    folds = [token.content.strip() for token in flat if token.type == "html_block"]
    assert all(re.fullmatch(r"</details>|<details><summary>[^<>]*</summary>", fold) for fold in folds)
    assert {token.tag for token in tokens if token.type == "heading_open"} <= {"h1", "h2", "h3", "h4"}
    assert not [token.type for token in tokens if token.type in ("ordered_list_open", "blockquote_open")]
    assert not re.search(r"(?<!\\):(?=//)|\bwww\.|(?<!\w)@\w", text, re.IGNORECASE)


def test_a_table_of_markdown_keeps_its_columns(report: document.Report) -> None:
    text = markdown.render(report, [[] for _ in report.pages])
    widths = [len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("| ")]
    blocks = [block for block in text.split("\n\n") if block.startswith("| ")]
    assert sum(len(block.splitlines()) for block in blocks) == len(widths)
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


KNOWN = (
    *("begin", "end", "centering", "caption", "toprule", "midrule", "bottomrule", "textbf", "textbackslash"),
    *("textasciitilde", "textasciicircum", "textless", "textgreater", "textbar", "textquotedbl", "pm", "times"),
    *("dots", "cdot", "dag", "textemdash", "textendash", "textasciigrave", "textquotedblleft", "textquotedblright"),
    *("section", "textit", "footnotesize", "setlength", "tabcolsep", "clearpage", "allowbreak", "geq", "leq"),
    *("parbox", "raggedright", "hyphenpenalty", "strut", "approx"),
)


def test_no_command_of_latex_comes_from_a_record(report: document.Report) -> None:
    text = latex.render(report)
    text = text.removeprefix(latex.PREAMBLE)
    assert unseen(text) == set()
    assert set(re.findall(r"\\([a-zA-Z]+)", text)) <= set(KNOWN)
    assert "^^" not in text
    assert not re.search(r"\\\\\s*(\\midrule)?\s*[\[*]", text)  # an argument of the line break, or of the rule
    assert not re.search(r"(?<!\\)[#%]|(?<!\\)\$(?!(-|\\pm|\\times|\\cdot|\\geq|\\leq|\\approx)\$|$|[^\\-])", text)


class Page(HTMLParser):
    """Collects tags and attributes that could be active."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.live: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.live += [(name, value) for name, value in attrs if name.startswith("on") or name in ("href", "src")]


def test_no_tag_or_attribute_of_the_page_comes_from_a_record(report: document.Report) -> None:
    plain = composed("plain")
    text, usual = (own(html.render(made, [[] for _ in made.pages])) for made in (report, plain))
    assert unseen(text) == set()
    page, expected = Page(), Page()
    page.feed(text)
    expected.feed(usual)
    assert set(page.tags) - {"wbr"} <= set(expected.tags)
    assert page.tags.count("script") == expected.tags.count("script")
    assert page.tags.count("style") == 1
    assert {name for name, _ in page.live} <= {"href"}
    known = {value for _, value in expected.live}
    assert all(value in known or str(value).startswith("#runs-") for _, value in page.live)


@pytest.mark.parametrize("text", [MARKUP[0], MARKUP[16], MARKUP[17], TERMINAL[0], TERMINAL[5], TERMINAL[7]], ids=ascii)
def test_plots_and_the_pdf_are_drawn_with_any_text(text: str) -> None:
    report = composed(text)
    drawn = [panel_plots.pictures(page) for page in report.pages]
    assert pdf.render(report, drawn).startswith(b"%PDF")
    for picture in (picture for page in drawn for picture in page):
        assert re.fullmatch(r"[a-z0-9-]+(_[a-z0-9_-]+)*", picture.name)
        svg = picture.svg.decode()
        assert "<script" not in svg
        assert "<img" not in svg
        assert unseen(svg) == set()


@pytest.mark.parametrize("text", TERMINAL, ids=ascii)
def test_nothing_in_the_summary_moves_the_terminal(text: str) -> None:
    console = Console(width=300, file=io.StringIO())
    console.print(summary_table([named(text)]))
    assert unseen(console.file.getvalue()) == set()


def test_backbones_that_would_be_files_elsewhere_have_files_of_their_own_here(tmp_path: Any) -> None:
    out = tmp_path / "deep" / "report"
    names = ["../../x", "..\\..\\x", "/x", "x", "X", "x\0y", "é" * 300, "x" * 300, "CON", ""]
    records = [record(backbone=name, fingerprints={"backbone": str(place)}) for place, name in enumerate(names)]
    written = reports.write(records, out, ["csv", "md"])
    assert len(set(written)) == len(written)
    assert len({path.stem.lower() for path in written if path.suffix == ".png"}) >= len(names)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(written)
    assert max(len(path.name) for path in written) < 100


def test_a_table_of_any_cells_is_set_as_text() -> None:
    columns = (Column("=a"), Column("[b]"))
    table = Table("*c*", columns, ((Cell("[x]", "(1)"), Cell("*y")), (Cell("=z"), Cell(""))))
    assert markdown.table(table).count("\\[x\\]") == 1
    assert latex.escape("[x]") == "{[}x]"
    assert latex.escape("*y") == "{*}y"


def test_visible_texts_stay_distinct_and_are_escaped_once() -> None:
    assert make_visible("a\u200bb") == "a\\u200bb" != make_visible("ab")
    for text in ("\x1b[0m" * 9, "x" * 5000):
        assert make_visible(make_visible(text)) == make_visible(text)
    assert make_visible("x" * 5000 + "y" + "x" * 5000) != make_visible("x" * 5000 + "z" + "x" * 5000)
    assert make_visible("Ωμέγα 日本語 👍") == "Ωμέγα 日本語 👍"


@pytest.mark.parametrize("value", [1e308, math.inf, math.nan, 10**400, 10**5000, 0], ids=range(6))
@pytest.mark.parametrize(
    "field", ["seconds.train", "flops.train", "parameters.trainable", "data.n_test", "parameters.backbone"]
)
def test_a_number_that_nothing_measured_is_missing_in_a_report(field: str, value: float) -> None:
    odd = changed(record(label="ia3"), {field: value, "scores.test": {"accuracy": value}})
    report = document.compose([record(), odd])
    for text in (
        csvs.summary(report),
        latex.render(report),
        markdown.render(report, [[]]),
        own(html.render(report, [[]])),
    ):
        assert not re.search(r"\b(inf|nan|1e\+308)\b", text)
    assert max(len(word) for word in markdown.render(report, [[]]).split()) < 200


def test_next_to_nothing_is_written_with_an_exponent() -> None:
    report = document.compose([record(seconds__train=5e-324)])
    assert max(len(word) for word in markdown.render(report, [[]]).split()) < 100
    assert units.seconds(5e-324) == "4.94e-324\u00a0s"
    assert units.number(10**5000).startswith("2^166")
    assert units.percent(1e40, 5e-324) == units.MISSING
