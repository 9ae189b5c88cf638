"""The statistics of `python -m tests.peers steps`, and the order of its runs."""

from __future__ import annotations

import pytest

from tests.peers.ratios import Ratio, block_length
from tests.peers.steps import Spent, in_turn


def test_a_ratio_is_the_median_of_paired_rounds_with_its_quartiles() -> None:
    # The second round was disturbed on both sides, the last on only one.
    ratio = Ratio.between([1.0, 4.0, 1.1, 0.9, 9.0], [1.0, 4.0, 1.0, 1.0, 1.0])
    assert (ratio.median, ratio.low) == (1.0, 1.0)
    assert ratio.high == pytest.approx(1.1)
    assert Ratio.of([0.5]) == Ratio(0.5, 0.5, 0.5)


def test_yardsticks_cancel_other_differences_between_environments() -> None:
    """Their environment is twice as slow in everything, and their method costs 1.25 times ours."""
    ratio = Ratio.over_yardsticks([4.0, 8.0], [8.0, 16.0], [10.0, 20.0], [16.0, 32.0])
    assert ratio == Ratio(0.8, 0.8, 0.8)


def test_a_target_is_met_within_the_noise_if_a_quarter_of_the_rounds_met_it() -> None:
    assert Ratio(1.02, 0.99, 1.05).within(1.0)
    assert not Ratio(1.02, 1.01, 1.05).within(1.0)


def test_blocks_take_turns_and_the_turn_is_reversed_in_every_other_round() -> None:
    ran: list[tuple[str, int]] = []

    def takes(name: str, seconds: float):  # type: ignore[no-untyped-def]
        def run(count: int) -> Spent:
            ran.append((name, count))
            return Spent(seconds * count, 2 * seconds * count)

        return run

    spent = in_turn({"quick": takes("quick", 0.1), "slow": takes("slow", 3.0)}, rounds=2)
    assert ran[:4] == [("quick", 1), ("quick", 1), ("slow", 1), ("slow", 1)]
    assert ran[4:] == [("quick", 4), ("slow", 1), ("slow", 1), ("quick", 4)]
    assert spent == {"quick": [Spent(0.1, 0.2)] * 2, "slow": [Spent(3.0, 6.0)] * 2}
    assert block_length(10, wanted=0.4) == 1
