"""The files: complete, self-contained, escaped, exact."""

import errno
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from io import StringIO

import pandas as pd
import pytest
from rich.console import Console

from tests import ROOT
from tests.reports.factory import failed, grid, record
from tests.reports.page import column, own, scripts
from tests.s3 import BUCKET
from tunefront import reports
from tunefront.bench.errors import DiskFull, UserError
from tunefront.bench.records.urls import UrlFolder
from tunefront.reports.formats import html, latex, markdown, pdf
from tunefront.reports.formats.html import link_of
from tunefront.reports.formats.writing import put
from tunefront.reports.plots import panel_plots, style, tradeoff
from tunefront.reports.sections import document
from tunefront.reports.sections.summary import summary_table

NASTY = "evil:name=<script>alert(1)</script>#$x^2$\\input{x}&%*_`|{{7*7}}#let x=1"


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    records = [
        *grid(["full", "ia3", "houlsby:bottleneck=8"], tasks=["sst2", "trec"]),
        failed(),
        failed("skipped", "no"),
    ]
    out = tmp_path_factory.mktemp("report")
    return records, out, reports.write(records, out)


@pytest.fixture(scope="module")
def nasty():
    changes = {"label": NASTY, "method": NASTY, "backbone": f"hub/{NASTY}", "task": f"dir:{NASTY}"}
    composed = document.compose([record(**changes), failed(reason=NASTY, **changes)])
    return composed, [panel_plots.pictures(page) for page in composed.pages]


