"""Short and printable names of tasks, backbones and methods."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Every name with its short form: the last part of the path or Hub id, or more parts if that is ambiguous.

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
"""Longest text that is shown whole, in characters. Longer texts lose their middle."""


def make_visible(text: str) -> str:
    r"""The text as one line, with invisible characters escaped as in \x1b: terminal controls, changes of the writing
    direction, characters without width. Very long texts are shortened.

    >>> print(make_visible("a\x1b[31mb\u202ec\u200bd\n e"))
    a\x1b[31mb\u202ec\u200bd e
    """
    if not text.isprintable():
        text = " ".join("".join(c if c.isprintable() or c.isspace() else _escape_character(c) for c in text).split())
    if len(text) <= LONGEST:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]  # so that different long names stay different
    end = (LONGEST - 20) // 2
    return f"{text[:end]}… [{digest}] …{text[-end:]}"


def _escape_character(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def natural_key(name: str) -> list[tuple[int, str]]:
    """A sort key by which k=4 comes before k=16.

    >>> sorted(["icl:k=16", "icl:k=4", "full", "icl:k=0"], key=natural_key)
    ['full', 'icl:k=0', 'icl:k=4', 'icl:k=16']
    """
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _parts(name: str) -> list[str]:
    return _clean(_split(name))


def _split(name: str) -> list[str]:
    """The parts of a path. The backslash of an escaped character, as make_visible() writes it, is no separator."""
    return [part for part in _SEPARATOR.split(name) if part]


def _clean(parts: list[str]) -> list[str]:
    """Parts without the source in front (`dir:`, `hub:`)."""
    return [part.split(":", 1)[1] if i == 0 and part[:4] in ("dir:", "hub:") else part for i, part in enumerate(parts)]


def describe_shots(amount: int | None) -> str:
    """The number of training rows in words.

    >>> describe_shots(None), describe_shots(1), describe_shots(16)
    ('all training rows', '1 training row', '16 training rows')
    """
    return "all training rows" if amount is None else f"{amount:,} training row" + ("" if amount == 1 else "s")
