"""A whole plan: every cell foretold, what of it fits into a device's memory, and where it is kept."""

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

from tunefront.bench.errors import Mistake
from tunefront.bench.files import check_writable, local_folder, writing
from tunefront.bench.forecast.fit import Fit, largest
from tunefront.bench.forecast.machine import machine
from tunefront.bench.forecast.predict import foretell
from tunefront.bench.forecast.targets import BATCH, Planned, over
from tunefront.bench.records import MEMORY_PHASES, CorruptRecord, Record, read_record

STEP_PHASES = ("forward", "backward", "optimizer")
"""Phases of memory whose rows are those of a training batch; of all others but `load` those of a scoring batch."""
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Forecast:
    """The records of a plan, `planned` and `skipped` ones, over which it iterates; `fits` of each planned one by its
    key, where a device's memory was given; `sweep`, those at each size of a sweep."""

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


class Planner:
    """Foretells cells, each once.

    Args: timed, whether this machine is tried and seconds foretold; concurrent, how many cells are to run side by side;
    tell hears what is done.
    """

    def __init__(self, timed: bool = False, concurrent: int = 1, tell: Tell = lambda _: None):
        self._timed, self._concurrent, self._tell = timed, concurrent, tell
        self._known: dict[tuple[Planned, bool], Record] = {}

    def forecast(
        self, planned: Sequence[Planned], memory: int | None = None, sweep: tuple[str, tuple[int, ...]] | None = None
    ) -> Forecast:
        """The plan of these cells.

        Args: memory, bytes of a device; sweep, a name and the sizes at which every cell is planned too.
        Errors: Mistake where nothing fits into the memory even with one row a batch.
        """
        self._know(planned, self._timed)
        records = tuple(self._record(one) for one in planned)
        fits: dict[str, Fit] = {}
        if memory is not None:
            kept = [(one, record) for one, record in zip(planned, records, strict=True) if record.status == "planned"]
            fits = {record.key: self._fit(one, record, memory) for one, record in kept}
            if kept and not any(self._can_fit(one, fits[record.key]) for one, record in kept):
                raise self._nothing_fits(kept, memory)
        return Forecast(records, fits, self._swept(planned, *sweep) if sweep else {})

    def _know(self, planned: Iterable[Planned], timed: bool) -> None:
        """Foretells those that are not known yet, several at a time in forked processes where there are cores for it,
        each of a user's own method in one of its own. Forked, because outlines are made by then and shared; none of
        them computes in threads."""
        missing = list(dict.fromkeys(one for one in planned if (one, timed) not in self._known))
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        shipped = [one for one in missing if one.cell.method_file is None]
        groups = [shipped] if len(shipped) > 1 and cores > 1 else []
        groups += [[one] for one in missing if one.cell.method_file is not None]  # which may do anything to its process
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
                    found = pool.map(_foretold, [(one, timed, self._concurrent) for one in group])
                    try:
                        self._known.update(zip([(one, timed) for one in group], found, strict=True))
                    except BrokenProcessPool as error:
                        raise _broken(group) from error

    def _record(self, one: Planned, timed: bool = True) -> Record:
        key = one, timed and self._timed
        if one.cell.method_file is not None:
            self._know([one], key[1])
        if key not in self._known:
            self._tell(f"going through {one.cell.title}")
            self._known[key] = _foretold((*key, self._concurrent))
        return self._known[key]

    def _at(self, one: Planned, batch: int) -> Record:
        """The plan with another batch, without seconds: only its peak is looked at."""
        return self._record(over(one, BATCH, batch, self._trains(one)), timed=False)

    def _trains(self, one: Planned) -> bool:
        return bool(self._record(one).training.steps)

    def _fit(self, one: Planned, record: Record, memory: int) -> Fit:
        def most(batch: int, rows: int | None, phases: Iterable[str]) -> int | None:
            rows = rows if one.lengths is None else None  # of made-up rows there are as many as it takes
            return largest(batch, memory, lambda size: _peak(self._at(one, size), phases), rows)

        recipe, config = one.cell.recipe, one.cell.config
        trained = most(recipe.batch_size, record.data.n_train, STEP_PHASES) if self._trains(one) else None
        scored = most(config.eval_batch_size, record.data.n_test, set(MEMORY_PHASES).difference(STEP_PHASES))
        return Fit(_peak(record) <= memory, trained, scored)

    def _can_fit(self, one: Planned, found: Fit) -> bool:
        """With few enough rows a batch."""
        trained = found.largest_batch is not None or not self._trains(one)
        return trained and found.largest_scoring_batch is not None

    def _nothing_fits(self, kept: Iterable[tuple[Planned, Record]], memory: int) -> Mistake:
        peak, label = min((_peak(self._at(one, 1)), record.label) for one, record in kept)
        return Mistake(
            f"nothing fits into {memory:,} bytes: with one row a batch the least is {label}, whose tensors take "
            f"{peak:,} bytes at their peak; give a larger --device-memory, a smaller backbone or shorter rows."
        )

    def _swept(self, planned: Sequence[Planned], name: str, sizes: Sequence[int]) -> dict[int, tuple[Record, ...]]:
        found: dict[int, list[Record]] = {size: [] for size in sizes}
        asked = [(over(one, name, size, self._trains(one)), size) for one, size in itertools.product(planned, sizes)]
        self._know((one for one, _ in asked), timed=False)
        for one, size in asked:
            found[size].append(self._record(one, timed=False))
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


def _broken(planned: Iterable[Planned]) -> Mistake:
    own = sorted({one.cell.method.name for one in planned if one.cell.method_file})
    cause = f"one of your own methods ({', '.join(own)}) ends its process" if own else "no memory may have been left"
    return Mistake(f"a process that planned cells has died: {cause}; plan fewer cells at a time to find out which.")


def _foretold(asked: tuple[Planned, bool, int]) -> Record:
    """Of a cell, whether seconds are foretold, and how many cells are to run side by side."""
    one, timed, concurrent = asked
    found = machine(one.cell.config.threads, one.cell.config.device) if timed else None
    if found is not None and _shared:
        found.pace.share(*_shared[-1])
    return foretell(one.cell, one.lengths, found, concurrent)


def folder_of(out: str) -> Path:
    """Where plans of the results folder OUT are kept, not made yet; Mistake where nothing can be written there."""
    results = local_folder(out)
    if results is None:
        raise Mistake(f"plans are kept in local folders only, and {out} is none; give another --out.")
    folder = results / "plans"
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        check_writable(folder / f"{uuid.uuid4().hex}.json")
    except Mistake as error:
        why = getattr(error.__cause__, "strerror", None) or error
        raise Mistake(f"no plan can be kept in {out} ({why}); give another --out.") from error
    finally:
        for path in new:  # what else is wrong in the call is found out later, and leaves nothing behind either
            with suppress(OSError):
                path.rmdir()
    return folder


def keep(records: Iterable[Record], folder: Path) -> None:
    """Writes the planned records to the folder that `folder_of` gives, where a report finds them.

    What was foretold first stays: a plan of the same key (code, data and settings) is written over only where it cannot
    be read, is of made-up rows, whose key knows no code, or has no seconds and its cell has not run yet.
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
