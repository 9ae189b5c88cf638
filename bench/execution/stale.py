"""What changed since a record was made: the method's source, the backbone's weights, the task's rows, versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

from rich import box
from rich.table import Table
from rich.text import Text

from tunefront.bench.cells import Cell
from tunefront.bench.errors import Mistake
from tunefront.bench.records import Record
from tunefront.bench.settings import RunConfig, Scalar
from tunefront.methods.base import Method, Recipe
from tunefront.methods.registry import UnknownMethod, load_file
from tunefront.methods.spelling import parse

T = TypeVar("T", Recipe, RunConfig)
FINGERPRINTS = {
    "method": "the method's source",
    "backbone": "the backbone's files",
    "task": "the task's rows",
    "sites": "the architecture's sites",
    "harness": "the code of the harness",
}


@dataclass(frozen=True)
class Staleness:
    """A record, and what about its cell is not as it was; nothing where it would be made again under the same key."""

    record: Record
    changes: tuple[str, ...]


def staleness(records: Sequence[Record]) -> list[Staleness]:
    """For each record what differs between what it was made from and what its cell would be made from now."""
    return [Staleness(record, _changes(record)) for record in records]


def cell_of(record: Record) -> Cell:
    """The cell that a record came from; Mistake where it cannot be run any more."""
    return Cell(
        _method(record),
        record.backbone,
        record.task,
        _known_fields(Recipe, record.recipe, "recipe"),
        shots=record.shots,
        draw_seed=record.draw_seed,
        seed=record.seed,
        template=record.template,
        config=_known_fields(RunConfig, record.settings, "settings"),
        method_file=record.method_file,
    )


def _changes(record: Record) -> tuple[str, ...]:
    from tunefront.bench.execution.grid import ingredients, key

    try:
        cell = cell_of(record)
        if key(cell) == record.key:
            return ()
        now = ingredients(cell)
    except Mistake as error:
        return (str(error),)
    found = [
        change
        for name, value in now.items()
        if name in Record.model_fields
        for change in _differences(name, getattr(record, name), value)
    ]
    return tuple(found) or ("tunefront itself: it makes keys in another way now",)


def _differences(name: str, then: object, now: object) -> list[str]:
    if isinstance(now, Mapping) and isinstance(then, Mapping):
        names = dict.fromkeys([*then, *now])
        return [
            _told(name, inner, then.get(inner), now.get(inner)) for inner in names if then.get(inner) != now.get(inner)
        ]
    return [] if then == now else [f"{name}: {then} then, {now} now"]


def _told(group: str, name: str, then: object, now: object) -> str:
    if group == "fingerprints":
        file = name.removeprefix("file:")
        return f"{FINGERPRINTS.get(name, name) if file == name else f'the file of {file}'} changed"
    if group == "versions":
        return f"{name} {then or 'absent'} then, {now or 'absent'} now"
    return f"{name}={then} then, {now} now"


def _method(record: Record) -> Method:
    try:
        if record.method_file is not None:
            if not Path(record.method_file).is_file():
                raise Mistake(f"the method's file {record.method_file} is not there any more")
            load_file(record.method_file)
        return parse(record.method)
    except (UnknownMethod, ValueError) as error:
        raise Mistake(str(error)) from error


def _known_fields(kind: type[T], values: Mapping[str, Scalar], what: str) -> T:
    """A recipe or settings as recorded; Mistake where a field of then is unknown or not valid now."""
    gone = sorted(set(values) - {field.name for field in fields(kind)})
    if gone:
        raise Mistake(f"the {what} had {', '.join(gone)}, which is not known any more")
    try:
        return kind(**values)  # type: ignore[arg-type]
    except ValueError as error:
        raise Mistake(f"the {what} is not valid any more: {error}") from error


def table(found: Sequence[Staleness]) -> Table:
    """The stale records with what changed."""
    drawn = Table(box=box.SIMPLE, pad_edge=False)
    for column in ("record", "method", "backbone", "task", "seed", "what changed"):
        drawn.add_column(column, overflow="fold")
    for entry in found:
        record = entry.record
        cells = (
            record.key[:8],
            record.label,
            record.backbone,
            record.task,
            str(record.seed),
            "\n".join(entry.changes),
        )
        drawn.add_row(*map(Text, cells))
    return drawn
