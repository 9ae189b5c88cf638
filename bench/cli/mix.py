"""`tunefront mix`: rows of several methods and tasks in one batch, on one backbone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.bench.cli import options
from tunefront.bench.cli.running import Asked, How, run_cells
from tunefront.bench.errors import ErrorCollector
from tunefront.bench.suites.overrides import Overrides, Texts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tunefront.bench.cells import Cell
    from tunefront.bench.cli.running import Runnable


@options.add_cell_options(
    methods="A method whose rows share batches with those of the others, as spelled in records.",
    tasks="A task of the members: docstrings/NAME, dir:FOLDER, hub:NAME or a FILE.",
)
def mix(
    texts: Texts,
    suite: options.MixSuite = None,
    out: options.Out = "results",
    workers: options.Workers = None,
    engine: options.Engine = "local",
    debug: options.Debug = False,
) -> None:
    """Score rows of several methods and tasks in one batch.

    Trains every method of SUITE on each of its tasks, as `tunefront run` does. Then the test rows of all of them go
    through one backbone in mixed batches, each row through the small modules of its own method and task. Compares the
    scores with those of each alone, and rows per second and memory with one task after another and with a model per
    task. Methods that change the backbone's own matrices cannot share a batch. What is recorded in OUT is not run
    again; exit codes are those of `tunefront run`.
    """

    def asked(on_status: Callable[[str], None]) -> Asked:
        from tunefront.bench.suites.expand import MIX, expand

        wrong = ErrorCollector()
        overrides = Overrides.from_texts(texts, wrong)
        return Asked(expand(suite or MIX, overrides, on_status=on_status, wrong=wrong), _arranged)

    run_cells(asked, How(out, workers, engine, plan_first=False), debug)


def _arranged(cells: Sequence[Cell]) -> Runnable:
    """The cells as members of mixed batches."""
    from tunefront.bench.execution.mixing import Mixtures

    return Mixtures.of(cells)
