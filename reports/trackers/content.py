"""What a tracker is told of a record: a run's name, its tags, its parameters and its metrics."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tunefront.bench.records import Record
from tunefront.bench.records.frame import flatten
from tunefront.bench.records.merge import NEVER, written_at
from tunefront.reports.names import describe_shots, elide, make_visible, short_names
from tunefront.reports.units import finite

PARAMS = ("recipe.", "settings.")
"""Fields with these names are parameters of a run."""
NUMBERED = ("schema_version", "shots", "draw_seed", "seed")
"""Numbers that name a cell, or are no measurement: tags, like texts."""
IDENTITY = ("method", "label", "backbone", "task", "template", "shots", "draw_seed", "seed", "status", "reason")
"""The tags by which one looks for a run, in the order in which they are shown."""
UNITS = {"memory.phases.": "bytes", "memory.cuda.": "bytes"}
"""Start of the fields whose names lack their unit -> the unit: the names of all others, or of their group, have it."""
DERIVED = ("score", "selection_score", "task_bytes", "peak_memory_bytes")
"""Numbers that follow from fields of a record."""
LONGEST_NAME = 250
"""Characters of a run's name: what MLflow's databases hold."""

Value = bool | int | float | str


@dataclass(frozen=True)
class Content:
    """A record as a tracker holds it. What is missing in the record is missing here.

    Args: key, the record's, by which its run is found again; status, the record's; tags, texts by dotted field name,
    numbers that name the cell among them; params, the recipe and the settings; metrics, every other number by its
    dotted name, with its unit; ended, when the record was written, UTC; seconds, those measured, of training and
    scoring; whole, the record as JSON, which also has the lists.
    """

    key: str
    status: str
    name: str
    tags: Mapping[str, str]
    params: Mapping[str, Value]
    metrics: Mapping[str, int | float]
    ended: datetime.datetime
    seconds: float
    whole: str

    @property
    def digest(self) -> str:
        """sha256 over the record: equal only if nothing has changed."""
        return hashlib.sha256(self.whole.encode()).hexdigest()

    @property
    def identity(self) -> dict[str, str]:
        """The tags of IDENTITY that the record has, in order."""
        return {name: self.tags[name] for name in IDENTITY if name in self.tags}


def content(record: Record) -> Content:
    """The content of a record's run."""
    tags: dict[str, str] = {}
    params: dict[str, Value] = {}
    metrics: dict[str, int | float] = {}
    for name, value in _values({**flatten(record), "peak_memory_bytes": record.peak_memory_bytes}):
        if name.startswith(PARAMS):
            params[name] = value
        elif isinstance(value, bool | str) or name in NUMBERED:
            tags[name] = spell(value)
        else:
            metrics[_with_unit(name)] = value
    tags["shots"] = "all" if record.shots is None else str(record.shots)
    ended = written_at(record)
    return Content(
        key=record.key,
        status=record.status,
        name=_name(record),
        tags={name: text for name, text in tags.items() if text},
        params=params,
        metrics=metrics,
        ended=datetime.datetime.now(datetime.UTC) if ended == NEVER else ended,
        seconds=sum(filter(None, (record.seconds.train, record.seconds.eval))),
        whole=record.model_dump_json(indent=1),
    )


def _with_unit(name: str) -> str:
    """A metric's name with its unit.

    >>> _with_unit("memory.phases.load.inputs"), _with_unit("flops.train")
    ('memory.phases.load.inputs_bytes', 'flops.train')
    """
    unit = next((unit for start, unit in UNITS.items() if name.startswith(start)), "")
    return f"{name}_{unit}" if unit else name


def spell(value: Value) -> str:
    """A value as text, as the command and suite files spell it.

    >>> spell(True), spell(3e-4), spell("float32")
    ('true', '0.0003', 'float32')
    """
    return str(value).lower() if isinstance(value, bool) else str(value)


def is_field(name: str) -> bool:
    """Whether a name is that of a field of records, or of a part of one; others in a run are the user's own.

    >>> is_field("scores.test.accuracy"), is_field("my_note")
    (True, False)
    """
    top = name.partition(".")[0]
    return top in Record.model_fields or top in DERIVED


def _values(fields: Mapping[str, object]) -> Iterator[tuple[str, Value]]:
    """The numbers and texts of a flat record. A list of groups, such as `spans`, counts them from 0; lists of texts are
    left out."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _values({f"{name}.{inner}": item for inner, item in value.items()})
        elif isinstance(value, bool | str) or (isinstance(value, int | float) and finite(value)):
            yield name, value
        elif isinstance(value, Iterable):
            groups = [item for item in value if isinstance(item, Mapping)]
            yield from _values({f"{name}.{number}": group for number, group in enumerate(groups)})


def _name(record: Record) -> str:
    """The name of a record's run, short: the tags have every name in full. Names of records are untrusted."""
    backbone, task = (short_names([name])[name] for name in (record.backbone, record.task))
    parts = [record.label, backbone, task, record.template, describe_shots(record.shots)]
    parts += [record.stream.way, f"draw {record.draw_seed}", f"seed {record.seed}"]
    return elide(make_visible(" · ".join(part for part in parts if part)), LONGEST_NAME)
