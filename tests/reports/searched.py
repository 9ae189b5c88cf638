"""Records of searches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.reports.factory import record
from tunefront.bench.records import Record


def searched(
    scores: Sequence[tuple[float, float] | None],
    *,
    method: str = "lora",
    sampler: str = "random",
    seed: int | None = 0,
    first: int = 1,
    rates: Sequence[float] | None = None,
    sizes: Sequence[int] | None = None,
    **fields: Any,
) -> list[Record]:
    """A record per trial of a method, from number `first` on: (selection score, test score), None for a failed one. The
    rates differ if none are given; with `sizes` the method has a field `rank`."""
    made = []
    for place, score in enumerate(scores):
        number = first + place
        rate = float(f"{number}e-4") if rates is None else rates[place]
        label = method if sizes is None else f"{method}:rank={sizes[place]}"
        results: dict[str, Any] = {"status": "failed", "reason": "diverged", "scores__test": None}
        if score is not None:
            results = {"scores__selection": {"accuracy": score[0]}, "scores__test": {"accuracy": score[1]}}
        recipe = {"learning_rate": rate, "epochs": 3.0, "batch_size": 32, "dtype": "float32", "dropout": None}
        place_in_search = {"search__method": method, "search__sampler": sampler, "search__number": number}
        made.append(
            record(
                label=label,
                method=label,
                recipe=recipe,
                search__seed=None if sampler == "grid" else seed,
                **place_in_search,
                **results,
                **fields,
            )
        )
    return made
