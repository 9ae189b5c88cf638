"""Which runs of the old and the new results can be compared, why others cannot, and what changed between the two.

The recipe, the method's source, the backbone's weights, prompts and package versions may differ: they are what is being
tested. What is measured, and how, may not: the task's rows, the metric, the dtype, the device and the run settings. Of
these, all that does not change which rows are scored can be allowed by name, where it is the change under test.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

from tunefront.bench.errors import UserError, unknown
from tunefront.reports.compare.checks import EVERYWHERE, INCIDENTAL, PER_TASK, PROMPTED, group_by, settings_of
from tunefront.reports.compare.factors import rows_used
from tunefront.reports.compare.filters import fields_of
from tunefront.reports.names import natural_key
from tunefront.reports.units import number

if TYPE_CHECKING:
    from tunefront.bench.records import Record
    from tunefront.reports.compare.difference.sides import Place, Side

MEASURED = (*PER_TASK, "schema_version", "eval_rows")
"""Fields that say what is measured: results that differ in them are never compared."""


@dataclass(frozen=True)
class Pair:
    """The old and the new runs of one method, on the tasks where they can be compared."""

    label: str
    place: Place
    old: Mapping[str, Sequence[Record]]
    new: Mapping[str, Sequence[Record]]

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks, in order."""
        return tuple(self.old)

    @property
    def metric(self) -> str:
        """The headline metric."""
        return next(iter(self.old.values()))[0].scores.headline or ""


@dataclass(frozen=True)
class Refused:
    """Runs that are not compared, because a field differs that must not: its old and new values."""

    field: str
    old: str
    new: str
    label: str
    task: str


@dataclass(frozen=True)
class Lost:
    """A method that had a score on a task and has a run there now that has none. `reason`: why, of the first."""

    label: str
    place: Place
    task: str
    runs: int
    status: str
    reason: str


@dataclass(frozen=True)
class Paired:
    """All pairs, and what is in none. `only_old`, `only_new`: labels of methods, with their tasks if they have others
    in both."""

    pairs: tuple[Pair, ...]
    refused: tuple[Refused, ...]
    lost: tuple[Lost, ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]


def pair(old: Side, new: Side, allowed: Collection[str] = ()) -> Paired:
    """The methods of both sides, per metric.

    `allowed`: fields that may differ. Errors: UserError for one that is not known, or that says what is measured.
    """
    _check_allowed(allowed, [*old.records, *new.records])
    pairs: list[Pair] = []
    refused: list[Refused] = []
    for place in (place for place in old.rows if place in new.rows):
        for label in (label for label in old.rows[place] if label in new.rows[place]):
            before, after = old.rows[place][label], new.rows[place][label]
            comparable = []
            for task in sorted(set(before) & set(after)):
                found = _differing(before[task], after[task], allowed)
                refused += [Refused(*values, label, task) for values in found]
                comparable += [] if found else [task]
            by_metric = group_by(comparable, lambda task, runs=before: runs[task][0].scores.headline or "")  # type: ignore[misc]
            pairs += [
                Pair(label, place, {task: before[task] for task in tasks}, {task: after[task] for task in tasks})
                for tasks in by_metric.values()
            ]
    lost = tuple(_lost(old, new))
    gone = {(one.label, one.place, one.task) for one in lost}
    return Paired(tuple(pairs), tuple(refused), lost, tuple(_only(old, new, gone)), tuple(_only(new, old, set())))


def what_changed(pairs: Sequence[Pair]) -> dict[str, list[str]]:
    """Each difference of the compared runs that may matter, in words, with the methods that it concerns."""
    found: dict[str, list[str]] = {}
    for one in pairs:
        old = [record for runs in one.old.values() for record in runs]
        new = [record for runs in one.new.values() for record in runs]
        for text in _changed_texts(old, new):
            if one.label not in found.setdefault(text, []):
                found[text].append(one.label)
    return found


