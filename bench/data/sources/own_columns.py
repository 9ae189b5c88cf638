"""What the columns of a file are, as the call and the folder's meta.json say, else guessed; and the rows that count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tunefront.bench.data.reading import count, listed
from tunefront.bench.data.sources import guess
from tunefront.bench.data.sources.answer_columns import answers_named, find_answers, strays
from tunefront.bench.data.sources.labels import NOTHING, kind_of, missing, names_of, number, without_nothing
from tunefront.bench.errors import UserError

if TYPE_CHECKING:
    from tunefront.bench.data.sources.file_name import FileName
    from tunefront.bench.data.sources.meta import Meta
    from tunefront.bench.data.sources.tables import Table
    from tunefront.bench.data.task import Kind

_LOOKED_AT = 20_000
"""Most rows in which labels are compared with answers that they do not all name."""
_MANY_VALUES = 20
"""Number of different whole numbers above which they may be values rather than classes."""


@dataclass(frozen=True)
class OwnColumns:
    """What the columns of a task are, what was guessed (options of the command), and notes about it."""

    label: str
    texts: tuple[str, ...]
    answers: tuple[str, ...]
    id: str | None
    group: str | None
    left_out: Mapping[str, str]
    guessed: tuple[str, ...]
    notes: tuple[str, ...]


def choose_columns(train: Table, name: FileName, meta: Meta) -> OwnColumns:
    """What the columns are: as the name and the folder's meta.json say, else guessed."""
    columns = guess.columns_of(train)
    if len(columns) < 2:
        marks = "If the columns are separated by another mark than commas, semicolons, tabs, bars or @, replace it."
        objects = 'Write the rows as a list of objects: [{"text": "...", "label": "..."}, ...].'
        raise UserError(
            f"{train.file} has one column, {next(iter(columns), '')[:80]!r}; a task needs a text and a label in every "
            f"row. {objects if '.json' in train.file.name else marks}"
        )
    group = guess.named(train, name.group, "group") if name.group else None
    identity = guess.named(train, name.id, "id") if name.id else None
    texts = guess.named_texts(train, name.text) or tuple(meta.input_fields or ())
    guessed, notes = [], []
    taken = [column for column in (group, identity, *texts) if column]
    if name.label is not None:
        label = guess.named(train, name.label, "label")
    elif "label_field" in meta.model_fields_set and meta.label_field in columns:
        label = meta.label_field
    else:
        label, how = guess.guess_label(train, columns, taken)
        guessed.append("label")
        notes.append(f"label is {label!r}, {how}")
    if label in texts:
        raise UserError(
            f"{train.file}: {label!r} is the label, so it cannot be read as text; name another with --text."
        )
    for option, column in (("group", group), ("id", identity)):
        if column == label:
            raise UserError(f"{train.file}: {label!r} is the label and --{option}; name two columns.")
    identity = identity or guess.guess_id(columns, [label, *texts])
    answers = _answers(train, label, name.kind or meta.task_type, meta)
    stray = "" if answers or name.kind not in (None, "multiple choice") else _stray_labels(train, label)
    if stray and name.kind is not None:
        raise UserError(f"{train.file}: {stray}; correct these rows, or remove them.")
    if stray:
        notes.append(stray)
    taken = [column for column in (label, group, identity, *answers) if column]
    if not texts:
        lists = {column for column in columns if columns[column].why_no_text == "lists"}
        texts = guess.guess_texts(train, {c: f for c, f in columns.items() if c not in lists}, taken)
        guessed.append("text")
    left_out = {
        column: "ids" if column == identity else "keeps rows together" if column == group else _why(facts, name, meta)
        for column, facts in columns.items()
        if column not in (label, *texts, *answers)
    }
    if group is not None:
        notes.append(f"rows with the same {group!r} are in the same split")
    return OwnColumns(label, texts, answers, identity, group, left_out, tuple(guessed), tuple(notes))


def _why(column: guess.Column, name: FileName, meta: Meta) -> str:
    given = "not in --text" if name.text else "not in input_fields" if meta.input_fields else None
    return given or column.why_no_text or "not read"


def _answers(train: Table, label: str, kind: str | None, meta: Meta) -> tuple[str, ...]:
    """The columns of answers, if the labels name them; none for another kind of task."""
    if kind not in (None, "multiple choice"):
        return ()
    if kind == "multiple choice" and meta.label_names:
        return tuple(meta.label_names)
    names = find_answers(train.columns, label)
    rows = [row for row in train.records if not missing(row.get(label))]
    return names if names and answers_named([row[label] for row in rows], rows, names) else ()


