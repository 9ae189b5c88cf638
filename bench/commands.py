"""The commands that neither run cells nor draw: listing, and saying what is stale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from rich.console import Console

from bench import flags
from bench.console import quiet_libraries, say, told, warnings_on
from bench.errors import Mistake
from bench.files import local_folder

if TYPE_CHECKING:
    from bench.records import Record


def list_(
    what: flags.What,
    as_json: flags.AsJson = False,
    debug: flags.Debug = False,
) -> None:
    """List methods, tasks, backbones or suites."""
    with told(Console(stderr=True), debug):
        quiet_libraries()
        from bench.listing import as_table, entries

        found = entries(what.value)
        if as_json:
            import json

            typer.echo(json.dumps(found, indent=2))
        else:
            Console().print(as_table(what.value, found))


def stale(
    results: flags.Results,
    debug: flags.Debug = False,
) -> None:
    """Say what changed since each record.

    Compares method source, backbone files, task rows, settings and package versions. Nothing is deleted.
    """
    errors = Console(stderr=True)
    with told(errors, debug), warnings_on(errors):
        quiet_libraries()
        records = records_of(results)
        from bench.stale import staleness, table

        found = [entry for entry in staleness(records) if entry.changes]
        if found:
            Console().print(table(found))
        stale_ones = f"{len(found)} of {len(records)} records are stale; `tunefront run` makes new ones beside them."
        fresh = f"nothing is stale: all {len(records)} records would be made again under the same key."
        say(Console(), stale_ones if found else fresh)


def records_of(results: str) -> list[Record]:
    """The records of a folder or URL; Mistake where there are none."""
    from bench.records import load_records

    records = load_records(results)
    if not records:
        folder = local_folder(results)
        there = "has no records" if folder is None or folder.is_dir() else "is not there"
        raise Mistake(f"{results} {there}; give the folder that `tunefront run --out` wrote.")
    return records
