"""What times of several runs in turn come to: medians of paired ratios, and how far they spread."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """The median of the ratios of many rounds, and their quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, ratios: Sequence[float]) -> Ratio:
        """Of the rounds' ratios, one at least.

        >>> Ratio.of([1.0, 1.0, 4.0, 1.0, 2.0])
        Ratio(median=1.0, low=1.0, high=2.0)
        """
        if len(ratios) == 1:
            return cls(ratios[0], ratios[0], ratios[0])
        low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
        return cls(median, low, high)

    @classmethod
    def between(cls, ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
        """Of seconds of the same rounds."""
        return cls.of([one / other for one, other in zip(ours, theirs, strict=True)])

    @classmethod
    def over_yardsticks(
        cls,
        ours: Sequence[float],
        our_yardstick: Sequence[float],
        theirs: Sequence[float],
        their_yardstick: Sequence[float],
    ) -> Ratio:
        """Of seconds of which each side's are first divided by those of the same thing on that side, so that what else
        differs between the sides' environments cancels out."""
        rounds = zip(ours, our_yardstick, theirs, their_yardstick, strict=True)
        return cls.of([(one / own) / (other / its_own) for one, own, other, its_own in rounds])

    def within(self, target: float) -> bool:
        """Whether the target is met within the noise: a quarter of the rounds at least came to it."""
        return self.low <= target

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}-{self.high:.2f})"


def block_length(seconds: float, wanted: float) -> int:
    """How many steps of so many seconds fill a block, one at least."""
    return max(1, round(wanted / seconds))
