"""`tunefront plan`: predicts what a run costs, and prints two papers' cost tables."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from tunefront.bench.cli import options
from tunefront.bench.cli.console import Console, handle_errors, print_plain, print_raw, quiet_libraries, warnings_on
from tunefront.bench.errors import ErrorCollector, UserError
from tunefront.bench.suites.overrides import OPTIONS, Overrides, Texts

if TYPE_CHECKING:
    from tunefront.bench.forecast.forecast import Forecast
    from tunefront.bench.records import Record
    from tunefront.bench.records.plans import Plans


@options.add_cell_options(
    backbones="As for `run`, or a preset (t0-11b, llama-3.1-8b) or a config.json.",
    shots="Training rows, as for `run`; for synthetic rows one number, default 32.",
)
def plan(
    context: typer.Context,
    texts: Texts,
    suite: options.PlannedSuite = None,
    length: options.Length = None,
    choices: options.Choices = None,
    answer_length: options.AnswerLength = None,
    queries: options.Queries = None,
    device_memory: options.DeviceMemory = None,
    sweep: options.Sweep = None,
    seconds: options.Seconds = None,
    workers: options.PlannedWorkers = 1,
    paper: options.Paper = None,
    out: options.PlanOut = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Predict what a run would cost, before running it.

    No weights are read: parameters, bytes, FLOPs, memory by owner and seconds follow from configurations, from the
    shapes of the rows and from the speed of this machine. Plans the cells of SUITE on its own rows. With --length, or
    with a --backbone that is a preset or a config.json, it plans methods on synthetic rows instead: --shots rows to
    train on (or to demonstrate with), --queries rows to score. Exit code: 0; 2 for a mistake in the call, or if no cell
    can be planned or nothing fits.
    """
    errors = Console(stderr=True)
    with handle_errors(errors, debug, stopped="Stopped; nothing was written.", prints=True), warnings_on(errors):
        quiet_libraries()
        if paper is not None:
            _show_paper(paper, context, as_json)
            return
        from tunefront.bench.forecast.request import PlanRequest, check
        from tunefront.bench.forecast.sizes import Sweep, memory_bytes

        memory, wrong = None if device_memory is None else memory_bytes(device_memory), ErrorCollector()
        request = PlanRequest(
            suite=suite,
            overrides=Overrides.from_texts(texts, wrong),
            length=length,
            choices=choices,
            answer_tokens=answer_length,
            queries=queries,
            device_memory=memory,
            sweep=None if sweep is None else Sweep.from_text(sweep),
            seconds=memory is None if seconds is None else seconds,
            workers=workers,
        )
        early = ErrorCollector()
        for name in ("backbones", "shots"):
            OPTIONS[name].values(texts[name], early)
        check(request, early)  # before the libraries are imported, which takes seconds
        from tunefront.bench.cli.progress import Display
        from tunefront.bench.forecast.forecast import predict_costs
        from tunefront.bench.records.plans import Plans

        plans = None if out is None else Plans(out)
        with Display(errors) as display:
            forecast = predict_costs(request, wrong, display.preparing)
        _show_plan(forecast, request.sweep.name if request.sweep else "", plans, as_json, memory)


def _show_paper(name: str, context: typer.Context, as_json: bool) -> None:
    """Prints a paper's tables, as text or JSON; UserError if the call has other options."""
    from tunefront.bench.papers.tables.catalog import as_json as paper_as_json
    from tunefront.bench.papers.tables.catalog import print_paper

    given = [
        option
        for option in context.command.params
        if option.name not in ("paper", "as_json", "debug")
        and getattr(context.get_parameter_source(str(option.name)), "name", "") == "COMMANDLINE"
    ]
    other = [
        (option.secondary_opts if context.params[str(option.name)] is False else option.opts)[0]
        if option.param_type_name == "option"
        else str(option.name).upper()
        for option in given
    ]
    if other:
        raise UserError(
            f"--paper cannot be combined with {', '.join(other)}: it prints a paper's own tables; give --paper alone, "
            "or with --json."
        )
    if as_json:
        print_raw(json.dumps(paper_as_json(name), indent=1))
    else:
        print_paper(name, Console())


UNTIMED = "No seconds are predicted, since they would be those of this machine (--seconds predicts them anyway)."


def _show_plan(forecast: Forecast, swept: str, plans: Plans | None, as_json: bool, memory: int | None) -> None:
    """Prints a forecast as JSON, or as text: first its assumptions and what fits into the `memory`, then its tables.
    Saves it in `plans`, if they are given."""
    from tunefront.reports.costs.train_or_prompt import break_even_table
    from tunefront.reports.formats.terminal import Fitted
    from tunefront.reports.plots.picture import save
    from tunefront.reports.plots.sweeps import sweep_figures, sweep_tables
    from tunefront.reports.sections.fit import advice, assumptions, fit_tables
    from tunefront.reports.sections.forecast import plan_tables
    from tunefront.reports.units import si

    if plans is not None:
        plans.keep(forecast.records)
    if as_json:
        print_raw(json.dumps(forecast.as_json(), indent=1))
        return
    console = Console()
    fits = {key: (fit.fits, fit.largest_batch, fit.largest_scoring_batch) for key, fit in forecast.fits.items()}
    console.print(Text(f"{assumptions(forecast.records, '' if memory is None else UNTIMED)}\n"), highlight=False)
    for table in fit_tables(forecast.records, fits, si(memory, "B")) if memory is not None else []:
        console.print(Fitted(table))
    advised = advice(forecast.records, fits) if memory is not None else []
    if advised:
        console.print(Text("\n".join([*advised, ""]), "bold"), highlight=False)
    tables = [*plan_tables(forecast.records), *sweep_tables(forecast.sweep, swept)]
    break_even = [break_even_table(forecast.records, measure) for measure in ("flops", "seconds")]
    for table in [*tables, *(table for table in break_even if table is not None)]:
        console.print(Fitted(table))
    for text in _left_out(forecast, swept):
        print_plain(console, f"skipped: {text}", "yellow")
    if plans is not None:
        print_plain(console, f"plan: {plans.location}")
        for number, figure in enumerate(sweep_figures(forecast.sweep, swept).values()):
            for kind in ("svg", "png"):
                name = f"peak_over_{swept}{f'_{number + 1}' if number else ''}.{kind}"
                print_plain(console, f"plot: {plans.put(name, save(figure, kind))}")


def _left_out(forecast: Forecast, swept: str) -> list[str]:
    """Skipped cells with their reasons; a cell that is skipped at every size of a sweep is listed once."""
    skipped = {_on_backbone(record): record.reason for record in forecast.records if record.status == "skipped"}
    in_sweep = {
        f"{_on_backbone(record)}, {swept} {size}": record.reason
        for size, records in forecast.sweep.items()
        for record in records
        if record.status == "skipped" and _on_backbone(record) not in skipped
    }
    return [f"{name}: {reason}" for name, reason in (skipped | in_sweep).items()]


def _on_backbone(record: Record) -> str:
    return f"{record.label} on {record.backbone}"
