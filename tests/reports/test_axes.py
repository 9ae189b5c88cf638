"""Axes as they are drawn."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from reports.axes import scale
from reports.coordinates import _shares


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([0.0, 38_176.0], ["0 %", "25 %", "50 %", "75 %", "100 %"]),
        ([770.0, 22e6], ["0.01 %", "0.1 %", "1 %", "10 %", "100 %"]),
    ],
    ids=["from zero", "logarithmic"],
)
def test_percentages_above_do_not_crowd(values: list[float], names: list[str]) -> None:
    axes = Figure().subplots()
    _shares(axes, scale(values), max(values), 9)
    assert [tick.get_text().replace("\u00a0", " ") for tick in axes.figure.axes[1].get_xticklabels()] == names
