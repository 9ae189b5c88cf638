"""What changed since a record was made: the method's source, the backbone's weights, the task's rows, versions.

A record is data: nothing that it names is imported, run or downloaded. A user's own method is known by the sha256 of
its source files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TypeVar, cast

from rich import box
from rich.table import Table
from rich.text import Text

from tunefront.bench.cells import Cell
from tunefront.bench.errors import UserError, without_long_words
from tunefront.bench.execution.places import Missing, Places
from tunefront.bench.records import Record
from tunefront.bench.settings import RunConfig, Scalar
from tunefront.methods.base import Method, Recipe
from tunefront.methods.registry import UnknownMethod, methods, source_fingerprint
from tunefront.methods.spelling import parse

T = TypeVar("T", Recipe, RunConfig)
FINGERPRINTS = {
    "method": "the method's source",
    "backbone": "the backbone's files",
    "task": "the task's rows",
    "sites": "the architecture's sites",
    "harness": "the code of the harness",
}
NAMES = ("backbone", "task")
_METHOD = re.compile(r"([a-z][a-z0-9_]*)(?=[:(]|$)")


@dataclass(frozen=True)
class Staleness:
    """A record, and what about its cell is not as it was; nothing where it would be made again under the same key.

    `missing` is what it names and is not found from here, so that it could not be compared.
    """

    record: Record
    changes: tuple[str, ...]
    missing: tuple[str, ...] = ()


def staleness(records: Sequence[Record], results: Path | None = None) -> list[Staleness]:
    """For each record what differs between what it was made from and what its cell would be made from now. What it
    names by a relative path is looked for from the working folder, then from the folders above `results`."""
    places = Places(results)
    return [_compared(record, places) for record in records]


def cell_of(record: Record) -> Cell:
    """The cell that a record came from; UserError if it cannot be run any more, or its method is a user's own that is
    not imported."""
    return _cell(record, _known(record))


def _compared(record: Record, places: Places) -> Staleness:
    missing: list[str] = []
    try:
        ours = _ours(record)
        method = _known(record) if ours else None
        changes = [] if ours else list(_source_changes(record, places, missing))
        changes += _changes(record, _found(_cell(record, method), record, places, missing), bool(missing))
    except UserError as error:
        return Staleness(record, (str(error),), tuple(missing))
    return Staleness(record, tuple(dict.fromkeys(changes)), tuple(missing))


def _ours(record: Record) -> bool:
    """Whether the method is to be known by its class: one that is shipped, installed or imported by the call itself. A
    user's own file is not, since a record must not make us run it."""
    name = _METHOD.match(record.method)
    if name is None:
        raise UserError(f"{record.method[:80]!r} spells no method")
    try:
        return name[1] in methods() or not record.method_sources
    except ValueError as error:  # of classes that this process has imported
        raise UserError(str(error)) from error


def _known(record: Record) -> Method:
    """The method of a class that is known; UserError where there is none, or its fields are not what they were."""
    try:
        return parse(record.method, files=False)
    except (UnknownMethod, ValueError) as error:
        raise UserError(str(error)) from error


def _cell(record: Record, method: Method | None) -> Cell:
    """The cell of a record; its method is looked at by nobody where it is None."""
    return Cell(
        cast(Method, method),
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


def _found(cell: Cell, record: Record, places: Places, missing: list[str]) -> Cell:
    """The cell with the names by which things are found from here; what is not found is added to `missing`."""
    names: dict[str, str] = {}
    for name, look in zip(NAMES, (places.backbone, places.task), strict=True):
        try:
            names[name] = look(getattr(record, name), record.fingerprints.get(name))
        except Missing as error:
            missing.append(str(error))
    cell = replace(cell, **names)  # type: ignore[arg-type]
    if cell.method is None:
        return cell
    files: dict[str, str] = {}
    for field in cell.method.files:
        if (path := getattr(cell.method, field)) is not None:
            try:
                files[field] = places.file(path, record.fingerprints.get(f"file:{field}"))
            except Missing as error:
                missing.append(str(error))
    return replace(cell, method=replace(cell.method, **files)) if files else cell


def _source_changes(record: Record, places: Places, missing: list[str]) -> Iterator[str]:
    """What changed of a user's own method: its source files, and those that it reads."""
    files = dict(record.method_sources or {})
    told = {name: f"{FINGERPRINTS['method']} changed ({name})" for name in files}
    for name, digest in record.fingerprints.items():
        field = name.removeprefix("file:")
        if field != name and (path := _value(record.method, field)) is not None:
            files[path], told[path] = digest, _told("fingerprints", name, digest, None)
    for name, digest in files.items():
        try:
            if not places.holds(name, digest):
                yield told[name]
        except Missing as error:
            missing.append(str(error))


def _value(spelled: str, field: str) -> str | None:
    """What a spelled method gives a field, as a text.

    >>> _value('mine:size=2,start="a, b.safetensors"', "start"), _value("mine:size=2", "start")
    ('a, b.safetensors', None)
    """
    found = re.search(rf'[:,]{re.escape(field)}=("(?:[^"\\]|\\.)*"|[^,]*)', spelled)
    return None if found is None else found[1].strip('"')


def _changes(record: Record, cell: Cell, partly: bool) -> list[str]:
    """What changed of a cell, but of the source of a method that is not imported; `partly`, where something that it
    names is not found, only what can be compared without."""
    from tunefront.bench.execution.identity import Identity, around, around_unfound

    whole = Identity.of(cell) if cell.method is not None and not partly else None
    if whole is not None and whole.key == record.key:
        return []
    now = whole.ingredients if whole is not None else around_unfound(cell) if partly else around(cell)
    if cell.method is not None and partly:
        now["fingerprints"]["method"] = source_fingerprint(cell.method)
    found = [
        change
        for name, value in now.items()
        if name in Record.model_fields and name not in NAMES  # a name is no change: what it stands for is compared
        for change in _differences(name, getattr(record, name), value, whole is not None)
    ]
    return found or (["tunefront itself: it makes keys in another way now"] if whole is not None else [])


def _differences(name: str, then: object, now: object, whole: bool = True) -> list[str]:
    """What differs in an ingredient; `whole`, where what `now` lacks is a difference too."""
    if isinstance(now, Mapping) and isinstance(then, Mapping):
        names = dict.fromkeys([*(then if whole or name != "fingerprints" else ()), *now])
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


def _known_fields(kind: type[T], values: Mapping[str, Scalar], what: str) -> T:
    """A recipe or settings as recorded; UserError where a field of then is unknown or not valid now."""
    gone = sorted(set(values) - {field.name for field in fields(kind)})
    if gone:
        raise UserError(f"the {what} had {', '.join(gone)}, which is not known any more")
    try:
        return kind(**values)  # type: ignore[arg-type]
    except ValueError as error:
        raise UserError(f"the {what} is not valid any more: {error}") from error


def missing(found: Sequence[Staleness]) -> list[str]:
    """What is not found from here, each once, with the number of records that name it."""
    amounts: dict[str, int] = {}
    for entry in found:
        for what in entry.missing:
            amounts[what] = amounts.get(what, 0) + 1
    return [
        f"{without_long_words(what)} ({amount} record{'' if amount == 1 else 's'})" for what, amount in amounts.items()
    ]


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
        drawn.add_row(*(Text(without_long_words(cell)) for cell in cells))
    return drawn
