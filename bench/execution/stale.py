"""Changes since a record was made: the method's source, the backbone's weights, the task's rows, versions.

A record is data: nothing that it names is imported, run or downloaded. A user's own method is identified by the sha256
of its source files.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from rich import box
from rich.table import Table
from rich.text import Text

from tunefront.bench.cells import Cell, Stage
from tunefront.bench.errors import UserError, without_long_words
from tunefront.bench.execution.places import Missing, Places
from tunefront.bench.records import EARLIER, Record, Stream
from tunefront.bench.settings import RunConfig, Scalar
from tunefront.methods.base import Method, Recipe
from tunefront.methods.registry import UnknownMethod, methods, source_fingerprint
from tunefront.methods.spelling import parse

if TYPE_CHECKING:
    from tunefront.bench.execution.identity import Shared

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
    """A record and the changes of its cell; none if a new run would give the same key.

    `missing` lists the names in the record that are not found from here and so were not compared.
    """

    record: Record
    changes: tuple[str, ...]
    missing: tuple[str, ...] = ()


def staleness(records: Sequence[Record], results: Path | None = None) -> list[Staleness]:
    """For each record, the differences between its ingredients and those of its cell now. Relative paths are looked up
    from the working directory, then from the folders above `results`."""
    from tunefront.bench.execution.identity import Shared

    places, shared = Places(results), Shared()
    return [_compare(record, places, shared) for record in records]


def cell_of(record: Record) -> Cell:
    """The cell of a record; UserError if it cannot be run any more, or if its method is a user's own that is not
    imported."""
    return _cell(record, _method(record.method))


def _compare(record: Record, places: Places, shared: Shared) -> Staleness:
    missing: list[str] = []
    try:
        by_class = _is_known_by_class(record)
        method = shared.once(_method, record.method) if by_class else None
        changes = [] if by_class else list(_source_changes(record, places, missing))
        changes += _changes(record, _resolve(_cell(record, method), record, places, missing), bool(missing), shared)
    except UserError as error:
        return Staleness(record, (str(error),), tuple(missing))
    return Staleness(record, tuple(dict.fromkeys(changes)), tuple(missing))


def _is_known_by_class(record: Record) -> bool:
    """Whether to identify the method by its class, which is shipped, installed or imported by the call itself. A user's
    file is not imported for it, because a record must not make us run code."""
    name = _METHOD.match(record.method)
    if name is None:
        raise UserError(f"{record.method[:80]!r} is not the name of a method")
    try:
        return name[1] in methods() or not record.method_sources
    except ValueError as error:  # from classes that this process has imported
        raise UserError(str(error)) from error


def _method(spelled: str) -> Method:
    """The method of a record, from its known class; UserError if the class is unknown or its fields have changed."""
    try:
        return parse(spelled, files=False)
    except (UnknownMethod, ValueError) as error:
        raise UserError(str(error)) from error


def _cell(record: Record, method: Method | None) -> Cell:
    """The cell of a record; its method may be None and is then never used."""
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
        stage=_stage(record.stream),
    )


def _stage(stream: Stream) -> Stage | None:
    """The step of a stream, None for a record of none."""
    if stream.way is None:
        return None
    tasks, templates = stream.earlier or (), stream.earlier_templates or ()
    return Stage(stream.way, tuple(zip(tasks, templates, strict=True)), stream.replay_share)


def _resolve(cell: Cell, record: Record, places: Places, missing: list[str]) -> Cell:
    """The cell with names that are found from here; names that are not found are added to `missing`."""
    names: dict[str, str] = {}
    for name, find in zip(NAMES, (places.backbone, places.task), strict=True):
        try:
            names[name] = find(getattr(record, name), record.fingerprints.get(name))
        except Missing as error:
            missing.append(str(error))
    cell = replace(cell, **names)  # type: ignore[arg-type]
    if cell.stage is not None:
        cell = replace(cell, stage=_resolved_stage(cell.stage, record, places, missing))
    if cell.method is None:
        return cell
    from tunefront.bench.models.checkpoints import files_of

    files: dict[str, str] = {}
    for field, path in files_of(cell.method).items():
        try:
            recorded = record.fingerprints.get(f"file:{field}")
            files[field] = places.file(path, recorded, cell.method.folders.get(field))
        except Missing as error:
            missing.append(str(error))
    return replace(cell, method=replace(cell.method, **files)) if files else cell


def _resolved_stage(stage: Stage, record: Record, places: Places, missing: list[str]) -> Stage:
    """The step with the earlier tasks by names that are found from here."""
    earlier = []
    for number, (task, template) in enumerate(stage.earlier, 1):
        try:
            task = places.task(task, record.fingerprints.get(f"{EARLIER}{number}"))
        except Missing as error:
            missing.append(str(error))
        earlier.append((task, template))
    return replace(stage, earlier=tuple(earlier))


def _source_changes(record: Record, places: Places, missing: list[str]) -> Iterator[str]:
    """Changes of a user's own method: in its source files, and in the files that it reads."""
    files = dict(record.method_sources or {})
    messages = {name: f"{FINGERPRINTS['method']} changed ({name})" for name in files}
    for name, digest in record.fingerprints.items():
        field = name.removeprefix("file:")
        if field != name and (path := _value(record.method, field)) is not None:
            files[path], messages[path] = digest, _describe("fingerprints", name, digest, None)
    for name, digest in files.items():
        try:
            if not places.is_unchanged(name, digest):
                yield messages[name]
        except Missing as error:
            missing.append(str(error))


