"""The costs in plots and tables: their names, units, and how they are read from a record."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare.factors import rows_used
from tunefront.reports.tables import Cell

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tunefront.bench.records import Record
    from tunefront.reports.compare.entries import Entry
    from tunefront.reports.compare.panels import Panel


@dataclass(frozen=True)
class Cost:
    """One cost. `field` is its name in records and files. A `timed` cost is comparable only on equal machines. `derive`
    computes a cost that is no field of the record. The unit of a `price` is its currency."""

    field: str
    title: str = ""
    unit: str = ""
    timed: bool = False
    derive: Callable[[Record], float | None] | None = None
    price: bool = False

    @property
    def read(self) -> Callable[[Record], float | None]:
        """The value in a record; None for a peak while training of a record that did not train."""
        read = self.derive or attrgetter(self.field)
        return _if_it_trained(read) if self.while_training else read

    @property
    def while_training(self) -> bool:
        """Whether only a method that trains has this cost: what the process held before scoring is not its peak."""
        return self.field.startswith("memory.train_peak")

    def why_missing(self, entry: Entry) -> str:
        """Why an entry has no value."""
        untrained = self.while_training and entry.all and not any(map(trains, entry.all))
        return "does not train" if untrained else "not measured"

    @property
    def name(self) -> str:
        """The title within a sentence."""
        return self.title[:1].lower() + self.title[1:]

    def median(self, panel: Panel, entry: Entry) -> float | None:
        """The median over an entry's tasks and runs; None if it is not measured or not comparable."""
        return panel.seconds(entry, self.read) if self.timed else entry.median(self.read)

    def cell(self, panel: Panel, entry: Entry, link: str) -> Cell:
        """The cost of an entry with its unit; the title has the exact value."""
        value = self.median(panel, entry)
        return Cell(self.text(value), title=units.exact(value, self.unit), link="" if value is None else link)

    def text(self, value: float | None) -> str:
        """A value with its unit."""
        if value is None:
            return units.MISSING
        if self.price:
            return units.money(value, self.unit)
        texts: dict[str, Callable[[float], str]] = {"": units.count, "s": units.seconds, "/s": units.significant}
        return texts[self.unit](value) if self.unit in texts else units.si(value, self.unit)


def trains(record: Record) -> bool:
    """Whether a record's method computed anything before scoring: steps, or states of its training rows.

    True if nothing about it is recorded.
    """
    known = (record.training.steps, record.flops.train, record.parameters.trainable)
    return any(known) or all(value is None for value in known)


def _if_it_trained(read: Callable[[Record], float | None]) -> Callable[[Record], float | None]:
    return lambda record: read(record) if trains(record) else None


def seconds_per_query(record: Record) -> float | None:
    """Seconds of scoring per row, in batches."""
    rate = record.examples_per_second.eval
    if rate:
        return 1 / rate
    return None if record.seconds.eval is None or not record.data.n_test else record.seconds.eval / record.data.n_test


def _flops_without_cache(record: Record) -> float | None:
    return record.flops.inference_per_example_without_reuse or record.flops.inference_per_example


ROWS = Cost("rows_used", "Labelled rows used", derive=rows_used)
WITHOUT_CACHE = Cost(
    "inference_flops_without_cache", "Inference FLOPs without cache", "FLOP", derive=_flops_without_cache
)
"""The cost of a query that processes its demonstrations itself; a method without demonstrations has one cost only."""
PARAMETERS = Cost("parameters.trainable", "Trained parameters per task")
KEPT = Cost("task_bytes", "Bytes stored per task", "B")
"""The file of trained parameters plus the text of the demonstrations."""
TRAIN_FLOPS = Cost("flops.train", "Training FLOPs", "FLOP")
INFERENCE_FLOPS = Cost("flops.inference_per_example", "Inference FLOPs per example", "FLOP")
WITHOUT_REUSE = Cost("flops.inference_per_example_without_reuse", "Inference FLOPs without reuse", "FLOP")
TRAIN_SECONDS = Cost("seconds.train", "Training time", "s", timed=True)
EVAL_SECONDS = Cost("seconds.eval", "Scoring time", "s", timed=True)
LATENCY = Cost(
    "latency_seconds.after_prefix.p50",
    "Seconds of a query alone (median)",
    "s",
    timed=True,
    derive=lambda record: getattr(record.latency_seconds.after_prefix, "p50", None),
)
"""Of a query after what is read once, on the model as the method leaves it."""
QUERY_SECONDS = Cost(
    "seconds_per_query", "Scoring time per example, in batches", "s", timed=True, derive=seconds_per_query
)


def peak(panel: Panel, phase: str = "train") -> Cost:
    """Peak memory of a phase: the allocator's if the panel ran on CUDA, else the process's resident memory."""
    field = panel.peak[0 if phase == "train" else 1]
    kind = "allocated" if "allocated" in field else "resident"
    title = {"train": "Peak memory while training", "eval": "Peak memory while scoring"}[phase]
    return Cost(field, f"{title} ({kind})", "B")


def plotted_costs(panel: Panel) -> list[Cost]:
    """The costs of the small plots, in order. Some are only plotted if there are demonstrations."""
    rows = [ROWS] if len({ROWS.median(panel, entry) for entry in panel.entries} - {None}) > 1 else []
    without_cache = [WITHOUT_CACHE] if _has_demonstrations(panel) else []
    return [*rows, TRAIN_FLOPS, TRAIN_SECONDS, KEPT, INFERENCE_FLOPS, *without_cache, peak(panel)]


def axis_costs(panel: Panel, prices: Sequence[Cost] = ()) -> list[Cost]:
    """Every cost that an axis of a plot can show, in order, without those that no entry of the panel has. `prices` are
    those in money, of `query_prices.price_costs`."""
    costs = [
        *(PARAMETERS, KEPT, TRAIN_FLOPS, INFERENCE_FLOPS),
        *([WITHOUT_CACHE] if _has_demonstrations(panel) else []),
        *(LATENCY, QUERY_SECONDS, *prices, peak(panel), peak(panel, "eval"), TRAIN_SECONDS, ROWS),
    ]
    return [cost for cost in costs if any(cost.median(panel, entry) is not None for entry in panel.entries)]


def _has_demonstrations(panel: Panel) -> bool:
    return any(WITHOUT_REUSE.median(panel, entry) for entry in panel.entries)