def _stray_labels(train: Table, label: str) -> str:
    """Why columns that are named like answers are not read as answers, empty if that is not for a few labels."""
    names = find_answers(train.columns, label)
    rows = [row for row in train.records[:_LOOKED_AT] if not missing(row.get(label))]
    found = strays([row[label] for row in rows], rows, names) if names else []
    if not found:
        return ""
    shown = listed([*map(repr, found[:3]), *([f"{len(found) - 3:,} more"] if len(found) > 3 else [])])
    verb = "names" if len(found) == 1 else "name"
    return f"{listed(list(names))} are not read as answers, since the label {shown} {verb} none of them"


def with_named_answers(tables: dict[str, Table], columns: OwnColumns) -> dict[str, Table]:
    """The tables with each label as the name of its column of answers."""
    if not columns.answers:
        return tables
    named = {}
    for split, table in tables.items():
        labels = [row.get(columns.label) for row in table.records]
        found = [] if any(map(missing, labels)) else answers_named(labels, table.records, columns.answers)
        records = [{**row, columns.label: name} for row, name in zip(table.records, found, strict=False)]
        named[split] = replace(table, records=records) if found else table
    return named


def usable_rows(tables: dict[str, Table], columns: OwnColumns) -> tuple[dict[str, Table], list[str]]:
    """The tables without rows that lack a label or all texts, and a note for each; a split without any label stays."""
    kept, notes = {}, []
    labels = [row.get(columns.label) for table in tables.values() for row in table.records]
    numeric = len(without_nothing(labels)) < sum(not missing(label) for label in labels)
    for split, table in tables.items():
        unlabelled = [_is_missing(row.get(columns.label), numeric) for row in table.records]
        empty = [all(missing(row.get(name)) for name in columns.texts) for row in table.records]
        if split != "train" and all(unlabelled):
            unlabelled = [False] * len(unlabelled)
        if not {*columns.texts} & {*table.columns}:
            empty = [False] * len(empty)  # reported as missing columns
        places = [place for place, flags in enumerate(zip(unlabelled, empty, strict=True)) if not any(flags)]
        for number_of, what in ((sum(unlabelled), "without a label"), (sum(empty), "without text")):
            if number_of:
                notes.append(f"{count(number_of, f'{split} row')} {what} left out")
        if not places:
            what = f"a label in {columns.label!r}" if all(unlabelled) else f"text in {listed([*columns.texts])}"
            raise UserError(f"{table.file}: no row has {what}; name another column with --label or --text.")
        kept[split] = table if len(places) == len(table.records) else part_of(table, places, "")
    return kept, notes


def _is_missing(label: object, numeric: bool) -> bool:
    return missing(label) or (numeric and isinstance(label, str) and label.strip().lower() in NOTHING)


def _all_labels(tables: Mapping[str, Table], columns: OwnColumns) -> list[object]:
    return without_nothing(row.get(columns.label) for table in tables.values() for row in table.records)


def kind_of_task(tables: Mapping[str, Table], columns: OwnColumns, name: FileName, meta: Meta) -> Kind | None:
    """The kind of the task, None to infer it from the labels: regression also for whole numbers that are no classes."""
    if columns.answers:
        return "multiple choice"
    if name.kind is not None:
        return name.kind  # type: ignore[return-value]  # checked by FileName
    if meta.task_type is not None or meta.label_names or _are_named(tables, columns):
        return meta.task_type
    labels = _all_labels(tables, columns)
    if any(number(label) is None for label in labels) or kind_of(labels) == "regression":
        return None
    counts = Counter(int(number(label) or 0) for label in labels)
    in_a_row = min(counts, default=0) in (0, 1) and max(counts, default=0) - min(counts, default=0) + 1 == len(counts)
    if len(counts) <= _MANY_VALUES or (in_a_row and min(counts.values()) > 1):
        return None
    return "regression"


def class_names(tables: Mapping[str, Table], columns: OwnColumns, name: FileName, meta: Meta) -> list[str] | None:
    """The classes that are declared: those of meta.json, or all labels where the call says that they are classes."""
    if meta.label_names or name.kind != "classification":
        return meta.label_names
    return None if _are_named(tables, columns) else names_of(_all_labels(tables, columns))


def _are_named(tables: Mapping[str, Table], columns: OwnColumns) -> bool:
    """Whether a file's metadata names the classes."""
    return any(columns.label in table.class_names for table in tables.values())


def part_of(table: Table, places: Sequence[int], without: str) -> Table:
    """The rows at these places, without a column."""
    return replace(
        table,
        columns=tuple(name for name in table.columns if name != without),
        records=[table.records[place] for place in places],
        places=[table.places[place] for place in places],
    )
