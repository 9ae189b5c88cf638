"""`tunefront report`: drawn from stored records alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tunefront.bench.cli import options
from tunefront.bench.cli.console import say, told, warnings_on
from tunefront.bench.errors import Mistake
from tunefront.bench.files import local_folder

if TYPE_CHECKING:
    from tunefront.bench.records import Record


def report(
    results: options.Results,
    out: options.ReportOut = None,
    format: options.Formats = "html,pdf,csv",
    where: options.Where = None,
    debug: options.Debug = False,
) -> None:
    """Draw a report from stored records.

    Nothing is run and no model is needed.
    """
    errors = Console(stderr=True)
    with told(errors, debug), warnings_on(errors):
        from tunefront.bench.records import load_plans

        folder = out or report_folder(results)
        write_report(records_of(results), folder, format.split(","), where, load_plans(results))


def records_of(results: str) -> list[Record]:
    """The records of a folder or URL; Mistake where there are none."""
    from tunefront.bench.records import load_records

    records = load_records(results)
    if not records:
        folder = local_folder(results)
        there = "has no records" if folder is None or folder.is_dir() else "is not there"
        raise Mistake(f"{results} {there}; give the folder that `tunefront run --out` wrote.")
    return records


def report_folder(results: str) -> str:
    """Beside the records, or here where they are behind a URL."""
    folder = local_folder(results)
    return "tunefront-report" if folder is None else str(folder / "report")


def write_report(
    records: Sequence[Record], out: str, formats: list[str], where: list[str] | None, plans: Sequence[Record]
) -> None:
    """Writes a report into a folder and says where its files are; Mistake where it cannot be written."""
    from tunefront.bench.cli.progress import plural
    from tunefront.reports import write

    try:
        with Console(stderr=True).status("writing the report"):
            written = [Path(path) for path in write(records, out, formats=formats, where=where, plans=plans)]
    except PermissionError as error:
        raise Mistake(
            f"the report cannot be written to {out} ({error.strerror}); give another folder with --out."
        ) from error
    plots = [path for path in written if path.parent.name == "plots"]
    for path in (path for path in written if path not in plots):
        say(Console(), f"report: {path}")
    if plots:
        say(Console(), f"plots: {plural(len(plots), 'file')} in {plots[0].parent}")
