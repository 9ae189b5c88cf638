"""The `tunefront` command. Whatever is heavy is imported inside the commands, so that --help is quick."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from bench import flags
from bench.commands import list_, pretrain, records_of, stale
from bench.console import FAILED, INTERRUPTED, goes_on, quiet_libraries, say, told, warnings_on
from bench.errors import Mistake
from bench.files import local_folder, writing

if TYPE_CHECKING:
    from bench.forecast.plans import Forecast
    from bench.grid import Outcome
    from bench.planning import Plan
    from bench.records import Record

app = typer.Typer(
    name="tunefront",
    help="Compare ways of adapting a pretrained language model: what each costs, and how well it does.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


@app.command()
def run(
    suite: flags.Suite = "quick",
    method: flags.Methods = None,
    backbone: flags.Backbones = None,
    task: flags.Tasks = None,
    shots: flags.Shots = None,
    draws: flags.Draws = None,
    seeds: flags.Seeds = None,
    template: flags.Templates = None,
    set_: flags.Settings = None,
    out: flags.Out = "results",
    workers: flags.Workers = None,
    engine: flags.Engine = "local",
    device: flags.Device = None,
    plan_first: flags.PlanFirst = False,
    debug: flags.Debug = False,
) -> None:
    """Run what is not recorded yet, then report.

    Runs the cells of SUITE that OUT has no record of, prints a summary of all of them and writes OUT/report.
    Options that name methods, backbones, tasks, shots, draws, seeds or templates replace that list of SUITE; without
    SUITE, of `quick`. Of a SUITE of several parts they replace it in each, but --backbone chooses: parts that name the
    backbone run on it alone, one that no part names runs the first. Exit code: 0 when every cell is ok or skipped with
    a reason, 1 when one failed or the disk is full, 2 for a mistake in the call, 130 after Ctrl-C.
    """
    errors = Console(stderr=True)
    with told(errors, debug):
        quiet_libraries()
        if engine != "local":
            raise Mistake(
                f"there is no engine {engine!r} yet; cells run with --engine local, several with --workers N."
            )
        from bench.options import planned_from

        def planned(tell: Callable[[str], None]) -> Plan:
            selectors = (method, backbone, task, shots, draws, seeds, template, set_, device)
            return planned_from(suite, *selectors, tell=tell)

        with warnings_on(errors):
            outcome = _run(errors, planned, workers, out, plan_first)
            if outcome.interrupted:
                goes_on(errors)
                raise typer.Exit(INTERRUPTED)
            _summary(outcome, out, errors)
        if outcome.failed:
            raise typer.Exit(FAILED)


@app.command()
def report(
    results: flags.Results,
    out: flags.ReportOut = None,
    format: flags.Formats = "html,pdf,csv",
    where: flags.Where = None,
    debug: flags.Debug = False,
) -> None:
    """Draw a report from stored records.

    Nothing is run and no model is needed.
    """
    errors = Console(stderr=True)
    with told(errors, debug), warnings_on(errors):
        from bench.records import load_plans

        folder = out or _report_folder(results)
        _report(records_of(results), folder, format.split(","), where, load_plans(results))


@app.command()
def plan(
    context: typer.Context,
    suite: flags.PlannedSuite = None,
    method: flags.Methods = None,
    backbone: flags.PlannedBackbones = None,
    task: flags.Tasks = None,
    shots: flags.PlannedShots = None,
    template: flags.Templates = None,
    set_: flags.Settings = None,
    length: flags.Length = None,
    choices: flags.Choices = None,
    answer_length: flags.AnswerLength = None,
    queries: flags.Queries = None,
    device_memory: flags.DeviceMemory = None,
    sweep: flags.Sweep = None,
    seconds: flags.Seconds = True,
    workers: flags.PlannedWorkers = 1,
    paper: flags.Paper = None,
    out: flags.PlanOut = None,
    as_json: flags.AsJson = False,
    debug: flags.Debug = False,
) -> None:
    """Say what a run would cost, before running it.

    No weights are read: parameters, bytes, FLOPs, memory by owner and seconds follow from configurations, from the
    shapes of the rows and from how fast this machine is. Plans the cells of SUITE, on its own rows; with --length, or
    a --backbone that is a preset or a config.json, methods on made-up rows instead: --shots of them are trained on (or
    shown), --queries scored. Exit code: 0, or 2 for a mistake in the call, or where nothing is left to plan or fits.
    """
    errors = Console(stderr=True)
    with told(errors, debug, stopped="Stopped; nothing was written."), warnings_on(errors):
        quiet_libraries()
        if paper is not None:
            _show_paper(paper, context, as_json)
            return
        from bench.forecast.amounts import memory_bytes, swept
        from bench.forecast.command import Asked, forecast
        from bench.forecast.plans import folder_of
        from bench.progress import Display

        memory = None if device_memory is None else memory_bytes(device_memory)
        sizes = None if sweep is None else swept(sweep)
        made_up = (length, choices, answer_length, queries)
        asked = Asked(suite, method, backbone, task, shots, template, set_, *made_up)
        folder = None if out is None else folder_of(out)
        with Display(errors) as display:
            found = forecast(asked, memory, sizes, seconds, workers, display.preparing)
        _show_plan(found, sizes[0] if sizes else "", folder, as_json)


app.command(name="list")(list_)
app.command()(stale)
app.command()(pretrain)


def main() -> None:
    """The entry point of the command."""
    try:
        app()
    finally:
        gc.freeze()  # all that is left ends with the process: looking for cycles in libraries takes a second


def _run(
    errors: Console,
    planned: Callable[[Callable[[str], None]], Plan],
    workers: int | None,
    out: str,
    plan_first: bool,
) -> Outcome:
    """Plans and runs with the progress display on, which also tells what the first seconds go into."""
    from bench.progress import Display
    from bench.store import Store

    with Display(errors) as display:
        plan = planned(display.preparing)
        store = Store(out)
        store.prepare()
        for warning in plan.warnings:
            say(errors, f"warning: {warning}", "yellow")
        from bench.engines import default_workers
        from bench.grid import run_grid

        beside = workers or default_workers(plan.cells)
        if plan_first:
            from bench.forecast.command import keep_foretold

            keep_foretold(plan.cells, out, beside, display.preparing)
        display.preparing("looking for records")
        on_cuda = any(cell.config.device != "cpu" for cell in plan.cells)
        return run_grid(plan.cells, store, beside, display, fork=not on_cuda)


def _summary(outcome: Outcome, out: str, errors: Console) -> None:
    from bench.progress import plural
    from reports.summary import summary_table

    console = Console()
    # The run itself went well: what cannot be drawn together is a warning, and `report --where` parts it.
    with _as_warning(errors, "no summary"):
        console.print(summary_table(outcome.records))
    ok = len(outcome.records) - outcome.skipped - outcome.failed
    kinds = [(ok, "ok"), (outcome.skipped, "skipped"), (outcome.failed, "failed")]
    listed = ", ".join(f"{count} {kind}" for count, kind in kinds if count)
    before = f"; {outcome.reused} of them recorded before" if outcome.reused else ""
    say(console, f"{plural(len(outcome.records), 'cell')}: {listed}{before}.")
    for record in outcome.records:
        if record.status == "failed":
            say(console, f"failed: {record.label} on {record.task}, seed {record.seed}: {record.reason}", "red")
    with _as_warning(errors, "no report"):
        from bench.records import load_plans

        _report(outcome.records, _report_folder(out), ["html", "pdf", "csv"], None, load_plans(out))


def _show_paper(name: str, context: typer.Context, as_json: bool) -> None:
    """Prints a paper's tables, or gives them as JSON; Mistake where more is asked for."""
    from bench.forecast.papers import as_json as paper_as_json
    from bench.forecast.papers import print_paper

    given = [
        option
        for option in context.command.params
        if option.name not in ("paper", "as_json", "debug")
        and getattr(context.get_parameter_source(str(option.name)), "name", "") == "COMMANDLINE"
    ]
    beside = [
        (option.secondary_opts if context.params[str(option.name)] is False else option.opts)[0]
        if option.param_type_name == "option"
        else str(option.name).upper()
        for option in given
    ]
    if beside:
        raise Mistake(
            f"--paper prints a paper's own tables, of which {', '.join(beside)} would change nothing; give --paper "
            "alone or with --json."
        )
    if as_json:
        typer.echo(json.dumps(paper_as_json(name), indent=1))
    else:
        print_paper(name, Console())


