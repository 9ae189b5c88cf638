"""`tunefront run`: runs cells that are not recorded yet, then prints a summary and writes a report."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import typer

from tunefront.bench.cli import options
from tunefront.bench.cli.console import (
    FAILED,
    Console,
    announce,
    handle_errors,
    print_plain,
    print_resume_hint,
    quiet_libraries,
    warnings_on,
)
from tunefront.bench.cli.options import location
from tunefront.bench.cli.report import report_folder, show_written, written_report
from tunefront.bench.collector import without_collector
from tunefront.bench.errors import ErrorCollector, UserError, in_short
from tunefront.bench.execution import interruption
from tunefront.bench.files import explain_os_error, is_memory, local_folder
from tunefront.bench.suites.overrides import Overrides, Texts

if TYPE_CHECKING:
    from tunefront.bench.cli.titles import Titles
    from tunefront.bench.execution.grid import Outcome
    from tunefront.bench.suites.expand import Expansion

    Requested = Callable[[Callable[[str], None]], Expansion]
    """The expansion of a call, given what a line is passed to before each slow step."""

log = logging.getLogger("tunefront")


@options.add_cell_options()
def run(
    texts: Texts,
    suite: options.Suite = None,
    out: options.Out = "results",
    workers: options.Workers = None,
    engine: options.Engine = "local",
    plan_first: options.PlanFirst = None,
    debug: options.Debug = False,
) -> None:
    """Run what is not recorded yet, then write a report.

    Runs the cells of SUITE that have no record in OUT, prints a summary of all cells and writes OUT/report. Options
    that name methods, backbones, tasks, shots, draws, seeds or templates replace that list of SUITE. If SUITE has
    several parts, they replace the list of every part; --backbone instead selects parts: a part that names the backbone
    runs on it alone, and a backbone that no part names runs the parts for its kind. Exit code: 0 if every cell is
    ok or skipped with a reason; 1 if a cell failed, the disk is full or records are missing; 2 for a mistake in the
    call; 130 after Ctrl-C; 143 after SIGTERM.
    """

    def requested(on_status: Callable[[str], None]) -> Expansion:
        from tunefront.bench.suites.expand import expand

        wrong = ErrorCollector()
        return expand(suite, Overrides.from_texts(texts, wrong), on_status=on_status, wrong=wrong)

    run_cells(requested, out, workers, engine, plan_first, debug)


def run_cells(
    requested: Requested, out: str, workers: int | None, engine: str, plan_first: bool | None, debug: bool
) -> None:
    """Runs the cells that a call requests, prints their summary and writes the report; the exit codes are those of
    `run`."""
    errors = Console(stderr=True)
    with handle_errors(errors, debug):
        quiet_libraries()
        if engine != "local":
            raise UserError(
                f"there is no engine {engine!r}; use --engine local, and --workers N to run cells in parallel."
            )
        out = location("--out", out)
        if is_memory(out):
            text = f"warning: the records in {out} are lost when the command ends; the report is kept"
            print_plain(errors, f"{text}; cells run one at a time, because only this process sees {out}", "yellow")
        from tunefront.bench.data import cache

        cache.folder()  # raises before anything runs if the folder is unusable

        with warnings_on(errors):
            outcome, titles, taken = _run(errors, requested, workers, out, plan_first)
            if outcome.interrupted:
                from tunefront.bench.cli.ending import show_not_run

                show_not_run(outcome.records, titles, errors)
                print_resume_hint(errors)
                raise typer.Exit(interruption.exit_code())
            with without_collector():
                complete = _end(outcome, titles, out, errors, taken)
        if outcome.failed or not complete:
            raise typer.Exit(FAILED)


def _run(
    errors: Console,
    requested: Requested,
    workers: int | None,
    out: str,
    plan_first: bool | None,
) -> tuple[Outcome, Titles, str]:
    """Expands and runs the cells with the progress display on, which also shows the steps before the first cell.

    Returns the outcome, the titles of its cells, and how long they took, with the predicted time where there is one.
    """
    from tunefront.bench.cli.outlook import look_ahead, time_taken
    from tunefront.bench.cli.progress import Display
    from tunefront.bench.cli.titles import Titles
    from tunefront.bench.papers.compared import compared
    from tunefront.bench.records.store import Store
    from tunefront.bench.suites.expand import OWN

    with Display(errors) as display:
        with without_collector():
            expansion = requested(display.preparing)
        store = Store(out)
        store.prepare()
        for line in expansion.announcements:
            announce(errors, line)
        for warning in expansion.warnings:
            print_plain(errors, f"warning: {warning}", "yellow")
        cells, lines = compared(expansion.cells, display.preparing)
        for line in lines:
            announce(errors, line)
        from tunefront.bench.execution.engines import default_workers
        from tunefront.bench.execution.grid import run_grid

        display.titles = Titles.of(cells)
        n_workers = workers or default_workers(cells)
        predicted = None
        if plan_first or (plan_first is None and expansion.suite == OWN and local_folder(out) is not None):
            line, predicted = look_ahead(cells, out, n_workers, display.preparing, required=bool(plan_first))
            announce(errors, line)
        display.preparing("looking for records")
        began = monotonic()
        outcome = run_grid(cells, store, n_workers, display, fork=True)
    return outcome, display.titles, time_taken(monotonic() - began, predicted) if outcome.ran else ""


def _end(outcome: Outcome, titles: Titles, out: str, errors: Console, taken: str) -> bool:
    """Writes the report, then prints the end of the run, in this order since printing may fail. False if records are
    missing, or if a bug stopped the report or the summary."""
    from tunefront.bench.cli.ending import show_counts, show_not_run, show_summary
    from tunefront.bench.records.answers import AnswerFiles
    from tunefront.bench.records.kept import find_missing

    broken: list[str] = []
    written: list[str] = []
    console, places = Console(), {record.key: out for record in outcome.records}
    with _as_warning(errors, "no report", broken):
        written = _report(outcome, out, places)
    with _as_warning(errors, "no summary", broken):
        show_summary(outcome, AnswerFiles(places), console, errors)
    missing = find_missing(out, outcome.records)
    for line in missing.lines:
        log.warning("%s", line)
    show_not_run(outcome.records, titles, errors)
    show_counts(outcome, taken, console)
    show_written(written)
    return not broken and not missing.records


def _report(outcome: Outcome, out: str, places: dict[str, str]) -> list[str]:
    """The paths of the report's files; it is drawn again unless nothing ran and its inputs are as they were."""
    from tunefront.bench.cli.unchanged import digest_of, keep_inputs, kept_report
    from tunefront.bench.records import load_plans

    folder, digest = report_folder(out), digest_of(out, places)
    kept = kept_report(Path(folder), digest) if digest is not None and not outcome.ran else None
    if kept is not None:
        return kept
    written = written_report(outcome.records, folder, ["html", "pdf", "csv"], None, load_plans(out), places=places)
    if digest is not None:
        keep_inputs(Path(folder), digest, written)
    return written


@contextmanager
def _as_warning(errors: Console, what: str, broken: list[str]) -> Iterator[None]:
    """Turns an error after a successful run into a warning: `tunefront report` can repeat the step. An error that is
    neither a UserError nor an OSError is a bug, appended to `broken`."""
    try:
        yield
    except (UserError, OSError) as error:
        text = explain_os_error(error) if isinstance(error, OSError) else str(error)
        print_plain(errors, f"warning: {what} was written: {text}", "yellow")
    except Exception as error:
        broken.append(what)
        print_plain(errors, f"warning: {what} was written; this is a bug in tunefront: {in_short(error)}", "yellow")
