"""Cells in rounds, where the cells of a round depend on the scores of those before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tunefront.bench.cells import Cell
from tunefront.bench.execution.engines import Engine, Progress, Silent
from tunefront.bench.execution.engines.claim import is_complete
from tunefront.bench.execution.engines.local import Local
from tunefront.bench.execution.grid import AnnouncedBefore, Outcome, joined, run_grid
from tunefront.bench.execution.identity import Identity, Shared
from tunefront.bench.records import Record
from tunefront.bench.records.store import Store

Ask = Callable[[Mapping[Cell, Record]], Sequence[Cell]]
"""The records of all earlier cells -> the cells of the next round, none after the last one."""


@dataclass(frozen=True)
class Rounds:
    """Cells that are asked round by round. `cells` are as many as there will be; where they are not known yet, others
    stand for them."""

    cells: Sequence[Cell]
    ask: Ask

    def run(self, store: Store, engine: Engine | None = None, progress: Progress | None = None) -> Outcome:
        """Runs the cells that are not recorded, round by round: what is recorded is not run again, and asked with the
        same scores as before. Args and errors: as `run_grid`."""
        store.prepare()
        engine, progress = engine or Local(), progress or Silent()
        progress.planned(len(self.cells), self._count_recorded(store))
        outcomes: list[Outcome] = []
        records: dict[Cell, Record] = {}
        with engine.kept() as kept:
            while cells := [cell for cell in self.ask(records) if cell not in records]:
                outcomes.append(run_grid(cells, store, kept, AnnouncedBefore(progress)))
                if outcomes[-1].interrupted:
                    break
                by_key = {record.key: record for record in outcomes[-1].records}
                records |= {cell: by_key[key] for cell, key in _keys(cells).items()}
        return joined(outcomes)

    def _count_recorded(self, store: Store) -> int:
        """How many cells need not run: all in the rounds before the first that is not recorded, and those in that."""
        known: dict[Cell, Record] = {}
        while cells := [cell for cell in self.ask(known) if cell not in known]:
            keys = _keys(cells)
            records = store.read_all(keys.values())
            found = {cell: records[key] for cell, key in keys.items() if key in records}
            done = {cell: record for cell, record in found.items() if is_complete(record, cell, store)}
            known |= done
            if len(done) < len(cells):
                break
        return len(known)


def _keys(cells: Sequence[Cell]) -> dict[Cell, str]:
    shared = Shared()
    return {cell: Identity.of(cell, shared).key for cell in cells}
