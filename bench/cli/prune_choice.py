"""What `tunefront prune` deletes: records that failed or have a newer one, and predictions of no record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunefront.bench.cli.report import records_of
from tunefront.bench.errors import ErrorCollector

if TYPE_CHECKING:
    from tunefront.bench.records import Record
    from tunefront.bench.records.deletion import Deletion, Part
    from tunefront.bench.records.store import Store

FAILED, SUPERSEDED, OTHER_DATA = "failed", "superseded", "other data"


@dataclass(frozen=True)
class Candidate:
    """A record to delete: its printable form, with unified names; why, as kinds and in words; its files; and the key
    of the newer record of its cell, if there is one."""

    shown: Record
    kinds: frozenset[str]
    why: str
    deletion: Deletion
    newer: str | None


@dataclass(frozen=True)
class Pruning:
    """What is to be deleted from one results folder: records, and predictions of no record. `kept` counts records that
    only --other-data deletes."""

    store: Store
    candidates: tuple[Candidate, ...]
    leftovers: tuple[Part, ...]
    kept: int
    total: int
    bytes: int

    @property
    def amount(self) -> str:
        """What would be deleted, in words."""
        from tunefront.bench.cli.progress import plural

        n_records = len(self.candidates)
        them = "it" if n_records == 1 else "them"
        parts = [f"{n_records} of {plural(self.total, 'record')} and what belongs to {them}"] if n_records else []
        if self.leftovers:
            parts.append(f"{plural(len(self.leftovers), 'file')} without a record")
        return " and ".join(parts)


def look(results: Sequence[str], kinds: set[str], where: list[str] | None, with_leftovers: bool) -> list[Pruning]:
    """What there is to delete in each folder. UserError if one has no records, or if none has the values of `where`."""
    from tunefront.bench.records.deletion import file_sizes, leftovers
    from tunefront.bench.records.merge import distinct
    from tunefront.bench.records.store import Store
    from tunefront.reports.compare.aliases import unify_names
    from tunefront.reports.compare.filters import select
    from tunefront.reports.compare.printable import make_printable

    by_folder: dict[str, list[Record]] = {}
    wrong = ErrorCollector()
    for folder in distinct(results):
        with wrong.collect():
            by_folder[folder] = records_of(folder)
    wrong.raise_if_any()
    unified = {folder: unify_names(records) for folder, records in by_folder.items()}
    shown = {folder: make_printable(records) for folder, records in unified.items()}
    selected = {id(record) for record in select([record for group in shown.values() for record in group], where)}
    plans = []
    for folder, records in by_folder.items():
        store = Store(folder)
        found = [found for found in _candidates(records, unified[folder], shown[folder]) if id(found.shown) in selected]
        candidates = tuple(candidate for candidate in found if candidate.kinds & kinds)
        sizes = file_sizes(store)
        rest = tuple(leftovers(store, sizes)) if with_leftovers else ()
        freed = sum(candidate.deletion.size(sizes) for candidate in candidates)
        freed += sum(sizes[part] for part in rest)
        kept = sum(candidate.kinds == {OTHER_DATA} for candidate in found) if OTHER_DATA not in kinds else 0
        plans.append(Pruning(store, candidates, rest, kept, len(records), freed))
    return plans


def _candidates(records: Sequence[Record], unified: Sequence[Record], shown: Sequence[Record]) -> list[Candidate]:
    """The records that are failed or have a newer one. `unified` are the same with unified names, `shown` these in
    printable form: two names that print alike are still two."""
    from tunefront.bench.records.deletion import Deletion
    from tunefront.reports.compare.superseded import find_superseded

    replaced = {entry.record.key: entry for entry in find_superseded(unified)}
    candidates = []
    for original, record in zip(records, shown, strict=True):
        entry = replaced.get(original.key)
        if entry is not None and (not entry.is_other_data or record.status != "failed"):
            kinds = {OTHER_DATA if entry.is_other_data else SUPERSEDED, *({record.status} & {FAILED})}
            why = f"has a newer one: {'; '.join(entry.changes) or 'only its key differs'}"
            if record.status != "ok":
                why = f"{record.status}, has a result now: {record.reason}"
            candidates.append(Candidate(record, frozenset(kinds), why, Deletion(original, True), entry.newer.key))
        elif record.status == "failed":
            candidates.append(
                Candidate(record, frozenset({FAILED}), f"failed: {record.reason}", Deletion(original, False), None)
            )
    return candidates
