"""Pushes records to a tracker, one run per record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tunefront.bench.errors import UserError
from tunefront.bench.records import Record, Records, load_records
from tunefront.reports.trackers.content import Content, content
from tunefront.reports.trackers.target import MLFLOW, Target

EXPERIMENT = "tunefront"
"""MLflow's experiment, before a slash and the name of the results folder."""


class Tracker(Protocol):
    """Where runs are: its name without secrets, what it could not take as it is, and a way to push a record to it."""

    place: str

    @property
    def notes(self) -> Iterable[str]: ...

    def push(self, content: Content) -> str: ...


@dataclass(frozen=True)
class Pushed:
    """What a push did.

    Args: place, the tracker's; new, changed and same, the numbers of records whose run was made, was updated, and was
    left as it was; notes, what is different or missing there, a sentence each.
    """

    place: str
    new: int
    changed: int
    same: int
    notes: tuple[str, ...]


def push(
    records: Sequence[Record] | str | Path,
    to: str,
    experiment: str | None = None,
    advance: Callable[[int], None] = lambda pushed: None,
) -> Pushed:
    """Pushes records; as `tunefront.push`. `advance` is called with the number of records pushed so far."""
    target = Target.parse(to)
    if experiment is not None and target.tracker != MLFLOW:
        raise UserError(f"an experiment is for {MLFLOW} only; {target.tracker} takes a folder.")
    if isinstance(records, str | Path):
        records = load_records(records)
    if not records:
        raise UserError("there are no records to push; give the folder that `tunefront run --out` wrote.")
    tracker = _opened(target, experiment or experiment_of(records))
    changes: Counter[str] = Counter()
    for number, record in enumerate(records, 1):
        changes[tracker.push(content(record))] += 1
        advance(number)
    return Pushed(tracker.place, changes["new"], changes["changed"], changes["same"], tuple(tracker.notes))


def experiment_of(records: Sequence[Record]) -> str:
    """The experiment of records: of one results folder, with its name."""
    folders = records.folders if isinstance(records, Records) else []
    name = Path(folders[0].rstrip("/")).absolute().name if len(folders) == 1 else ""
    return f"{EXPERIMENT}/{name}" if name else EXPERIMENT


def _opened(target: Target, experiment: str) -> Tracker:
    if target.tracker == MLFLOW:
        from tunefront.reports.trackers.mlflow_runs import Runs

        return Runs(target.place, experiment)
    from tunefront.reports.trackers.event_files import EventFiles

    return EventFiles(target.place)
