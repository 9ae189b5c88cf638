"""Merges the records of several results folders, so that each cell counts once."""

from __future__ import annotations

import datetime
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunefront.bench.errors import UserError
from tunefront.bench.files import local_folder, without_slash
from tunefront.bench.records.collection import Records, Stored
from tunefront.bench.records.io import load, log_left_out
from tunefront.bench.records.kept import find_missing
from tunefront.bench.records.ordinary import printable_path
from tunefront.bench.records.record import ROUNDING, Record

log = logging.getLogger("tunefront")

RANKS = ("failed", "skipped", "ok")
"""Of records with the same key, an ok one is used before a skipped one, and that before a failed one."""
NEVER = datetime.datetime.min.replace(tzinfo=datetime.UTC)


def load_records(*folders: str | Path) -> Records:
    """All records of one or several results folders or URLs, by key within each; none if there is no such folder.

    A cell that is in several folders counts once: see `merge_folders`. A folder that is given twice, also through a
    link, is read once. `.to_frame()` gives the records as a pandas table. Files that are incomplete, unreadable or
    written by another version of tunefront are skipped and left unchanged; the log has a line per kind. Errors:
    UserError if a folder or URL cannot be read, or if none is given.
    """
    if not folders:
        raise UserError("no results folder is given; give the folder that `tunefront run --out` wrote.")
    records = merge_folders({folder: log_left_out(load(folder)) for folder in distinct(folders)})
    overlap = find_overlap(records)
    if overlap.warning:
        log.warning("%s", overlap.warning)
    elif overlap.note:
        log.info("%s", overlap.note)
    return records


def load_plans(*folders: str | Path) -> list[Record]:
    """All planned records of results folders, by the key of their cell, the newest of each; otherwise as
    `load_records`."""
    stored = [Stored(folder, plan) for folder in distinct(folders) for plan in log_left_out(load(folder, kind="plans"))]
    return list(merge(sorted(stored, key=lambda plan: written_at(plan.record), reverse=True)))


def merge_folders(records: Mapping[str, Sequence[Record]]) -> Records:
    """The records of several folders (folder or URL -> its records) with one record per key.

    A key is a hash of everything that can change the numbers, so two records with the same key are the same run, not
    two. The ok one is used; of several, one whose predictions are complete; of these, the newest. Equal scores need no
    choice. If scores differ, two machines rounded differently, or code ran that no fingerprint covers: neither is a
    mistake in the call, and no other filter could separate the two, so the report is drawn and warns
    (`find_overlap`). UserError if a URL cannot be read.
    """
    stored = [Stored(folder, record) for folder, folder_records in records.items() for record in folder_records]
    seen: dict[str, int] = {}
    for copy in stored:
        seen[copy.record.key] = seen.get(copy.record.key, 0) + 1
    incomplete: set[tuple[str, str]] = set()
    for folder, folder_records in records.items():
        repeated = [record for record in folder_records if seen[record.key] > 1]
        if repeated:
            incomplete |= {(folder, record.key) for record in find_missing(folder, repeated).predictions}

    def rank(copy: Stored) -> tuple[int, bool, datetime.datetime]:
        whole = (copy.folder, copy.record.key) not in incomplete
        return _rank(copy.record), whole, written_at(copy.record)

    best: dict[str, list[Stored]] = {}
    for copy in stored:
        best.setdefault(copy.record.key, []).append(copy)
    return merge(copy for copies in best.values() for copy in sorted(copies, key=rank, reverse=True))


def merge(stored: Iterable[Stored]) -> Records:
    """One record per key, the first of each; the others follow in `others`, in their order."""
    kept: dict[str, Stored] = {}
    others = [copy for copy in stored if kept.setdefault(copy.record.key, copy) is not copy]
    places = {key: copy.folder for key, copy in kept.items()}
    return Records((copy.record for copy in kept.values()), places, others)


@dataclass(frozen=True)
class Overlap:
    """The cells that are in several folders: what to say about them. Empty texts if there are none."""

    note: str = ""
    warning: str = ""


def find_overlap(records: Records) -> Overlap:
    """What to say about cells that are in several folders, and about those with different scores."""
    kept = {record.key: record for record in records}
    shared = dict.fromkeys(other.record.key for other in records.others)
    if not shared:
        return Overlap()
    note = f"{_cells(len(shared))} in several folders; one record of each is used."
    gaps: dict[str, tuple[float, str]] = {}
    for other in records.others:
        if (gap := score_gap(kept[other.record.key], other.record)) is not None:
            gaps[other.record.key] = max(gap, gaps.get(other.record.key, gap), key=lambda pair: pair[0])
    if not gaps:
        return Overlap(note)
    used: dict[str, int] = {}
    for key in gaps:
        used[records.places[key]] = used.get(records.places[key], 0) + 1
    listed = ", ".join(f"{printable_path(folder)}: {count}" for folder, count in used.items())
    largest, metric = max(gaps.values(), key=lambda pair: pair[0])
    by = f", by up to {largest:.2g} ({metric})" if largest < float("inf") else ""
    return Overlap(
        note,
        f"{_cells(len(gaps))} in several folders with different scores{by}. The newest complete record of each is used "
        f"({listed}). Machines may round differently; a large difference means that one of them ran other code. To use "
        "the records of one folder alone: --where results=FOLDER.",
    )


def score_gap(one: Record, other: Record) -> tuple[float, str] | None:
    """The largest difference between the test scores of two ok records, and its metric; None if all are equal, or if
    one record is not ok. A score that only one of them has differs by infinity."""
    if one.status != "ok" or other.status != "ok":
        return None
    first, second = one.scores.test or {}, other.scores.test or {}
    gaps = [(_gap(first.get(name), second.get(name)), name) for name in dict.fromkeys([*first, *second])]
    return max((pair for pair in gaps if pair[0] > ROUNDING), key=lambda pair: pair[0], default=None)


def written_at(record: Record) -> datetime.datetime:
    """When a record was written; a time before all others if it does not say so."""
    try:
        moment = datetime.datetime.fromisoformat(record.environment.created_at or "")
    except ValueError:
        return NEVER
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=datetime.UTC)


def distinct(folders: Iterable[str | Path]) -> list[str]:
    """The folders and URLs, each once, as given first. UserError for a blank or invalid path."""
    by_identity: dict[object, str] = {}
    for folder in folders:
        by_identity.setdefault(identity(folder), str(folder))
    return list(by_identity.values())


def identity(location: str | Path) -> object:
    """What two spellings of one results folder have in common: the folder itself, for links, `.` and a slash at the
    end; for a URL its text without such a slash. UserError for a blank or invalid path."""
    folder = local_folder(location)
    if folder is None:
        return without_slash(str(location))
    try:
        state = os.stat(folder)
    except (OSError, ValueError):  # not there yet: its path has to do
        return os.path.abspath(folder)
    return state.st_dev, state.st_ino


def _rank(record: Record) -> int:
    return RANKS.index(record.status) if record.status in RANKS else -1


def _gap(first: float | None, second: float | None) -> float:
    if first is None or second is None or first != first or second != second:
        same = (first is None or first != first) and (second is None or second != second)
        return 0.0 if same else float("inf")
    return abs(first - second)


def _cells(count: int) -> str:
    return f"{count:,} cell is" if count == 1 else f"{count:,} cells are"
