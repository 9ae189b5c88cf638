"""`tunefront stream`: tasks that arrive one after another, and what methods remember of the earlier ones."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tunefront.bench.cli import options
from tunefront.bench.cli.running import Asked, How, run_cells
from tunefront.bench.errors import ErrorCollector
from tunefront.bench.suites.overrides import Overrides, Texts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tunefront.bench.cells import Cell
    from tunefront.bench.cli.running import Runnable
    from tunefront.bench.suites.streams import StreamRequest


@options.add_cell_options(
    methods="A method with parameters of its own for each task, as spelled in records.",
    tasks="A task of the stream, in order: docstrings/NAME, dir:FOLDER, hub:NAME or a FILE.",
)
def stream(
    texts: Texts,
    suite: options.StreamSuite = None,
    orders: options.Orders = "0,1,2",
    one_model: options.OneModel = None,
    way: options.SharedWays = None,
    replay: options.Replay = "0.1",
    out: options.Out = "results",
    workers: options.Workers = None,
    engine: options.Engine = "local",
    debug: options.Debug = False,
) -> None:
    """Let tasks arrive one after another; report what is remembered of earlier ones.

    Every method trains parameters of its own for each task of SUITE. The methods of --one-model also have one model for
    all tasks: trained on one task after another (sequential), on all so far together (multitask), or on the newest and
    some rows of earlier ones (replay). After each task, all earlier ones are scored again, in several orders. What is
    recorded in OUT is not run again; exit codes are those of `tunefront run`.
    """

    def asked(on_status: Callable[[str], None]) -> Asked:
        from tunefront.bench.suites.expand import STREAM, expand
        from tunefront.bench.suites.streams import StreamRequest

        wrong, chosen = ErrorCollector(), STREAM if suite is None else suite
        request = StreamRequest.from_texts(chosen, orders, one_model, way, replay, wrong)
        overrides = request.added_to(Overrides.from_texts(texts, wrong))
        return Asked(expand(chosen, overrides, on_status=on_status, wrong=wrong), partial(_arranged, request))

    run_cells(asked, How(out, workers, engine, plan_first=False), debug)


def _arranged(request: StreamRequest, cells: Sequence[Cell]) -> Runnable:
    """The steps of the streams."""
    from tunefront.bench.execution.stream import Streams

    return Streams.of(cells, request.orders, request.one_model, request.ways, request.replay_share)
