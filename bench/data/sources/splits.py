"""Finds the files of each split: train.csv, dev.tsv, data/train-00000-of-00002.parquet, saved datasets."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from tunefront.bench.data.sources.contents import read_bytes, reason
from tunefront.bench.data.sources.limits import Budget, Unreadable
from tunefront.bench.data.sources.reading import FORMATS, format_of
from tunefront.bench.data.sources.split_names import OTHER_NAMES, SPLITS
from tunefront.bench.errors import UserError
from tunefront.bench.files import special_kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tunefront.bench.data.sources.tables import Problems

_SHARD = re.compile(r"(?P<split>.+?)[-_.](?P<number>\d{3,6})-of-(?P<count>\d{3,6})(-[0-9a-f]{16})?")
_STATE = "state.json"
_STATE_BYTES = 2**24
_LISTED = 20
_CONVERT = {
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "pip install openpyxl && python -c {read_excel}"),
    **dict.fromkeys((".tar", ".tgz"), "unpack it: tar -xf {file} -C {folder}"),
    ".zip": "unpack it: python -m zipfile -e {file} {folder}",
    **dict.fromkeys((".pkl", ".pickle"), "a pickle can run code and is never read; save the rows as Parquet"),
    **dict.fromkeys((".txt", ".dat", ".data"), "name it .csv, .tsv or .jsonl, according to its content"),
}


@dataclass(frozen=True)
class Split:
    """The files of a split in row order, and notes about how they were found."""

    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def splits_in(folder: Path) -> tuple[str, ...]:
    """The splits that a folder has files of. Errors: UserError if it cannot be read."""
    try:
        return tuple(_found(folder))
    except (Unreadable, OSError) as error:
        raise UserError(str(error) if isinstance(error, Unreadable) else f"{folder}: {reason(error)}.") from None


def find_splits(folder: Path, problems: Problems, scored: bool = True) -> dict[str, Split]:
    """Split -> its files; ambiguous splits, missing shards, no train and, if `scored`, no evaluation split are
    problems."""
    try:
        candidates = _found(folder)
        lacking = {"train"} - candidates.keys()
        if lacking and (folder / _STATE).is_file():
            problems.add(
                f"{folder} is a single saved Dataset without splits; save all splits together: "
                "datasets.DatasetDict(train=..., test=...).save_to_disk(FOLDER)."
            )
            return {}
        unscored = scored and not candidates.keys() & {"validation", "test"}
        listed = f"found: {_listing(folder)}" if lacking or unscored else ""
    except (Unreadable, OSError) as error:
        problems.add(str(error) if isinstance(error, Unreadable) else f"{folder} cannot be read: {reason(error)}.")
        return {}
    if lacking:
        problems.add(
            f"{folder} has no train.jsonl, nor train as {', '.join(FORMATS[1:])} or a compressed text format; {listed}."
        )
    if unscored:
        problems.add(
            f"{folder} has neither test nor validation, so there is nothing to score; {listed}. To hold a fifth of "
            f"train out for test: --data {quote(str(folder))}"
        )
    splits = {split: _chosen(split, named, problems) for split, named in candidates.items()}
    return {split: chosen for split, chosen in splits.items() if chosen is not None}


def _found(folder: Path) -> dict[str, dict[str, list[Path]]]:
    """The candidates in the folder, or in its folder data/ if there is no train in it."""
    candidates = _candidates(folder)
    if "train" not in candidates and (folder / "data").is_dir():
        return _candidates(folder / "data") or candidates
    return candidates


def _candidates(folder: Path) -> dict[str, dict[str, list[Path]]]:
    """Split -> name -> files, with all shards of a split under one name; folders only if no file is a split."""
    files: dict[str, dict[str, list[Path]]] = {}
    folders: dict[str, dict[str, list[Path]]] = {}
    for path in _entries(folder):
        readable = format_of(path) in FORMATS
        shard = _shard(path) if readable else None
        split = _split_of(shard["split"] if shard else _stem(path))
        if split and readable:
            name = f"{shard['split']}-*-of-{shard['count']}{format_of(path)}" if shard else path.name
            files.setdefault(split, {}).setdefault(name, []).append(path)
        elif split and path.is_dir() and any(format_of(inner) in FORMATS for inner in _entries(path)):
            folders.setdefault(split, {})[path.name] = [path]
    named = files or folders
    return {split: named[split] for split in SPLITS if split in named}


def _chosen(split: str, named: Mapping[str, Sequence[Path]], problems: Problems) -> Split | None:
    (name, paths), *others = sorted(named.items(), key=lambda item: (FORMATS.index(_format(item[1])), item[0]))
    folder = paths[0].parent
    if others:
        names = " and ".join([name, *(other for other, _ in others)])
        problems.add(f"{folder} has {names}: {split} needs one of them; move the others elsewhere.")
    try:
        files = _files(paths)
    except (Unreadable, OSError) as error:
        problems.add(
            str(error) if isinstance(error, Unreadable) else f"{folder / name} cannot be read: {reason(error)}."
        )
        return None
    return Split(files, () if name.startswith(split) else (f"{name} is read as {split}",))


def _format(paths: Sequence[Path]) -> str:
    kind = format_of(paths[0])
    return kind if kind in FORMATS else FORMATS[-1]


def _split_of(stem: str) -> str | None:
    name = OTHER_NAMES.get(stem.lower(), stem.lower())
    return name if name in SPLITS else None


def _stem(path: Path) -> str:
    """The name without the suffixes of format and compression; unchanged for folders and other formats."""
    kind = format_of(path)
    return path.name[: path.name.lower().rindex(kind)] if kind in FORMATS else path.name


def _shard(path: Path) -> re.Match[str] | None:
    return _SHARD.fullmatch(_stem(path))


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder / name for name in os.listdir(folder))
    except OSError as error:
        raise Unreadable(f"{folder} cannot be read: {reason(error)}.") from None


def _files(paths: Sequence[Path]) -> tuple[Path, ...]:
    """The regular files of a split: the file itself, its shards, or the files in a folder of that name.

    Errors: Unreadable.
    """
    if len(paths) == 1 and paths[0].is_dir():
        folder = paths[0]
        if (folder / _STATE).is_file():
            return _saved(folder)
        inside = [path for path in _entries(folder) if format_of(path) in FORMATS]
        if len({format_of(path) for path in inside}) > 1:
            names = ", ".join(path.name for path in inside[:_LISTED])
            raise Unreadable(f"{folder} contains files of several formats ({names}); keep those of one format.")
        paths = inside or paths
    for path in paths:
        _check_ordinary(path)
    shards = [shard for path in paths if (shard := _shard(path))]
    if shards:
        _check_shards(paths[0].parent, shards)
    return tuple(paths)


def _check_ordinary(path: Path) -> None:
    try:
        kind = special_kind(path.stat())
    except OSError as error:
        to = f", a link to {os.readlink(path)}," if path.is_symlink() else ""
        raise Unreadable(f"{path}{to} cannot be read: {reason(error)}.") from None
    if kind is not None:
        raise Unreadable(f"{path} is {kind}, not a regular file; put the rows themselves there.")


def _check_shards(folder: Path, shards: Sequence[re.Match[str]]) -> None:
    """Errors: Unreadable if shards are missing from the number in their names, or one occurs twice."""
    count, split = int(shards[0]["count"]), shards[0]["split"]
    numbers = [int(shard["number"]) for shard in shards]
    there = {number for number in numbers if number < count}
    if len(there) < count:
        first = next(number for number in range(count) if number not in there)
        raise Unreadable(
            f"{folder} has {len(there)} of {count} shards of {split}; the first missing one is "
            f"{split}-{first:0{len(shards[0]['number'])}d}-of-{shards[0]['count']}. Download the missing ones."
        )
    if len(numbers) > count:
        raise Unreadable(
            f"{folder} has {len(numbers)} shards of {split}, but their names say {count}; keep one of each."
        )


def _saved(folder: Path) -> tuple[Path, ...]:
    """The Arrow files of a Dataset.save_to_disk folder, as its state lists them. Errors: Unreadable."""
    state_file = folder / _STATE
    try:
        state = json.loads(read_bytes(state_file, Budget(_STATE_BYTES)))
        names = [file["filename"] for file in state["_data_files"]]
        reordered = state.get("_indices_files") or state.get("_indices_data_files")
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        raise Unreadable(f"{state_file} is not a state file of Dataset.save_to_disk; save the dataset again.") from None
    if reordered:
        raise Unreadable(f"{folder} stores its rows in another order; save Dataset.flatten_indices() instead.")
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or "\\" in name or not name.endswith(".arrow"):
            named = repr(name)[:80]
            raise Unreadable(
                f"{state_file} names {named}, which is no Arrow file in its folder; save the dataset again."
            )
        _check_ordinary(folder / name)
    if not names:
        raise Unreadable(f"{folder} has no rows; add at least one, or delete the folder.")
    return tuple(folder / name for name in names)


def _listing(folder: Path) -> str:
    """The content of a folder, and a hint for a split in another format or in a subfolder."""
    entries = _entries(folder)
    names = [path.name + "/" * path.is_dir() for path in entries]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    listed = f"{', '.join(names[:_LISTED])}{more}" if names else "no files"
    for path in entries:
        way = _CONVERT.get(path.suffix.lower())
        if way and _split_of(path.name.split(".")[0]):
            return f"{listed}. For {path.name}: {_filled(way, path)}"
        if path.is_dir() and os.access(path, os.R_OK | os.X_OK) and "train" in _candidates(path):
            return f"{listed}. There is a train split in {path.name}: dir:{path}"
    return listed


def _filled(way: str, path: Path) -> str:
    code = f"import pandas; pandas.read_excel({str(path)!r}).to_csv({str(path.with_suffix('.csv'))!r}, index=False)"
    return way.format(file=quote(str(path)), folder=quote(str(path.parent)), read_excel=quote(code))
