"""`tunefront run`: runs cells that are not recorded yet, then prints a summary and writes a report."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from tunefront.bench.errors import ErrorCollector, UserError, in_short
from tunefront.bench.execution import interruption
from tunefront.bench.files import explain_os_error, is_memory, local_folder
from tunefront.bench.suites.overrides import Overrides, Texts

if TYPE_CHECKING:
    from tunefront.bench.cells import Cell
    from tunefront.bench.execution.grid import Outcome
    from tunefront.bench.records import Record

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
            outcome = _run(errors, suite, texts, workers, out, plan_first)
            if outcome.interrupted:
                print_resume_hint(errors)
                raise typer.Exit(interruption.exit_code())
            written = _report(outcome, out, errors)
            records_missing = _warn_of_missing(outcome, out)
        if outcome.failed or records_missing or not written:
            raise typer.Exit(FAILED)


def _run(
    errors: Console,
    suite: str | None,
    texts: Texts,
    workers: int | None,
    out: str,
    plan_first: bool | None,
) -> Outcome:
    """Expands and runs the suite with the progress display on, which also shows the steps before the first cell."""
    from tunefront.bench.cli.progress import Display
    from tunefront.bench.papers.compared import compared
    from tunefront.bench.records.store import Store
    from tunefront.bench.suites.expand import OWN, expand

    wrong = ErrorCollector()
    overrides = Overrides.from_texts(texts, wrong)
    with Display(errors) as display:
        expansion = expand(suite, overrides, on_status=display.preparing, wrong=wrong)
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

        n_workers = workers or default_workers(cells)
        is_own = expansion.suite == OWN
        if plan_first or (plan_first is None and is_own and not is_memory(out) and local_folder(out) is not None):
            from tunefront.bench.forecast.forecast import keep_predictions

            predicted = keep_predictions(cells, out, n_workers, display.preparing)
            announce(errors, _outlook(cells, predicted, n_workers))
        display.preparing("looking for records")
        return run_grid(cells, store, n_workers, display, fork=True)


def _outlook(cells: Sequence[Cell], predicted: Sequence[tuple[Cell, Record]], workers: int) -> str:
    """The number of cells, and what those that have not run yet are predicted to take."""
    from tunefront.bench.cli.progress import plural
    from tunefront.reports.units import seconds, si

    planned = [record for _, record in predicted if record.status == "planned"]
    recorded = len(cells) - len(predicted)
    known = f", {recorded:,} of them recorded before" if recorded else ""
    if not planned:
        return f"{plural(len(cells), 'cell')}{known}."
    taken = sum(_predicted_seconds(record) for record in planned) / min(workers, len(planned))
    peak = max(record.peak_memory_bytes or 0 for record in planned)
    times = "one at a time" if workers == 1 else f"{workers} at a time"
    return f"{plural(len(cells), 'cell')}{known}, {times}: about {seconds(taken)}, and up to {si(peak, 'B')} each."


def _predicted_seconds(record: Record) -> float:
    """Seconds of training, of scoring the test rows, and of scoring the selection rows at the same speed."""
    scored = record.seconds.eval or 0.0
    chosen_on = (record.data.n_selection or 0) / (record.data.n_test or 1)
    return (record.seconds.train or 0.0) + (record.seconds.prefix or 0.0) + scored * (1 + chosen_on)


def _report(outcome: Outcome, out: str, errors: Console) -> bool:
    """Writes the report, then prints the summary, in this order since printing may fail. False if a bug stopped one."""
    from tunefront.bench.records import load_plans

    broken: list[str] = []
    written: list[str] = []
    with _as_warning(errors, "no report", broken):
        plans = load_plans(out)
        written = written_report(outcome.records, report_folder(out), ["html", "pdf", "csv"], None, plans)
    with _as_warning(errors, "no summary", broken):
        _summary(outcome)
    show_written(written)
    return not broken


def _summary(outcome: Outcome) -> None:
    from tunefront.bench.cli.progress import plural
    from tunefront.reports.sections.summary import summary_table

    console = Console()
    ok = len(outcome.records) - outcome.skipped - outcome.failed
    kinds = [(ok, "ok"), (outcome.skipped, "skipped"), (outcome.failed, "failed")]
    listed = ", ".join(f"{count} {kind}" for count, kind in kinds if count)
    recorded = f"; {outcome.reused} of them recorded before" if outcome.reused else ""
    try:
        console.print(summary_table(outcome.records))
    finally:
        print_plain(console, f"{plural(len(outcome.records), 'cell')}: {listed}{recorded}.")
        for record in outcome.records:
            if record.status == "failed":
                print_plain(
                    console, f"failed: {record.label} on {record.task}, seed {record.seed}: {record.reason}", "red"
                )


def _warn_of_missing(outcome: Outcome, out: str) -> bool:
    """Logs the records and predictions that are missing from the disk; whether any record is missing."""
    from tunefront.bench.records.kept import find_missing

    missing = find_missing(out, outcome.records)
    for line in missing.lines:
        log.warning("%s", line)
    return bool(missing.records)


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