def _changed_texts(old: Sequence[Record], new: Sequence[Record]) -> list[str]:
    texts = []
    for group in map(attrgetter, ("recipe", "settings", "versions")):
        names = sorted({name for record in (*old, *new) for name in group(record)} - INCIDENTAL)
        for name in names:
            before, after = (sorted({number(group(record).get(name)) for record in side}) for side in (old, new))
            if before != after:
                texts.append(f"{name} {', '.join(before)} → {', '.join(after)}")
    for name in sorted({name for record in (*old, *new) for name in record.fingerprints}):
        sides = [{record.fingerprints[name] for record in side if name in record.fingerprints} for side in (old, new)]
        if all(sides) and sides[0] != sides[1] and name != "task":
            texts.append(_FINGERPRINTS.get(name, f"the fingerprint of {name}"))
    if _rows_used(old) != _rows_used(new):
        texts.append(f"training rows {_rows_used(old)} → {_rows_used(new)}")
    return texts


_FINGERPRINTS = {
    "method": "the source of the method",
    "backbone": "the files of the backbone",
    "harness": "the code that trains and scores",
    "sites": "the sites of the architecture",
    "template": "the prompt",
}


def _rows_used(records: Sequence[Record]) -> str:
    return ", ".join(sorted({number(rows_used(record)) for record in records}, key=natural_key))


def _differing(old: Sequence[Record], new: Sequence[Record], allowed: Collection[str]) -> list[tuple[str, str, str]]:
    """The fields that differ and must not, with their values."""
    prompted = any(record.template is not None for record in (*old, *new))
    settings = [name for name in settings_of([*old, *new]) if prompted or name not in PROMPTED]
    sides = [[fields_of(record) for record in side] for side in (old, new)]
    found = []
    for name in dict.fromkeys([*MEASURED, *EVERYWHERE, "pooling", *settings]):
        before, after = (_values(side, name) for side in sides)
        if before != after and name not in allowed:
            found.append((name, before, after))
    return found


def _values(records: Sequence[Mapping[str, object]], field: str) -> str:
    values = {number(fields.get(field)) for fields in records}
    return ", ".join(sorted(value[:12] if field.endswith("_fingerprint") else value for value in values))


def _check_allowed(allowed: Collection[str], records: Sequence[Record]) -> None:
    known = {*EVERYWHERE, "pooling", *settings_of(records)} - set(MEASURED)
    for name in allowed:
        if name in MEASURED:
            raise UserError(
                f"--allow {name}: results that differ in {name} were scored on other rows or in another way, so that "
                f"their difference says nothing; fields that may be allowed are {', '.join(sorted(known))}."
            )
        if name not in known:
            raise UserError(f"--allow: {unknown('field', name, known)}")


def _lost(old: Side, new: Side) -> list[Lost]:
    """The methods that have more runs without a score than before, on tasks where they had one."""
    before = group_by(old.lost, _where)
    found = []
    for where, runs in group_by(new.lost, _where).items():
        label, place, task = where
        had = any(known.label == label for known in _scored(old, place, task))
        if had and len(runs) > len(before.get(where, ())):
            status = "no score" if runs[0].status == "ok" else runs[0].status
            found.append(Lost(label, place, task, len(runs), status, runs[0].reason or ""))
    return found


def _where(record: Record) -> tuple[str, Place, str]:
    return record.label, (record.backbone, record.shots), record.task


def _scored(side: Side, place: Place, task: str) -> list[Record]:
    return [record for by_task in side.rows.get(place, {}).values() for record in by_task.get(task, ())]


def _only(side: Side, other: Side, gone: Collection[tuple[str, Place, str]]) -> list[str]:
    """The methods and tasks that one side alone has scores of."""
    found = []
    for place, methods in side.rows.items():
        backbone, shots = place
        where = f" on {backbone}" if len({*side.rows, *other.rows}) > 1 else ""
        where += f" with {shots} rows" if where and shots is not None else ""
        for label, tasks in methods.items():
            theirs = other.rows.get(place, {}).get(label, {})
            alone = [task for task in sorted(tasks) if task not in theirs and (label, place, task) not in gone]
            if alone:
                found.append(f"{label}{where}" + (f" ({', '.join(alone)})" if theirs else ""))
    return found
