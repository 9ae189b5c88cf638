"""Tasks `dir:<path>`: a folder with train, validation and test files, and optionally meta.json."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from tunefront.bench.collector import without_collector
from tunefront.bench.data.metrics import default_metrics, metric_mistakes
from tunefront.bench.data.sources.choices import list_columns, with_lists
from tunefront.bench.data.sources.contents import open_file, reason
from tunefront.bench.data.sources.declared import declared_names, without_unlabelled
from tunefront.bench.data.sources.limits import Budget, Unreadable
from tunefront.bench.data.sources.meta import FILE as META
from tunefront.bench.data.sources.meta import read_meta
from tunefront.bench.data.sources.reading import read_table, read_tables
from tunefront.bench.data.sources.rows import empty_notes, read_rows
from tunefront.bench.data.sources.schema import infer_schema, schema_of
from tunefront.bench.data.sources.split_names import SPLITS
from tunefront.bench.data.sources.splits import find_splits
from tunefront.bench.data.sources.tables import Problems, Reading
from tunefront.bench.data.task import Task
from tunefront.bench.errors import UserError, unknown
from tunefront.bench.files import expanded

if TYPE_CHECKING:
    from tunefront.bench.data.sources.meta import Meta
    from tunefront.bench.data.sources.tables import Table
    from tunefront.bench.data.task import Row

TEMPLATES = "templates.yaml"
_SEED_DIGITS = 18


def load(path: str, name: str | None = None) -> Task:
    """The task in the folder `path`, named `dir:<path>` or `name`; see `schema` for the inference rules.

    An evaluation split with hidden labels is left out, with a note, if another is left.
    Errors: UserErrors with all problems of the folder, one paragraph each with file and row.
    """
    return read(path, name).task


def read(path: str, name: str | None = None) -> Reading:
    """The task as `load` gives it, with the tables of its files. Errors: as `load`."""
    folder = _folder(path)
    try:
        with without_collector():
            return _read(folder, name or f"dir:{path}")
    except RecursionError:  # JSON just within its own limit is too deep to process
        raise UserError(
            f"{folder}: a value is nested too deeply; rows may hold texts, numbers and lists of these."
        ) from None


def is_described(folder: Path) -> bool:
    """Whether the folder describes its task in meta.json."""
    return (folder / META).is_file()


def _read(folder: Path, name: str) -> Reading:
    problems = Problems()
    meta = read_meta(folder, problems)
    tables, notes = _tables(folder, meta, problems)
    meta = declared_names(tables, meta, problems)
    schema = infer_schema(tables["train"], meta, problems, tables) if "train" in tables else None
    if schema is None:
        problems.raise_any()
        raise UserError(f"{folder} contains no task")  # unreachable: a missing schema is always a problem
    metrics = meta.metric_specs or default_metrics(schema.kind)
    for mistake in metric_mistakes(metrics, schema.kind, schema.label_names):
        problems.add(f"{folder / META}, metrics: {mistake}")
    tables, hidden = without_unlabelled(tables, schema, problems)
    splits = {split: read_rows(table, schema, problems) for split, table in tables.items()}
    problems.raise_any()
    absolute = folder.absolute()
    templates = absolute / TEMPLATES
    task = Task(
        name=name,
        kind=schema.kind,
        splits=splits,
        input_fields=schema.input_fields,
        label_names=schema.label_names,
        metrics=metrics,
        templates=templates if templates.is_file() else None,
        folder=absolute,
        left_out=schema.left_out,
        notes=(*notes, *hidden, *schema.notes, *empty_notes(splits, schema)),
        warnings=tuple(f"{name}: {warning}" for warning in schema.warnings),
    )
    return Reading(task, tables, schema.label_field)


def _tables(folder: Path, meta: Meta, problems: Problems) -> tuple[dict[str, Table], list[str]]:
    """(split -> its rows, notes about how they were found and read)."""
    budget = Budget.from_environment()
    tables, notes = {}, dict[str, list[str]]()
    for split, located in find_splits(folder, problems).items():
        table = read_tables(located.files, problems, budget, meta.named_columns)
        if table is not None:
            tables[split] = table
            for note in (*located.notes, *table.notes):
                notes.setdefault(note, []).append(split)
    listed = list_columns(tables["train"]) if "train" in tables else []
    tables = {split: with_lists(table, listed) for split, table in tables.items()}
    return tables, [f"{', '.join(splits)}: {note}" for note, splits in notes.items()]


def few_shot(task: Task, shots: int | None, seed: int) -> tuple[tuple[Row, ...], str]:
    """The rows of a published draw `few_shot/<k>_shot/<seed>.jsonl` of a `dir:` task, and the folder's name.

    `shots` is the number of rows in the file, not in the folder's name (16_shot of sst2 has 32 rows).
    Errors: UserError that lists the available sizes, or seeds of that size; UserErrors for invalid rows.
    """
    drawn = {} if task.folder is None else _draws(task.folder)
    if not drawn:
        raise UserError(f"{task.name} has no published draws (few_shot/<k>_shot/<seed>.jsonl); draw by seed instead.")
    if shots is None:
        raise UserError(f"choose a size of the published draws of {task.name}, for example --shots {min(drawn)[0]}.")
    if shots not in {size for size, _ in drawn}:
        sizes = ", ".join(map(str, sorted({size for size, _ in drawn})))
        raise UserError(f"{task.name} has no published draw of {shots} rows; available sizes: {sizes}.")
    if (shots, seed) not in drawn:
        seeds = ", ".join(map(str, sorted(known for size, known in drawn if size == shots)))
        raise UserError(
            f"{task.name} has no published draw of {shots} rows with seed {seed}; available seeds: {seeds}."
        )
    file = drawn[shots, seed]
    problems = Problems()
    assert task.folder is not None  # it contains the draws
    meta = read_meta(task.folder, problems)
    table = read_table(file, problems, keep=meta.named_columns)
    schema = schema_of(task, meta)
    rows = read_rows(table, schema, problems) if table else []
    problems.raise_any()
    return tuple(rows), file.parent.relative_to(task.folder).as_posix()


def _draws(folder: Path) -> dict[tuple[int, int], Path]:
    """(rows, seed) -> file."""
    files = sorted(folder.glob("few_shot/*_shot/*.jsonl"))
    numbered = [file for file in files if file.stem.isdecimal() and len(file.stem) <= _SEED_DIGITS and file.is_file()]
    return {(_count(file), int(file.stem)): file for file in numbered}


def _count(file: Path) -> int:
    try:
        with open_file(file) as lines:
            return sum(1 for line in lines if line.strip())
    except Unreadable as error:
        raise UserError(str(error)) from None


def _folder(path: str) -> Path:
    try:
        folder = expanded(path)
        if folder.is_dir():
            return folder
        there = folder.exists()
    except (OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"dir:{path[:200]} cannot be read: {reason(error)}.") from None
    if there:
        raise UserError(
            f"{folder} is a file; dir: takes the folder that holds {SPLITS[0]}.jsonl and the other splits. For a file: "
            f"--data {quote(str(folder))}"
        )
    try:
        siblings = [other.name for other in folder.parent.iterdir() if other.is_dir()]
    except (OSError, ValueError):
        raise UserError(f"there is no folder {folder}, nor {folder.parent}; {_seen_from()}.") from None
    raise UserError(f"{folder.parent}: {unknown('folder', folder.name, siblings)}")


def _seen_from() -> str:
    try:
        return f"seen from {Path.cwd()}"
    except OSError:
        return "the working folder is gone"
