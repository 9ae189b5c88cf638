"""`tunefront stale`: what changed since each record."""

from __future__ import annotations

from tunefront.bench.cli import options
from tunefront.bench.cli.console import Console, handle_errors, print_plain, quiet_libraries, warnings_on
from tunefront.bench.cli.report import records_of
from tunefront.bench.errors import UserError
from tunefront.bench.files import local_folder


def stale(
    results: options.Results,
    method: options.OwnMethods = None,
    debug: options.Debug = False,
) -> None:
    """Say what changed since each record.

    Compares method source, backbone files, task rows, settings and package versions. Nothing is deleted, and nothing
    that a record names is run or downloaded: a method of your own is compared by the sha256 of its file, or by its
    class where --method gives the file. What a record names by a relative path is looked for from here, then from the
    three folders above RESULTS; what is in none of them is said to be missing, and does not make a record stale.
    """
    errors = Console(stderr=True)
    with handle_errors(errors, debug, prints=True), warnings_on(errors):
        quiet_libraries()
        for file in method or ():
            _run(file)
        records = records_of(options.location("RESULTS", results))
        from tunefront.bench.execution.stale import missing, staleness, table

        compared = staleness(records, local_folder(results))
        found = [entry for entry in compared if entry.changes]
        if found:
            Console().print(table(found))
            print_plain(
                Console(),
                f"{len(found)} of {len(records)} records are stale; `tunefront run` makes new ones beside them.",
            )
        if lacking := missing(compared):
            print_plain(
                Console(),
                f"not found from here: {'; '.join(lacking)}. What these records have of it was not compared; give the "
                "command from the folder where they were made, or a file of methods with --method.",
            )
        elif not found:
            print_plain(
                Console(), f"nothing is stale: all {len(records)} records would be made again under the same key."
            )


def _run(file: str) -> None:
    """Imports a file that the call names, `:Class` after it or not, so that its methods are known."""
    from tunefront.methods.registry import load_file, methods

    path, suffix, _ = file.partition(".py")
    try:
        load_file(path + suffix)
        methods()
    except ValueError as error:
        raise UserError(str(error)) from error
