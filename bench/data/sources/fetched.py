"""What tasks made from fetched archives share: splits by hash, and entries of the cache that name their archive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tunefront.bench.data import hashing
from tunefront.bench.data.archives.catalog import Archive
from tunefront.bench.data.cache import load_or_make, task_path
from tunefront.bench.data.hashing import code_digest, fraction, split_of

if TYPE_CHECKING:
    from tunefront.bench.data.task import Row, Task

SHARES = {"train": 0.6, "validation": 0.75, "test": 1.0}
"""Upper bound of the hash of what stays together, for each split."""


def in_splits(rows: Mapping[str, tuple[str, Row]]) -> dict[str, list[Row]]:
    """The rows of each split, shuffled by hash: normalised text -> (what stays together, row)."""
    splits: dict[str, list[Row]] = {split: [] for split in SHARES}
    for text in sorted(rows, key=lambda text: (fraction(f"order {text}"), text)):
        together, row = rows[text]
        splits[split_of(together, SHARES)].append(row)
    return splits


def cached(name: str, archive: Archive, code: str, make: Callable[[], Task]) -> Task:
    """A task from the cache, else made and kept there under the sha256 of its archive and of the code that makes it.

    Args: code, the `__file__` of the module that makes it. Errors: as in `make`.
    """
    made_from = {"archive": archive.sha256, "code": code_digest([code, __file__, hashing.__file__])}
    return load_or_make(task_path(name, made_from), make)


def origin_of(archive: Archive) -> tuple[str, ...]:
    """The package and version that rows come from."""
    return (f"{archive.project} {archive.version}",)
