"""Which records may stand side by side: those that differ in a field that matters are never drawn together."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from bench.errors import Mistake, Mistakes
from reports.filters import fields_of
from reports.units import number, plural

if TYPE_CHECKING:
    from bench.records import Record

K = TypeVar("K", bound=Hashable)

EVERYWHERE = ("schema_version", "device", "dtype")
"""Must be the same in all records that are drawn together."""
INCIDENTAL = frozenset({"device", "threads"})
"""Settings that may differ: the device kind is compared by the record's field, threads change seconds, not scores."""
PER_TASK = ("task_fingerprint", "headline", "eval_split", "task_kind")
PER_BACKBONE = ("backbone_fingerprint", "pooling")
TIMING = ("threads", "concurrent_cells", "cpu_model", "device_name")
"""Seconds are compared only where all of these are the same."""


def check(records: Sequence[Record]) -> None:
    """Mistakes that name every field in which ok records differ and may not, with the filter that would part them."""
    settings = sorted({name for record in records for name in record.settings} - INCIDENTAL)
    found = [_differs(records, field, "") for field in (*EVERYWHERE, *settings)]
    for task, group in grouped(records, lambda record: record.task).items():
        found += [_differs(group, field, f" of task {task}") for field in PER_TASK]
    for backbone, group in grouped(records, lambda record: record.backbone).items():
        found += [_differs(group, field, f" of backbone {backbone}") for field in PER_BACKBONE]
    for method, group in grouped(records, lambda record: record.method).items():
        found.append(_differs(group, "method_fingerprint", f" of method {method}"))
    mistakes = [text for text in found if text]
    if not mistakes:
        mistakes = list(filter(None, [_doubled(records)]))
    if mistakes:
        raise Mistakes(mistakes)


def uneven_timing(records: Iterable[Record]) -> str | None:
    """The first field in which the measured records differ, so that their seconds do not compare, with its values."""
    timed = [record for record in records if record.train_seconds is not None or record.eval_seconds is not None]
    for field in TIMING:
        values = sorted({number(getattr(record, field)) for record in timed})
        if len(values) > 1:
            return f"{field} differs ({', '.join(values)})"
    return None


def cell_of(record: Record) -> tuple[object, ...]:
    """What makes a record a cell of its own among comparable ones."""
    recipe = tuple(sorted((name, number(value)) for name, value in record.recipe.items()))
    where = (record.backbone, record.task, record.shots, record.draw_source, record.template)
    return (record.method, *where, record.draw_seed, record.seed, recipe)


def _differs(records: Sequence[Record], field: str, of: str) -> str | None:
    values: dict[str, int] = {}
    for record in records:
        found = fields_of(record)
        if field in found or field not in PER_TASK + PER_BACKBONE + ("method_fingerprint",):
            text = number(found.get(field))
            values[text] = values.get(text, 0) + 1
    return _message(field, values, of) if len(values) > 1 else None


def _message(field: str, values: dict[str, int], of: str = "") -> str:
    short = {value: value[:12] if field.endswith("_fingerprint") else value for value in values}
    most = max(values, key=lambda value: (values[value], value))
    return (
        f"cannot plot these records together: {field}{of} differs ({', '.join(sorted(short.values()))}). "
        f"Filter with --where {field}={short[most]}."
    )


def _doubled(records: Sequence[Record]) -> str | None:
    """The same cell recorded twice (after an upgrade, say) would count as one more seed."""
    doubled = [group for group in grouped(records, cell_of).values() if len(group) > 1]
    if not doubled:
        return None
    tables = [fields_of(record) for record in doubled[0]]
    names = [*doubled[0][0].versions, *(f"{name}_fingerprint" for name in doubled[0][0].fingerprints), "threads", "key"]
    for name in names:
        values = {number(table.get(name)): 1 for table in tables}
        if len(values) > 1:
            return f"{plural(len(doubled), 'cell is', 'cells are')} recorded more than once; {_message(name, values)}"
    raise Mistake(f"{doubled[0][0].key} is given more than once; give each record once.")


def grouped(records: Iterable[Record], key: Callable[[Record], K]) -> dict[K, list[Record]]:
    """Records by what the key says of them, in the order of first appearance."""
    groups: dict[K, list[Record]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return groups
