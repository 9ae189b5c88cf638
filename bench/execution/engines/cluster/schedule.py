"""Which waiting cell a free worker of a cluster runs next: by predicted seconds, memory and backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunefront.bench.execution.engines import Work


@dataclass(frozen=True)
class Expected:
    """The predicted costs of a cell: seconds of training and scoring, and its peak memory; None where unknown."""

    seconds: float | None = None
    peak_bytes: int | None = None


UNKNOWN = Expected()


def choose(
    waiting: Sequence[Work],
    expected: Mapping[str, Expected],
    backbone: str | None,
    free_bytes: int | None,
    workers: int,
) -> Work | None:
    """The cell that a free worker runs next; None if none fits into the node's memory now.

    Longest first, so that all workers end together (Graham 1969, section 2). But a cell of the backbone that the worker
    keeps comes before longer ones of others, unless one of these would take longer than all workers together need for
    what is waiting: it then decides when the run ends.

    Args: expected, by key; backbone, the one that the worker has read; free_bytes, of its node, None if nothing else
    runs there, for then every cell may try; workers, how many there are.
    """
    fitting = [work for work in waiting if free_bytes is None or (_of(work, expected).peak_bytes or 0) <= free_bytes]
    if not fitting:
        return None
    longest = max(fitting, key=lambda work: _seconds(work, expected))
    own = [work for work in fitting if work.cell.backbone == backbone]
    total = sum(_seconds(work, expected) for work in waiting)
    if not own or _seconds(longest, expected) * workers > total:
        return longest
    return max(own, key=lambda work: _seconds(work, expected))


def _of(work: Work, expected: Mapping[str, Expected]) -> Expected:
    return expected.get(work.key, UNKNOWN)


def _seconds(work: Work, expected: Mapping[str, Expected]) -> float:
    return _of(work, expected).seconds or 0.0
