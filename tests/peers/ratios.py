"""Statistics of runs timed in turn: medians and quartiles of paired ratios."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """The median and quartiles of the ratios of several rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, ratios: Sequence[float]) -> Ratio:
        """From the ratios of the rounds, at least one.

        >>> Ratio.of([1.0, 1.0, 4.0, 1.0, 2.0])
        Ratio(median=1.0, low=1.0, high=2.0)
        """
        if len(ratios) == 1:
            return cls(ratios[0], ratios[0], ratios[0])
        low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
        return cls(median, low, high)

    @classmethod
    def between(cls, ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
        """From the seconds of the same rounds."""
        return cls.of([our / their for our, their in zip(ours, theirs, strict=True)])

    @classmethod
    def over_yardsticks(
        cls,
        ours: Sequence[float],
        our_yardstick: Sequence[float],
        theirs: Sequence[float],
        their_yardstick: Sequence[float],
    ) -> Ratio:
        """From seconds divided by those of the same yardstick on the same side, which cancels other differences between
        the environments."""
        rounds = zip(ours, our_yardstick, theirs, their_yardstick, strict=True)
        return cls.of([(our / our_unit) / (their / their_unit) for our, our_unit, their, their_unit in rounds])

    def within(self, target: float) -> bool:
        """Whether the target is met within the noise: at least a quarter of the rounds met it."""
        return self.low <= target

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}-{self.high:.2f})"


def block_length(seconds: float, wanted: float) -> int:
    """Number of steps of `seconds` seconds that fill a block, at least one."""
    return max(1, round(wanted / seconds))
