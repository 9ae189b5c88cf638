"""Colours, markers and matplotlib settings of all plots."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import matplotlib

if TYPE_CHECKING:
    from collections.abc import Iterator

INK, SOFT, RULE, PAPER = "#1c2126", "#5b646d", "#d9dde1", "#ffffff"
FAMILIES = ("#0072b2", "#c64a00", "#008a63", "#b0568c", "#9a6a00", "#3b86c2", "#6b5fb5", "#77702b")
"""Colours after Okabe and Ito, the light ones darkened to a contrast of 3:1 on white; markers differ as well."""
MARKERS = ("o", "^", "D", "v", "P", "X", "<", ">", "h")
RC = {"svg.hashsalt": "tunefront", "svg.fonttype": "path", "pdf.fonttype": 3, "font.family": ["DejaVu Sans"]}


@contextmanager
def plot_settings() -> Iterator[None]:
    """Applies our matplotlib settings, not the user's. Characters missing in the font are boxes, without a warning."""
    with matplotlib.rc_context(RC), warnings.catch_warnings():  # type: ignore[arg-type]  # the stubs list every key
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield
