"""`tunefront report`: draws a report from stored records alone."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.bench.cli import options
from tunefront.bench.cli.console import Console, handle_errors, print_plain, warnings_on
from tunefront.bench.cli.options import location
from tunefront.bench.collector import without_collector
from tunefront.bench.errors import ErrorCollector, UserError, UserErrors
from tunefront.bench.files import is_memory, local_folder
from tunefront.bench.suites.lists import parse_values

if TYPE_CHECKING:
    from tunefront.bench.records import Record, Records

log = logging.getLogger("tunefront")


def report(
    results: options.SeveralResults,
    out: options.ReportOut = None,
    format: options.Formats = "html,pdf,csv",
    where: options.ReportWhere = None,
    prices: options.PricesFrom = None,
    debug: options.Debug = False,
) -> None:
    """Draw a report from stored records.

    Runs nothing and needs no model. The records of several folders, such as those of several machines, make one report:
    a cell that is in two of them counts once. Records that cannot be compared are refused, with the folder that holds
    each value.
    """
    errors = Console(stderr=True)
    stopped = "Stopped; the records are as they were."
    with handle_errors(errors, debug, stopped=stopped), warnings_on(errors), without_collector():
        wrong = ErrorCollector()
        for place in results:
            with wrong.collect():
                location("RESULTS", place)
        with wrong.collect():
            out = None if out is None else location("--out", out)
            if out is not None and is_memory(out):
                raise UserError(
                    f"--out: the files in {out} are lost when the command ends; give a folder, or another URL."
                )
        formats: list[str] = []
        with wrong.collect():
            formats = parse_values("--format", [format], commas=True) or []
        with wrong.collect():
            where = parse_values("--where", where)
        if prices is not None:
            from tunefront.reports.compare.prices import read_prices

            with wrong.collect():
                read_prices(prices)  # before records are read, which may take long
        wrong.raise_if_any()
        from tunefront.bench.records import load_plans
        from tunefront.bench.records.merge import distinct, find_overlap
        from tunefront.reports.compare.filters import in_folders

        folders = distinct(results)
        records, conditions = in_folders(merged_records(folders), where)
        overlap, notes = find_overlap(records), _missing_predictions(records)
        if overlap.note:
            print_plain(errors, overlap.note)
        for line in filter(None, [overlap.warning, *notes]):
            log.warning("%s", line)
        folder = out or report_folder(*folders)
        show_written(written_report(records, folder, formats, conditions, load_plans(*folders), notes, prices=prices))


def merged_records(folders: Sequence[str]) -> Records:
    """The records of results folders or URLs, one per cell. Skipped files are logged, and so are folders without
    records, unless none has any. UserError if no record can be read, or if a folder does not exist."""
    from tunefront.bench.records import merge_folders

    found: dict[str, list[Record]] = {}
    empty: list[UserError] = []
    wrong = ErrorCollector()
    for folder in folders:
        with wrong.collect():
            try:
                found[folder] = records_of(folder)
            except NoRecords as error:
                empty.append(error)
    wrong.raise_if_any()
    if not found:
        raise UserErrors(map(str, empty))
    for reason in empty:
        log.warning("%s", reason)
    return merge_folders(found)


def _missing_predictions(records: Records) -> list[str]:
    """A line per folder about records whose predictions are missing or incomplete."""
    from tunefront.bench.records.kept import find_missing

    by_folder: dict[str, list[Record]] = {}
    for record in records:
        by_folder.setdefault(records.places[record.key], []).append(record)
    return [line for folder, group in by_folder.items() for line in find_missing(folder, group).without_predictions]


class NoRecords(UserError):
    """A results folder that exists and has no readable record."""


def records_of(results: str) -> list[Record]:
    """The records of a folder or URL; skipped files are logged. UserError if it does not exist, NoRecords if no record
    can be read."""
    from tunefront.bench.records import load

    loaded = load(results)
    if not loaded.records:
        folder = local_folder(results)
        if loaded.left_out:
            raise NoRecords(f"{results} has no readable records: {' '.join(loaded.left_out)}")
        if folder is not None and not os.path.isdir(folder):
            raise UserError(f"{results} does not exist; give the folder that `tunefront run --out` wrote.")
        raise NoRecords(f"{results} has no records; give the folder that `tunefront run --out` wrote.{_inside(folder)}")
    for line in loaded.left_out:
        log.warning("%s", line)
    return list(loaded.records)


MOST_LOOKED_AT, MOST_NAMED = 1000, 5
PARTS = ("records", "predictions", "checkpoints", "plans", "report")


def _inside(folder: Path | None) -> str:
    """The results folders in or above a folder that is none itself, in words; empty if there are none."""
    if folder is None:
        return ""
    if folder.name in PARTS and (folder.parent / "records").is_dir():
        return " The folder above it has records."
    with os.scandir(folder) as entries:
        names = [entry.name for entry in itertools.islice(entries, MOST_LOOKED_AT)]
    inside = [name for name in sorted(names) if (folder / name / "records").is_dir()]
    more = f" and {len(inside) - MOST_NAMED} more" if len(inside) > MOST_NAMED else ""
    return f" These folders in it have records: {', '.join(inside[:MOST_NAMED])}{more}." if inside else ""


def report_folder(*results: str) -> str:
    """The folder `report` next to the records. For a URL, and for several folders, whose report is of none of them
    alone, it is `tunefront-report` in the working directory."""
    folder = local_folder(results[0]) if len(results) == 1 else None
    return "tunefront-report" if folder is None else str(folder / "report")


def written_report(
    records: Sequence[Record],
    out: str,
    formats: list[str],
    where: Mapping[str, object] | Iterable[str] | None,
    plans: Sequence[Record],
    notes: Sequence[str] = (),
    places: Mapping[str, str] | None = None,
    prices: str | None = None,
) -> list[str]:
    """Writes a report to a folder or URL; returns the paths of its files. `notes` are warnings that the report shows,
    `places` say where the predictions of each record are, `prices` where prices are. UserError if it cannot be written.
    """
    from tunefront.reports import write

    try:
        with Console(stderr=True).status("writing the report"):
            written = write(records, out, formats, where, plans=plans, notes=notes, places=places, prices=prices)
            return [str(path) for path in written]
    except PermissionError as error:
        raise UserError(
            f"the report cannot be written to {out} ({error.strerror}); give another folder with --out."
        ) from error


def show_written(written: Sequence[str]) -> None:
    """Prints the paths of a report's files; that of the report itself is the last line."""
    from tunefront.bench.cli.progress import plural

    plots = [path for path in written if Path(path).parent.name == "plots"]
    files = sorted((path for path in written if path not in plots), key=lambda path: not path.endswith(".html"))
    if not files:
        return
    report, *others = files
    folder = f"{report.rpartition('/')[0]}/"
    tables = [path for path in others if path.endswith(".csv")]
    named = [path.removeprefix(folder) for path in others if path not in tables or len(tables) == 1]
    named += [plural(len(tables), "CSV file")] if len(tables) > 1 else []
    named += [f"plots/ ({plural(len(plots), 'file')})"] if plots else []
    if named:
        print_plain(Console(), f"also in {folder.removesuffix('/')}: {', '.join(named)}")
    print_plain(Console(), f"report: {report}")
