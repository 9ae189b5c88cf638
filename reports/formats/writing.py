"""Writes the files of a report in order, each completely or not at all."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.bench.errors import DiskFull, UserError, unknown
from tunefront.bench.files import local_folder, writing
from tunefront.bench.records import Records
from tunefront.bench.records.answers import AnswerFiles
from tunefront.bench.records.merge import find_overlap
from tunefront.bench.records.urls import UrlFolder, output_folder
from tunefront.reports.compare.filters import in_folders
from tunefront.reports.compare.prices import read_prices
from tunefront.reports.formats import FORMATS, csvs
from tunefront.reports.sections.document import compose

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tunefront.bench.records import Record
    from tunefront.reports.compare.filters import Where
    from tunefront.reports.compare.prices import Prices
    from tunefront.reports.sections.document import Report

OPTIONAL = ("differences.csv", "ledgers.csv", "studies.csv")
"""Tables that not every report has."""
PLOT_KINDS = ("png", "svg", "pdf")
DRAWN = 8
"""Most panels of which the breakdowns of costs are drawn. Of further ones the tables are shown, so that a report on
many backbones stays small."""


def write_report(
    records: Sequence[Record],
    out: str | Path,
    formats: Sequence[str],
    where: Where,
    reference: str,
    plans: Sequence[Record] = (),
    notes: Sequence[str] = (),
    places: Mapping[str, str] | None = None,
    prices: str | Path | Prices | None = None,
) -> list[Path] | list[str]:
    """See `tunefront.reports.write`."""
    formats = [formats] if isinstance(formats, str) else list(formats)
    for name in formats:
        if name not in FORMATS:
            raise UserError(unknown("report format", name, FORMATS))
    if places is not None:
        records = Records(records, places, getattr(records, "others", ()))
    records, where = in_folders(records, where)
    if isinstance(records, Records):
        places, notes = records.places, [*notes, *filter(None, [find_overlap(records).warning])]
    known = None if prices is None else read_prices(prices)
    remote = UrlFolder(str(out)) if local_folder(out) is None else None
    names: list[str] = []
    with output_folder(out) as folder:
        report = compose(records, where, reference, plans, notes, AnswerFiles(places or {}), places, known)
        drawn_before = (folder / "report.csv").exists() if remote is None else remote.has("report.csv")
        for name, content in _contents(report, formats):
            put(folder / name, content)
            names.append(name)
        if "csv" in formats and drawn_before:  # those of an earlier report; elsewhere they may be files of the user
            _remove(folder if remote is None else remote, [name for name in OPTIONAL if name not in names])
    names.sort(key=lambda name: "/" in name)
    return [folder / name for name in names] if remote is None else [remote / name for name in names]


def _remove(place: Path | UrlFolder, names: Sequence[str]) -> None:
    if isinstance(place, UrlFolder):
        place.remove_many(names)
        return
    for name in names:
        (place / name).unlink(missing_ok=True)


def _contents(report: Report, formats: list[str]) -> Iterator[tuple[str, bytes | str]]:
    """File names with their contents, one at a time, so that finished files are written even if a later one fails."""
    if set(formats) - {"csv", "tex"}:
        from tunefront.reports.formats import html, markdown, pdf
        from tunefront.reports.plots import study_plots
        from tunefront.reports.plots.panel_plots import pictures, save

        beside = bool({"md", "pdf"} & set(formats))  # the page itself has a plot whose axes can be chosen
        drawn = [
            pictures(page, narrow="html" in formats, costs=beside, ledgers=place < DRAWN)
            for place, page in enumerate(report.pages)
        ]
        studied = [study_plots.pictures(study) for study in report.studies]
        with ThreadPoolExecutor(1) as aside:
            typeset = aside.submit(pdf.typeset, pdf.content(report, drawn, studied)) if "pdf" in formats else None
            if "html" in formats:
                yield "report.html", html.render(report, drawn, studied)
            if "md" in formats:
                yield "report.md", markdown.render(report, drawn, studied)
            for picture in (picture for section in [*drawn, *studied] for picture in section if beside):
                for kind in PLOT_KINDS:
                    content = picture.svg if kind == "svg" else save(picture.figure, kind)
                    yield f"plots/{picture.name}.{kind}", content
            if typeset is not None:
                yield "report.pdf", typeset.result()
    if "tex" in formats:
        from tunefront.reports.formats import latex

        yield "report.tex", latex.render(report)
    if "csv" in formats:
        yield "report.csv", csvs.records(report)
        yield "summary.csv", csvs.summary(report)
        if any(page.panel.evidence is not None for page in report.pages):
            yield "differences.csv", csvs.methods(report)
        if any(page.ledgers for page in report.pages):
            yield "ledgers.csv", csvs.ledgers(report)
        if any(study.tables for study in report.studies):
            yield "studies.csv", csvs.studies(report)


def put(path: Path, content: bytes | str) -> Path:
    """Writes a file, completely or not at all. UserError or DiskFull with the path if that fails."""
    try:
        with writing(path) as file:
            file.write(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"no space left for {path}; free some space and run the same command again.") from error
        why = f"the report cannot be written to {path.parent} ({error.strerror}); choose another --out."
        raise UserError(why) from error
    return path
