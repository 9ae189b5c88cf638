"""Names fit to print: the last part of a path or of a Hub id, where that is still unambiguous."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Every name with its short form; names whose last parts are the same keep as many parts as tell them apart.

    >>> short_names(["docstrings/kind", "dir:data/sst2", "hub:glue/sst2"])
    {'dir:data/sst2': 'data/sst2', 'docstrings/kind': 'kind', 'hub:glue/sst2': 'glue/sst2'}
    """
    names = sorted(set(names))
    short = {}
    for name in names:
        parts = _split(name)
        for kept in range(1, len(parts) + 1):
            tail = parts[-kept:]
            if not any(other != name and _parts(other)[-kept:] == _clean(tail) for other in names):
                break
        short[name] = "/".join(_clean(parts[-kept:])) if parts else name
    return short if len(set(short.values())) == len(short) else {name: name for name in names}


_SEPARATOR = re.compile(r"/|\\(?!x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")
LONGEST = 1000
"""Characters of a text that are shown; of a longer one the middle is left out."""


def make_visible(text: str) -> str:
    r"""The text as one line in which everything is seen: what controls a terminal, turns the direction of writing or
    takes no room is written out, as in \x1b, and a text without end is cut.

    >>> print(make_visible("a\x1b[31mb\u202ec\u200bd\n e"))
    a\x1b[31mb\u202ec\u200bd e
    """
    if not text.isprintable():
        text = " ".join("".join(c if c.isprintable() or c.isspace() else _escape_character(c) for c in text).split())
    if len(text) <= LONGEST:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]  # of two long names, two that differ remain
    end = (LONGEST - 20) // 2
    return f"{text[:end]}… [{digest}] …{text[-end:]}"


def _escape_character(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def natural_key(name: str) -> list[tuple[int, str]]:
    """What names are sorted by, so that k=4 comes before k=16.

    >>> sorted(["icl:k=16", "icl:k=4", "full", "icl:k=0"], key=natural_key)
    ['full', 'icl:k=0', 'icl:k=4', 'icl:k=16']
    """
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _parts(name: str) -> list[str]:
    return _clean(_split(name))


def _split(name: str) -> list[str]:
    """The parts of a path; what escapes a character in it, as make_visible() writes it, is no separator."""
    return [part for part in _SEPARATOR.split(name) if part]


def _clean(parts: list[str]) -> list[str]:
    """Parts without the source in front (`dir:`, `hub:`)."""
    return [part.split(":", 1)[1] if i == 0 and part[:4] in ("dir:", "hub:") else part for i, part in enumerate(parts)]


def describe_shots(amount: int | None) -> str:
    """How many training rows a panel had.

    >>> describe_shots(None), describe_shots(1), describe_shots(16)
    ('all training rows', '1 training row', '16 training rows')
    """
    return "all training rows" if amount is None else f"{amount:,} training row" + ("" if amount == 1 else "s")
