"""Reads records from files: one record, or all of a folder or URL. Reading changes no file: an unusable one is reported
and skipped."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from tunefront.bench.errors import UserError, printable
from tunefront.bench.files import local_folder
from tunefront.bench.records.index import content_of, read_contents
from tunefront.bench.records.ordinary import Unreadable, list_files, printable_path, read_regular
from tunefront.bench.records.record import GROUPS, KEYS, SCHEMA_VERSION, WHOLE, Record
from tunefront.bench.records.urls import UrlFolder

log = logging.getLogger("tunefront")

LARGEST = 1e40
"""No measurement is larger: float32 ends at 3.4e38, and sums and squares of such numbers stay finite."""
NAMED = 3
"""The most files named in a line; further ones are counted."""


class CorruptRecord(ValueError):
    """A file that is not complete JSON; the message names it, `why` is the reason in a few words."""

    def __init__(self, path: str, why: str):
        self.why = why
        super().__init__(f"{printable_path(path)} is not a complete record: {why}")


class OtherVersion(UserError):
    """A complete file with fields of another version; the message names it. It is never renamed or replaced."""

    def __init__(self, path: str, why: str):
        self.why = why
        super().__init__(
            f"{printable_path(path)} was written by another version of tunefront ({why}); read it with that version, "
            "or move it to another folder."
        )


class OtherCell(UserError):
    """A complete record under the file name of another cell, such as a copied or renamed file; the message names it.
    It is never renamed or replaced, since it may be the only copy."""

    def __init__(self, path: str, key: str):
        self.why = f"that of {printable(key[:12], single_line=True)}..."
        super().__init__(
            f"{printable_path(path)} contains the record of another cell ({self.why}): it was copied or renamed; "
            f"rename it to {printable(key[:80], single_line=True)}.json, or move it away, so this cell can be recorded."
        )


@dataclass(frozen=True)
class Loaded:
    """The records of a folder by key, and a line per kind of skipped file."""

    records: tuple[Record, ...]
    left_out: tuple[str, ...]


def read_record(path: str | Path) -> Record:
    """The record in a file.

    Errors: CorruptRecord if it is incomplete, OtherVersion if it is not a record of this version, OtherCell if it has
    the file name of another cell, Unreadable if it cannot be read or is not a regular file; FileNotFoundError.
    """
    return parse_record(read_regular(Path(path)), str(path))


def parse_record(content: bytes, path: str) -> Record:
    """The record in the bytes of `path`, a file or the rest of a URL; errors as in `read_record`."""
    fields, too_large = _json(content, path)
    if not isinstance(fields, dict):
        raise OtherVersion(path, f"it contains a JSON {type(fields).__name__}, not a record")
    version = fields.get("schema_version")
    if version != SCHEMA_VERSION:
        text = f"{version:g}" if isinstance(version, float) else repr(version)[:40]
        raise OtherVersion(path, f"its schema_version is {text}, this one reads {SCHEMA_VERSION}")
    if (why := _other_fields(fields)) is not None:
        raise OtherVersion(path, why)
    if too_large:
        raise OtherVersion(path, f"it contains the number {too_large[0][:12]}, too large for a measurement")
    try:
        record = Record.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise OtherVersion(path, f"{'.'.join(map(str, first['loc']))[:200]}: {first['msg']}".lstrip(": ")) from error
    if record.key != Path(path).stem:
        raise OtherCell(path, record.key)
    return record


def _other_fields(fields: dict[str, object]) -> str | None:
    """Unknown or missing fields of a record, at its top level, in its groups and in fields with known keys, in words;
    None if there are none."""
    everywhere = [("", Record.model_fields, True)]
    everywhere += [(name, group.model_fields, True) for name, group in GROUPS.items()]
    for place, known, all_required in [*everywhere, *((field, names, field in WHOLE) for field, names in KEYS.items())]:
        inside = _inside(fields, place)
        if not isinstance(inside, dict) or not (inside or place in GROUPS):
            continue
        missing = set(known) - set(inside) if all_required else set()
        for state, names in (("unknown here", set(inside) - set(known)), ("missing", missing)):
            if names:
                named = [f"{place}.{name}".lstrip(".") for name in sorted(names)[:NAMED]]
                return f"{', '.join(named)[:200]}: {state}"
    return None


def _inside(fields: dict[str, object], place: str) -> object:
    """The value under a dotted name, all fields under an empty name; None if there is none."""
    value: object = fields
    for name in filter(None, place.split(".")):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _json(content: bytes, path: str) -> tuple[object, list[str]]:
    """The content of a file with every number as a float, and the numbers that are too large for one."""
    too_large: list[str] = []

    def number(text: str) -> float:
        value = float(text)
        if not abs(value) <= LARGEST:
            too_large.append(text)
        return value

    try:
        return json.loads(content, parse_int=number, parse_float=number, parse_constant=number), too_large
    except RecursionError as error:
        raise OtherVersion(path, "it is nested too deeply") from error
    except ValueError as error:
        raise CorruptRecord(path, str(error) if content else "it is empty") from error


def load(folder: str | Path, kind: str = "records") -> Loaded:
    """All `records` or `plans` of a results folder or URL, and the skipped files; none if there is no such folder.
    UserError if it cannot be read."""
    local = local_folder(folder)
    if local is None:
        return _split(_remote(UrlFolder(str(folder)), kind))
    if os.path.exists(local) and not os.path.isdir(local):
        raise UserError(f"{folder} is a file; give the folder that `tunefront run --out` wrote.")
    return _split(_local(local / kind))


ReadFile = tuple[str, Record | Exception]
"""The name of a file, and its record or the error in reading it."""


def _local(folder: Path) -> Iterator[ReadFile]:
    for path in list_files(folder, ".json"):
        try:
            yield str(path), read_record(path)
        except (CorruptRecord, OtherVersion, OtherCell, Unreadable, FileNotFoundError) as error:
            yield str(path), error


def _remote(folder: UrlFolder, kind: str) -> Iterator[ReadFile]:
    files: list[ReadFile] = []
    for name, content in read_contents(folder, kind):
        path = folder / f"{kind}/{name}"
        try:
            files.append((path, parse_record(content_of(path, content), path)))
        except (CorruptRecord, OtherVersion, OtherCell, Unreadable, FileNotFoundError) as error:
            files.append((path, error))
    yield from sorted(files, key=lambda file: file[0])


def _split(files: Iterator[ReadFile]) -> Loaded:
    records, unusable = [], []
    for path, outcome in files:
        if isinstance(outcome, Record):
            records.append(outcome)
        else:
            unusable.append((path, outcome))
    return Loaded(tuple(records), tuple(_lines(unusable)))


_KINDS: dict[type[Exception], tuple[str, str]] = {
    OtherVersion: ("was written by another version of tunefront", "were written by another version of tunefront"),
    OtherCell: ("contains the record of another cell", "contain the records of other cells"),
    CorruptRecord: ("is not a complete record", "are not complete records"),
    Unreadable: ("cannot be read", "cannot be read"),
    FileNotFoundError: ("vanished while the folder was read", "vanished while the folder was read"),
}


def _lines(unusable: Sequence[tuple[str, Exception]]) -> Iterator[str]:
    """A line per kind of error, with the first few files by name and the reasons."""
    for kind, (singular, plural) in _KINDS.items():
        same_kind = [(path, getattr(error, "why", "")) for path, error in unusable if isinstance(error, kind)]
        if not same_kind:
            continue
        if len(same_kind) == 1:
            path, why = same_kind[0]
            yield f"{printable_path(path)} {singular}{f' ({why})' if why else ''}; it is skipped, and left unchanged."
            continue
        whys = {why for _, why in same_kind}
        shared = f" ({whys.pop()})" if len(whys) == 1 and "" not in whys else ""
        named = [
            f"{printable_path(Path(path).name)}{f' ({why})' if why and not shared else ''}"
            for path, why in same_kind[:NAMED]
        ]
        more = f" and {len(same_kind) - NAMED:,} more" if len(same_kind) > NAMED else ""
        yield (
            f"{len(same_kind):,} files in {printable_path(Path(same_kind[0][0]).parent)} {plural}{shared}; they are "
            f"skipped, and left unchanged: {', '.join(named)}{more}."
        )


def log_left_out(loaded: Loaded) -> list[Record]:
    """The loaded records; the log has a line per kind of skipped file."""
    for line in loaded.left_out:
        log.warning("%s", line)
    return list(loaded.records)


def set_aside(path: Path, why: Exception) -> None:
    """Renames a corrupted file, so that its cell runs again and its content is kept, without replacing earlier ones.
    A record that another process has written in its place by now stays."""
    asides = (path.with_name(f"{path.name}.corrupt{number}") for number in ("", *(f"-{n}" for n in range(2, 1000))))
    aside = next(candidate for candidate in asides if not os.path.lexists(candidate))
    try:
        os.replace(path, aside)
        if not _is_torn(aside, str(path)):
            os.replace(aside, path)
            return
    except OSError as error:
        log.warning("%s", why)
        log.warning("%s could not be renamed: %s", printable_path(path), error)
        return
    log.warning("%s; renamed to %s, the cell will run again", why, aside.name)


def _is_torn(file: Path, path: str) -> bool:
    """Whether a file has no complete record, of this version or another, that may be at `path`."""
    try:
        parse_record(read_regular(file), path)
    except (CorruptRecord, Unreadable):
        return True
    except (OtherVersion, OtherCell):
        pass
    return False
