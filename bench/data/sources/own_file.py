"""Tasks `file:<path>`: a file of rows, a folder or two files, whose columns are guessed and whose rows are split.

See `file_name` for what a name may say, `guess` for what is guessed, `hash_split` for the split. A row keeps its inputs
and its label alone, as texts: other columns and the types of values do not change the task, so that a DataFrame gives
the task of its file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.bench.data.hashing import normalised
from tunefront.bench.data.metrics import default_metrics, metric_mistakes
from tunefront.bench.data.reading import count, listed
from tunefront.bench.data.sources import folder
from tunefront.bench.data.sources.advice import FILE as FILE_ADVICE
from tunefront.bench.data.sources.declared import declared_names, without_unlabelled
from tunefront.bench.data.sources.file_name import DEFAULT_SHARE, FILE, FILES, FRAME, FileName, share_of
from tunefront.bench.data.sources.hash_split import split_rows
from tunefront.bench.data.sources.labels import missing
from tunefront.bench.data.sources.meta import Meta, read_meta
from tunefront.bench.data.sources.own_columns import (
    OwnColumns,
    choose_columns,
    class_names,
    kind_of_task,
    usable_rows,
    with_named_answers,
)
from tunefront.bench.data.sources.own_prompts import find_prompts
from tunefront.bench.data.sources.own_tables import by_column, own_tables, place_of, reading_of
from tunefront.bench.data.sources.rows import empty_notes, read_rows
from tunefront.bench.data.sources.schema import infer_schema
from tunefront.bench.data.sources.splits import splits_in
from tunefront.bench.data.sources.tables import Problems, Reading
from tunefront.bench.data.task import Row, Task
from tunefront.bench.errors import UserError

if TYPE_CHECKING:
    from tunefront.bench.data.sources.schema import Schema
    from tunefront.bench.data.sources.tables import Table
    from tunefront.bench.data.task import Value

_NEAR = 0.02
"""How far the share of test rows may be from the wanted one without a note."""


def load(spelled: str, title: str | None = None) -> Task:
    """The task of this name, `file:<path>` or `frame:<hash>`, with options; named `title` or as it is spelled.

    Errors: UserErrors with what is wrong with the file or the options, one paragraph each.
    """
    return read(spelled, title).task


def read(spelled: str, title: str | None = None) -> Reading:
    """The task as `load` gives it, with the tables of its files, in which `train` has all rows of a file that is split
    by hash. Errors: as `load`."""
    with reading_of(spelled):
        return _read(FileName.parse(spelled), title or spelled)


def _read(name: FileName, title: str) -> Reading:
    problems = Problems(advice=FILE_ADVICE)
    path = place_of(name.path if name.source == FILE else f"{name.source}{name.path}")
    described = path.is_dir() and name == FileName(name.path) and folder.is_described(path)
    if described and splits_in(path) != ("train",):
        return folder.read(name.path, title)
    meta = read_meta(path, problems) if path.is_dir() else Meta()
    tables, notes = own_tables(path, name, meta, problems)
    tables, split_note = by_column(tables, name)
    columns = choose_columns(tables["train"], name, meta)
    tables, more = usable_rows(tables, columns)
    tables = with_named_answers(tables, columns)
    schema = _schema(tables, columns, name, meta, problems)
    metrics = meta.metric_specs or default_metrics(schema.kind)
    for mistake in metric_mistakes(metrics, schema.kind, schema.label_names):
        problems.add(f"{path}: {mistake}")
    _check_columns(tables, columns)
    tables, hidden = without_unlabelled(tables, schema, Problems())
    rows = {split: _rows(table, schema, columns, problems) for split, table in tables.items()}
    problems.raise_any()
    share = share_of(name.split)
    if share is not None and "test" in rows:
        raise UserError(
            f"{path}: --split {name.split} holds rows out for test, but there are test rows already "
            f"({tables['test'].file}); leave one of them out."
        )
    given = {split: file for split in FILES if split in rows and (file := getattr(name, split)) is not None}
    from_files = [f"{split} rows from {_file_name(file)}" for split, file in given.items()]
    # A validation file of the call chooses among settings, so that the scored rows are others.
    hashed = share is not None or len(rows) == 1 or ("test" not in rows and name.validation is not None)
    if hashed:
        parts, split_note = _split(path, rows["train"], tables["train"], schema, columns, share or DEFAULT_SHARE)
        rows = {**rows, **parts}
    guessed: dict[str, str | tuple[str, ...] | None] = {
        option: value
        for option, value in (("text", columns.texts), ("label", columns.label))
        if option in columns.guessed
    }
    if split_note and name.split is None:
        guessed["split"] = str(DEFAULT_SHARE) if hashed else None
    says = [*notes, *hidden, *more, *columns.notes, *schema.notes, _kind_note(schema, columns), *from_files, split_note]
    if guessed:
        says.append(f"guessed: say otherwise with {listed([f'--{option}' for option in guessed])}")
    templates = find_prompts(path, name)
    if templates is not None:
        says.append(f"prompts from {templates.name}")
    task = Task(
        name=title,
        kind=schema.kind,
        splits=rows,
        input_fields=schema.input_fields,
        label_names=schema.label_names,
        metrics=metrics,
        templates=templates,
        folder=path.absolute() if path.is_dir() else None,
        left_out=columns.left_out,
        guessed=guessed,
        notes=(*filter(None, says), *empty_notes(rows, schema)),
        warnings=tuple(f"{title}: {warning}" for warning in schema.warnings),
    )
    return Reading(task, tables, columns.label, columns.id, columns.group)


def _check_columns(tables: Mapping[str, Table], columns: OwnColumns) -> None:
    """Errors: UserError if a split has neither the label nor the texts: it is another file, and not one without
    labels."""
    for split, table in tables.items():
        if not {columns.label, *columns.texts} & {*table.columns}:
            needed = listed([repr(name) for name in (*columns.texts, columns.label)])
            raise UserError(
                f"{table.file} has other columns ({', '.join(table.columns[:20])}) than {tables['train'].file.name}, "
                f"and none of {needed}; give {split} rows with these columns."
            )


def _schema(tables: Mapping[str, Table], columns: OwnColumns, name: FileName, meta: Meta, problems: Problems) -> Schema:
    """How to read the records. Errors: UserErrors if the labels or inputs make no task."""
    chosen = {
        "label_field": columns.label,
        "task_type": kind_of_task(tables, columns, name, meta),
        "input_fields": list(columns.texts),
        "label_names": list(columns.answers) or class_names(tables, columns, name, meta),
    }
    declared = declared_names(tables, meta.model_copy(update=chosen), problems)
    schema = infer_schema(tables["train"], declared, problems, tables)
    problems.raise_any()
    assert schema is not None  # else that is a problem, raised above
    _check_labels(tables["train"], schema)
    return schema


def _check_labels(train: Table, schema: Schema) -> None:
    """Errors: UserError if every row has a label of its own."""
    if schema.kind == "classification" and len(schema.label_names) == len(train.records) > 2:
        raise UserError(
            f"{train.file}: each of its {count(len(train.records), 'row')} has another value in the label column "
            f"{schema.label_field!r}, so there is nothing to learn; name another column with --label, or add --kind "
            f"regression if these are values. Columns: {', '.join(train.columns[:20])}."
        )


def _rows(table: Table, schema: Schema, columns: OwnColumns, problems: Problems) -> list[Row]:
    """The rows with their inputs alone, as texts; ids from the column of ids, if there is one."""
    kept = (*schema.input_fields, *schema.choices)
    rows = read_rows(table, schema, problems)
    ids = [row.id for row in rows]
    if columns.id is not None and columns.id in table.columns and len(rows) == len(table.records):
        ids = [_text(record.get(columns.id)) or "" for record in table.records]
        twice = next((value for value, times in Counter(ids).items() if times > 1), None)
        if twice is not None:
            problems.add(f"{table.file}: --id {columns.id}: {twice!r} occurs twice; name a column with an id per row.")
    return [
        Row(identity, {name: _value(row.fields.get(name)) for name in kept}, _label(row))
        for row, identity in zip(rows, ids, strict=True)
    ]


def _label(row: Row) -> int | float:
    """The label; of a value 15 digits, which every parser of numbers agrees on."""
    return float(f"{row.label:.15g}") if isinstance(row.label, float) else row.label


def _value(value: Value) -> Value:
    return _text(value) if value is None or isinstance(value, (str, int, float)) else value


def _text(value: object) -> str | None:
    """A value as the text that a CSV file would have; None if it is missing."""
    if missing(value):
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _split(
    path: Path, rows: list[Row], table: Table, schema: Schema, columns: OwnColumns, share: float
) -> tuple[dict[str, list[Row]], str]:
    """The rows split by hash, and a note. Errors: UserError if no row can be taken from train."""
    texts = ["\n".join(normalised(str(row.fields.get(field) or "")) for field in schema.input_fields) for row in rows]
    groups = [None if columns.group is None else _text(record.get(columns.group)) for record in table.records]
    train, test = split_rows(rows, texts, groups, share, schema.kind)
    if not test:
        together = f", and the groups of {columns.group!r} are large" if columns.group else ""
        raise UserError(
            f"{path}: no row can be held out for test: {count(len(rows), 'row')}, {len(set(texts)):,} of them "
            f"different{together}. Add rows, or give the test rows as a file of their own: --test FILE."
        )
    actual = len(test) / len(rows)
    wanted = f" ({100 * share:g} % cannot be reached)" if abs(actual - share) > max(_NEAR, 1 / len(rows)) else ""
    return {"train": train, "test": test}, f"{100 * actual:.3g} % of the rows{wanted}, by hash, are test"


def _file_name(file: str) -> str:
    return "a DataFrame" if file.startswith(FRAME) else Path(file).name


def _kind_note(schema: Schema, columns: OwnColumns) -> str:
    if schema.kind == "multiple choice":
        return f"multiple choice, answers in {listed(list(columns.answers)) if columns.answers else schema.answers}"
    what = "of pairs of texts" if len(schema.input_fields) == 2 else ""
    if schema.kind == "regression":
        return "" if schema.notes else f"regression {what}".strip()
    return f"classification {what}".strip()
