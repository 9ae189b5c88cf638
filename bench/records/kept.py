"""Checks that records are still on the disk, and that those with status ok have complete predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunefront.bench.records.ordinary import list_files, read_ends
from tunefront.bench.records.record import Record
from tunefront.bench.records.store import PARQUET, Store, whole_parquet

NAMED = 3
"""The most cells named in a line; further ones are counted."""


@dataclass(frozen=True)
class MissingFiles:
    """Records that are missing from the disk, and ok records with missing or incomplete predictions."""

    location: str
    total: int
    records: tuple[Record, ...]
    predictions: tuple[Record, ...]

    @property
    def lines(self) -> list[str]:
        """A message for each kind of loss; empty if nothing is missing."""
        messages = []
        if self.records:
            messages.append(
                f"only {self.total - len(self.records):,} of {self.total:,} records are in {self.location}/records: "
                f"{_cells(self.records)} {_are(self.records)} missing; files may have been deleted while cells ran. "
                "The same command runs the missing cells again."
            )
        return messages + self.without_predictions

    @property
    def without_predictions(self) -> list[str]:
        """The message about predictions; empty if none are missing."""
        if not self.predictions:
            return []
        return [
            f"{self.location}/predictions has no complete predictions for {_cells(self.predictions)}: their scores are "
            "valid, but cannot be compared row by row. To run such a cell again, delete its record (the first is "
            f"records/{self.predictions[0].key}.json)."
        ]


def find_missing(location: str, records: Sequence[Record]) -> MissingFiles:
    """The records, and predictions of records, that are missing from a results folder or URL.

    It reads only the ends of a file, for predictions also the footer, and for a URL only the size. At a URL, records
    that are not listed are asked for by name. UserError if the location cannot be read.
    """
    store = Store(location)
    listed_records = _sizes(store, "records", ".json")
    sizes = _sizes(store, "predictions", ".parquet")
    present = {record.key for record in records if record.key in listed_records and _is_json(store, record.key)}
    if store.folder is None:  # a server may list an object later than it has it
        unlisted = [record.key for record in records if record.key not in present]
        found = store.remote.at_once(lambda key: store.remote.has(f"records/{key}.json"), unlisted)
        present |= {key for key, is_there in zip(unlisted, found, strict=True) if is_there}
    missing = tuple(record for record in records if record.key not in present)
    kept = [record for record in records if record.status == "ok" and record.key in present]
    return MissingFiles(
        store.location, len(records), missing, tuple(record for record in kept if not _whole(store, record, sizes))
    )


def _is_json(store: Store, key: str) -> bool:
    """Whether a record file starts and ends like JSON; at a URL, whether it exists."""
    if store.folder is None:
        return True
    start, end = read_ends(store.folder / "records" / f"{key}.json", 8)
    return start.startswith(b"{") and end.rstrip().endswith(b"}")


def _whole(store: Store, record: Record, sizes: dict[str, int | None]) -> bool:
    if store.folder is not None:
        path = store.folder / "predictions" / f"{record.key}.parquet"
        return record.key in sizes and whole_parquet(path, record.data.n_test)
    size = sizes.get(record.key, 0)
    return size is None or size > 2 * len(PARQUET)  # None: the file system does not report sizes


def _sizes(store: Store, subfolder: str, ending: str) -> dict[str, int | None]:
    """Key -> size of the files in a subfolder; None for local files, which are only listed."""
    if store.folder is not None:
        return {path.name.removesuffix(ending): None for path in list_files(store.folder / subfolder, ending)}
    listed = store.remote.listing(subfolder).items()
    return {name.removesuffix(ending): file.size for name, file in listed if name.endswith(ending)}


def _cells(records: Sequence[Record]) -> str:
    """The first few cells by name, and the number of further ones."""
    named = [
        f"{record.label} on {record.task}, draw {record.draw_seed}, seed {record.seed}" for record in records[:NAMED]
    ]
    more = [f"{len(records) - NAMED:,} more"] if len(records) > NAMED else []
    return "; ".join([*named, *more])


def _are(records: Sequence[Record]) -> str:
    return "is" if len(records) == 1 else "are"
