"""Records read from files: one, or all of a folder or URL; what cannot be read is set aside."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from tunefront.bench.errors import Mistake
from tunefront.bench.files import local_folder, reached
from tunefront.bench.records.record import SCHEMA_VERSION, Record

log = logging.getLogger("tunefront")


class CorruptRecord(ValueError):
    """A record file that cannot be read; the message names it."""


class OtherVersion(Mistake):
    """A record file that another version of tunefront wrote; the message names it. It is never renamed or replaced."""


def read_record(path: str | Path) -> Record:
    """The record in a file; CorruptRecord naming it where it is no whole record, OtherVersion where its schema is not
    ours."""
    return parse_record(Path(path).read_bytes(), str(path))


def parse_record(content: bytes, path: str) -> Record:
    """The record that was read from `path`, a file or the rest of a URL; errors as in `read_record`."""
    version = _version(content)
    if version not in (None, SCHEMA_VERSION):
        raise OtherVersion(
            f"{path} was written by another version of tunefront (its schema_version is {version!r}, here it is "
            f"{SCHEMA_VERSION}); read it with that version, or move it to a folder of its own."
        )
    try:
        record = Record.model_validate_json(content)
    except ValueError as error:
        raise CorruptRecord(f"{path} is not a whole record: {str(error).splitlines()[0]}") from error
    if record.key != Path(path).stem:
        raise CorruptRecord(f"{path} holds the record of another cell ({record.key[:12]}...)")
    return record


def _version(content: bytes) -> object:
    """The schema version that a file names, None where it is no JSON object or names none."""
    try:
        fields = json.loads(content)
    except ValueError:
        return None
    return fields.get("schema_version") if isinstance(fields, dict) else None


def load_records(folder: str | Path) -> list[Record]:
    """All records of a results folder, by key. A corrupted one is renamed `*.corrupt` and named in the log; one that
    another version of tunefront wrote is named, left as it is and left out. Mistake where a URL cannot be read."""
    return _load(folder, "records")


def load_plans(folder: str | Path) -> list[Record]:
    """All planned records of a results folder, by the key of the cell whose costs they predict; as `load_records`."""
    return _load(folder, "plans")


def _load(folder: str | Path, kind: str) -> list[Record]:
    local = local_folder(folder)
    if local is None:
        with reached(str(folder), "read"):
            return _remote(f"{str(folder).rstrip('/')}/{kind}")
    return list(_readable(sorted(local.joinpath(kind).glob("*.json"))))


def _remote(url: str) -> list[Record]:
    """Records behind an fsspec URL; what cannot be read is named in the log and left out."""
    import fsspec

    found = []
    for file in fsspec.open_files(f"{url}/*.json", "rb"):
        with file as stream:
            try:
                found.append(parse_record(stream.read(), file.path))
            except (CorruptRecord, OtherVersion) as error:
                log.warning("%s", error)
    return found


def _readable(paths: Iterable[Path]) -> Iterable[Record]:
    for path in paths:
        try:
            yield read_record(path)
        except OtherVersion as error:
            log.warning("%s", error)
        except CorruptRecord as error:
            set_aside(path, error)
        except FileNotFoundError:  # another process set it aside first
            continue


def set_aside(path: Path, why: Exception) -> None:
    """Renames a corrupted file so that its cell runs again and its content is kept."""
    aside = path.with_name(path.name + ".corrupt")
    log.warning("%s; set aside as %s, the cell will run again", why, aside.name)
    try:
        os.replace(path, aside)
    except OSError as error:
        log.warning("%s could not be renamed: %s", path, error)
