"""Reads the files of a task of one's own: a file, a folder, or two files; and rows whose split a column names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.bench.collector import without_collector
from tunefront.bench.data.sources import guess
from tunefront.bench.data.sources.choices import list_columns, with_lists
from tunefront.bench.data.sources.contents import reason
from tunefront.bench.data.sources.file_name import FILES, FRAME, share_of
from tunefront.bench.data.sources.frames import path_of, without_files
from tunefront.bench.data.sources.limits import Budget
from tunefront.bench.data.sources.own_columns import part_of
from tunefront.bench.data.sources.reading import EXCEL, FORMATS, format_of, read_tables
from tunefront.bench.data.sources.split_names import SPLITS, split_in
from tunefront.bench.data.sources.splits import find_splits, splits_in
from tunefront.bench.data.sources.tables import Layout
from tunefront.bench.errors import UserError, UserErrors, unknown
from tunefront.bench.files import expanded

if TYPE_CHECKING:
    from tunefront.bench.data.sources.file_name import FileName
    from tunefront.bench.data.sources.meta import Meta
    from tunefront.bench.data.sources.tables import Problems, Table


@contextmanager
def reading_of(spelled: str) -> Iterator[None]:
    """The block reads the file, folder or DataFrame of this name: errors name a DataFrame as such, and values nested
    too deeply are a UserError."""
    try:
        with without_collector():  # a third of the time of reading a million rows, which have no cycles
            yield
    except UserError as error:
        if FRAME not in spelled:
            raise
        messages = error.messages if isinstance(error, UserErrors) else [str(error)]
        raise UserErrors(map(without_files, messages)) from None
    except RecursionError:  # JSON just within its own limit is too deep to process
        raise UserError(f"{spelled}: a value is nested too deeply; rows may hold texts, numbers and lists.") from None


def place_of(text: str) -> Path:
    """The file or folder of a path, or of a DataFrame, `frame:<hash>`. Errors: UserError if it is not there."""
    return path_of(text.removeprefix(FRAME)) if text.startswith(FRAME) else _existing(text)


def _existing(text: str) -> Path:
    """The file or folder. Errors: UserError if it is not there."""
    path = expanded(text)
    try:
        if path.exists():
            return path
        if "://" in text:
            raise UserError(f"{text[:200]} is a URL; rows are read from local files: download it, and give its path.")
        if path.is_symlink():
            raise UserError(f"{path} is a link to {path.readlink()}, which is not there; give the path of your data.")
        known = path.parent.iterdir() if path.parent.is_dir() else ()
        siblings = [other.name for other in known if not other.name.startswith(".")]
    except (OSError, ValueError) as error:
        raise UserError(f"{text[:200]} cannot be read: {reason(error)}.") from None
    if not siblings:
        raise UserError(f"there is no file {path}, nor a folder {path.parent} with files; give the path of your data.")
    raise UserError(f"there is no file {path}; in {path.parent}: {unknown('file', path.name, siblings)}")


def own_tables(path: Path, name: FileName, meta: Meta, problems: Problems) -> tuple[dict[str, Table], list[str]]:
    """(split -> its rows, notes about how they were read). One file is `train` until it is split."""
    budget = Budget.from_environment()
    layout = Layout(whole=True, header=None if name.header is None else name.header == "yes")
    keep = {text for text in (*name.text, name.label, name.id, name.group, name.split) if text} | {*meta.named_columns}
    files: dict[str, tuple[Path, ...]] = {"train": (path,)}
    found = []
    if path.is_dir():
        located = find_splits(path, problems, scored=False) if "train" in splits_in(path) else {}
        files = {split: split_files.files for split, split_files in located.items()} or {"train": (_only_file(path),)}
        found = [f"{split}: {note}" for split, split_files in located.items() for note in split_files.notes]
    files |= {split: (place_of(file),) for split in FILES if (file := getattr(name, split)) is not None}
    read = {split: read_tables(paths, problems, budget, keep, layout) for split, paths in files.items()}
    problems.raise_any()
    tables = {split: table for split, table in read.items() if table is not None}
    lists = list_columns(tables["train"])
    tables = {split: with_lists(table, lists) for split, table in tables.items()}
    return tables, [*found, *dict.fromkeys(note for table in tables.values() for note in table.notes)]


def _only_file(path: Path) -> Path:
    files = sorted(each for each in path.iterdir() if format_of(each) in (*FORMATS, *EXCEL) and each.is_file())
    if len(files) == 1:
        return files[0]
    named = ", ".join(each.name for each in files[:10]) or "none"
    raise UserError(
        f"{path} has no train file, and {len(files)} files of rows ({named}); give the path of one file of rows."
    )


def by_column(tables: dict[str, Table], name: FileName) -> tuple[dict[str, Table], str]:
    """The rows by the column that names their split, if there is one and nothing else splits them; and a note."""
    train = tables["train"]
    by_share = share_of(name.split) is not None
    given = {split: file for split in FILES if (file := getattr(name, split)) is not None}
    if len(tables) > 1 or by_share:
        if name.split is not None and not by_share and given:
            options = " and ".join(f"--{split}" for split in given)
            raise UserError(
                f"{train.file}: --split {name.split} and {options} both name splits; leave one of them out."
            )
        return tables, ""
    taken = [guess.named(train, text, "label") for text in [name.label] if text]
    column = (
        guess.guess_split(guess.columns_of(train), taken)
        if name.split is None
        else _column_of_splits(train, name.split)
    )
    if column is None:
        return tables, ""
    places: dict[str, list[int]] = {}
    for place, row in enumerate(train.records):
        places.setdefault(split_in(row.get(column)) or "train", []).append(place)
    parts = {split: part_of(train, places[split], column) for split in SPLITS if split in places}
    if "train" not in parts:
        raise UserError(f"{train.file}: no value of {column!r} names the train split; give a share: --split 0.2.")
    return parts, f"split by {column!r}, whose values are {', '.join(_values(train, column))}"


def _column_of_splits(train: Table, text: str) -> str:
    """The column that --split names. Errors: UserError if one of its values names no split."""
    column = guess.named(train, text, "split")
    wrong = [row.get(column) for row in train.records if split_in(row.get(column)) is None]
    if wrong:
        raise UserError(
            f"{train.file}: --split {column}: {str(wrong[0])[:50]!r} names no split; each value must name train, "
            "validation (dev, val, trial) or test. Or give a share, such as --split 0.2."
        )
    return column


def _values(table: Table, column: str) -> list[str]:
    return list(dict.fromkeys(str(row.get(column)) for row in table.records))[:12]
