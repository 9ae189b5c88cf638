"""Checks that records can be compared: records that differ in a field that matters are never drawn together."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from tunefront.bench.errors import UserError, UserErrors
from tunefront.reports.compare.filters import RESULTS, field_of
from tunefront.reports.names import make_visible
from tunefront.reports.units import number, plural

if TYPE_CHECKING:
    from tunefront.bench.records import Record

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

EVERYWHERE = ("schema_version", "device", "dtype")
"""Fields that must be equal in all records that are drawn together."""
INCIDENTAL = frozenset({"device", "threads", "removed_spans", "latency_queries"})
"""Settings that may differ. The record's own field is compared for the device; threads change seconds, not scores;
removed spans only add scores."""
PER_TASK = ("task_fingerprint", "headline", "eval_split", "task_kind")
PER_BACKBONE = ("backbone_fingerprint", "pooling")
FITTED = {"max_length": ("task",), "select": ("task", "shots")}
"""Settings that a suite fits to the rows of a task. They are compared on one task, and with one number of shots."""
SCOPED = frozenset({*PER_TASK, *PER_BACKBONE, "method_fingerprint", "template_fingerprint", "key"})
"""Fields that normally differ between tasks, backbones or methods."""
PROMPTED = frozenset({"normalization", "context_length"})
"""Settings that change numbers only if there is a prompt. They may differ between encoders."""
MACHINE = ("threads", "cpu_model", "device_name")
"""Fields that tell machines apart whose seconds differ. Hosts of one cluster often have the same processor: their names
do not count."""
TIMING = (*MACHINE, "concurrent_cells")
"""Seconds are compared only if all of these fields are equal."""
_ABSENT = object()


Places = Mapping[str, str]
"""Key of a record -> the results folder or URL that it was read from."""


def check(records: Sequence[Record], places: Places | None = None) -> None:
    """Raises UserErrors for all fields in which ok records must not differ, each with a filter that separates them.

    Settings may differ between backbones: these are never averaged or drawn in one plot. What is fitted to a task may
    differ between tasks. If `places` are several folders, the messages name the folders of each value.
    """
    places = _several(records, places)
    prompted = [record for record in records if record.template is not None]
    messages = [_difference_message(records, name, "", places) for name in EVERYWHERE]
    backbones = group_by(records, lambda record: record.backbone)
    for name in settings_of(records):
        messages += _setting_messages(records, name, places)
    for task, group in group_by(records, lambda record: record.task).items():
        messages += [_difference_message(group, field, f" of task {task}", places) for field in PER_TASK]
    for backbone, group in backbones.items():
        messages += [_difference_message(group, field, f" of backbone {backbone}", places) for field in PER_BACKBONE]
    for (task, template), group in group_by(prompted, lambda record: (record.task, record.template)).items():
        where = f" of template {template!r} of task {task}"
        messages.append(_difference_message(group, "template_fingerprint", where, places))
    for method, group in group_by(records, lambda record: record.method).items():
        messages.append(_difference_message(group, "method_fingerprint", f" of method {method}", places))
    mistakes = [text for text in messages if text]
    if not mistakes:
        mistakes = list(filter(None, [_duplicate_message(records, places)]))
    if mistakes:
        raise UserErrors(mistakes)


def settings_of(records: Iterable[Record]) -> list[str]:
    """The settings that change numbers."""
    return sorted({name for record in records for name in record.settings} - INCIDENTAL)


def differing_settings(records: Sequence[Record]) -> dict[str, list[str]]:
    """The settings in which the records differ, with their values."""
    values = {
        name: {number(record.settings.get(name)) for record in _affected_by(records, name)}
        for name in settings_of(records)
    }
    return {name: sorted(texts) for name, texts in values.items() if len(texts) > 1}


def find_timing_mismatch(records: Iterable[Record]) -> str | None:
    """Why the records' seconds cannot be compared: the first field that differs, with its values. None if they can."""
    uneven = _uneven_timing(records)
    return None if uneven is None else f"{uneven[0]} differs ({', '.join(sorted(uneven[1]))})"


def timing_filter(records: Iterable[Record]) -> str:
    """The option that keeps the records whose seconds have the most frequent value of the first field that differs;
    empty if none does."""
    uneven = _uneven_timing(records)
    if uneven is None:
        return ""
    field, values = uneven
    most = max(values, key=lambda value: (values[value], value))
    return f"--where {shlex.quote(f'environment.{field}={most}')}"


def same_machine(one: Record, other: Record) -> bool:
    """Whether two records are of machines whose seconds can be compared, which may have run several cells at a time."""
    return all(getattr(one.environment, field) == getattr(other.environment, field) for field in MACHINE)


def _uneven_timing(records: Iterable[Record]) -> tuple[str, Counter[str]] | None:
    """The first field in which the conditions of timing differ, with its values and their numbers of records."""
    timed = [record for record in records if record.seconds.train is not None or record.seconds.eval is not None]
    for field in TIMING:
        values = Counter(number(getattr(record.environment, field)) for record in timed)
        if len(values) > 1:
            return field, values
    return None


def cell_of(record: Record) -> tuple[object, ...]:
    """The identity of a record's cell among comparable records."""
    recipe = tuple(sorted((name, number(value)) for name, value in record.recipe.items()))
    where = (record.backbone, record.task, record.shots, record.data.draw_source, record.template)
    return (record.method, record.label, *where, record.draw_seed, record.seed, recipe)


def _several(records: Sequence[Record], places: Places | None) -> Places:
    """The places if the records are from several folders: only then do they tell records apart."""
    known = {} if places is None else {record.key: places[record.key] for record in records if record.key in places}
    return known if len(set(known.values())) > 1 else {}


