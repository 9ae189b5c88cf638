"""The largest batch that fits, for several curves of peak memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tunefront.bench.forecast.fit import MOST_ROWS, MOST_TRIES, largest_batch
from tunefront.bench.records import Memory, Record

PEAKS: dict[str, Callable[[int], int]] = {
    "linear": lambda batch: 1000 + 37 * batch,
    "steps": lambda batch: 1000 + 300 * (-(-batch // 8)),
    "a floor first": lambda batch: max(5000, 70 * batch),
    "bent": lambda batch: 1000 + 10 * batch + batch**2,
    "flat": lambda batch: 1000,
}


class RecordedCurve:
    """A curve that records the sizes that it is called with."""

    def __init__(self, peak: Callable[[int], int]):
        self.peak, self.sizes = peak, list[int]()

    def __call__(self, size: int) -> int:
        self.sizes.append(size)
        return self.peak(size)


@pytest.mark.parametrize("available", [1001, 1400, 5003, 20_000, 123_456, 10**7])
@pytest.mark.parametrize("batch", [1, 8, 100])
@pytest.mark.parametrize("name", PEAKS)
def test_the_largest_batch_was_predicted_and_fits_and_one_row_more_does_not(
    name: str, batch: int, available: int
) -> None:
    curve = RecordedCurve(PEAKS[name])
    size = largest_batch(batch, available, curve)
    assert len(curve.sizes) == len(set(curve.sizes)) <= MOST_TRIES + 1
    if size is None:
        assert PEAKS[name](1) > available
        return
    assert size in curve.sizes
    assert PEAKS[name](size) <= available
    assert size == MOST_ROWS or PEAKS[name](size + 1) > available


def test_a_straight_line_takes_few_predictions() -> None:
    curve = RecordedCurve(lambda batch: 10**9 + 68_123_457 * batch)
    assert largest_batch(32, 24 * 10**9, curve) == 337
    assert len(curve.sizes) <= 5


def test_nothing_fits() -> None:
    assert largest_batch(16, 999, PEAKS["linear"]) is None


def test_no_more_rows_than_there_are() -> None:
    curve = RecordedCurve(PEAKS["flat"])
    assert largest_batch(64, 2000, curve, most=40) == 40
    assert max(curve.sizes) == 40


def test_a_peak_is_that_of_the_largest_phase() -> None:
    memory = {"forward": {"gradients": 3}, "backward": {"gradients": 2, "inputs": 5}}
    common = {"key": "k", "status": "planned", "method": "ia3", "label": "ia3", "backbone": "b", "task": "t"}
    common |= {"shots": None, "draw_seed": 0, "seed": 0, "recipe": {}, "settings": {}, "versions": {}}
    assert Record(**common, memory=Memory(phases=memory)).peak_memory_bytes == 7
    assert Record(**common).peak_memory_bytes is None
