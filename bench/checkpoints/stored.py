"""Finds a kept checkpoint: its file, or the record of its cell, and reads its manifest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tunefront.bench.checkpoints.manifest import Manifest
from tunefront.bench.errors import UserError
from tunefront.bench.files import expanded, local_folder
from tunefront.bench.models import checkpoints
from tunefront.bench.records import Record
from tunefront.bench.records.io import CorruptRecord, read_record
from tunefront.bench.records.ordinary import Unreadable, is_sha256
from tunefront.bench.records.store import Store

_AGAIN = "run the same cells with `tunefront run --keep checkpoints` (or keep=['checkpoints'])"


@dataclass(frozen=True)
class StoredCheckpoint:
    """A kept checkpoint: where it was found, its content, its manifest, and the seeds of frozen random numbers."""

    source: str
    content: bytes
    manifest: Manifest
    seeds: dict[str, int]

    @cached_property
    def sha256(self) -> str:
        """sha256 of the file, under which a record names it."""
        return hashlib.sha256(self.content).hexdigest()


def find_checkpoint(place: str) -> StoredCheckpoint:
    """The checkpoint at `place`: a safetensors file, a record (`results/records/KEY.json`, also of results at a URL),
    or an exported folder with one. UserError if there is none, or if it cannot be used."""
    if local_folder(place) is None:
        return _at_url(place)
    path = expanded(place)
    if path.suffix == ".json":
        return _of_record(path)
    if path.is_dir():
        found = path / FILE_NAME
        if not found.is_file():
            raise UserError(_advice(path))
        path = found
    stored = _of_file(path)
    named = _named_digest(path)
    if named is not None and named != stored.sha256:
        raise UserError(
            f"{path} is not the file that was written: its content has another sha256 than was noted then "
            f"({named[:12]}...). Export it again, or train again with --keep checkpoints."
        )
    return stored


def _at_url(url: str) -> StoredCheckpoint:
    """The checkpoint of a record at a URL."""
    results, _, name = url.rpartition("/records/")
    if not results or not name.endswith(".json"):
        raise UserError(f"{url} is no record; give the URL of one, RESULTS/records/KEY.json, or a local file.")
    store = Store(results)
    record = store.read(name.removesuffix(".json"))
    content = store.checkpoint(record)
    if record is None or content is None:
        raise UserError(f"{url} has no checkpoint: {'it is not there' if record is None else _why_not_kept(record)}.")
    return _parsed(content, f"the checkpoint of {url}")


def _named_digest(path: Path) -> str | None:
    """The sha256 that a file has by its name, or by the manifest beside it in an exported folder; None if none says."""
    if is_sha256(path.stem):
        return path.stem
    try:
        beside = json.loads((path.parent / MANIFEST_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    digest = beside.get("checkpoint_sha256") if isinstance(beside, dict) else None
    return digest if path.name == FILE_NAME and isinstance(digest, str) else None


MANIFEST_NAME = "manifest.json"
"""The name of the manifest in an exported folder."""
FILE_NAME = "checkpoint.safetensors"
"""The name of the checkpoint in an exported folder."""


def _advice(folder: Path) -> str:
    """What to give instead of a folder."""
    records = sorted(folder.glob("records/*.json"))
    if records:
        return (
            f"{folder} is a results folder with {len(records)} records; give the record whose checkpoint is meant, "
            f"such as {records[0]}."
        )
    return (
        f"{folder} has no {FILE_NAME}; give a record (results/records/KEY.json), its file in results/checkpoints, or a "
        "folder that `tunefront export --to safetensors` wrote."
    )


def _of_record(path: Path) -> StoredCheckpoint:
    try:
        record = read_record(path)
    except FileNotFoundError as error:
        raise UserError(f"there is no record {path}, seen from {Path.cwd()}.") from error
    except (CorruptRecord, Unreadable, OSError) as error:
        raise UserError(f"the record {path} cannot be used: {error}") from error
    content = Store(path.parent.parent).checkpoint(record)
    if content is None:
        raise UserError(f"{path} has no checkpoint: {_why_not_kept(record)}.")
    return _parsed(content, f"the checkpoint of {path}")


def _why_not_kept(record: Record) -> str:
    named = f"{record.label} on {record.backbone}, {record.task}"
    if record.status != "ok":
        return f"its cell ({named}) was {record.status}"
    if record.storage.checkpoint_sha256 is None:
        return f"none was kept when {named} ran; {_AGAIN}"
    return f"the file checkpoints/{record.storage.checkpoint_sha256}.safetensors is missing; {_AGAIN}"


def _of_file(path: Path) -> StoredCheckpoint:
    checkpoints.header(str(path))  # UserError if it is no safetensors file
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}).") from error
    return _parsed(content, str(path))


def _parsed(content: bytes, source: str) -> StoredCheckpoint:
    metadata = checkpoints.metadata_of(content)
    text = metadata.get(checkpoints.MANIFEST)
    if text is None:
        raise UserError(
            f"{source} has no manifest, which says what method, task and backbone its tensors belong to: it is a step "
            f"of a stream, or was not written by `tunefront run --keep checkpoints`. To keep one, {_AGAIN}."
        )
    return StoredCheckpoint(source, content, Manifest.parse(text, source), checkpoints.Header({}, metadata).seeds)
