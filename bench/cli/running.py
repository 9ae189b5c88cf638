"""What the commands that run cells share: expanding a suite, running it with the display on, and the end of the run."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Protocol

import typer

from tunefront.bench.cli.console import (
    FAILED,
    Console,
    announce,
    explain,
    handle_errors,
    print_plain,
    print_resume_hint,
    quiet_libraries,
    warnings_on,
)
from tunefront.bench.cli.options import location
from tunefront.bench.cli.report import report_folder, show_written, written_report
from tunefront.bench.collector import without_collector
from tunefront.bench.errors import UserError, in_short
from tunefront.bench.execution import interruption
from tunefront.bench.files import is_memory

if TYPE_CHECKING:
    from tunefront.bench.cells import Cell
    from tunefront.bench.cli.titles import Titles
    from tunefront.bench.execution.engines import Engine, Progress
    from tunefront.bench.execution.engines.named import EngineName
    from tunefront.bench.execution.grid import Outcome
    from tunefront.bench.records.store import Store
    from tunefront.bench.suites.expand import Expansion

log = logging.getLogger("tunefront")


class Runnable(Protocol):
    """Cells, and how they are run."""

    @property
    def cells(self) -> Sequence[Cell]: ...

    def run(self, store: Store, engine: Engine | None = None, progress: Progress | None = None) -> Outcome: ...


@dataclass(frozen=True)
class Asked:
    """What a call asks for: the expansion of a suite, and how its cells are arranged, None for a grid."""

    expansion: Expansion
    arrange: Callable[[Sequence[Cell]], Runnable] | None = None


class Share(Protocol):
    """The cells of one of several machines or jobs."""

    def select(self, cells: Iterable[Cell]) -> tuple[Cell, ...]: ...


@dataclass(frozen=True)
class How:
    """Where and how a call runs its cells, whether their checkpoints are kept, and which share of them it runs, by its
    text such as 2/8, and by a packing file if `packed` names one."""

    out: str
    workers: int | None
    engine: str = "local"
    plan_first: bool | None = None
    keep: bool = False
    shard: str | None = None
    packed: str | None = None

    @property
    def share(self) -> Share | None:
        """The share of the cells to run, None for all; UserError for a wrong text or packing file."""
        if self.shard is None and self.packed is None:
            return None
        from tunefront.bench.execution.packing import Packing
        from tunefront.bench.execution.shards import Shard

        if self.shard is None:
            raise UserError(f"--packed {self.packed} lists the cells of several jobs; say which one with --shard i/n.")
        try:
            shard = Shard.of(self.shard)
        except UserError as error:
            raise UserError(f"--shard: {error}") from error
        return shard if self.packed is None else Packing.read(self.packed).job(shard)


def run_cells(asked: Callable[[Callable[[str], None]], Asked], how: How, debug: bool) -> None:
    """Runs the cells that a call asks for and that are not recorded, prints their summary and writes the report; the
    exit codes are those of `run`. `asked` gets what a line is passed to before each slow step."""
    errors = Console(stderr=True)
    with handle_errors(errors, debug):
        quiet_libraries()
        from tunefront.bench.execution.engines.named import EngineName

        engine = EngineName.parse(how.engine)
        out = location("--out", how.out)
        if is_memory(out):
            text = f"warning: the records in {out} are lost when the command ends; the report is kept"
            alone = "" if engine.is_cluster else f"; cells run one at a time, because only this process sees {out}"
            print_plain(errors, text + alone, "yellow")
        from tunefront.bench.data import cache

        cache.folder()  # raises before anything runs if the folder is unusable
        share = how.share

        with warnings_on(errors):
            outcome, titles, taken = _run(errors, asked, how, out, share, engine)
            if outcome.interrupted:
                from tunefront.bench.cli.ending import show_not_run

                show_not_run(outcome.records, titles, errors)
                print_resume_hint(errors)
                raise typer.Exit(interruption.exit_code())
            with without_collector():
                complete = _end(outcome, titles, out, errors, taken, how.shard)
        if outcome.failed or not complete:
            raise typer.Exit(FAILED)


def _run(
    errors: Console,
    asked: Callable[[Callable[[str], None]], Asked],
    how: How,
    out: str,
    share: Share | None,
    engine: EngineName,
) -> tuple[Outcome, Titles, str]:
    """Expands and runs the suite with the progress display on, which also shows the steps before the first cell.

    Returns the outcome, the titles of its cells, and how long they took, with the predicted time where there is one.
    """
    from tunefront.bench.api import arranged
    from tunefront.bench.cells import kept
    from tunefront.bench.cli.outlook import Outlook, expected_costs, look_ahead, time_taken
    from tunefront.bench.cli.progress import Display, plural
    from tunefront.bench.cli.titles import Titles
    from tunefront.bench.papers.compared import compared
    from tunefront.bench.records.store import Store
    from tunefront.bench.suites.expand import OWN
    from tunefront.bench.suites.optuna_search import check_all_known

    with Display(errors) as display:
        with without_collector():
            request = asked(display.preparing)
        expansion = request.expansion
        store = Store(out)
        store.prepare()
        for line in expansion.announcements:
            announce(errors, line)
        for warning in expansion.warnings:
            print_plain(errors, f"warning: {warning}", "yellow")
        cells = kept(expansion.cells) if how.keep else expansion.cells
        if share is not None:
            check_all_known(cells, "a run with --shard", "leave --shard out")
            display.preparing("computing the keys of cells")
            cells = share.select(cells)
            print_plain(errors, f"shard {how.shard}: {len(cells):,} of {plural(len(expansion.cells), 'cell')}")
        cells, lines = compared(cells, display.preparing)
        for line in lines:
            announce(errors, line)
        from tunefront.bench.execution.engines import default_workers

        runnable = arranged(cells, expansion.parts, request.arrange)
        display.titles = Titles.of(runnable.cells)
        workers = how.workers or (None if engine.is_cluster else default_workers(cells))
        outlook, plan_first = Outlook(""), how.plan_first
        if plan_first or (plan_first is None and (expansion.suite == OWN or engine.is_cluster)):
            outlook = look_ahead(cells, out, workers, display.preparing, required=bool(plan_first))
            announce(errors, outlook.line)
        display.preparing("looking for records")
        began = monotonic()
        expected = expected_costs(outlook.predictions) if engine.is_cluster else {}  # others need no keys of cells
        runs_on = engine.engine(workers, cells, fork=True, expected=expected)
        outcome = runnable.run(store, runs_on, display)
    return outcome, display.titles, time_taken(monotonic() - began, outlook.seconds) if outcome.ran else ""


def _end(outcome: Outcome, titles: Titles, out: str, errors: Console, taken: str, shard: str | None) -> bool:
    """Writes the report, then prints the end of the run, in this order since printing may fail. False if records are
    missing, or if a bug stopped the report or the summary.

    A `shard` has neither a report nor a study: other machines, which may be at work, have the other cells.
    """
    from tunefront.bench.cli.ending import show_counts, show_not_run, show_studies, show_summary
    from tunefront.bench.records.answers import AnswerFiles
    from tunefront.bench.records.kept import find_missing

    broken: list[str] = []
    written: list[str] = []
    console, places = Console(), {record.key: out for record in outcome.records}
    with _as_warning(errors, "no report", broken):
        written = _report(outcome, out, places) if shard is None else []
    with _as_warning(errors, "no summary", broken):
        predictions = AnswerFiles(places)
        if outcome.records:
            show_summary(outcome, predictions, console, errors, whole=shard is None)
        if shard is None:
            show_studies(outcome, predictions, console)
    missing = find_missing(out, outcome.records)
    for line in missing.lines:
        log.warning("%s", line)
    show_not_run(outcome.records, titles, errors)
    if outcome.records or shard is None:
        show_counts(outcome, taken, console)
    show_written(written)
    if shard is not None:
        what = f"this was shard {shard} alone" if outcome.records else f"no cell is in shard {shard}"
        command = shlex.join(["tunefront", "report", out])
        print_plain(console, f"{what}; the report, when all shards have ended: {command}")
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
    """Turns an error after a successful run into a warning: `tunefront report` can repeat the step. An error that
    neither the call nor the machine caused is a bug, appended to `broken`."""
    try:
        yield
    except Exception as error:
        known = explain(error)
        if known is not None:
            print_plain(errors, f"warning: {what} was written: {known[0]}", "yellow")
            return
        broken.append(what)
        print_plain(errors, f"warning: {what} was written; this is a bug in tunefront: {in_short(error)}", "yellow")
