"""`tunefront report`: draws a report from stored records alone."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.bench.cli import options
from tunefront.bench.cli.console import Console, handle_errors, print_plain, warnings_on
from tunefront.bench.cli.options import location
from tunefront.bench.errors import ErrorCollector, UserError
from tunefront.bench.files import is_memory, local_folder, output_folder
from tunefront.bench.suites.lists import parse_values

if TYPE_CHECKING:
    from tunefront.bench.records import Record

log = logging.getLogger("tunefront")


def report(
    results: options.Results,
    out: options.ReportOut = None,
    format: options.Formats = "html,pdf,csv",
    where: options.Where = None,
    debug: options.Debug = False,
) -> None:
    """Draw a report from stored records.

    Runs nothing and needs no model.
    """
    errors = Console(stderr=True)
    with handle_errors(errors, debug, stopped="Stopped; the records are as they were."), warnings_on(errors):
        wrong = ErrorCollector()
        with wrong.collect():
            results = location("RESULTS", results)
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
        wrong.raise_if_any()
        from tunefront.bench.records import load_plans
        from tunefront.bench.records.kept import find_missing

        folder, records = out or report_folder(results), records_of(results)
        notes = find_missing(results, records).without_predictions
        for line in notes:
            log.warning("%s", line)
        places = {record.key: results for record in records}
        show_written(written_report(records, folder, formats, where, load_plans(results), notes, places))


def records_of(results: str) -> list[Record]:
    """The records of a folder or URL; skipped files are logged. UserError if no record can be read."""
    from tunefront.bench.records import load

    loaded = load(results)
    if not loaded.records:
        folder = local_folder(results)
        state = "has no records" if folder is None or os.path.isdir(folder) else "does not exist"
        if loaded.left_out:
            raise UserError(f"{results} has no readable records: {' '.join(loaded.left_out)}")
        raise UserError(f"{results} {state}; give the folder that `tunefront run --out` wrote.")
    for line in loaded.left_out:
        log.warning("%s", line)
    return list(loaded.records)


def report_folder(results: str) -> str:
    """The folder `report` next to the records; for a URL, `tunefront-report` in the working directory."""
    folder = local_folder(results)
    return "tunefront-report" if folder is None else str(folder / "report")


def written_report(
    records: Sequence[Record],
    out: str,
    formats: list[str],
    where: list[str] | None,
    plans: Sequence[Record],
    notes: Sequence[str] = (),
    places: Mapping[str, str] | None = None,
) -> list[str]:
    """Writes a report to a folder or URL; returns the paths of its files. `notes` are warnings that the report shows,
    `places` say where the predictions of each record are. UserError if it cannot be written."""
    from tunefront.reports import write

    try:
        with Console(stderr=True).status("writing the report"), output_folder(out) as folder:
            files = write(records, str(folder), formats=formats, where=where, plans=plans, notes=notes, places=places)
            written = [Path(path) for path in files]
            if local_folder(out) is not None:
                return [str(path) for path in written]
            return [f"{out.rstrip('/')}/{path.relative_to(folder).as_posix()}" for path in written]
    except PermissionError as error:
        raise UserError(
            f"the report cannot be written to {out} ({error.strerror}); give another folder with --out."
        ) from error


def show_written(written: Sequence[str]) -> None:
    """Prints the paths of a report's files."""
    from tunefront.bench.cli.progress import plural

    plots = [path for path in written if Path(path).parent.name == "plots"]
    for path in (path for path in written if path not in plots):
        print_plain(Console(), f"report: {path}")
    if plots:
        print_plain(Console(), f"plots: {plural(len(plots), 'file')} in {plots[0].rpartition('/')[0]}")
