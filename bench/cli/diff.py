"""`tunefront diff`: compares two sets of results, for a person or as a guard in CI."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from typing import TYPE_CHECKING

import typer

from tunefront.bench.cli import options
from tunefront.bench.cli.console import FAILED, Console, handle_errors, print_plain, print_raw, warnings_on
from tunefront.bench.cli.report import records_of
from tunefront.bench.errors import ErrorCollector, UserError
from tunefront.bench.suites.lists import parse_values

if TYPE_CHECKING:
    from tunefront.reports.compare.difference.diff import Difference

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
        from tunefront.reports.compare.difference.diff import diff as compare

        places = [{record.key: place for record in records} for place, records in zip((old, new), sets, strict=True)]
        known = compare(sets[0], sets[1], places[0], places[1], where, tolerance, checkpoints, allowed)
        _show(known, old, new, format)
        if known.unknown and not checkpoints:
            log.warning("%s", _unguarded(known, fail_on_regression))
        if fail_on_regression and known.regressed:
            raise typer.Exit(FAILED)


def _show(known: Difference, old: str, new: str, format: str) -> None:
    from tunefront.reports.formats import markdown
    from tunefront.reports.formats.terminal import Fitted
    from tunefront.reports.sections.difference import describe

    if format == "json":
        print_raw(json.dumps(as_json(known), indent=2, allow_nan=False))
        return
    text = describe(known, old, new)
    if format == "md":
        print_raw(markdown.difference(text))
        return
    console = Console()
    for line in (text.title, *text.lead):
        print_plain(console, f"{line}\n", "bold" if line == text.lead[0] else "")
    for shown in text.tables:
        console.print(Fitted(shown))
    for line in text.notes:
        print_plain(console, f"- {line}")


def as_json(known: Difference) -> dict[str, object]:
    """The fields of a difference, with what follows from them."""
    return {"regressed": known.regressed, "worse": known.worse, **dataclasses.asdict(known)}


def _unguarded(known: Difference, guarding: bool) -> str:
    amount = len(known.unknown)
    text = f"{amount} of {len(known.methods)} methods {'has' if amount == 1 else 'have'} too few runs to tell a "
    text += "regression from the noise of a seed"
    return f"{text}; --fail-on-regression does not guard {'it' if amount == 1 else 'them'}." if guarding else f"{text}."
