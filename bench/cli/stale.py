"""`tunefront stale`: reports what changed since each record."""

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
    """Report what changed since each record was made.

    Compares method source, backbone files, task rows, settings and package versions. Deletes nothing (`tunefront prune`
    does, once a stale record has a newer one), and neither runs nor downloads anything that a record names: your own
    method is compared by the sha256 of its file, or by its class if --method gives the file. A relative path in a
    record is looked up from the working directory, then from the three folders above RESULTS. A file in none of them
    is reported as not found and does not make a record stale.
    """
    errors = Console(stderr=True)
    with handle_errors(errors, debug, prints=True), warnings_on(errors):
        quiet_libraries()
        for file in method or ():
            _import_methods(file)
        records = records_of(options.location("RESULTS", results))
        from tunefront.bench.execution.stale import changes_table, count_missing, staleness

        compared = staleness(records, local_folder(results))
        changed = [entry for entry in compared if entry.changes]
        if changed:
            Console().print(changes_table(changed))
            print_plain(
                Console(),
                f"{len(changed)} of {len(records)} records are stale; `tunefront run` makes new ones and keeps these, "
                "which `tunefront prune` then deletes.",
            )
        if lacking := count_missing(compared):
            print_plain(
                Console(),
                f"not found from here: {'; '.join(lacking)}. They were not compared; run the command in the folder "
                "where the records were made, or give a file of methods with --method.",
            )
        elif not changed:
            print_plain(
                Console(), f"nothing is stale: all {len(records)} records would be made again under the same key."
            )


def _import_methods(file: str) -> None:
    """Imports a file given as FILE.py or FILE.py:Class, which registers its methods."""
    from tunefront.methods.registry import load_file, methods

    path, suffix, _ = file.partition(".py")
    try:
        load_file(path + suffix)
        methods()
    except ValueError as error:
        raise UserError(str(error)) from error
