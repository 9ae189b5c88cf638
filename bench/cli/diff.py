"""`tunefront diff`: compares two sets of results, for a person or as a guard in CI."""

from __future__ import annotations

import logging
import math

import typer

from tunefront.bench.cli import options
from tunefront.bench.cli.console import FAILED, Console, handle_errors, print_plain, print_raw, warnings_on
from tunefront.bench.cli.report import records_of
from tunefront.bench.errors import ErrorCollector, UserError
from tunefront.bench.suites.lists import parse_values

log = logging.getLogger("tunefront")

FORMATS = ("text", "md", "json")


def diff(
    old: options.OldResults,
    new: options.NewResults,
    fail_on_regression: options.FailOnRegression = False,
    tolerance: options.Tolerance = 0.0,
    checkpoints: options.Checkpoints = False,
    format: options.DiffFormat = "text",
    allow: options.Allow = None,
    where: options.Where = None,
    debug: options.Debug = False,
) -> None:
    """Compare two sets of results: is a method worse than before?

    Every method that both have on the same backbone, task rows and number of shots gets the change of its mean score
    over tasks, with a 95 % interval; the intervals of all methods hold at once. So two sets that differ by a seed alone
    show a change in at most 5 of 100 cases. That takes two runs or more on every task (three, if there is one task).
    Nothing is run. Exit code: 0; 1 with --fail-on-regression if a method is significantly worse or has no score any
    more; 2 if nothing can be compared.
    """
    errors = Console(stderr=True)
    with (
        handle_errors(errors, debug, stopped="Stopped; the records are as they were.", prints=True),
        warnings_on(errors),
    ):
        wrong = ErrorCollector()
        for name, place in (("OLD", old), ("NEW", new)):
            with wrong.collect():
                options.location(name, place)
        with wrong.collect():
            if format not in FORMATS:
                raise UserError(f"--format {format}: the formats are {', '.join(FORMATS)}.")
        with wrong.collect():
            if not (math.isfinite(tolerance) and tolerance >= 0):
                raise UserError(f"--tolerance takes points of at least 0, such as 0.5; got {tolerance:g}.")
        allowed: list[str] = []
        with wrong.collect():
            allowed = parse_values("--allow", allow, commas=True) or []
        with wrong.collect():
            where = parse_values("--where", where)
        wrong.raise_if_any()
        sets = []
        for place in (old, new):
            with wrong.collect():
                sets.append(records_of(place))
        wrong.raise_if_any()
        places = [{record.key: place for record in records} for place, records in zip((old, new), sets, strict=True)]
        from tunefront.reports.compare.difference.diff import diff as compare
        from tunefront.reports.formats import difference, markdown
        from tunefront.reports.sections.difference import describe, without_enough_runs

        known = compare(sets[0], sets[1], places[0], places[1], where, tolerance, checkpoints, allowed)
        if format == "text":
            for part in difference.parts(describe(known, old, new)):
                print_plain(Console(), part) if isinstance(part, str) else Console().print(part)
        else:
            text = difference.as_json(known) if format == "json" else markdown.difference(describe(known, old, new))
            print_raw(text)
        if known.unknown and not checkpoints:
            guarded = "; --fail-on-regression does not guard them" if fail_on_regression else ""
            log.warning("%s%s.", without_enough_runs(known), guarded)
        if fail_on_regression and known.regressed:
            raise typer.Exit(FAILED)
