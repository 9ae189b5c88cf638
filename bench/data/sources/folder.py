"""Tasks `dir:<path>`: a folder with train, validation and test as JSONL, CSV or Parquet, and optionally meta.json."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.bench.data.metrics import default_metrics, metric_mistakes
from tunefront.bench.data.sources.meta import FILE as META
from tunefront.bench.data.sources.meta import read_meta
from tunefront.bench.data.sources.schema import Schema, infer_schema, read_rows
from tunefront.bench.data.sources.tables import FORMATS, Problems, read_table
from tunefront.bench.data.task import Task
from tunefront.bench.errors import Mistake, unknown
from tunefront.bench.files import expanded

if TYPE_CHECKING:
    from tunefront.bench.data.task import Row

SPLITS = ("train", "validation", "test")
TEMPLATES = "templates.yaml"
_OTHER_NAMES = {"training": "train", "dev": "validation", "valid": "validation", "val": "validation", "eval": "test"}


def load(path: str, name: str | None = None) -> Task:
    """The task that lies in the folder `path`, named `dir:<path>` or `name`; rules of inference: see `schema`.

    Errors: Mistakes with everything that is wrong with the folder, each in one paragraph with file and row.
    """
    folder = _folder(path)
    problems = Problems()
    meta = read_meta(folder, problems)
    files = _files(folder, problems)
    tables = {split: table for split, file in files.items() if (table := read_table(file, problems)) is not None}
    schema = infer_schema(tables["train"], meta, problems) if "train" in tables else None
    if schema is None:
        problems.raise_any()
        raise Mistake(f"{folder} holds no task")  # not reached: a missing schema is always noted
    metrics = meta.metric_specs or default_metrics(schema.kind)
    for mistake in metric_mistakes(metrics, schema.kind, schema.label_names):
        problems.add(f"{folder / META}, metrics: {mistake}")
    splits = {split: read_rows(table, schema, problems) for split, table in tables.items()}
    problems.raise_any()
    whole = folder.absolute()
    templates = whole / TEMPLATES
    return Task(
        name=name or f"dir:{path}",
        kind=schema.kind,
        splits=splits,
        input_fields=schema.input_fields,
        label_names=schema.label_names,
        metrics=metrics,
        templates=templates if templates.is_file() else None,
        folder=whole,
    )


def few_shot(task: Task, shots: int | None, seed: int) -> tuple[tuple[Row, ...], str]:
    """The rows of a published draw `few_shot/<k>_shot/<seed>.jsonl` of a `dir:` task, and the folder's name.

    `shots` is the number of rows in the file, whatever the folder calls itself (16_shot of sst2 has 32 rows).
    Errors: Mistake that lists the sizes, or the seeds of that size, that are there; Mistakes for rows that are wrong.
    """
    drawn = {} if task.folder is None else _draws(task.folder)
    if not drawn:
        raise Mistake(f"{task.name} has no published draws (few_shot/<k>_shot/<seed>.jsonl); draw by seed instead.")
    if shots is None:
        raise Mistake(f"the published draws of {task.name} have sizes; say which, as in --shots {min(drawn)[0]}.")
    if shots not in {size for size, _ in drawn}:
        sizes = ", ".join(map(str, sorted({size for size, _ in drawn})))
        raise Mistake(f"{task.name} has no published draw of {shots} rows; there are draws of {sizes} rows.")
    if (shots, seed) not in drawn:
        seeds = ", ".join(map(str, sorted(known for size, known in drawn if size == shots)))
        raise Mistake(f"{task.name} has no published draw of {shots} rows with seed {seed}; the seeds are {seeds}.")
    file = drawn[shots, seed]
    problems = Problems()
    assert task.folder is not None  # the draws lie in it
    meta = read_meta(task.folder, problems)
    table = read_table(file, problems)
    schema = Schema(task.kind, meta.label_field, task.label_names, task.input_fields, bool(meta.label_names))
    rows = read_rows(table, schema, problems) if table else []
    problems.raise_any()
    return tuple(rows), file.parent.relative_to(task.folder).as_posix()


def _draws(folder: Path) -> dict[tuple[int, int], Path]:
    """(rows, seed) -> file."""
    files = sorted(folder.glob("few_shot/*_shot/*.jsonl"))
    return {(_count(file), int(file.stem)): file for file in files if file.stem.isdecimal()}


def _count(file: Path) -> int:
    with file.open("rb") as lines:
        return sum(1 for line in lines if line.strip())


def _folder(path: str) -> Path:
    folder = expanded(path)
    if folder.is_dir():
        return folder
    if folder.exists():
        raise Mistake(f"{folder} is a file; dir: takes the folder that holds {SPLITS[0]}.jsonl and the other splits.")
    try:
        beside = [other.name for other in folder.parent.iterdir() if other.is_dir()]
    except OSError:
        raise Mistake(f"there is no folder {folder}, nor {folder.parent}; seen from {Path.cwd()}.") from None
    raise Mistake(f"{folder.parent}: {unknown('folder', folder.name, beside)}")


def _files(folder: Path, problems: Problems) -> dict[str, Path]:
    """Split -> its file; a split in two formats, no train and nothing to score are noted."""
    found = {split: [file for end in FORMATS if (file := folder / f"{split}{end}").is_file()] for split in SPLITS}
    for files in found.values():
        if len(files) > 1:
            names = " and ".join(file.name for file in files)
            problems.add(f"{folder} has {names}: one format a split; remove what is out of date.")
    present = {split: files[0] for split, files in found.items() if files}
    there = sorted(file.name for file in folder.iterdir() if file.is_file())
    listed = f"found: {', '.join(there[:20]) or 'no files'}{_renaming(there)}"
    if "train" not in present:
        problems.add(f"{folder} has no {' or '.join(f'train{end}' for end in FORMATS)}; {listed}.")
    if not present.keys() & {"validation", "test"}:
        problems.add(f"{folder} has neither test nor validation, so that nothing could be scored; {listed}.")
    return present


def _renaming(names: list[str]) -> str:
    for name in names:
        path = Path(name)
        split = _OTHER_NAMES.get(path.stem.lower(), path.stem.lower())
        if path.suffix.lower() in FORMATS and split in SPLITS and name != f"{split}{path.suffix}":
            return f"; rename {name} to {split}{path.suffix.lower()}"
    return ""
