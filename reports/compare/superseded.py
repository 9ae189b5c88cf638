"""Records that a newer record of the same cell replaces, for example after an upgrade."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunefront.bench.records import EARLIER
from tunefront.bench.records.merge import written_at
from tunefront.reports.compare.checks import group_by

if TYPE_CHECKING:
    from tunefront.bench.records import Record

CONTENT = ("task", "backbone", "draw")
"""Fingerprints of what only has a name in the record: two files may have one name."""
CHANGED = {
    "method": "the method's source",
    "backbone": "the backbone's files",
    "task": "the task's rows",
    "sites": "the architecture's sites",
    "harness": "the code of the harness",
    "template": "the template",
    "draw": "the drawn rows",
}
"""Fingerprint -> what differs, in words."""


@dataclass(frozen=True)
class Superseded:
    """A record, and a newer ok record of the same cell."""

    record: Record
    newer: Record

    @property
    def is_other_data(self) -> bool:
        """Whether the two were made from other rows or weights under one name, or by methods from two files. A failed
        record may lack a fingerprint."""
        then, now = self.record.fingerprints, self.newer.fingerprints
        names = (name for name in then if name in CONTENT or name.startswith(EARLIER))
        return self.record.method_file != self.newer.method_file or any(
            name in now and then[name] != now[name] for name in names
        )

    @property
    def changes(self) -> list[str]:
        """What differs between the two, in words; empty if only the key does."""
        then, now = self.record, self.newer
        versions = [
            f"{name} {old or 'absent'}, now {new or 'absent'}" for name, old, new in _pairs(then.versions, now.versions)
        ]
        files = [CHANGED.get(name, name) for name, _, _ in _pairs(then.fingerprints, now.fingerprints)]
        origin = ["the file of the method"] if then.method_file != now.method_file else []
        return [*versions, *files, *origin]


def find_superseded(records: Iterable[Record]) -> list[Superseded]:
    """The records of any status for which a newer ok record of the same cell exists, each with the newest of these: of
    those from the same rows and weights, if there are any.

    The cell is everything that its author chose: method, backbone, task, shots, template, draw, seed, recipe and
    settings, threads and device among them, and the step of a stream. Names must be unified before. A record that does
    not say when it was written, or that was written in the same second, is not taken to be newer.
    """
    found = []
    for group in group_by(records, chosen_fields).values():
        ok = sorted((record for record in group if record.status == "ok"), key=written_at)
        for record in group if ok else ():
            newer = [
                Superseded(record, other)
                for other in ok
                if written_at(other) > written_at(record) and _same_rows(record, other)
            ]
            if newer:
                found.append(max(newer, key=lambda entry: (not entry.is_other_data, written_at(entry.newer))))
    return found


def without_mended(records: Sequence[Record]) -> tuple[list[Record], str]:
    """The records without failed and skipped ones whose cell has a newer ok record, and a sentence with their number.
    The sentence is empty if there are none."""
    if all(record.status == "ok" for record in records):
        return list(records), ""
    mended = {id(entry.record) for entry in find_superseded(records) if entry.record.status != "ok"}
    if not mended:
        return list(records), ""
    verb, cells = ("is", "its cell has") if len(mended) == 1 else ("are", "their cells have")
    noun = "record" if len(mended) == 1 else "records"
    note = f"{len(mended):,} failed or skipped {noun} {verb} left out: {cells} a newer result."
    return [record for record in records if id(record) not in mended], note


def chosen_fields(record: Record) -> tuple[object, ...]:
    """What the author of a cell chose. Unlike the folder of published draws, it is known before a cell runs, so failed
    and skipped records have it too."""
    where = (record.backbone, record.task, record.shots, record.template, record.draw_seed, record.seed)
    stream = record.stream
    step = (stream.way, stream.earlier, stream.earlier_templates, stream.replay_share)
    return (record.method, record.label, *where, step, _sorted(record.recipe), _sorted(record.settings))


def _same_rows(record: Record, newer: Record) -> bool:
    """Whether the drawn rows came from the same folder, as far as it is known: only ok records say it."""
    return record.status != "ok" or record.data.draw_source == newer.data.draw_source


def _sorted(fields: Mapping[str, object]) -> tuple[tuple[str, object], ...]:
    """The values as they are: a rounded one could make two cells one, and a deletion follows from it."""
    return tuple(sorted(fields.items(), key=lambda item: item[0]))


def _pairs(then: Mapping[str, str], now: Mapping[str, str]) -> list[tuple[str, str | None, str | None]]:
    names = dict.fromkeys([*then, *now])
    return [(name, then.get(name), now.get(name)) for name in names if then.get(name) != now.get(name)]
