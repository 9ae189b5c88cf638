"""The files of a report, in order."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import Mistake, unknown
from reports import FORMATS, csvs
from reports.document import compose
from reports.files import put

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.records import Record
    from reports.document import Report
    from reports.filters import Where

PLOT_KINDS = ("png", "svg", "pdf")


def write_report(
    records: Sequence[Record],
    out: str | Path,
    formats: Sequence[str],
    where: Where,
    reference: str,
    plans: Sequence[Record] = (),
) -> list[Path]:
    """See `reports.write`."""
    formats = [formats] if isinstance(formats, str) else list(formats)
    for name in formats:
        if name not in FORMATS:
            raise Mistake(unknown("report format", name, FORMATS))
    report = compose(records, where, reference, plans)
    folder = Path(out).expanduser()
    return [put(folder / name, content) for name, content in _contents(report, formats)]


def _contents(report: Report, formats: list[str]) -> Iterator[tuple[str, bytes | str]]:
    """File names with what is in them, one at a time, so that what is done is written even if a later one fails."""
    if set(formats) - {"csv", "tex"}:
        from reports import html, markdown, pdf, pictures

        drawn = [pictures.pictures(page) for page in report.pages]
        if "html" in formats:
            yield "report.html", html.render(report, drawn)
        if "pdf" in formats:
            yield "report.pdf", pdf.render(report, drawn)
        if "md" in formats:
            yield "report.md", markdown.render(report, drawn)
        for picture in (picture for page in drawn for picture in page):
            for kind in PLOT_KINDS:
                content = picture.svg if kind == "svg" else pictures.save(picture.figure, kind)
                yield f"plots/{picture.name}.{kind}", content
    if "tex" in formats:
        from reports import latex

        yield "report.tex", latex.render(report)
    if "csv" in formats:
        yield "report.csv", csvs.records(report)
        yield "summary.csv", csvs.summary(report)
