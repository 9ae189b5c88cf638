"""Memory by owner at the peak of each phase."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.bench.records import MEMORY_PHASES, OWNERS
from tunefront.reports import units
from tunefront.reports.compare.entries import on_shared_cells
from tunefront.reports.costs.breakdown import Ledger
from tunefront.reports.tables import Cell, Column, Table, anchor

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tunefront.bench.records import Record
    from tunefront.reports.compare.entries import Entry
    from tunefront.reports.compare.panels import Panel

TEXT = (
    "Bytes of allocated tensors at the peak of each phase. Each byte has one owner, and the owners sum to the peak. "
    "Frozen weights never change. Trained weights also need gradients and optimiser state. Saved activations are kept "
    "from the forward pass for the backward pass; a method that trains few weights may still need many of them. "
    "Temporary tensors exist only within an operation. Load is the memory of the model after the method is attached. "
    "Not included are libraries, code, the allocator's reserve, and the copy of the pretrained weights that this suite "
    "keeps in main memory for the next run. The memory of the whole process is among the costs above."
)

OWNERS_TITLE = "Memory at the peak by owner"
MOST = 6
"""Most methods in one table of owners."""
WIDEST, NARROWEST, GAP = 110, 12, 2
"""Width of a table, least width of a column, and gap between columns, in characters."""


def peak_phase(record: Record) -> str | None:
    """The phase with the highest peak; None if memory was not measured."""
    memory = {phase: owners for phase, owners in (record.memory.phases or {}).items() if owners}
    return max(memory, key=lambda phase: (sum(memory[phase].values()), phase)) if memory else None


def median_record(entry: Entry) -> Record | None:
    """The record with the median peak (the lower of two). Its owners sum to its peak; medians of owners would not."""
    by_peak = sorted((record.peak_memory_bytes or 0, record.key, record) for record in entry.all if peak_phase(record))
    return by_peak[(len(by_peak) - 1) // 2][2] if by_peak else None


def owners_of(records: Iterable[Record], phases: Iterable[str] | None = None) -> list[str]:
    """The owners that hold bytes at the peak, or at the peaks of `phases`, in order."""
    owners = set()
    for record in records:
        shown = [peak_phase(record)] if phases is None else phases
        owners |= {
            owner
            for phase in shown
            if phase is not None
            for owner, size in ((record.memory.phases or {}).get(phase) or {}).items()
            if size
        }
    return _ordered(owners, OWNERS)


def ledger(panel: Panel, index: int) -> Ledger | None:
    """The ledger of a panel; None if memory was not measured."""
    shown = [
        (e, entry, record) for e, entry in enumerate(panel.entries) if (record := median_record(entry)) is not None
    ]
    if not shown:
        return None
    tables = (*_owners(index, shown), _phases(index, shown), *_allocator(panel, index, shown))
    return Ledger("memory", "Memory by phase and owner", _short(panel, shown), (TEXT,), tables)


def display_name(name: str) -> str:
    """The name of an owner or phase in words.

    >>> display_name("saved_activations"), display_name("kv_cache")
    ('saved activations', 'keys and values')
    """
    return {"kv_cache": "keys and values", "optimizer_state": "optimiser state", "optimizer": "optimiser step"}.get(
        name, name.replace("_", " ")
    )


def _owners(index: int, shown: list[tuple[int, Entry, Record]]) -> list[Table]:
    """A row per owner and a column per method, split into tables that fit on a page."""
    owners = owners_of(record for _, _, record in shown)
    parts = _split_columns([entry.label for _, entry, _ in shown])
    note = (
        "The run with the median peak over tasks and runs. A dash: the owner holds nothing, or the method has no such "
        "owner. 1 kB is 1000 bytes."
    )
    tables = []
    for number, part in enumerate(parts, 1):
        part_rows = [shown[place] for place in part]
        phases = [peak_phase(record) or "" for _, _, record in part_rows]
        held = [(record.memory.phases or {})[phase] for phase, (_, _, record) in zip(phases, part_rows, strict=True)]
        links = [anchor(index, e) for e, _, _ in part_rows]
        pairs = list(zip(held, links, strict=True))
        rows = (
            (Cell("at the peak in"), *(Cell(display_name(phase)) for phase in phases)),
            (Cell("sum"), *(_size(sum(owner_bytes.values()), link) for owner_bytes, link in pairs)),
            *(
                (
                    Cell(display_name(owner)),
                    *(_size(owner_bytes.get(owner) or None, link) for owner_bytes, link in pairs),
                )
                for owner in owners
            ),
        )
        columns = (Column("bytes of", numeric=False), *(Column(entry.label) for _, entry, _ in part_rows))
        caption = OWNERS_TITLE + (f" ({number} of {len(parts)})" if len(parts) > 1 else "")
        tables.append(Table(caption, columns, rows, note if number == len(parts) else ""))
    return tables


def _split_columns(labels: Sequence[str]) -> list[list[int]]:
    """Groups of label indices, each with as many columns as fit on a page."""
    parts: list[list[int]] = [[]]
    used = 0
    for place, label in enumerate(labels):
        wide = max(len(label), NARROWEST) + GAP
        if parts[-1] and (len(parts[-1]) == MOST or used + wide > WIDEST):
            parts.append([])
            used = 0
        parts[-1].append(place)
        used += wide
    return parts


def _phases(index: int, shown: list[tuple[int, Entry, Record]]) -> Table:
    phases = _ordered({phase for _, _, record in shown for phase in record.memory.phases or {}}, MEMORY_PHASES)
    columns = (Column("method", numeric=False), *(Column(display_name(phase)) for phase in phases))
    rows = tuple(
        (
            Cell(entry.label),
            *(
                _size(entry.median(lambda r, p=phase: _phase_bytes(r, p)), anchor(index, e))  # type: ignore[misc]
                for phase in phases
            ),
        )
        for e, entry, _ in shown
    )
    note = "The peak of each phase, medians over tasks and runs. A dash: the method has no such phase."
    return Table("Peak memory of each phase", columns, rows, note)


def _allocator(panel: Panel, index: int, shown: list[tuple[int, Entry, Record]]) -> list[Table]:
    """On CUDA, the peaks of each phase as reported by the allocator."""
    if not any(record.memory.cuda for record in panel.records):
        return []
    phases = _ordered({phase for record in panel.records for phase in record.memory.cuda or {}}, MEMORY_PHASES)
    kinds = ("allocated", "reserved")
    columns = (
        Column("method", numeric=False),
        *(Column(display_name(phase), kind) for phase in phases for kind in kinds),
    )

    def cell(e: int, entry: Entry, phase: str, kind: str) -> Cell:
        return _size(entry.median(lambda r: ((r.memory.cuda or {}).get(phase) or {}).get(kind)), anchor(index, e))

    rows = tuple(
        (
            Cell(entry.label),
            *(cell(e, entry, phase, kind) for phase in phases for kind in kinds),
        )
        for e, entry, _ in shown
    )
    note = "Peaks of CUDA's allocator, reset before each phase. Reserved: memory that it keeps of the device."
    return [Table("Peak memory reported by the allocator", columns, rows, note)]


def _phase_bytes(record: Record, phase: str) -> int | None:
    owners = (record.memory.phases or {}).get(phase)
    return None if owners is None else sum(owners.values())


def _size(value: float | None, link: str) -> Cell:
    return Cell(units.si(value, "B"), title=units.exact(value, "B"), link="" if value is None else link)


def _short(panel: Panel, shown: list[tuple[int, Entry, Record]]) -> str:
    """The peaks of the reference and of the method with the lowest peak, in words."""
    entries = on_shared_cells([entry for _, entry, _ in shown if entry in panel.worthwhile], _peak_bytes)
    sizes = sorted((size, entry.label) for entry in entries if (size := entry.median(_peak_bytes)) is not None)
    base = next((size for size, label in sizes if panel.reference and label == panel.reference.label), None)
    if base is None or panel.reference is None or sizes[0][1] == panel.reference.label:
        most, label = max((record.peak_memory_bytes or 0, entry.label) for _, entry, record in shown)
        return f"at most {units.si(most, 'B')} ({label})"
    least, label = sizes[0]
    return f"{panel.reference.label} needs {units.si(base, 'B')} at its peak, {label} {units.si(least, 'B')}"


def _peak_bytes(record: Record) -> int | None:
    return record.peak_memory_bytes


def _ordered(names: set[str], order: tuple[str, ...]) -> list[str]:
    """Known names in their order, then unknown names."""
    return [*(name for name in order if name in names), *sorted(names - set(order))]