class _Strict(HTMLParser):
    """Collects tags, ids and links; every tag except void ones must be closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.ids, self.links, self.urls = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        attributes = dict(attrs)
        self.ids += [attributes["id"]] if "id" in attributes else []
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        self.urls += [v for n, v in attrs if n in ("src", "href", "xlink:href", "srcset", "data", "poster") and v]
        if tag not in ("meta", "link", "br", "wbr"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def _parsed(text):
    parser = _Strict()
    parser.feed(text)
    assert parser.open == []
    return parser


def test_all_files_are_written_and_nothing_else(everything):
    _, out, written = everything
    names = {str(path.relative_to(out)) for path in written}
    assert {"report.html", "report.pdf", "report.md", "report.tex", "report.csv", "summary.csv"} < names
    assert {f"plots/1-minilm-tradeoff.{kind}" for kind in ("png", "svg", "pdf")} < names
    assert {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()} == names
    assert all(path.stat().st_size > 200 for path in written)


def test_the_page_asks_for_nothing_from_outside(everything):
    text = own((everything[1] / "report.html").read_text())
    parser = _parsed(text)
    assert all(url.startswith(("#", "data:")) for url in parser.urls)
    assert "@import" not in text
    assert not re.search(r"url\((?!#|['\"]?data:)", text)
    assert "default-src 'none'" in text


def test_every_number_leads_to_a_list_that_names_its_records(everything):
    records, out, _ = everything
    text = (out / "report.html").read_text()
    parser = _parsed(text)
    assert len(parser.links) > 50
    for table in tables_of(records):
        for row in table.rows:
            for place, cell in enumerate(row[1:], 1):
                known = cell.text in ("", "—") or not table.columns[place].numeric
                assert known or link_of(row, place, True, (), {}), (table.caption, row[0].text, cell.text)
    assert {link[1:] for link in parser.links} <= set(parser.ids)
    assert len(parser.ids) == len(set(parser.ids))
    for made in records:
        assert (f"records/{made.key}.json" in text.replace("<wbr>", "")) == (made.status == "ok")
    assert column(text, "key") == sorted(made.key for made in records)


def tables_of(records):
    (page,) = document.compose(records).pages
    return [table for table in (page.scores, page.certainty, *page.costs, *page.ledger_tables) if table is not None]


def test_the_page_follows_dark_mode_and_is_labelled(everything):
    text = (everything[1] / "report.html").read_text()
    assert "prefers-color-scheme: dark" in text
    assert style.INK not in re.sub(r"<style>.*?</style>", "", own(text), flags=re.DOTALL)
    assert text.count('role="img" aria-label="100 × (mean score') == text.count('role="img"') == 1
    assert '<th scope="col"' in text
    assert '<th scope="row"' in text


def test_the_scripts_hashes_are_the_ones_allowed(everything):
    import base64
    import hashlib

    text = (everything[1] / "report.html").read_text()
    assert len(scripts(text)) == 3
    for script in scripts(text):
        assert f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in text
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert "script-src 'sha256-" in policy
    assert not re.search(r"unsafe-eval|script-src[^;]*(unsafe|\*|http|self)", policy)


def test_csv_is_exact(everything):
    records, out, _ = everything
    table = pd.read_csv(out / "report.csv", dtype=str)
    assert len(table) == len(records)
    by_key = table.set_index("key")
    first = records[0]
    row = by_key.loc[first.key]
    assert row["flops.train"] == str(first.flops.train)
    assert float(row["scores.test.accuracy"]) == first.score
    assert row["parameters.trainable"] == str(first.parameters.trainable)
    assert pd.isna(by_key.loc[records[-1].key]["parameters.trainable"])
    summary = pd.read_csv(out / "summary.csv")
    assert len(summary) == 6
    assert summary["n_scores"].tolist() == [2] * 6


def test_the_same_records_in_any_order_give_the_same_bytes(everything, tmp_path):
    records, out, _ = everything
    for path in reports.write(records[::-1], tmp_path, ("html", "md", "tex", "csv")):
        assert path.read_bytes() == (out / path.relative_to(tmp_path)).read_bytes(), path.name


def test_svg_files_are_well_formed_and_undated(everything):
    for path in (everything[1] / "plots").glob("*.svg"):
        ET.fromstring(path.read_bytes())
        assert b"dc:date" not in path.read_bytes()


def test_untrusted_names_stay_text_in_html(nasty):
    text = own(html.render(*nasty))
    parser = _parsed(text)
    assert parser.tags.count("script") == 4
    assert "alert(1)&lt;/script&gt;" in text
    assert "{{7*7}}" in text
    assert "<script>alert" not in text


def test_untrusted_names_stay_text_in_markdown_and_latex(nasty):
    text = markdown.render(*nasty)
    assert "<script" not in text
    assert re.search(r"(?<!\\)\*_", text) is None
    tex = latex.render(nasty[0])
    assert "\\input{x}" not in tex
    assert r"\textless{}script\textgreater{}alert(1)" in tex
    assert r"\#\$x\textasciicircum{}2\$\textbackslash{}input\{x\}\&\%*\_" in tex


def test_untrusted_names_stay_text_in_the_pdf(nasty):
    assert pdf.render(*nasty).startswith(b"%PDF")


def test_untrusted_names_stay_text_in_the_terminal():
    console = Console(width=300, file=StringIO())
    console.print(summary_table([record(label="[red]x[/nope]:a=[bold]")]))
    assert "[red]x[/nope]:a=[bold]" in console.file.getvalue()


def test_a_dollar_in_a_name_is_not_mathematics(nasty):
    assert all(b"$x^2$" not in panel_plots.save(p.figure, "svg") for p in nasty[1][0])  # text is drawn as paths
    assert all(not text.get_parse_math() for p in nasty[1][0] for text in p.figure.axes[0].texts)


def test_thirty_methods_keep_legible_labels():
    records = [
        record(
            label=f"method{i % 9}:size={i}",
            scores__test={"accuracy": 0.9 - 0.01 * (i % 7)},
            parameters__trainable=int(900 * 1.3**i),
        )
        for i in range(29)
    ]
    panel = document.compose([record(), *records]).pages[0].panel
    for size in (panel_plots.WIDE, panel_plots.SMALL):
        drawing = tradeoff.draw(panel, size=size)
        assert drawing.clashes == 0
        assert len(drawing.boxes) == 30
        assert not any(a.overlaps(b) for i, a in enumerate(drawing.boxes) for b in drawing.boxes[:i])


def test_a_method_that_trains_nothing_has_a_place():
    panel = document.compose([record(), record(label="icl:k=4", parameters__trainable=0)]).pages[0].panel
    assert {point.x for point in tradeoff.draw(panel).points} == {0, record().parameters.trainable}


def test_a_cost_that_nobody_measured_is_not_drawn():
    composed = document.compose(grid(["full", "ia3"], flops__train=None, memory__train_peak_resident_bytes=None))
    names = [picture.title for picture in panel_plots.pictures(composed.pages[0])]
    assert "Training FLOPs" not in names
    assert len(names) == 4


def test_missing_methods_are_named_below_the_plot():
    composed = document.compose([record(), record(label="ia3", flops__train=None)])
    notes = {picture.title: picture.note for picture in panel_plots.pictures(composed.pages[0])}
    assert "ia3 (not measured)" in notes["Training FLOPs"]


@pytest.mark.parametrize(
    "records",
    [
        [record()],
        [failed()],
        grid(["ia3", "bitfit"], seeds=(0,)),
        [record(), record(backbone="a/nano", shots=16), record(backbone="b/nano", shots=16)],
        [record(scores__test={"accuracy": None})],
        [
            record(
                **dict.fromkeys(
                    ("parameters.trainable", "parameters.backbone", "flops.train", "data.n_test", "data.n_train")
                )
            )
        ],
    ],
    ids=["one", "failed", "no-reference", "backbones-and-shots", "no-score", "little-measured"],
)
def test_edge_cases_write_html_pdf_and_tables(records, tmp_path):
    composed = document.compose(records)
    drawn = [panel_plots.pictures(page, narrow=True) for page in composed.pages]
    _parsed(html.render(composed, drawn))
    assert pdf.render(composed, drawn).startswith(b"%PDF")
    assert markdown.render(composed, drawn)
    assert reports.write(records, tmp_path, ["csv", "tex"])
    Console(width=200, file=StringIO()).print(summary_table(records))


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    records = grid(["full"], tasks=["sst2"], seeds=(0,))
    reports.write(records, tmp_path, ["csv"])
    before = (tmp_path / "report.csv").read_bytes()

    def broken(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(KeyboardInterrupt):
        reports.write([*records, record(seed=7)], tmp_path, ["csv"])
    assert (tmp_path / "report.csv").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.csv", "summary.csv"]


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, DiskFull), (errno.EACCES, UserError)])
def test_the_cause_of_a_failed_write_is_named(number, kind, tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(number, "refused")

    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(kind, match=re.escape(str(tmp_path))):
        put(tmp_path / "a" / "report.csv", "x")
    assert list((tmp_path / "a").iterdir()) == []


def test_errors_are_clear(tmp_path):
    with pytest.raises(UserError, match="there are no records"):
        reports.write([], tmp_path)
    with pytest.raises(UserError, match="no report format 'htm'; did you mean 'html'"):
        reports.write([record()], tmp_path, ["htm"])
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        reports.write([record()], tmp_path / "file", ["csv"])


def test_reports_never_import_torch(tmp_path):
    rooms = ("formats.html", "formats.pdf", "formats.writing", "formats.markdown", "sections.summary")
    code = (
        f"import sys, {', '.join(f'tunefront.reports.{room}' for room in rooms)}\n"
        "from tests.reports.factory import record\n"
        f"tunefront.reports.write([record()], {str(tmp_path)!r}, ['html', 'csv', 'tex'])\n"
        "assert not {'torch', 'transformers', 'tunefront.methods', 'matplotlib.pyplot'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_importing_reports_is_light():
    code = "import sys, tunefront.reports; assert not {'pandas', 'matplotlib', 'jinja2', 'typst'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("place", ["nosuch://bucket/report", "s3://", "", "~nobody-of-this-name"])
def test_an_out_that_is_no_folder_is_an_error_and_creates_nothing(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError):
        reports.write([record()], place, formats=["csv"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["memory", "s3"])
def test_a_report_is_written_to_a_url(kind, request, tmp_path):
    url = f"memory://{tmp_path.name}/r" if kind == "memory" else request.getfixturevalue("s3").new_url()
    remote = UrlFolder(url)
    remote.write({"report.csv": b"earlier", "studies.csv": b"earlier", "mine.csv": b"mine"})
    written = reports.write(grid(["full", "ia3"]), f"{url}/", formats=["csv", "md"])
    local = reports.write(grid(["full", "ia3"]), tmp_path, formats=["csv", "md"])
    assert written == [f"{url}/{path.relative_to(tmp_path).as_posix()}" for path in local]
    for path, place in zip(local, written, strict=True):
        if path.suffix in (".csv", ".md"):
            assert remote.read(place.removeprefix(f"{url}/")) == path.read_bytes()
    assert not remote.has("studies.csv")
    assert remote.has("mine.csv")


def test_no_bucket_is_made_for_a_report(s3):
    import fsspec

    with pytest.raises(UserError, match="no bucket mistyped"):
        reports.write(grid(["full", "ia3"]), "s3://mistyped/r", formats=["csv"])
    assert fsspec.filesystem("s3").ls("") == [BUCKET]
