"""One plot with its points and texts, and figures as files: equal records give equal bytes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tunefront.reports.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tunefront.reports.compare.entries import Entry


@dataclass(frozen=True)
class Point:
    """One entry in a plot: its height, and the ends of its 95 % interval, both its height without one. `whole` if no
    task is missing."""

    entry: Entry
    x: float
    y: float
    low: float
    high: float
    whole: bool


@dataclass(frozen=True)
class Picture:
    """One plot. `alt` describes it in words; `note` explains it and names missing methods; `narrow` is the version for
    small screens, None if the plot is small already; a `wide` plot has the width of the page; `ledger` is the tag of
    its ledger, empty for the trade-off plot and the cost plots; the trade-off plot is the `main` one of its panel."""

    name: str
    title: str
    alt: str
    note: str
    figure: Figure
    narrow: Figure | None = None
    wide: bool = True
    ledger: str = ""
    main: bool = False

    @cached_property
    def svg(self) -> bytes:
        """The plot as SVG, drawn once for all formats."""
        return save(self.figure, "svg")


def save(figure: Figure, kind: str) -> bytes:
    """A figure as `svg`, `png` (200 dpi, on white) or `pdf`, without dates."""
    stream = io.BytesIO()
    metadata = {"svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}[kind]
    face = "none" if kind == "svg" else style.PAPER
    with style.plot_settings():
        figure.savefig(stream, format=kind, dpi=200 if kind == "png" else 72, facecolor=face, metadata=metadata)
    return stream.getvalue()
