"""`tunefront run`: cells that are not recorded yet, a summary, a report."""

from __future__ import annotations

import logging
from collections.abc import Iterator
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
from tunefront.bench.files import explain_os_error, is_memory
from tunefront.bench.suites.overrides import Overrides, Texts

if TYPE_CHECKING:
    from tunefront.bench.execution.grid import Outcome

log = logging.getLogger("tunefront")


@options.choosing_cells()
def run(
    texts: Texts,
    suite: options.Suite = "quick",
    out: options.Out = "results",
    workers: options.Workers = None,
    engine: options.Engine = "local",
    plan_first: options.PlanFirst = False,
    debug: options.Debug = False,
) -> None:
    """Run what is not recorded yet, then report.

    Runs the cells of SUITE that OUT has no record of, prints a summary of all of them and writes OUT/report.
    Options that name methods, backbones, tasks, shots, draws, seeds or templates replace that list of SUITE; without
    SUITE, of `quick`. Of a SUITE of several parts they replace it in each, but --backbone chooses: parts that name the
    backbone run on it alone, one that no part names runs the first. Exit code: 0 when every cell is ok or skipped with
    a reason, 1 when one failed, the disk is full or records are gone, 2 for a mistake in the call, 130 after Ctrl-C,
    143 after SIGTERM.
    """
    errors = Console(stderr=True)
    with handle_errors(errors, debug):
        quiet_libraries()
        if engine != "local":
            raise UserError(
                f"there is no engine {engine!r} yet; cells run with --engine local, several with --workers N."
            )
        out = location("--out", out)
        if is_memory(out):
            lost = f"warning: the records in {out} are lost when the command ends; its report is not"
            print_plain(errors, f"{lost}; cells run one at a time, in this process, which alone sees them", "yellow")
        from tunefront.bench.data import cache

        cache.folder()  # a place that is none is told before anything runs

        with warnings_on(errors):
            outcome = _run(errors, suite, texts, workers, out, plan_first)
            if outcome.interrupted:
                print_resume_hint(errors)
                raise typer.Exit(interruption.exit_code())
            whole = _tell(outcome, out, errors)
            gone = _lost(outcome, out)
        if outcome.failed or gone or not whole:
            raise typer.Exit(FAILED)


def _run(
    errors: Console,
    suite: str,
    texts: Texts,
    workers: int | None,
    out: str,
    plan_first: bool,
) -> Outcome:
    """Expands the suite and runs it with the progress display on, which also shows what the first seconds go into."""
    from tunefront.bench.cli.progress import Display
    from tunefront.bench.papers.compared import compared
    from tunefront.bench.records.store import Store
    from tunefront.bench.suites.expand import expand

    wrong = ErrorCollector()
    overrides = Overrides.from_texts(texts, wrong)
    with Display(errors) as display:
        expansion = expand(suite, overrides, tell=display.preparing, wrong=wrong)
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

        beside = workers or default_workers(cells)
        if plan_first:
            from tunefront.bench.forecast.forecast import keep_predictions

            keep_predictions(cells, out, beside, display.preparing)
        display.preparing("looking for records")
        return run_grid(cells, store, beside, display, fork=True)


def _tell(outcome: Outcome, out: str, errors: Console) -> bool:
    """Writes the report, then prints the summary: whoever reads may have gone. Whether nothing broke."""
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
    before = f"; {outcome.reused} of them recorded before" if outcome.reused else ""
    try:
        console.print(summary_table(outcome.records))
    finally:
        print_plain(console, f"{plural(len(outcome.records), 'cell')}: {listed}{before}.")
        for record in outcome.records:
            if record.status == "failed":
                print_plain(
                    console, f"failed: {record.label} on {record.task}, seed {record.seed}: {record.reason}", "red"
                )


def _lost(outcome: Outcome, out: str) -> bool:
    """Says which records or predictions are not on the disk; whether records are among them."""
    from tunefront.bench.records.kept import lost

    found = lost(out, outcome.records)
    for line in found.lines:
        log.warning("%s", line)
    return bool(found.records)


@contextmanager
def _as_warning(errors: Console, what: str, broken: list[str]) -> Iterator[None]:
    """The run itself went well: what cannot be drawn together or written is a warning, and `report` does it later. What
    is neither a mistake nor a file is a bug, kept in `broken`."""
    try:
        yield
    except (UserError, OSError) as error:
        text = explain_os_error(error) if isinstance(error, OSError) else str(error)
        print_plain(errors, f"warning: {what} was written: {text}", "yellow")
    except Exception as error:
        broken.append(what)
        print_plain(errors, f"warning: {what} was written; this is a bug in tunefront: {in_short(error)}", "yellow")
