"""Costs of queries by the way they are answered: by a trained method, or by a prompt with or without a cache."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from tunefront.reports.compare.break_even import Line
from tunefront.reports.compare.factors import draw_of
from tunefront.reports.compare.measures import seconds_per_query, trains
from tunefront.reports.compare.statistics import finite_values, median
from tunefront.reports.units import finite

if TYPE_CHECKING:
    from tunefront.bench.records import Record

WITH_CACHE, WITHOUT_CACHE = "with cache", "without cache"
MEASURES = ("flops", "seconds")
PRICE = "price"
"""A further measure, of ways that `query_prices.priced` made."""
SAME = 0.01
"""FLOPs that differ by at most this share count as equal."""
Costs = tuple[float | None, float | None]
"""Costs before the first query, and per query."""
Cost = Callable[["Record"], Costs]


@dataclass(frozen=True)
class Run:
    """Costs of queries in one record; None if not measured. `cell` is its template and draw of rows; `price` is money,
    by one model of price."""

    cell: Hashable
    flops: Line | None
    seconds: Line | None
    record: Record | None = None
    price: Line | None = None

    def line(self, measure: str) -> Line | None:
        """The cumulative cost by one of MEASURES, or PRICE."""
        return {"flops": self.flops, "seconds": self.seconds, PRICE: self.price}[measure]


@dataclass(frozen=True)
class Way:
    """One way to answer queries on one task. `how` is WITH_CACHE or WITHOUT_CACHE for prompts with demonstrations.

    `runs` are the costs of its records; `kept_bytes` are stored for the task in addition to the backbone, for any
    number of queries.
    """

    label: str
    trained: bool
    how: str = ""
    runs: tuple[Run, ...] = ()
    kept_bytes: float | None = None
    _known: dict[tuple[str, frozenset[Hashable]], Line | None] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def flops(self) -> Line | None:
        """The cumulative FLOPs over all runs."""
        return self.line("flops")

    @property
    def seconds(self) -> Line | None:
        """The cumulative seconds over all runs."""
        return self.line("seconds")

    @cached_property
    def cells(self) -> frozenset[Hashable]:
        """The templates and draws of its runs."""
        return frozenset(run.cell for run in self.runs)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of its records."""
        return tuple(dict.fromkeys(run.record.key for run in self.runs if run.record is not None))

    def line(self, measure: str, cells: Collection[Hashable] | None = None) -> Line | None:
        """The cumulative cost by one of MEASURES: medians over all runs, or over those in `cells`.

        None if a run lacks it: medians over the remaining runs would not be comparable with another way's.
        """
        key = measure, self.cells if cells is None else frozenset(cells)
        if key not in self._known:
            self._known[key] = self._median_line(*key)
        return self._known[key]

    def _median_line(self, measure: str, cells: Collection[Hashable]) -> Line | None:
        run_lines = [run.line(measure) for run in self.runs if run.cell in cells]
        lines = [line for line in run_lines if line is not None]
        start, slope = median([line.start for line in lines]), median([line.slope for line in lines])
        return None if start is None or slope is None or len(lines) < len(run_lines) else Line(start, slope)

    @property
    def name(self) -> str:
        """The label, with or without cache."""
        return f"{self.label} {self.how}" if self.how else self.label


def list_ways(rows: Mapping[str, Sequence[Record]]) -> list[Way]:
    """The ways to answer queries on one task, trained ones first. `rows` are its records by label.

    A record that computed nothing but its prompt before the first query is prompted. One that keeps states of its
    training rows is not, although it trains no parameters.
    """
    listed = [way for label, records in rows.items() for way in _ways_of(label, records)]
    return sorted(listed, key=lambda way: not way.trained)


def _ways_of(label: str, records: Sequence[Record]) -> list[Way]:
    if all(record.parameters.trainable is None for record in records):
        return []
    trained = any(map(trains, records))

    def way(how: str, flops: Cost, seconds: Cost, cache: bool = False) -> Way:
        runs = tuple(
            Run((record.template, draw_of(record)), _line(flops(record)), _line(seconds(record)), record)
            for record in records
        )
        return Way(label, trained, how, runs, median(finite_values(records, lambda record: _kept_bytes(record, cache))))

    if trained or not any(record.prompt.demonstration_ids for record in records):
        return [way("", _flops, _seconds)]
    if all(record.prompt.kv_cache_bytes is None for record in records):
        # No cache is possible: each timed query processed its demonstrations. A prefix was only read for calibration.
        return [
            way(
                WITHOUT_CACHE,
                lambda record: (_or_zero(record.flops.prefix), _query_flops_without_cache(record)),
                _seconds,
            )
        ]
    kept = way(WITH_CACHE, _flops, _seconds, cache=True)
    return [kept, way(WITHOUT_CACHE, _flops_without_cache, lambda record: (0.0, _query_seconds_without_cache(record)))]


def _kept_bytes(record: Record, cache: bool) -> float | None:
    """Bytes that are kept for the task in addition to the backbone; `cache`: with the prompts' keys and values."""
    sizes = [record.task_bytes, *([record.prompt.kv_cache_bytes] if cache else [])]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def _flops(record: Record) -> Costs:
    """FLOPs of training and of reading the prefix, and FLOPs per query."""
    return _start_cost(record.flops.train, record, record.flops.prefix), record.flops.inference_per_example


def _seconds(record: Record) -> Costs:
    return _start_cost(record.seconds.train, record, record.seconds.prefix), seconds_per_query(record)


def _flops_without_cache(record: Record) -> Costs:
    return _or_zero(record.flops.calibration), _query_flops_without_cache(record)


def _start_cost(training: float | None, record: Record, reading: float | None) -> float | None:
    """The cost before the first query: of training, if there is any, and of reading the prefix.

    A record without a prefix has no cost of reading: that counts as 0.
    """
    if reading is None and record.prompt.prefix_tokens and record.prompt.kv_cache_bytes is not None:
        return None
    read = _or_zero(reading)
    return read if not trains(record) else None if training is None else training + read


def _query_flops_without_cache(record: Record) -> float | None:
    """FLOPs of a query that processes its demonstrations itself; of a query without demonstrations, its only FLOPs."""
    without = record.flops.inference_per_example_without_reuse
    return record.flops.inference_per_example if without is None and not record.prompt.kv_cache_bytes else without


def _or_zero(value: float | None) -> float:
    return 0.0 if value is None else value


def _query_seconds_without_cache(record: Record) -> float | None:
    """Seconds of a query that processes its demonstrations itself: those of reading them once plus those of the answer.

    None if the reading differs from what each query would do: after a calibration, or if queries keep fewer
    demonstrations.
    """
    with_cache, without = record.flops.inference_per_example, record.flops.inference_per_example_without_reuse
    answer = seconds_per_query(record)
    if record.prompt.prefix_tokens == 0 and not record.flops.calibration:
        return answer  # no query has room for demonstrations
    if (
        record.seconds.prefix is None
        or record.flops.prefix is None
        or with_cache is None
        or without is None
        or answer is None
    ):
        return None
    same = abs(without - with_cache - record.flops.prefix) <= SAME * record.flops.prefix
    return record.seconds.prefix + answer if same and not record.flops.calibration else None


def _line(costs: Costs) -> Line | None:
    start, slope = costs
    return None if start is None or slope is None or not (finite(start) and finite(slope)) else Line(start, slope)
