"""`tunefront prune`: deletes superseded and failed records after a question."""

from __future__ import annotations

from collections.abc import Sequence

from tunefront.bench.cli import options
from tunefront.bench.cli.console import Console, ask, can_ask, handle_errors, print_plain, warnings_on
from tunefront.bench.cli.options import location
from tunefront.bench.cli.prune_choice import FAILED, OTHER_DATA, SUPERSEDED, Pruning, look
from tunefront.bench.errors import ErrorCollector, UserError
from tunefront.bench.execution import interruption
from tunefront.bench.suites.lists import parse_values

MOST_ROWS = 40
"""The most rows of the list above the question."""


def prune(
    results: options.PrunedResults,
    failed: options.Failed = False,
    superseded: options.Superseded = False,
    other_data: options.OtherData = False,
    where: options.Where = None,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    debug: options.Debug = False,
) -> None:
    """Delete superseded and failed records, after a question.

    A record is superseded if a newer one with a score has the same method, backbone, task, shots, template, draw, seed,
    recipe and settings: as after an upgrade, which makes a report of both impossible. Records are compared with each
    other, within one folder, and nothing that they name is needed; `tunefront stale` instead compares them with the
    code and data as they are now. A record that is stale and has no newer one is kept: it is the only one of its cell.

    A record goes with its predictions, a superseded one also with its plan. Predictions that belong to no record, as
    after a crash, are deleted too unless a kind is chosen. Other files are never touched, and nothing is deleted while
    a cell runs.
    """
    errors = Console(stderr=True)
    with handle_errors(errors, debug, stopped="Stopped."), warnings_on(errors):
        wrong = ErrorCollector()
        for place in results:
            with wrong.collect():
                location("RESULTS", place)
        with wrong.collect():
            where = parse_values("--where", where)
        wrong.raise_if_any()
        kinds = {FAILED: failed, SUPERSEDED: superseded, OTHER_DATA: other_data}
        chosen = {kind for kind, given in kinds.items() if given}
        plans = look(results, chosen or {FAILED, SUPERSEDED}, where, with_leftovers=not chosen and not where)
        _show(plans, None if dry_run else MOST_ROWS)
        plans = [plan for plan in plans if plan.amount]
        if dry_run or not plans:
            return
        _check(plans)
        if not yes and not _answered_yes(errors, plans):
            print_plain(errors, "Nothing was deleted.")
            return
        for plan in plans:
            _delete(plan)
        if any(plan.candidates for plan in plans):
            print_plain(Console(), "Reports that were drawn before still have these records; draw them again.")


def _show(plans: Sequence[Pruning], most_rows: int | None) -> None:
    """Prints what would be deleted from each folder, and what is kept for which reason."""
    from tunefront.bench.cli.progress import plural
    from tunefront.bench.cli.prune_screen import list_candidates, size

    console = Console()
    for plan in plans:
        name = plan.store.location
        for part in list_candidates(plan.candidates, most_rows):
            console.print(part)
        if plan.amount:
            print_plain(console, f"{name}: {plan.amount}, {size(plan.bytes)}.")
        else:
            print_plain(console, f"{name}: nothing to delete in {plural(plan.total, 'record')}.")
        if plan.kept:
            records = "1 older record" if plan.kept == 1 else f"{plan.kept} older records"
            print_plain(
                console,
                f"Not listed: {records} of {name}; newer ones of these names were made from other rows, weights or "
                "files of methods. Two files may have one name; if it is one file that was edited, add --other-data.",
            )


def _check(plans: Sequence[Pruning]) -> None:
    """UserError if a cell of one of the folders is running, or if a folder cannot be changed."""
    from tunefront.bench.cli.progress import plural
    from tunefront.bench.records.deletion import check_deletable, running

    wrong = ErrorCollector()
    for plan in plans:
        with wrong.collect():
            check_deletable(plan.store)
            if keys := running(plan.store):
                raise UserError(
                    f"nothing is deleted from {plan.store.location}: {plural(len(keys), 'cell')} in it "
                    f"{'is' if len(keys) == 1 else 'are'} running ({keys[0][:12]}...). Wait until `tunefront run` has "
                    "ended, or stop it."
                )
    wrong.raise_if_any()


def _answered_yes(errors: Console, plans: Sequence[Pruning]) -> bool:
    """Whether the user agrees, and the folders are still as they were then. UserError without a terminal."""
    if not can_ask(errors):
        raise UserError(
            "nothing was deleted: there is no terminal to ask in. Add --yes to delete what is listed, or --dry-run to "
            "list it only."
        )
    if any(plan.store.folder is None and not plan.store.remote.has_claims for plan in plans):
        print_plain(errors, "At a URL it cannot be seen whether cells are running; make sure that none is.")
    try:
        agreed = ask(errors, "Delete this for good?")
    except KeyboardInterrupt:
        print_plain(errors, "\nNothing was deleted.")
        raise
    if agreed:
        _check(plans)
    return agreed


def _delete(plan: Pruning) -> None:
    """Deletes what is listed, and says how much of it. An interruption waits until the files of a cell are gone."""
    from tunefront.bench.cli.progress import plural
    from tunefront.bench.cli.prune_screen import size
    from tunefront.bench.records import deletion

    store = plan.store
    before = deletion.file_sizes(store)
    newer = {candidate.newer for candidate in plan.candidates if candidate.newer is not None}
    gone = set(deletion.missing(store, newer))
    chosen = [candidate.deletion for candidate in plan.candidates if candidate.newer not in gone]
    loose = [part for part in plan.leftovers if part in before]
    n_records = n_leftovers = 0
    try:
        for batch in deletion.batches(store, chosen):
            with interruption.deferred():
                n_records += deletion.delete(store, batch)
        loose = deletion.leftovers(store, {part: before[part] for part in loose}) if loose else []
        for parts in deletion.batches(store, loose):
            with interruption.deferred():
                n_leftovers += deletion.delete_leftovers(store, parts)
    finally:
        deletion.drop_index(store)
        after = deletion.file_sizes(store)
        freed = sum(length for name, length in before.items() if name not in after)
        rest = len(plan.candidates) - n_records
        more = f" and {plural(n_leftovers, 'file')} without a record" if n_leftovers else ""
        print_plain(
            Console(),
            f"{store.location}: deleted {plural(n_records, 'record')}{more}, {size(freed)} freed"
            + (f"; {plural(rest, 'record')} kept." if rest else "."),
        )
