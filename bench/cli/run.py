"""`tunefront run`: runs cells that are not recorded yet, then prints a summary and writes a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.bench.cli import options
from tunefront.bench.cli.running import Asked, How, run_cells
from tunefront.bench.errors import ErrorCollector
from tunefront.bench.suites.overrides import Overrides, Texts

if TYPE_CHECKING:
    from collections.abc import Callable


@options.add_cell_options()
def run(
    texts: Texts,
    suite: options.Suite = None,
    out: options.Out = "results",
    workers: options.Workers = None,
    engine: options.Engine = "local",
    keep: options.Kept = None,
    plan_first: options.PlanFirst = None,
    shard: options.Share = None,
    packed: options.Packed = None,
    debug: options.Debug = False,
) -> None:
    """Run what is not recorded yet, then write a report.

    Runs the cells of SUITE that have no record in OUT, prints a summary of all cells and writes OUT/report. Options
    that name methods, backbones, tasks, shots, draws, seeds or templates replace that list of SUITE. If SUITE has
    several parts, they replace the list of every part; --backbone instead selects parts: a part that names the backbone
    runs on it alone, and a backbone that no part names runs the parts for its kind. Exit code: 0 if every cell is
    ok or skipped with a reason; 1 if a cell failed, the disk is full or records are missing; 2 for a mistake in the
    call; 130 after Ctrl-C; 143 after SIGTERM.
    """

    def asked(on_status: Callable[[str], None]) -> Asked:
        from tunefront.bench.suites.expand import expand

        wrong = ErrorCollector()
        return Asked(expand(suite, Overrides.from_texts(texts, wrong), on_status=on_status, wrong=wrong))

    run_cells(asked, How(out, workers, engine, plan_first, keep is not None, shard, packed), debug)
