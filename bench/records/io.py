"""Records read from files: one, or all of a folder or URL. Reading changes nothing: what is odd is named, left out and
left as it is."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from tunefront.bench.errors import UserError, printable
from tunefront.bench.files import local_folder, url_errors
from tunefront.bench.records.ordinary import Unreadable, contents, listed, shown
from tunefront.bench.records.record import GROUPS, KEYS, SCHEMA_VERSION, WHOLE, Record

log = logging.getLogger("tunefront")

LARGEST = 1e40
"""A number beyond it is no measurement: float32 ends at 3.4e38, and sums and squares of it stay finite."""
NAMED = 3
"""Files that a line names; the rest is counted."""


class CorruptRecord(ValueError):
    """A file that is no whole JSON; the message names it, `why` is in a few words."""

    def __init__(self, path: str, why: str):
        self.why = why
        super().__init__(f"{shown(path)} is not a whole record: {why}")


class OtherVersion(UserError):
    """A whole file whose fields are not those of today's record; the message names it. It is never renamed or
    replaced."""

    def __init__(self, path: str, why: str):
        self.why = why
        super().__init__(
            f"{shown(path)} was written by another version of tunefront ({why}); read it with that version, or move it "
            "to a folder of its own."
        )


class OtherCell(UserError):
    """A whole record under the name of another cell, as where a file was copied or renamed; the message names it. It is
    never renamed or replaced: it may be the only copy."""

    def __init__(self, path: str, key: str):
        self.why = f"that of {printable(key[:12], single_line=True)}..."
        super().__init__(
            f"{shown(path)} holds the record of another cell ({self.why}): it was copied or renamed; give it its own "
            f"name, {printable(key[:80], single_line=True)}.json, or move it away, so that this cell can be recorded."
        )


@dataclass(frozen=True)
class Loaded:
    """The records of a folder by key, and a line for each kind of file that was left out."""

    records: tuple[Record, ...]
    left_out: tuple[str, ...]


def read_record(path: str | Path) -> Record:
    """The record in a file.

    Errors: CorruptRecord where it is no whole record, OtherVersion where it is not one of ours, OtherCell where it has
    the name of another one, Unreadable where it cannot be read or is no ordinary file; FileNotFoundError.
    """
    return parse_record(contents(Path(path)), str(path))


def parse_record(content: bytes, path: str) -> Record:
    """The record that was read from `path`, a file or the rest of a URL; errors as in `read_record`."""
    fields, beyond = _json(content, path)
    if not isinstance(fields, dict):
        raise OtherVersion(path, f"it holds a JSON {type(fields).__name__}, no record")
    version = fields.get("schema_version")
    if version != SCHEMA_VERSION:
        shown = f"{version:g}" if isinstance(version, float) else repr(version)[:40]
        raise OtherVersion(path, f"its schema_version is {shown}, here it is {SCHEMA_VERSION}")
    if (why := _other_fields(fields)) is not None:
        raise OtherVersion(path, why)
    if beyond:
        raise OtherVersion(path, f"it holds the number {beyond[0][:12]}, which nothing measured")
    try:
        record = Record.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise OtherVersion(path, f"{'.'.join(map(str, first['loc']))[:200]}: {first['msg']}".lstrip(": ")) from error
    if record.key != Path(path).stem:
        raise OtherCell(path, record.key)
    return record


def _other_fields(fields: dict[str, object]) -> str | None:
    """What is more or less in a record than today, at its top, in its groups and in fields of known names, in words;
    None where nothing is."""
    everywhere = [("", Record.model_fields, True)]
    everywhere += [(name, group.model_fields, True) for name, group in GROUPS.items()]
    for place, known, whole in [*everywhere, *((field, names, field in WHOLE) for field, names in KEYS.items())]:
        inside = _inside(fields, place)
        if not isinstance(inside, dict) or not (inside or place in GROUPS):
            continue
        lacking = set(known) - set(inside) if whole else set()
        for what, names in (("unknown here", set(inside) - set(known)), ("not in it", lacking)):
            if names:
                named = [f"{place}.{name}".lstrip(".") for name in sorted(names)[:NAMED]]
                return f"{', '.join(named)[:200]}: {what}"
    return None


def _inside(fields: dict[str, object], place: str) -> object:
    """What stands under a dotted name, all of it under none; None where nothing does."""
    found: object = fields
    for name in filter(None, place.split(".")):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _json(content: bytes, path: str) -> tuple[object, list[str]]:
    """What a file holds, every number as a float, and the numbers in it that are too large to be one."""
    beyond: list[str] = []

    def number(text: str) -> float:
        value = float(text)
        if not abs(value) <= LARGEST:
            beyond.append(text)
        return value

    try:
        return json.loads(content, parse_int=number, parse_float=number, parse_constant=number), beyond
    except RecursionError as error:
        raise OtherVersion(path, "it is nested too deeply") from error
    except ValueError as error:
        raise CorruptRecord(path, str(error) if content else "it is empty") from error


def load_records(folder: str | Path) -> list[Record]:
    """All records of a results folder or URL, by key; none where there is no such folder.

    What is not whole, or was written by another version of tunefront, or cannot be read, is named in the log, a line a
    kind, left as it is and left out. Errors: UserError where the folder or URL cannot be read.
    """
    return _logged(load(folder, "records"))


def load_plans(folder: str | Path) -> list[Record]:
    """All planned records of a results folder, by the key of the cell whose costs they predict; as `load_records`."""
    return _logged(load(folder, "plans"))


def load(folder: str | Path, kind: str = "records") -> Loaded:
    """All records of a results folder or URL and what was left out, of `records` or `plans`; errors as in
    `load_records`."""
    local = local_folder(folder)
    if local is None:
        with url_errors(str(folder), "read"):
            return _sorted_out(_remote(f"{str(folder).rstrip('/')}/{kind}"))
    if os.path.exists(local) and not os.path.isdir(local):
        raise UserError(f"{folder} is a file; give the folder that `tunefront run --out` wrote.")
    return _sorted_out(_local(local / kind))


Found = tuple[str, Record | Exception]
"""The name of a file, and its record or why it has none."""


def _local(folder: Path) -> Iterator[Found]:
    for path in listed(folder, ".json"):
        try:
            yield str(path), read_record(path)
        except (CorruptRecord, OtherVersion, OtherCell, Unreadable, FileNotFoundError) as error:
            yield str(path), error


def _remote(url: str) -> Iterator[Found]:
    import fsspec

    files, place = fsspec.core.url_to_fs(url)
    for path in sorted(files.glob(f"{place.rstrip('/')}/*.json")):
        try:
            yield path, parse_record(files.cat_file(path), path)
        except (CorruptRecord, OtherVersion, OtherCell, FileNotFoundError) as error:
            yield path, error
        except (PermissionError, IsADirectoryError) as error:
            yield path, Unreadable(path, error.strerror or str(error))


def _sorted_out(found: Iterator[Found]) -> Loaded:
    records, odd = [], []
    for path, outcome in found:
        if isinstance(outcome, Record):
            records.append(outcome)
        else:
            odd.append((path, outcome))
    return Loaded(tuple(records), tuple(_lines(odd)))


_KINDS: dict[type[Exception], tuple[str, str]] = {
    OtherVersion: ("was written by another version of tunefront", "were written by another version of tunefront"),
    OtherCell: ("holds the record of another cell", "hold the records of other cells"),
    CorruptRecord: ("is not a whole record", "are not whole records"),
    Unreadable: ("cannot be read", "cannot be read"),
    FileNotFoundError: ("vanished while the folder was read", "vanished while the folder was read"),
}


def _lines(odd: Sequence[tuple[str, Exception]]) -> Iterator[str]:
    """One line a kind, with the first few files by name and what is the matter with each."""
    for kind, (one, several) in _KINDS.items():
        alike = [(path, getattr(error, "why", "")) for path, error in odd if isinstance(error, kind)]
        if not alike:
            continue
        if len(alike) == 1:
            path, why = alike[0]
            yield f"{shown(path)} {one}{f' ({why})' if why else ''}; it is left as it is, and left out."
            continue
        whys = {why for _, why in alike}
        shared = f" ({whys.pop()})" if len(whys) == 1 and "" not in whys else ""
        named = [f"{shown(Path(path).name)}{f' ({why})' if why and not shared else ''}" for path, why in alike[:NAMED]]
        more = f" and {len(alike) - NAMED:,} more" if len(alike) > NAMED else ""
        yield (
            f"{len(alike):,} files in {shown(Path(alike[0][0]).parent)} {several}{shared}; they are left as they are, "
            f"and left out: {', '.join(named)}{more}."
        )


def _logged(loaded: Loaded) -> list[Record]:
    for line in loaded.left_out:
        log.warning("%s", line)
    return list(loaded.records)


def set_aside(path: Path, why: Exception) -> None:
    """Renames a corrupted file so that its cell runs again and its content is kept, as is what was kept earlier."""
    asides = (path.with_name(f"{path.name}.corrupt{number}") for number in ("", *(f"-{n}" for n in range(2, 1000))))
    aside = next(place for place in asides if not os.path.lexists(place))
    log.warning("%s; set aside as %s, the cell will run again", why, aside.name)
    try:
        os.replace(path, aside)
    except OSError as error:
        log.warning("%s could not be renamed: %s", shown(path), error)
