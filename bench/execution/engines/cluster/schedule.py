"""Which waiting cell a free worker of a cluster runs next: by predicted seconds, memory and backbone."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tunefront.bench.execution.engines import Work


@dataclass(frozen=True)
class Expected:
    """The predicted costs of a cell: seconds of training and scoring, and its peak memory; None where unknown."""

    seconds: float | None = None
    peak_bytes: int | None = None


UNKNOWN = Expected()


@dataclass(frozen=True, order=True)
class _Entry:
    """A waiting cell; in order, the longest comes first, and of equal ones the one that has waited longest."""

    order: tuple[float, int]
    work: Work = field(compare=False)
    peak_bytes: int = field(compare=False)


class Waiting:
    """The cells that wait for a worker.

    Args: works; expected, their predicted costs, by key.
    """

    def __init__(self, works: Iterable[Work], expected: Mapping[str, Expected]):
        self._expected = expected
        self._by_backbone: dict[str, list[_Entry]] = {}
        self._added = 0
        self._seconds = 0.0
        for work in works:
            self.add(work)

    def __bool__(self) -> bool:
        return bool(self._by_backbone)

    def add(self, work: Work) -> None:
        """A cell that waits, or waits again."""
        costs = self._expected.get(work.key, UNKNOWN)
        seconds = costs.seconds or 0.0
        insort(
            self._by_backbone.setdefault(work.cell.backbone, []),
            _Entry((-seconds, self._added), work, costs.peak_bytes or 0),
        )
        self._added += 1
        self._seconds += seconds

    def take(self, backbone: str | None, free_bytes: int | None, workers: int) -> Work | None:
        """Removes and returns the cell that a free worker runs next; None if none fits into the node's memory now.

        Longest first, so that all workers end together (Graham 1969, section 2). But a cell of the backbone that the
        worker keeps comes before longer ones of others, unless one of these would take longer than all workers together
        need for what is waiting: it then decides when the run ends.

        Args: backbone, the one that the worker has read; free_bytes, of its node, None if nothing else runs there, for
        then every cell may try; workers, how many there are.
        """
        fitting = {name: place for name in self._by_backbone if (place := self._first(name, free_bytes)) is not None}
        if not fitting:
            return None
        name = min(fitting, key=lambda name: self._by_backbone[name][fitting[name]])
        seconds = -self._by_backbone[name][fitting[name]].order[0]
        if backbone in fitting and seconds * workers <= self._seconds:
            name = backbone
        entry = self._by_backbone[name].pop(fitting[name])
        if not self._by_backbone[name]:
            del self._by_backbone[name]
        self._seconds = self._seconds + entry.order[0] if self else 0.0
        return entry.work

    def _first(self, backbone: str, free_bytes: int | None) -> int | None:
        """The place of the first cell of a backbone that fits."""
        entries = self._by_backbone[backbone]
        if free_bytes is None:
            return 0
        return next((place for place, entry in enumerate(entries) if entry.peak_bytes <= free_bytes), None)