def _show_plan(found: Forecast, swept: str, folder: Path | None, as_json: bool) -> None:
    """Prints a forecast, or gives it as JSON, and keeps it where that is asked for."""
    from bench.forecast.plans import keep
    from reports.picture import save
    from reports.planned import plan_tables
    from reports.sweeps import sweep_figures, sweep_tables
    from reports.terminal import Fitted
    from reports.train_or_prompt import break_even_table

    if folder is not None:
        keep(found.records, folder)
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=1))
        return
    console = Console()
    fits = {key: (fit.fits, fit.largest_batch, fit.largest_scoring_batch) for key, fit in found.fits.items()}
    tables = [*plan_tables(found.records, fits or None), *sweep_tables(found.sweep, swept)]
    even = [break_even_table(found.records, measure) for measure in ("flops", "seconds")]
    for table in [*tables, *(one for one in even if one is not None)]:
        console.print(Fitted(table))
    for text in _left_out(found, swept):
        say(console, f"left out: {text}", "yellow")
    if folder is not None:
        say(console, f"plan: {folder}")
        for number, figure in enumerate(sweep_figures(found.sweep, swept).values()):
            for kind in ("svg", "png"):
                path = folder / f"peak_over_{swept}{f'_{number + 1}' if number else ''}.{kind}"
                with writing(path) as file:
                    file.write(save(figure, kind))
                say(console, f"plot: {path}")


def _left_out(found: Forecast, swept: str) -> list[str]:
    """What was skipped and why; of a sweep only what the plan itself does not tell."""
    told = {f"{one.label} on {one.backbone}": one.reason for one in found.records if one.status == "skipped"}
    beside = {
        f"{one.label} on {one.backbone}, {swept} {size}": one.reason
        for size, alike in found.sweep.items()
        for one in alike
        if one.status == "skipped" and f"{one.label} on {one.backbone}" not in told
    }
    return [f"{what}: {reason}" for what, reason in (told | beside).items()]


@contextmanager
def _as_warning(errors: Console, what: str) -> Iterator[None]:
    try:
        yield
    except Mistake as error:
        say(errors, f"warning: {what} was written: {error}", "yellow")


def _report_folder(results: str) -> str:
    """Beside the records, or here where they are behind a URL."""
    folder = local_folder(results)
    return "tunefront-report" if folder is None else str(folder / "report")


def _report(
    records: Sequence[Record], out: str, formats: list[str], where: list[str] | None, plans: Sequence[Record]
) -> None:
    from bench.progress import plural
    from reports import write

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
