"""Storage of N tasks, from the sizes of the real files: N whole models, or one backbone and N small files or texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare.entries import on_shared_cells
from tunefront.reports.compare.statistics import complete_rows, finite_values, median
from tunefront.reports.costs.breakdown import Ledger
from tunefront.reports.tables import Cell, Column, Table, anchor, link_if_present

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunefront.bench.records import Record
    from tunefront.reports.compare.entries import Entry
    from tunefront.reports.compare.panels import Panel

TASKS = (1, 3, 9, 100)
TEXT = (
    "Storage for N similar tasks, from the sizes of the saved files. If a method trains every weight of the backbone, "
    "its file replaces the backbone, and N tasks need N files of that size. Every other method stores the backbone "
    "once and a file per task, which contains the head, norms and everything else that is trained. A prompt with "
    "demonstrations trains nothing: its text is stored and, to avoid processing it again, its keys and values (the "
    "cache). In brackets: the multiple of the backbone alone. Houlsby et al. (2019) report 1.3 times the parameters "
    "for nine tasks, compared with nine times for fine-tuning."
)


def replaces_backbone(record: Record) -> bool | None:
    """Whether a method's file is a whole model that needs no separate backbone; None if unknown."""
    if record.parameters.trainable is None or record.parameters.backbone is None:
        return None
    added = (record.parameters.head or 0) + (record.parameters.inserted or 0)
    return record.parameters.trainable - added >= record.parameters.backbone > 0


def total_bytes(record: Record, tasks: int, cache: bool = False) -> int | None:
    """Bytes of everything stored for a number of tasks like this one; `cache`: with the prefix's keys and values."""
    task_size, whole = task_bytes(record, cache), replaces_backbone(record)
    once = 0 if whole else record.storage.backbone_bytes
    return None if task_size is None or once is None or whole is None else once + tasks * task_size


def total_params(record: Record, tasks: int) -> int | None:
    """Parameters stored for a number of tasks: those trained per task, and the backbone's if it is not replaced."""
    if record.parameters.trainable is None or record.parameters.backbone is None:
        return None
    return (0 if replaces_backbone(record) else record.parameters.backbone) + tasks * record.parameters.trainable


def task_bytes(record: Record, cache: bool = False) -> int | None:
    """Bytes stored for one task in addition to the backbone."""
    if not cache:
        return record.task_bytes
    kept = (record.task_bytes, record.prompt.kv_cache_bytes)
    return None if None in kept else sum(size for size in kept if size is not None)


def cache_options(entry: Entry) -> list[bool]:
    """Whether a method's tasks can be stored without, or also with, the cache of its prefix."""
    return [False, True] if any(record.prompt.kv_cache_bytes is not None for record in entry.all) else [False]


def ledger(panel: Panel, index: int) -> Ledger | None:
    """The ledger of a panel; None if the size of the backbone's files is not recorded."""
    if not finite_values(panel.records, lambda record: record.storage.backbone_bytes):
        return None
    tables = (_bytes(panel, index), _parameters(panel, index))
    return Ledger("storage", "Storage of N tasks", _short(panel), (TEXT,), tables)


def _bytes(panel: Panel, index: int) -> Table:
    columns = (
        Column("method", numeric=False),
        Column("one task", "without backbone"),
        Column("stored as", numeric=False),
        *(Column(units.plural(tasks, "task"), "total bytes") for tasks in TASKS),
    )
    rows = [
        (
            Cell(entry.label + (" with cache" if cache else "")),
            _cell(entry, lambda record, c=cache: task_bytes(record, c), None, "B", anchor(index, e)),  # type: ignore[misc]
            Cell(_stored(entry, cache)),
            *(
                _cell(
                    entry,
                    lambda record, n=tasks, c=cache: total_bytes(record, n, c),  # type: ignore[misc]
                    lambda record: record.storage.backbone_bytes,
                    "B",
                    anchor(index, e),
                )
                for tasks in TASKS
            ),
        )
        for e, entry in enumerate(panel.entries)
        for cache in cache_options(entry)
    ]
    sizes = sorted(set(finite_values(panel.records, lambda record: record.storage.backbone_bytes)))
    whole = f"The backbone's files have {units.si(sizes[0], 'B')}. " if len(sizes) == 1 else ""
    note = (
        f"{whole}Medians over tasks and runs. If a method's file replaces the backbone, one task is that file. "
        "Cache: the keys and values of the demonstrations."
    )
    return Table("Bytes on disk for N tasks", columns, tuple(rows), f"{note} 1 kB is 1000 bytes.")


def _parameters(panel: Panel, index: int) -> Table:
    columns = (
        Column("method", numeric=False),
        Column("trained", "per task"),
        *(Column(units.plural(tasks, "task"), "total parameters") for tasks in TASKS),
    )
    rows = tuple(
        (
            Cell(entry.label),
            _cell(entry, lambda record: record.parameters.trainable, None, "", anchor(index, e)),
            *(
                _cell(
                    entry,
                    lambda record, n=tasks: total_params(record, n),  # type: ignore[misc]
                    lambda record: record.parameters.backbone,
                    "",
                    anchor(index, e),
                )
                for tasks in TASKS
            ),
        )
        for e, entry in enumerate(panel.entries)
    )
    note = "Medians over tasks and runs, heads included. Demonstrations have no parameters."
    return Table("Parameters for N tasks", columns, rows, note)


def _cell(
    entry: Entry,
    read: Callable[[Record], float | None],
    base: Callable[[Record], float | None] | None,
    unit: str,
    link: str,
) -> Cell:
    """A median, followed in brackets by the median of its multiples of `base`."""
    value = entry.median(read)
    pairs = [] if base is None else complete_rows(entry.all, read, base)
    multiple = median([part / whole for part, whole in pairs if whole])
    minor = "" if multiple is None else f"({units.times(multiple)})"
    return Cell(units.si(value, unit), minor, units.exact(value, unit), link_if_present(value, link))


def _stored(entry: Entry, cache: bool) -> str:
    """What is stored: the dtypes of the file, the text of demonstrations, the cache."""
    dtypes = [record.storage.checkpoint_dtypes for record in entry.all if record.storage.checkpoint_dtypes is not None]
    parts = sorted({name for names in dtypes for name in names})
    parts += ["text"] if any(record.storage.demonstration_bytes for record in entry.all) else []
    parts += ["cache"] if cache else []
    return ", ".join(parts) if parts else "nothing" if dtypes else units.MISSING


def _short(panel: Panel) -> str:
    def nine(record: Record) -> int | None:
        return total_bytes(record, 9)

    stored = on_shared_cells([entry for entry in panel.worthwhile if entry.median(nine) is not None], nine)
    known = [(size, entry.label) for entry in stored if (size := entry.median(nine)) is not None]
    if len(known) < 2:
        return ""
    (least, small), (most, large) = min(known), max(known)
    return f"nine tasks: {large} {units.si(most, 'B')}, {small} {units.si(least, 'B')}"
