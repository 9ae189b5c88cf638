"""`tunefront push`: records as runs of a tracker."""

from __future__ import annotations

import logging

from tunefront.bench.cli import options
from tunefront.bench.cli.console import Console, handle_errors, print_plain, warnings_on
from tunefront.bench.cli.report import merged_records
from tunefront.bench.errors import ErrorCollector
from tunefront.bench.suites.lists import parse_values

log = logging.getLogger("tunefront")


def push(
    results: options.Results,
    to: options.PushTo,
    experiment: options.Experiment = None,
    where: options.Where = None,
    debug: options.Debug = False,
) -> None:
    """Push records to MLflow or TensorBoard, one run per record.

    Recipe and settings become parameters, every other number a metric, texts tags; skipped and failed cells become runs
    with their reason. A record that is there already makes no second run, one that has changed updates its run, and an
    interrupted push goes on where it stopped. Each tracker is an extra: pip install 'tunefront[mlflow]', or
    'tunefront[tensorboard]'.
    """
    errors = Console(stderr=True)
    stopped = "Stopped; the same command goes on where it stopped."
    with handle_errors(errors, debug, stopped=stopped), warnings_on(errors):
        wrong = ErrorCollector()
        with wrong.collect():
            options.location("RESULTS", results)
        from tunefront.reports.trackers.target import Target

        with wrong.collect():
            Target.parse(to)
        with wrong.collect():
            where = parse_values("--where", where)
        wrong.raise_if_any()
        from tunefront.bench.cli.progress import plural
        from tunefront.bench.records import Records
        from tunefront.reports.compare.filters import select
        from tunefront.reports.trackers.push import push as push_records

        loaded = merged_records([results])
        records = Records(select(loaded, where), loaded.places)
        with errors.status("") as status:
            pushed = push_records(
                records, to, experiment, lambda number: status.update(f"pushed {number:,} of {len(records):,} records")
            )
        for note in pushed.notes:
            log.warning("%s", note)
        counts = [(pushed.new, "new"), (pushed.changed, "updated"), (pushed.same, "unchanged")]
        listed = ", ".join(f"{count:,} {kind}" for count, kind in counts if count)
        print_plain(Console(), f"{plural(len(records), 'run')} in {pushed.place}: {listed}.")