def _setting_messages(records: Sequence[Record], setting: str, places: Places) -> list[str | None]:
    """What is wrong with a setting: for each group of records in which it must be equal."""
    scope = ("backbone", *FITTED.get(setting, ()))
    named = [name for name in scope if len({getattr(record, name) for record in records}) > 1]
    groups = group_by(_affected_by(records, setting), lambda record: tuple(getattr(record, name) for name in named))
    return [
        _difference_message(group, setting, "".join(map(_where, named, key)), places) for key, group in groups.items()
    ]


def _where(name: str, value: object) -> str:
    return {"backbone": f" of backbone {value}", "task": f" on task {value}"}.get(name, f" with {name}={number(value)}")


def _affected_by(records: Sequence[Record], setting: str) -> Sequence[Record]:
    """The records whose numbers depend on a setting."""
    return [record for record in records if record.template is not None] if setting in PROMPTED else records


def _difference_message(records: Sequence[Record], field: str, where: str, places: Places) -> str | None:
    by_value: dict[str, list[Record]] = {}
    for record in records:
        value = field_of(record, field, None if field not in SCOPED else _ABSENT)
        if value is not _ABSENT:
            by_value.setdefault(number(value), []).append(record)
    if len(by_value) < 2:
        return None
    return _message(field, by_value, where, places) + _prune_hint(field, records, places)


def _message(field: str, by_value: dict[str, list[Record]], where: str, places: Places) -> str:
    """The field that differs, and a filter that keeps the most frequent value, or the newest of equally frequent ones.

    A field of one task, backbone or method has other values elsewhere, so its filter excludes the other values. The
    folders of each value follow it; if they separate the values, leaving some out is another way.
    """
    short = {value: value[:12] if field.endswith("_fingerprint") else value for value in by_value}
    newest = {
        value: max(record.environment.created_at or "" for record in records) for value, records in by_value.items()
    }
    newest_value = max(by_value, key=lambda value: (len(by_value[value]), newest[value], value))
    conditions = [f"{field}={short[newest_value]}"]
    if where or field in SCOPED:
        conditions = [f"{field}!={short[value]}" for value in sorted(by_value) if value != newest_value]
    options = " ".join(f"--where {pair}" for pair in conditions)
    folders = {value: _folders(records, places) for value, records in by_value.items()}
    listed = ", ".join(sorted(short[value] + _in(folders[value]) for value in by_value))
    return (
        f"cannot plot these records together: {field}{where} differs ({listed}). Filter with {options}"
        f"{_or_leave_out(folders, newest_value)}."
    )


MOST_FOLDERS = 3
"""The most folders that a message names for a value; further ones are counted."""


def _folders(records: Sequence[Record], places: Places) -> list[str]:
    return list(dict.fromkeys(make_visible(places[record.key]) for record in records if record.key in places))


def _in(folders: Sequence[str]) -> str:
    """The folders of a value, in words; empty if there are none."""
    more = f" and {len(folders) - MOST_FOLDERS} more" if len(folders) > MOST_FOLDERS else ""
    return f" in {' and '.join(folders[:MOST_FOLDERS])}{more}" if folders else ""


def _or_leave_out(folders: Mapping[str, Sequence[str]], kept: str) -> str:
    """The advice to leave out the folders of other values, if none of these holds the kept value too."""
    others = dict.fromkeys(name for value, names in folders.items() if value != kept for name in names)
    if not others or len(others) > MOST_FOLDERS or set(others) & set(folders[kept]):
        return ""
    return f", or leave out {' and '.join(others)}"


def _duplicate_message(records: Sequence[Record], places: Places) -> str | None:
    """The error for cells that were recorded twice, for example after an upgrade: they would count as further seeds."""
    duplicates = [group for group in group_by(records, cell_of).values() if len(group) > 1]
    if not duplicates:
        return None
    versions = [*duplicates[0][0].versions, *(f"{name}_fingerprint" for name in duplicates[0][0].fingerprints)]
    for name in (*versions, "threads", RESULTS, "key"):
        by_value = group_by(duplicates[0], lambda record, name=name: _value(record, name, places))  # type: ignore[misc]
        if len(by_value) > 1:
            # Prune keeps records that differ in a setting, such as threads.
            hint = _prune_hint("versions", records, places) if name in versions else ""
            return (
                f"{plural(len(duplicates), 'cell is', 'cells are')} recorded more than once; "
                f"{_message(name, by_value, '', {} if name == RESULTS else places)}{hint}"
            )
    raise UserError(
        f"record {duplicates[0][0].key} is given more than once; give each record once: load_records of several "
        "folders does."
    )


PRUNED = {
    "versions": "",
    "method_fingerprint": "",
    "template_fingerprint": "",
    "task_fingerprint": "--other-data ",
    "backbone_fingerprint": "--other-data ",
}
"""Field in which two records of a cell differ -> the option of `tunefront prune` that deletes the older one."""


def _prune_hint(field: str, records: Sequence[Record], places: Places) -> str:
    """The command that deletes older records of the same cells, if one folder has several records of a cell; empty for
    other fields, and if the records of each cell are in different folders, which prune looks at one by one."""
    groups = (group for group in group_by(records, cell_of).values() if len(group) > 1)
    if field not in PRUNED or not any(len(_folders(group, places)) < len(group) for group in groups):
        return ""
    return f" To delete the older records of each cell: tunefront prune {PRUNED[field]}RESULTS."


def _value(record: Record, field: str, places: Places) -> str:
    if field == RESULTS:
        return make_visible(places.get(record.key, ""))
    return number(field_of(record, field))


def group_by(records: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Records by key, in the order of first appearance."""
    groups: dict[K, list[T]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return groups
