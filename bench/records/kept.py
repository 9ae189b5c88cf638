"""Whether what was recorded is still there: records on the disk, and whole predictions beside those that are ok."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunefront.bench.files import url_errors
from tunefront.bench.records.ordinary import ends, listed
from tunefront.bench.records.record import Record
from tunefront.bench.records.store import PARQUET, Store, whole_parquet

NAMED = 3
"""Cells that a line names; the rest is counted."""


@dataclass(frozen=True)
class Lost:
    """Records that are on the disk no more, and ok ones whose predictions are missing or not whole."""

    location: str
    total: int
    records: tuple[Record, ...]
    predictions: tuple[Record, ...]

    @property
    def lines(self) -> list[str]:
        """What to tell a person, a line each; nothing where all is there."""
        found = []
        if self.records:
            found.append(
                f"only {self.total - len(self.records):,} of {self.total:,} records are in {self.location}/records: "
                f"{_cells(self.records)} {_are(self.records)} gone, as where files were deleted while cells ran. The "
                "same command runs what is gone again."
            )
        return found + self.without_predictions

    @property
    def without_predictions(self) -> list[str]:
        """The line about predictions, none where they are all there."""
        if not self.predictions:
            return []
        return [
            f"no whole predictions are in {self.location}/predictions for {_cells(self.predictions)}: the scores "
            "stand, but cannot be compared row by row. To run such a cell again, delete its record (the first is "
            f"records/{self.predictions[0].key}.json)."
        ]


def lost(location: str, records: Sequence[Record]) -> Lost:
    """Which of these records, and of their predictions, are not in a results folder or behind a URL any more.

    Only the ends of a file are read, of predictions those and the footer, behind a URL the size alone. UserError if it
    cannot be read.
    """
    store = Store(location)
    known = _sizes(store, "records", ".json")
    sizes = _sizes(store, "predictions", ".parquet")
    there = {record.key for record in records if record.key in known and _is_json(store, record.key)}
    gone = tuple(record for record in records if record.key not in there)
    kept = [record for record in records if record.status == "ok" and record.key in there]
    return Lost(
        store.location, len(records), gone, tuple(record for record in kept if not _whole(store, record, sizes))
    )


def _is_json(store: Store, key: str) -> bool:
    """Whether a record starts and ends as one; behind a URL it does if it is there."""
    if store.folder is None:
        return True
    start, end = ends(store.folder / "records" / f"{key}.json", 8)
    return start.startswith(b"{") and end.rstrip().endswith(b"}")


def _whole(store: Store, record: Record, sizes: dict[str, int | None]) -> bool:
    if store.folder is not None:
        path = store.folder / "predictions" / f"{record.key}.parquet"
        return record.key in sizes and whole_parquet(path, record.data.n_test)
    size = sizes.get(record.key, 0)
    return size is None or size > 2 * len(PARQUET)  # None: a file system that does not tell


def _sizes(store: Store, room: str, ending: str) -> dict[str, int | None]:
    """Key -> size, of the files of a room; local ones are listed only, so that their size is None."""
    if store.folder is not None:
        return {path.name.removesuffix(ending): None for path in listed(store.folder / room, ending)}
    import fsspec

    with url_errors(store.location, "read"):
        files, place = fsspec.core.url_to_fs(store.location)
        try:
            entries = files.ls(f"{place.rstrip('/')}/{room}", detail=True)
        except FileNotFoundError:
            return {}
    names = [(str(entry["name"]).rsplit("/", 1)[-1], entry.get("size")) for entry in entries]
    return {name.removesuffix(ending): size for name, size in names if name.endswith(ending)}


def _cells(records: Sequence[Record]) -> str:
    """The first few cells by name, and how many more."""
    named = [f"{record.label} on {record.task}, seed {record.seed}" for record in records[:NAMED]]
    more = [f"{len(records) - NAMED:,} more"] if len(records) > NAMED else []
    return "; ".join([*named, *more])


def _are(records: Sequence[Record]) -> str:
    return "is" if len(records) == 1 else "are"