def _value(spelled: str, field: str) -> str | None:
    """The value of a field in a spelled method, as a text.

    >>> _value('mine:size=2,start="a, b.safetensors"', "start"), _value("mine:size=2", "start")
    ('a, b.safetensors', None)
    """
    match = re.search(rf'[:,]{re.escape(field)}=("(?:[^"\\]|\\.)*"|[^,]*)', spelled)
    return None if match is None else match[1].strip('"')


def _changes(record: Record, cell: Cell, partly: bool, shared: Shared) -> list[str]:
    """Changes of a cell, except in the source of a method that is not imported; `partly` is set if a name is not found,
    and limits the comparison to the other ingredients."""
    from tunefront.bench.execution.identity import Identity, without_method, without_method_and_files

    whole = Identity.of(cell, shared) if cell.method is not None and not partly else None
    if whole is not None and whole.key == record.key:
        return []
    now = whole.ingredients if whole else without_method_and_files(cell) if partly else without_method(cell, shared)
    if cell.method is not None and partly:
        now["fingerprints"]["method"] = source_fingerprint(cell.method)
    changes = [
        change
        for name, value in now.items()
        if name in Record.model_fields and name not in NAMES  # a new name alone is no change: the content is compared
        for change in _differences(name, getattr(record, name), value, whole is not None)
    ]
    return changes or (["tunefront itself: it now computes keys in another way"] if whole is not None else [])


def _differences(name: str, then: object, now: object, whole: bool = True) -> list[str]:
    """Differences in an ingredient; with `whole`, keys that are missing in `now` count too."""
    if isinstance(now, Mapping) and isinstance(then, Mapping):
        names = dict.fromkeys([*(then if whole or name != "fingerprints" else ()), *now])
        return [
            _describe(name, inner, then.get(inner), now.get(inner))
            for inner in names
            if then.get(inner) != now.get(inner)
        ]
    return [] if then == now else [f"{name}: {then} then, {now} now"]


def _describe(group: str, name: str, then: object, now: object) -> str:
    if group == "fingerprints":
        file = name.removeprefix("file:")
        return f"{FINGERPRINTS.get(name, name) if file == name else f'the file of {file}'} changed"
    if group == "versions":
        return f"{name} {then or 'absent'} then, {now or 'absent'} now"
    return f"{name}={then} then, {now} now"


def _known_fields(kind: type[T], values: Mapping[str, Scalar], name: str) -> T:
    """A recipe or settings as recorded; UserError if a recorded field is unknown or invalid now."""
    unknown = sorted(set(values) - {field.name for field in fields(kind)})
    if unknown:
        raise UserError(f"the {name} had {', '.join(unknown)}, which no longer exists")
    try:
        return kind(**values)  # type: ignore[arg-type]
    except ValueError as error:
        raise UserError(f"the {name} is no longer valid: {error}") from error


def count_missing(compared: Sequence[Staleness]) -> list[str]:
    """The names that are not found from here, each with the number of records that have it."""
    counts = Counter(name for entry in compared for name in entry.missing)
    return [f"{without_long_words(name)} ({count} record{'' if count == 1 else 's'})" for name, count in counts.items()]


def changes_table(stale: Sequence[Staleness]) -> Table:
    """A table of the stale records and their changes."""
    table_of_changes = Table(box=box.SIMPLE, pad_edge=False)
    for column in ("record", "method", "backbone", "task", "seed", "what changed"):
        table_of_changes.add_column(column, overflow="fold")
    for entry in stale:
        record = entry.record
        cells = (
            record.key[:8],
            record.label,
            record.backbone,
            record.task,
            str(record.seed),
            "\n".join(entry.changes),
        )
        table_of_changes.add_row(*(Text(without_long_words(cell)) for cell in cells))
    return table_of_changes
