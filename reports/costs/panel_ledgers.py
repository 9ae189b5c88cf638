"""All ledgers of a panel."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tunefront.reports.costs import flops, latency, memory, money, predicted, steps, storage, train_or_prompt
from tunefront.reports.tables import fold_constant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tunefront.bench.records import Record
    from tunefront.reports.compare.panels import Panel
    from tunefront.reports.compare.prices import Prices
    from tunefront.reports.costs.breakdown import Ledger
    from tunefront.reports.costs.money import Maps


def ledgers(
    panel: Panel,
    index: int,
    names: Mapping[str, str],
    plans: Sequence[Record],
    prices: Prices | None = None,
    maps: Maps | None = None,
) -> tuple[Ledger, ...]:
    """The ledgers that are not empty, in order. `names` are the tasks' short names, `plans` planned records of any
    panel, `prices` those of the user, and `maps` say which way is cheapest by them."""
    candidates = (
        storage.ledger(panel, index),
        train_or_prompt.ledger(panel, names),
        money.ledger(panel, names, prices, maps or {}),
        memory.ledger(panel, index),
        flops.ledger(panel, index),
        steps.ledger(panel, index),
        latency.ledger(panel, index),
        predicted.ledger(panel, index, plans),
    )
    made = [ledger for ledger in candidates if ledger is not None]
    return tuple(replace(ledger, tables=tuple(map(fold_constant, ledger.tables))) for ledger in made)
