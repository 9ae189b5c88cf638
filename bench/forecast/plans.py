"""A whole plan: every cell foretold, what of it fits into a device's memory, and where it is kept."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import Mistake
from bench.files import check_writable, local_folder, writing
from bench.forecast.asked import BATCH, Planned, over
from bench.forecast.fitting import Fit, fit, peak_bytes
from bench.forecast.foretelling import foretell
from bench.forecast.timing import Machine
from bench.records import Record

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Forecast:
    """The records of a plan, `planned` and `skipped` ones; `fits` of each planned one by its key, where a device's
    memory was given; `sweep`, those at each size of a sweep."""

    records: tuple[Record, ...]
    fits: dict[str, Fit] = field(default_factory=dict)
    sweep: dict[int, tuple[Record, ...]] = field(default_factory=dict)


class Planner:
    """Foretells cells, each once.

    Args: machine, None for no seconds; concurrent, how many cells are to run side by side; tell hears what is done.
    """

    def __init__(self, machine: Machine | None = None, concurrent: int = 1, tell: Tell = lambda _: None):
        self._machine, self._concurrent, self._tell = machine, concurrent, tell
        self._known: dict[tuple[Planned, bool], Record] = {}

    def forecast(
        self, planned: Sequence[Planned], memory: int | None = None, sweep: tuple[str, tuple[int, ...]] | None = None
    ) -> Forecast:
        """The plan of these cells.

        Args: memory, bytes of a device; sweep, a name and the sizes at which every cell is planned too.
        Errors: Mistake where nothing fits into the memory even with one row a batch.
        """
        records = tuple(self._record(one) for one in planned)
        fits: dict[str, Fit] = {}
        if memory is not None:
            kept = [(one, record) for one, record in zip(planned, records, strict=True) if record.status == "planned"]
            fits = {record.key: self._fit(one, record, memory) for one, record in kept}
            if kept and all(found.largest_batch is None for found in fits.values()):
                raise self._nothing_fits(kept, memory)
        return Forecast(records, fits, self._swept(planned, *sweep) if sweep else {})

    def _record(self, one: Planned, timed: bool = True) -> Record:
        key = one, timed and self._machine is not None
        if key not in self._known:
            self._tell(f"going through {one.cell.title}")
            self._known[key] = foretell(one.cell, one.lengths, self._machine if timed else None, self._concurrent)
        return self._known[key]

    def _at(self, one: Planned, batch: int) -> Record:
        """The plan with another batch, without seconds: only its peak is looked at."""
        return self._record(over(one, BATCH, batch, self._trains(one)), timed=False)

    def _trains(self, one: Planned) -> bool:
        return bool(self._record(one).train_steps)

    def _fit(self, one: Planned, record: Record, memory: int) -> Fit:
        trains = self._trains(one)
        batch = one.cell.recipe.batch_size if trains else one.cell.config.eval_batch_size
        rows = record.n_train if trains else record.n_test
        most = rows if one.lengths is None else None  # of made-up rows there are as many as it takes
        return fit(peak_bytes(record), batch, memory, lambda size: peak_bytes(self._at(one, size)), most)

    def _nothing_fits(self, kept: Iterable[tuple[Planned, Record]], memory: int) -> Mistake:
        peak, label = min((peak_bytes(self._at(one, 1)), record.label) for one, record in kept)
        return Mistake(
            f"nothing fits into {memory:,} bytes: with one row a batch the least is {label}, whose tensors take "
            f"{peak:,} bytes at their peak; give a larger --device-memory, a smaller backbone or shorter rows."
        )

    def _swept(self, planned: Sequence[Planned], name: str, sizes: Sequence[int]) -> dict[int, tuple[Record, ...]]:
        found: dict[int, list[Record]] = {size: [] for size in sizes}
        for one, size in itertools.product(planned, sizes):
            found[size].append(self._record(over(one, name, size, self._trains(one)), timed=False))
        return {size: tuple(records) for size, records in found.items()}


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
    """Writes the planned records to the folder that `folder_of` gives, where a report finds them."""
    for record in records:
        if record.status == "planned":
            with writing(folder / f"{record.key}.json") as file:
                file.write(record.model_dump_json(indent=1).encode())
