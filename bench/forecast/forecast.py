"""Forecasts: the costs of every cell, whether they fit into the memory of a device, and their files."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tunefront.bench.cells import Cell
from tunefront.bench.errors import ErrorCollector, UserError
from tunefront.bench.execution.engines.claim import is_complete
from tunefront.bench.execution.identity import Identity, Shared
from tunefront.bench.forecast.fit import Fit, largest_batch
from tunefront.bench.forecast.limits import TooLong
from tunefront.bench.forecast.machine import machine
from tunefront.bench.forecast.parallel import predict_in_parallel, predict_target
from tunefront.bench.forecast.request import PlanRequest, check, name_sweep_option, targets_of
from tunefront.bench.forecast.sizes import BATCH, Sweep
from tunefront.bench.forecast.targets import Target, at_size, cell_targets, without_seeds
from tunefront.bench.records import MEMORY_PHASES, Record
from tunefront.bench.records.plans import Plans
from tunefront.bench.records.store import Store

STEP_PHASES = ("forward", "backward", "optimizer")
"""Phases of memory with the rows of a training batch; all others except `load` have those of a scoring batch."""
OnStatus = Callable[[str], None]


@dataclass(frozen=True)
class Forecast:
    """The records of a forecast, `planned` or `skipped`; iterates over them.

    `fits` has an entry per planned record, by key, if a device memory was given; `sweep` has the records at each size
    of a sweep.
    """

    records: tuple[Record, ...]
    fits: dict[str, Fit] = field(default_factory=dict)
    sweep: dict[int, tuple[Record, ...]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def as_json(self) -> dict[str, Any]:  # Any: what json.dumps takes
        """The fields for JSON, where the sizes of a sweep are strings."""
        sweep = {
            str(size): [record.model_dump(mode="json") for record in records] for size, records in self.sweep.items()
        }
        fits = {key: asdict(fit) for key, fit in self.fits.items()}
        return {"records": [record.model_dump(mode="json") for record in self.records], "fits": fits, "sweep": sweep}


class Predictor:
    """Predicts the costs of cells, each once.

    Args: timed, whether to time this machine and predict seconds; concurrent, number of cells that will run at a time;
    on_status, called with status messages.
    """

    def __init__(self, timed: bool = False, concurrent: int = 1, on_status: OnStatus = lambda _: None):
        self._timed, self._concurrent, self._on_status = timed, concurrent, on_status
        self._known: dict[tuple[Target, bool], Record] = {}

    def forecast(self, targets: Sequence[Target], memory: int | None = None, sweep: Sweep | None = None) -> Forecast:
        """Predicts the costs of these cells.

        Args: memory of a device, in bytes; sweep, sizes at which every cell is predicted too.
        Errors: UserError if nothing fits into the memory even with one row per batch.
        """
        self._predict_missing(targets, self._timed)
        records = tuple(self._record(target) for target in targets)
        fits: dict[str, Fit] = {}
        if memory is not None:
            pairs = zip(targets, records, strict=True)
            planned = [(target, record) for target, record in pairs if record.status == "planned"]
            fits = {record.key: self._fit(target, record, memory) for target, record in planned}
            if planned and not any(self._can_fit(target, fits[record.key]) for target, record in planned):
                raise self._nothing_fits(planned, memory)
        return Forecast(records, fits, self._swept(targets, sweep) if sweep else {})

    def _predict_missing(self, targets: Iterable[Target], timed: bool) -> None:
        """Predicts the targets that are not known yet, on several cores in forked processes. Every target with a user's
        own method gets its own process. Forking shares the fake models that exist by then; no process uses threads."""
        missing = list(dict.fromkeys(target for target in targets if (target, timed) not in self._known))
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        built_in = [target for target in missing if target.cell.method_file is None]
        groups = [built_in] if len(built_in) > 1 and cores > 1 else []
        own = [target for target in missing if target.cell.method_file is not None]
        groups += [[target] for target in own]  # each could break its process
        if not groups or "fork" not in multiprocessing.get_all_start_methods():
            return
        if timed:
            self._on_status("timing operators on this machine")
            machine(missing[0].cell.config.threads, missing[0].cell.config.device)
        self._on_status(f"predicting {len(missing)} cells")
        with multiprocessing.get_context("fork").Manager() as manager:
            known = manager.dict()  # the times of operators
            for group in groups:
                workers = min(cores, len(group))
                predicted = predict_in_parallel(group, timed, self._concurrent, known, workers)
                self._known.update({(target, timed): record for target, record in predicted})

    def _record(self, target: Target, timed: bool = True) -> Record:
        key = target, timed and self._timed
        if target.cell.method_file is not None:
            self._predict_missing([target], key[1])
        if key not in self._known:
            self._on_status(f"predicting {target.cell.title}")
            self._known[key] = predict_target(*key, self._concurrent)
        return self._known[key]

    def _at_batch(self, target: Target, batch: int) -> Record:
        """The record with another batch, without seconds: only its peak is needed."""
        return self._record(at_size(target, BATCH, batch, self._trains(target)), timed=False)

    def _trains(self, target: Target) -> bool:
        return bool(self._record(target).training.steps)

    def _fit(self, target: Target, record: Record, memory: int) -> Fit:
        def most(batch: int, rows: int | None, phases: Iterable[str]) -> int | None:
            rows = rows if target.lengths is None else None  # the number of synthetic rows has no limit
            return largest_batch(batch, memory, lambda size: _peak(self._at_batch(target, size), phases), rows)

        recipe, config = target.cell.recipe, target.cell.config
        trained = most(recipe.batch_size, record.data.n_train, STEP_PHASES) if self._trains(target) else None
        scored = most(config.eval_batch_size, record.data.n_test, set(MEMORY_PHASES).difference(STEP_PHASES))
        return Fit(_peak(record) <= memory, trained, scored)

    def _can_fit(self, target: Target, fit: Fit) -> bool:
        """Whether the cell fits with small enough batches."""
        trained = fit.largest_batch is not None or not self._trains(target)
        return trained and fit.largest_scoring_batch is not None

    def _nothing_fits(self, planned: Iterable[tuple[Target, Record]], memory: int) -> UserError:
        peak, label = min((_peak(self._at_batch(target, 1)), record.label) for target, record in planned)
        return UserError(
            f"nothing fits into {memory:,} bytes: even with one row per batch, the smallest peak is {peak:,} bytes "
            f"({label}); give a larger --device-memory, a smaller backbone or shorter rows."
        )

    def _swept(self, targets: Sequence[Target], sweep: Sweep) -> dict[int, tuple[Record, ...]]:
        swept: dict[int, list[Record]] = {size: [] for size in sweep.sizes}
        at_sizes = [
            (at_size(target, sweep.name, size, self._trains(target)), size)
            for target, size in itertools.product(targets, sweep.sizes)
        ]
        self._predict_missing((target for target, _ in at_sizes), timed=False)
        for target, size in at_sizes:
            swept[size].append(self._record(target, timed=False))
        return {size: tuple(records) for size, records in swept.items()}


def _peak(record: Record, phases: Iterable[str] = MEMORY_PHASES) -> int:
    """The peak of these phases in bytes; larger than any device if the cell is skipped at this batch."""
    owners = record.memory.phases
    if owners is None:
        return sys.maxsize
    return max((sum(owners[phase].values()) for phase in phases if phase in owners), default=0)


def predict_costs(request: PlanRequest, errors: ErrorCollector, on_status: OnStatus = lambda _: None) -> Forecast:
    """Predicts the requested costs, each cell once; `errors` contains the errors found so far.

    Errors: UserErrors with all errors of the call, UserError if every cell is skipped.
    """
    check(request)
    on_status("importing the libraries")
    targets = list(dict.fromkeys(targets_of(request, errors, on_status)))
    try:
        forecast = Predictor(request.seconds, request.workers, on_status).forecast(
            targets, request.device_memory, request.sweep
        )
    except TooLong as error:
        if any(target.lengths is not None and target.lengths.tokens == error.tokens for target in targets):
            raise
        raise name_sweep_option(error) from error
    _check_not_empty(forecast)
    return forecast


def keep_predictions(cells: Sequence[Cell], out: str, workers: int, on_status: OnStatus) -> list[tuple[Cell, Record]]:
    """Predicts the costs of the cells that have not run yet, including seconds, and saves them in the results folder
    or URL OUT; returns each of these cells with its prediction, one for all seeds. Errors: UserError if that fails."""
    plans, store, shared = Plans(out), Store(out), Shared()
    keys = [Identity.of(cell, shared).key for cell in cells]
    known = store.read_all(keys)
    missing = [cell for cell, key in zip(cells, keys, strict=True) if not is_complete(known.get(key), cell, store)]
    predicted = predictions(missing, workers, on_status)
    plans.keep({record.key: record for _, record in predicted}.values())
    return predicted


def predictions(
    cells: Sequence[Cell], workers: int, on_status: OnStatus, timed: bool = True
) -> list[tuple[Cell, Record]]:
    """Each cell with its predicted costs, one prediction for all seeds; seconds, on this machine, if `timed`. Errors:
    UserError if that fails."""
    targets = cell_targets(cells)
    forecast = Predictor(timed, workers, on_status).forecast(targets)
    known = {without_seeds(target.cell): record for target, record in zip(targets, forecast.records, strict=True)}
    return [(cell, known[without_seeds(cell)]) for cell in cells]


def _check_not_empty(forecast: Forecast) -> None:
    """UserError with the reasons if every cell is skipped, at every size of a sweep too."""
    records = [*forecast.records, *itertools.chain.from_iterable(forecast.sweep.values())]
    if any(record.status == "planned" for record in records):
        return
    reasons: dict[str | None, str] = {}
    for record in forecast.records:
        reasons.setdefault(record.reason, f"{record.label} on {record.backbone}")
    listed = "; ".join(f"{cell}: {reason}" for reason, cell in reasons.items())
    raise UserError(f"no cell can be planned: {listed}. Choose other methods, backbones or lengths.")
