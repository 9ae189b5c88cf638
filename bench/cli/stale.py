"""`tunefront stale`: what changed since each record."""

from __future__ import annotations

from tunefront.bench.cli import options
from tunefront.bench.cli.console import Console, quiet_libraries, say, told, warnings_on
from tunefront.bench.cli.report import records_of


def stale(
    results: options.Results,
    debug: options.Debug = False,
) -> None:
    """Say what changed since each record.

    Compares method source, backbone files, task rows, settings and package versions. Nothing is deleted.
    """
    errors = Console(stderr=True)
    with told(errors, debug, prints=True), warnings_on(errors):
        quiet_libraries()
        records = records_of(results)
        from tunefront.bench.execution.stale import staleness, table

        found = [entry for entry in staleness(records) if entry.changes]
        if found:
            Console().print(table(found))
        stale_ones = f"{len(found)} of {len(records)} records are stale; `tunefront run` makes new ones beside them."
        fresh = f"nothing is stale: all {len(records)} records would be made again under the same key."
        say(Console(), stale_ones if found else fresh)
