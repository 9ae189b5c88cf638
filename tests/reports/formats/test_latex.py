"""The LaTeX document: it compiles, its tables fit the page, the best is bold and ties are marked, names are text."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.reports.answered import world
from tests.reports.factory import grid, record
from tests.reports.formats.test_hostile import HOSTILE
from tunefront.bench.records.answers import AnswerFiles
from tunefront.reports.formats import latex
from tunefront.reports.names import make_visible
from tunefront.reports.sections.document import Report, compose
from tunefront.reports.tables import Cell, Column, Table

needs_latex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex (texlive-latex-base) is missing")
MORE = (
    "{\\bf a} $x$ % # ~ ^^M & _",
    "日本語",
    "👍🏽",
    "cafe\u0301",
    "ﬁ ﬂ",
    "a--b,,c''d",
    "x" * 300,
    "ÿ Ž ß ©",
    "x_" * 150,
)


def compiled(text: str, folder: Path) -> tuple[str, str]:
    """The text of the PDF without spaces, and the log; fails if pdflatex does."""
    (folder / "report.tex").write_text(text, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "report.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    log = (folder / "report.log").read_text(encoding="latin-1")
    assert done.returncode == 0, log[-2000:]
    shown = subprocess.run(["pdftotext", "report.pdf", "-"], cwd=folder, capture_output=True, check=True, text=True)
    return "".join(shown.stdout.split()), log


def hostile() -> Report:
    """Methods with every hostile name, tasks with some."""
    names = list(dict.fromkeys(map(make_visible, (*HOSTILE, *MORE))))
    tasks = ("dir:a|b_c$d\\x{", f"dir:{'ä' * 300}")
    return compose([record(label=name, method=name, task=task, backbone=names[10]) for name in names for task in tasks])


@needs_latex
@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="pdftotext (poppler-utils) is missing")
def test_hostile_names_compile_and_are_text(tmp_path: Path) -> None:
    text, log = compiled(latex.render(hostile()), tmp_path)
    assert "Overfull" not in log
    assert "Missing character" not in log
    for name in (*HOSTILE, *MORE):
        seen = "".join(make_visible(name).split()).replace("'", "’")
        if len(seen) <= latex.LONG_NAME and seen.isascii():
            assert seen in text, name
    for name in ("\\u65e5\\u672c\\u8a9e", "\\U0001f44d", "café", "ÿŽß©"):
        assert name in text


@needs_latex
@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="pdftotext (poppler-utils) is missing")
def test_large_grids_compile_and_fit_the_page(tmp_path: Path) -> None:
    methods = [f"houlsby:bottleneck={size}" for size in range(1, 90)]
    records = grid(("full", *methods), [f"task_{number}" for number in range(12)], (0, 1))
    text, log = compiled(latex.render(compose(records)), tmp_path)
    assert "Overfull" not in log
    assert "toolarge" not in log.replace(" ", "")
    assert all(f"bottleneck={size}" in text for size in range(1, 90))
    assert "rows41to80of91" in text


@needs_latex
@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="pdftotext (poppler-utils) is missing")
def test_every_plain_character_is_printed(tmp_path: Path) -> None:
    known = [chr(code) for code in range(0x20, 0x180) if latex.PLAIN.fullmatch(chr(code))]
    lines = [Cell("".join(known[start : start + 30])) for start in range(0, len(known), 30)]
    table = Table("Characters", (Column("text", numeric=False),), tuple((cell,) for cell in lines))
    body = "\n".join([latex.PREAMBLE, *latex._set(table), r"\end{document}"])
    _, log = compiled(body, tmp_path)
    assert "Missing character" not in log


def test_the_best_is_bold_its_ties_are_marked_and_captions_say_n(tmp_path: Path) -> None:
    records = world(tmp_path, {"full": 0.9, "ia3": 0.88, "bitfit": 0.6}, draws=range(6))
    report = compose(records, answers=AnswerFiles(records.places), places=records.places)
    known = report.pages[0].panel.evidence
    assert known is not None
    text = latex.render(report)
    for table in re.findall(r"\\begin\{table\}.*?\\end\{table\}", text, re.DOTALL)[:2]:
        names = [line.split(" & ")[0] for line in table.splitlines() if " & " in line]
        assert [name.replace(" reference", "") for name in names if "textbf" in name] == [rf"\textbf{{{known.best}}}"]
        tied = {name.split(" $")[0] for name in names if r"$\approx$" in name}
        assert tied == set(known.tied_labels) - {known.best}
        assert r"n = 2 tasks $\times$ 6 draws $\times$ 120 test rows" in table
        assert r"95 \% t intervals" in table


def test_only_a_table_that_is_too_wide_is_split() -> None:
    columns = (Column("method", numeric=False), *(Column(f"column {number}") for number in range(12)))
    narrow = Table("A", columns, (tuple(Cell("1.0") for _ in columns),))
    wide = Table("A", columns, (tuple(Cell("1.0 [−12.5, +12.5]") for _ in columns),))
    assert [len(latex._by_columns(table)) for table in (narrow, wide)] == [2, 3]
    assert len(latex._by_columns(Table("A", columns[:4], (tuple(Cell("1.0") for _ in range(4)),)))) == 1


def test_a_table_of_long_names_is_split_so_that_it_fits_a_page():
    name = "a_method_with_a_long_name:and=its,settings=too,of=many,letters="
    made = compose([record(label=f"{name}{place}", method=f"{name}{place}") for place in range(40)])
    parts = re.findall(r"rows (\d+) to (\d+) of 40", latex.render(made))
    assert parts
    assert all(int(last) - int(first) < 20 for first, last in parts)
