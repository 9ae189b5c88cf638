"""Seconds of single queries, one after another: of a first one, of later ones, and of these on merged weights."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tunefront.bench.meters.time import Clock
from tunefront.bench.records import Latency, Percentiles
from tunefront.bench.training.harness import MeasuringHarness, row_values
from tunefront.methods.base import Scorer
from tunefront.methods.inject import merged_plugs

if TYPE_CHECKING:
    from tunefront.bench.execution.setup import Setup
    from tunefront.bench.models.examples import EncodedExamples
    from tunefront.methods.base import Batch

log = logging.getLogger("tunefront")

SHARE = 0.05
"""Queries are timed for about this share of the seconds of training and scoring, unless a number of them is given."""
FEWEST, MOST = 2, 100
"""Queries of a series whatever they take, and the most of them, unless a number is given. A first query may read a
long prompt: one is enough."""
WARM_UP = 1
"""Queries before each series that are not counted, but for the first query's, which is about a start."""
PARTS = {"p50": (0.50, 1), "p95": (0.95, 20), "p99": (0.99, 100)}
"""The part of the queries, and the fewest queries of which it is known."""
CLOSE = 1e-2
"""Scores on merged weights differ by less than this share of the largest one, in float32."""


@dataclass(frozen=True)
class Limit:
    """How many queries of a series are timed: `fewest`, then more until `seconds` have passed or there are `most`."""

    fewest: int
    most: int
    seconds: float = math.inf

    @classmethod
    def of(cls, asked: int | None, seconds: float, fewest: int = FEWEST) -> Limit:
        """The limit for a number of queries that was given, or for seconds."""
        return cls(fewest, MOST, seconds) if asked is None else cls(asked, asked)


def percentiles(laps: Sequence[float]) -> Percentiles | None:
    """The smallest of the seconds that this part of the queries did not exceed; None without queries.

    With fewer than 20 queries p95 would be the slowest one, and with fewer than 100 p99 would.

    >>> percentiles([0.3, 0.1, 0.2, 0.4])
    Percentiles(p50=0.2, p95=None, p99=None, count=4)
    """
    if not laps:
        return None
    ordered, count = sorted(laps), len(laps)
    known = {name: part for name, (part, fewest) in PARTS.items() if count >= fewest}
    return Percentiles(
        **{name: ordered[math.ceil(round(part * count, 6)) - 1] for name, part in known.items()}, count=count
    )


def query_seconds(
    ask: Callable[[Batch], object], batches: Iterator[Batch], limit: Limit, clock: Clock, warm_up: int = WARM_UP
) -> list[float]:
    """Seconds of each query of a series. A batch is one query; making it is not timed."""
    for batch in itertools.islice(batches, warm_up):
        ask(batch)
    for batch in batches:
        left = limit.seconds - clock.seconds
        if len(clock.laps) >= limit.most or (len(clock.laps) >= limit.fewest and clock.laps[-1] > left):
            break
        with clock.running():
            ask(batch)
    return clock.laps


def measure_latency(setup: Setup, scorer: Scorer, spent: float) -> Latency:
    """The seconds of single queries, with tokens that are ready. `spent` are those of training and scoring."""
    asked, trainer = setup.cell.config.latency_queries, setup.trainer
    if asked == 0 or not isinstance(trainer, MeasuringHarness):
        return Latency()
    rows, model, device = trainer.tools.prepend_to(setup.test), setup.backbone.model, trainer.device
    read = trainer.tools.reader()
    seconds = SHARE * spent / len(Latency.model_fields)
    model.eval()

    def ask(batch: Batch) -> Tensor:
        return row_values(scorer(batch), 1, "evaluate").float().cpu()

    def series(ask: Callable[[Batch], object], warm_up: int = WARM_UP, fewest: int = FEWEST) -> Percentiles | None:
        clock, limit = Clock(device, trainer.subject.now), Limit.of(asked, seconds, fewest)
        with torch.inference_mode(), trainer.subject.autocast():
            return percentiles(query_seconds(ask, single_queries(rows, device), limit, clock, warm_up))

    after = series(ask)
    first = None if read is None else series(lambda batch: (read(), ask(batch)), warm_up=0, fewest=1)
    with _merged(setup, ask, next(single_queries(rows, device))) as can_be_merged:
        merged = series(ask) if can_be_merged else None
    return Latency(first=first, after_prefix=after, merged=merged)


def single_queries(rows: EncodedExamples, device: torch.device) -> Iterator[Batch]:
    """Each row alone, in an order that says nothing about it, and all of them again without end."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).tolist()
    return (rows.batch([row], device) for row in itertools.cycle(order))


@contextmanager
def _merged(setup: Setup, ask: Callable[[Batch], Tensor], query: Batch) -> Iterator[bool]:
    """Within, what the method inserted is merged into the weights; gives whether it can be, with the same scores."""
    if setup.backbone.led:
        yield False
        return
    with torch.inference_mode():
        before = ask(query)
    with merged_plugs(setup.backbone.model) as count:
        if not count:
            yield False
            return
        with torch.inference_mode():
            after = ask(query)
        known = before.isfinite()
        same = torch.allclose(after[known], before[known], rtol=0.0, atol=CLOSE * float(before[known].abs().max()))
        if not same:
            log.warning("%s: merged weights give other scores, so no query is timed on them", setup.cell.method.name)
        yield same
