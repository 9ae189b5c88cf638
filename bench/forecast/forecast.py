"""A whole forecast: the costs of every cell, what of it fits into a device's memory, and where it is kept."""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import os
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tunefront.bench.cells import Cell
from tunefront.bench.errors import ErrorCollector, UserError
from tunefront.bench.execution.identity import Identity
from tunefront.bench.files import check_writable, local_folder, writing
from tunefront.bench.forecast.fit import Fit, largest
from tunefront.bench.forecast.limits import TooLong
from tunefront.bench.forecast.machine import machine
from tunefront.bench.forecast.predict import predict
from tunefront.bench.forecast.request import PlanRequest, check, of_sweep, targets_of
from tunefront.bench.forecast.sizes import BATCH, Sweep
from tunefront.bench.forecast.targets import Target, at_size, of_cells
from tunefront.bench.records import MEMORY_PHASES, CorruptRecord, Record, read_record
from tunefront.bench.records.store import Store

STEP_PHASES = ("forward", "backward", "optimizer")
"""Phases of memory whose rows are those of a training batch; of all others but `load` those of a scoring batch."""
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Forecast:
    """The records of a forecast, `planned` and `skipped` ones, over which it iterates; `fits` of each planned one by
    its key, where a device's memory was given; `sweep`, those at each size of a sweep."""

    records: tuple[Record, ...]
    fits: dict[str, Fit] = field(default_factory=dict)
    sweep: dict[int, tuple[Record, ...]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def as_json(self) -> dict[str, Any]:  # Any: what json.dumps takes
        """Its fields as JSON has them; the sizes of a sweep are names there."""
        sweep = {str(size): [one.model_dump(mode="json") for one in alike] for size, alike in self.sweep.items()}
        fits = {key: asdict(one) for key, one in self.fits.items()}
        return {"records": [one.model_dump(mode="json") for one in self.records], "fits": fits, "sweep": sweep}


class Predictor:
    """Predicts the costs of cells, each once.

    Args: timed, whether this machine is tried and seconds predicted; concurrent, how many cells are to run side by
    side; tell hears what is done.
    """

    def __init__(self, timed: bool = False, concurrent: int = 1, tell: Tell = lambda _: None):
        self._timed, self._concurrent, self._tell = timed, concurrent, tell
        self._known: dict[tuple[Target, bool], Record] = {}

    def forecast(self, targets: Sequence[Target], memory: int | None = None, sweep: Sweep | None = None) -> Forecast:
        """The costs of these cells.

        Args: memory, bytes of a device; sweep, sizes at which those of every cell are predicted too.
        Errors: UserError where nothing fits into the memory even with one row a batch.
        """
        self._know(targets, self._timed)
        records = tuple(self._record(target) for target in targets)
        fits: dict[str, Fit] = {}
        if memory is not None:
            pairs = zip(targets, records, strict=True)
            kept = [(target, record) for target, record in pairs if record.status == "planned"]
            fits = {record.key: self._fit(target, record, memory) for target, record in kept}
            if kept and not any(self._can_fit(target, fits[record.key]) for target, record in kept):
                raise self._nothing_fits(kept, memory)
        return Forecast(records, fits, self._swept(targets, sweep) if sweep else {})

    def _know(self, targets: Iterable[Target], timed: bool) -> None:
        """Predicts those that are not known yet, several at a time in forked processes where there are cores for it,
        each of a user's own method in one of its own. Forked, because outlines are made by then and shared; none of
        them computes in threads."""
        missing = list(dict.fromkeys(target for target in targets if (target, timed) not in self._known))
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        shipped = [target for target in missing if target.cell.method_file is None]
        groups = [shipped] if len(shipped) > 1 and cores > 1 else []
        own = [target for target in missing if target.cell.method_file is not None]
        groups += [[target] for target in own]  # each may do anything to its process
        if not groups or "fork" not in multiprocessing.get_all_start_methods():
            return
        if timed:
            self._tell("trying how fast this machine is")
            machine(missing[0].cell.config.threads, missing[0].cell.config.device)
        self._tell(f"going through {len(missing)} cells")
        context = multiprocessing.get_context("fork")
        with context.Manager() as manager:
            shared = (manager.dict(), context.Lock())
            for group in groups:
                workers = min(cores, len(group))
                with ProcessPoolExecutor(workers, context, initializer=_begin, initargs=shared) as pool:
                    found = pool.map(_predict, [(target, timed, self._concurrent) for target in group])
                    try:
                        self._known.update(zip([(target, timed) for target in group], found, strict=True))
                    except BrokenProcessPool as error:
                        raise _broken(group) from error

    def _record(self, target: Target, timed: bool = True) -> Record:
        key = target, timed and self._timed
        if target.cell.method_file is not None:
            self._know([target], key[1])
        if key not in self._known:
            self._tell(f"going through {target.cell.title}")
            self._known[key] = _predict((*key, self._concurrent))
        return self._known[key]

    def _at(self, target: Target, batch: int) -> Record:
        """The plan with another batch, without seconds: only its peak is looked at."""
        return self._record(at_size(target, BATCH, batch, self._trains(target)), timed=False)

    def _trains(self, target: Target) -> bool:
        return bool(self._record(target).training.steps)

    def _fit(self, target: Target, record: Record, memory: int) -> Fit:
        def most(batch: int, rows: int | None, phases: Iterable[str]) -> int | None:
            rows = rows if target.lengths is None else None  # of made-up rows there are as many as it takes
            return largest(batch, memory, lambda size: _peak(self._at(target, size), phases), rows)

        recipe, config = target.cell.recipe, target.cell.config
        trained = most(recipe.batch_size, record.data.n_train, STEP_PHASES) if self._trains(target) else None
        scored = most(config.eval_batch_size, record.data.n_test, set(MEMORY_PHASES).difference(STEP_PHASES))
        return Fit(_peak(record) <= memory, trained, scored)

    def _can_fit(self, target: Target, found: Fit) -> bool:
        """With few enough rows a batch."""
        trained = found.largest_batch is not None or not self._trains(target)
        return trained and found.largest_scoring_batch is not None

    def _nothing_fits(self, kept: Iterable[tuple[Target, Record]], memory: int) -> UserError:
        peak, label = min((_peak(self._at(target, 1)), record.label) for target, record in kept)
        return UserError(
            f"nothing fits into {memory:,} bytes: with one row a batch the least is {label}, whose tensors take "
            f"{peak:,} bytes at their peak; give a larger --device-memory, a smaller backbone or shorter rows."
        )

    def _swept(self, targets: Sequence[Target], sweep: Sweep) -> dict[int, tuple[Record, ...]]:
        found: dict[int, list[Record]] = {size: [] for size in sweep.sizes}
        at_sizes = [
            (at_size(target, sweep.name, size, self._trains(target)), size)
            for target, size in itertools.product(targets, sweep.sizes)
        ]
        self._know((target for target, _ in at_sizes), timed=False)
        for target, size in at_sizes:
            found[size].append(self._record(target, timed=False))
        return {size: tuple(records) for size, records in found.items()}


def _peak(record: Record, phases: Iterable[str] = MEMORY_PHASES) -> int:
    """Of these phases; more than any device has where the cell is skipped at this batch."""
    held = record.memory.phases
    if held is None:
        return sys.maxsize
    return max((sum(held[phase].values()) for phase in phases if phase in held), default=0)


_shared: list[tuple[MutableMapping[str, float], AbstractContextManager[object]]] = []
"""In a forked process what operators take, and the lock under which it is found out."""


def _begin(known: MutableMapping[str, float], alone: AbstractContextManager[object]) -> None:
    """A forked process. What is imported is never garbage: looking for some would take longer than the work does."""
    gc.freeze()
    _shared.append((known, alone))


def _broken(targets: Iterable[Target]) -> UserError:
    own = sorted({target.cell.method.name for target in targets if target.cell.method_file})
    cause = f"one of your own methods ({', '.join(own)}) ends its process" if own else "no memory may have been left"
    return UserError(f"a process that planned cells has died: {cause}; plan fewer cells at a time to find out which.")


def _predict(call: tuple[Target, bool, int]) -> Record:
    """Of a cell, whether seconds are predicted, and how many cells are to run side by side."""
    target, timed, concurrent = call
    found = machine(target.cell.config.threads, target.cell.config.device) if timed else None
    if found is not None and _shared:
        found.pace.share(*_shared[-1])
    return predict(target.cell, target.lengths, found, concurrent)


def predict_costs(request: PlanRequest, wrong: ErrorCollector, tell: Tell = lambda _: None) -> Forecast:
    """The forecast of what the call asks for, each cell once; `wrong` has what is wrong with the call so far.

    Errors: UserErrors with all that is wrong in it, UserError where all of it is left out.
    """
    check(request)
    tell("importing the libraries")
    targets = list(dict.fromkeys(targets_of(request, wrong, tell)))
    try:
        found = Predictor(request.seconds, request.workers, tell).forecast(
            targets, request.device_memory, request.sweep
        )
    except TooLong as error:
        if any(target.lengths is not None and target.lengths.tokens == error.tokens for target in targets):
            raise
        raise of_sweep(error) from error
    _check_some(found)
    return found


def keep_predictions(cells: Sequence[Cell], out: str, workers: int, tell: Tell) -> None:
    """Predicts what the cells that have not run yet cost, seconds included, and keeps that in the results folder OUT;
    UserError where it cannot."""
    folder, store = folder_of(out), Store(out)
    missing = [
        cell for cell in cells if (found := store.read(Identity.of(cell).key)) is None or found.status == "failed"
    ]
    keep(Predictor(True, workers, tell).forecast(of_cells(missing)).records, folder)


def _check_some(found: Forecast) -> None:
    """UserError with the reasons where no cell could be predicted, at no size of a sweep either."""
    records = [*found.records, *itertools.chain.from_iterable(found.sweep.values())]
    if any(record.status == "planned" for record in records):
        return
    reasons: dict[str | None, str] = {}
    for record in found.records:
        reasons.setdefault(record.reason, f"{record.label} on {record.backbone}")
    listed = "; ".join(f"{what}: {reason}" for reason, what in reasons.items())
    raise UserError(f"nothing is planned, for all is left out: {listed}. Choose others, or other lengths.")


def folder_of(out: str) -> Path:
    """Where plans of the results folder OUT are kept, not made yet; UserError where nothing can be written there."""
    results = local_folder(out)
    if results is None:
        raise UserError(f"plans are kept in local folders only, and {out} is none; give another --out.")
    folder = results / "plans"
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        check_writable(folder / f"{uuid.uuid4().hex}.json")
    except UserError as error:
        why = getattr(error.__cause__, "strerror", None) or error
        raise UserError(f"no plan can be kept in {out} ({why}); give another --out.") from error
    finally:
        for path in new:  # what else is wrong in the call is found out later, and leaves nothing behind either
            with suppress(OSError):
                path.rmdir()
    return folder


def keep(records: Iterable[Record], folder: Path) -> None:
    """Writes the planned records to the folder that `folder_of` gives, where a report finds them.

    The first prediction stays: a plan of the same key (code, data and settings) is overwritten only if it cannot be
    read, is of synthetic rows, whose key covers no code, or has no seconds and its cell has not run yet.
    """
    for record in records:
        path = folder / f"{record.key}.json"
        if record.status == "planned" and not _stays(path, record):
            with writing(path) as file:
                file.write(record.model_dump_json(indent=1).encode())


def _stays(path: Path, record: Record) -> bool:
    """Whether the plan that is there is not to be written over by this one; OtherVersion where it is not ours."""
    try:
        known = read_record(path)
    except (FileNotFoundError, CorruptRecord):
        return False
    if not known.fingerprints:
        return False
    more = known.seconds.eval is None and record.seconds.eval is not None
    return not more or (path.parent.parent / "records" / path.name).exists()
