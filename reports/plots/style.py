"""Colours, markers and matplotlib settings of all plots."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import matplotlib

from tunefront.reports.compare.entries import family_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

INK, SOFT, RULE, PAPER = "#1c2126", "#5b646d", "#d9dde1", "#ffffff"
FAMILIES = ("#0072b2", "#c64a00", "#008a63", "#b0568c", "#9a6a00", "#3b86c2", "#6b5fb5", "#77702b")
"""Colours after Okabe and Ito, the light ones darkened to a contrast of 3:1 on white; markers differ as well."""
MARKERS = ("o", "^", "D", "v", "P", "X", "<", ">", "h", "p", "*")
BLACK = -1
"""The place in FAMILIES that stands for the colour of the text."""
STYLES: dict[str, tuple[int, str]] = {
    "full": (BLACK, "s"),
    # adapters
    "houlsby": (0, "o"),
    "pfeiffer": (0, "^"),
    "parallel_adapter": (0, "D"),
    "compacter": (0, "v"),
    "compacter_pp": (0, "P"),
    "adapter": (0, "X"),
    # rescaled activations
    "ia3": (1, "o"),
    "scaling": (1, "^"),
    # low-rank and other updates of matrices
    "lora": (2, "o"),
    "dora": (2, "^"),
    "adalora": (2, "D"),
    "vera": (2, "v"),
    "loha": (2, "P"),
    "lokr": (2, "X"),
    "oft": (2, "<"),
    "boft": (2, ">"),
    "hra": (2, "h"),
    "vblora": (2, "p"),
    "pissa": (2, "*"),
    # biases and norms
    "bitfit": (3, "o"),
    "layernorm": (3, "^"),
    # learned prompts
    "prefix_tuning": (4, "o"),
    "prompt_tuning": (4, "^"),
    "cartridge": (4, "D"),
    "p_tuning": (4, "v"),
    # nothing trained
    "icl": (5, "o"),
    "knn": (5, "^"),
    "peft": (5, "D"),  # a finished adapter; one of peft's types that is trained here has its own entry
    # parts of the backbone
    "features": (6, "o"),
    "top_layers": (6, "^"),
    # peft's own code for methods that are above in ours
    "peft ia3": (1, "s"),
    "peft lora": (2, "s"),
    "peft ln_tuning": (3, "s"),
    "peft prefix_tuning": (4, "s"),
    "peft prompt_tuning": (4, "P"),
    "peft cartridge": (4, "X"),
    # chosen or random directions of all weights
    "fish": (7, "o"),
    "said": (7, "^"),
}
"""Method -> its colour, as a place in FAMILIES, and marker, in every report: an entry is never changed. Methods of a
kind share a colour. One of peft's types has the entry of its name in lower case, after `peft` if there is one of our
own too. Any other name has the style that its sha256 gives it."""


def place_of(name: str) -> tuple[int, str]:
    """The colour of a method, as a place in FAMILIES (BLACK for the colour of the text), and its marker.

    >>> place_of("full"), place_of("ia3"), place_of("my_method"), place_of("peft VERA"), place_of("peft IA3")
    ((-1, 's'), (1, 'o'), (5, 'P'), (2, 'v'), (1, 's'))
    """
    for known in (name, name.lower(), name.lower().removeprefix("peft ")):
        if known in STYLES:
            return STYLES[known]
    colour, marker = hashlib.sha256(name.encode()).digest()[:2]
    return colour % len(FAMILIES), MARKERS[marker % len(MARKERS)]


def style_of(name: str) -> tuple[str, str]:
    """The colour and marker of a method, the same in every report."""
    place, marker = place_of(name)
    return INK if place == BLACK else FAMILIES[place], marker


def styles_of(labels: Sequence[str]) -> list[tuple[str, str]]:
    """Colour and marker of lines, by the method in each label. Further lines of a method have its colour and the next
    markers.

    >>> styles_of(["ia3", "lora:rank=4", "ia3 in sequence"])
    [('#c64a00', 'o'), ('#008a63', 'o'), ('#c64a00', '^')]
    """
    styles, seen = [], Counter[str]()
    for label in labels:
        name = family_of(label)
        colour, marker = style_of(name)
        order = (marker, *(other for other in MARKERS if other != marker))
        styles.append((colour, order[seen[name] % len(order)]))
        seen[name] += 1
    return styles


RC = {"svg.hashsalt": "tunefront", "svg.fonttype": "path", "pdf.fonttype": 3, "font.family": ["DejaVu Sans"]}


@contextmanager
def plot_settings() -> Iterator[None]:
    """Applies our matplotlib settings, not the user's. Characters missing in the font are boxes, without a warning."""
    with matplotlib.rc_context(RC), warnings.catch_warnings():  # type: ignore[arg-type]  # the stubs list every key
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield
