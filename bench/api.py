"""What the command does, from Python."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.bench.errors import ErrorCollector
from tunefront.bench.papers.compared import compared
from tunefront.bench.quiet import quiet_libraries
from tunefront.bench.records import Record
from tunefront.bench.records.kept import lost
from tunefront.bench.records.store import Store
from tunefront.bench.settings import Scalar
from tunefront.bench.suites.expand import expand
from tunefront.bench.suites.overrides import Overrides
from tunefront.methods.base import Method
from tunefront.methods.registry import is_given_by_path

if TYPE_CHECKING:
    from tunefront.bench.forecast.forecast import Forecast

log = logging.getLogger("tunefront")


def run(
    suite: str = "quick",
    *,
    methods: Sequence[str | Method] | None = None,
    backbones: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    shots: Sequence[int | None] | None = None,
    draws: Sequence[int] | None = None,
    seeds: Sequence[int] | None = None,
    templates: Sequence[str | None] | None = None,
    settings: Mapping[str, Scalar] | None = None,
    device: str | None = None,
    out: str | Path = "results",
    workers: int = 1,
) -> list[Record]:
    """Runs the cells of a suite that are not recorded yet; returns the records of all of them, in order.

    Args: suite, a shipped suite's name or a TOML file's path; each list replaces the suite's (`methods` takes instances
    as well as spelled ones, None in `shots` is all rows); of a suite of several parts it replaces each part's, but
    `backbones` chooses the parts that name one of them, or the first for one that no part names; settings, any field of
    the recipe or of the run settings; device, one of the latter; out, a folder or fsspec URL; workers, how many cells
    run at a time. Workers import the script that started them, so with more than one a script keeps its call under
    `if __name__ == "__main__":`.
    Errors: UserError for anything wrong in the call. A failed cell is a record with `status == "failed"`. What was read
    of the tasks, what they warn of, how a suite that repeats a paper differs from it, and what was recorded and is not
    on the disk any more is logged by the logger `tunefront`.

        from tunefront import run
        from tunefront.methods.houlsby import Houlsby

        for record in run(methods=["full", Houlsby(bottleneck=8)], tasks=["dir:data/mine"], seeds=[0, 1, 2]):
            print(record.label, record.score, record.parameters.trainable)
    """
    quiet_libraries()  # before they are imported
    from tunefront.bench.execution.grid import run_grid

    overrides = Overrides(
        methods=methods,
        backbones=backbones,
        tasks=tasks,
        shots=shots,
        draws=draws,
        seeds=seeds,
        templates=templates,
        settings=settings,
        device=device,
    )
    expansion = expand(suite, overrides)
    for line in expansion.announcements:
        log.info("%s", line)
    for warning in expansion.warnings:
        log.warning("%s", warning)
    cells, lines = compared(expansion.cells)
    for line in lines:
        log.info("%s", line)
    # What a program has imported is its own code, and runs in it; a file that it names gets a process of its own.
    store = Store(out)
    outcome = run_grid(cells, store, workers, alone=lambda cell: is_given_by_path(type(cell.method)))
    if outcome.interrupted:
        raise KeyboardInterrupt
    for line in lost(store.location, outcome.records).lines:
        log.warning("%s", line)
    return list(outcome.records)


def plan(
    suite: str | None = None,
    *,
    methods: Sequence[str | Method] | None = None,
    backbones: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    shots: Sequence[int | None] | None = None,
    draws: Sequence[int] | None = None,
    seeds: Sequence[int] | None = None,
    templates: Sequence[str | None] | None = None,
    settings: Mapping[str, Scalar] | None = None,
    device: str | None = None,
    length: int | None = None,
    choices: int | None = None,
    answer_tokens: int | None = None,
    queries: int | None = None,
    device_memory: int | str | None = None,
    sweep: Mapping[str, Sequence[int]] | None = None,
    seconds: bool = False,
) -> Forecast:
    """What cells would cost, as records of status `planned` (or `skipped`, with the reason); nothing is run.

    Args: of suite cells as in `run`, of `quick` where nothing else is named; length, tokens of made-up rows, in place
    of a suite: `shots`, one number, of them are trained on, `queries` scored, each with so many `choices` of
    `answer_tokens`; backbones may then be presets or config.json files; device_memory, bytes or "24GB", of which `fits`
    says for each record's key whether it fits and the largest batch that does; sweep, {"batch": [1, 2, 4]} or
    {"length": [64, 128]}, of which `sweep` has the records at each size; seconds, whether this machine is tried.
    Errors: UserError for anything wrong in the call, and where nothing fits into the memory.
    """
    quiet_libraries()
    from tunefront.bench.forecast.forecast import predict_costs
    from tunefront.bench.forecast.request import PlanRequest
    from tunefront.bench.forecast.sizes import Sweep, memory_bytes

    overrides = Overrides(
        methods=methods,
        backbones=backbones,
        tasks=tasks,
        shots=shots,
        draws=draws,
        seeds=seeds,
        templates=templates,
        settings=settings,
        device=device,
    )
    request = PlanRequest(
        suite=suite,
        overrides=overrides,
        length=length,
        choices=choices,
        answer_tokens=answer_tokens,
        queries=queries,
        device_memory=None if device_memory is None else memory_bytes(device_memory),
        sweep=None if sweep is None else Sweep.from_mapping(sweep),
        seconds=seconds,
    )
    return predict_costs(request, ErrorCollector())
