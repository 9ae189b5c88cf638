"""Short and printable names of tasks, backbones and methods."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Every name with its short form: the last part of the path or Hub id, or more parts if that is ambiguous; of a
    file's options only those in which the same file is read differently.

    >>> short_names(["docstrings/kind", "dir:data/sst2", "hub:glue/sst2"])
    {'dir:data/sst2': 'data/sst2', 'docstrings/kind': 'kind', 'hub:glue/sst2': 'glue/sst2'}
    >>> short_names(["file:a/b.csv?text=x&label=y", "file:a/b.csv?text=x&label=z"])
    {'file:a/b.csv?text=x&label=y': 'b.csv?label=y', 'file:a/b.csv?text=x&label=z': 'b.csv?label=z'}
    """
    names = sorted(set(names))
    paths: dict[str, list[str]] = {}
    for name in names:
        paths.setdefault(_path_and_options(name)[0], []).append(name)
    tails = _tails(list(paths))
    short = {name: f"{tails[path]}{_options(name, group)}" for path, group in paths.items() for name in group}
    times = Counter(short.values())
    return {name: short[name] if times[short[name]] == 1 else name for name in names}


_DIGITS = 8
"""Digits of the hash of a DataFrame that are shown."""


def _tails(paths: Sequence[str]) -> dict[str, str]:
    """Every path with as many of its last parts as tell it from the others."""
    tails = {}
    for path in paths:
        parts = _split(path)
        for kept in range(1, len(parts) + 1):
            tail = _clean(parts[-kept:])
            if not any(other != path and _parts(other)[-kept:] == tail for other in paths):
                break
        tails[path] = "/".join(tail) if parts else path
        if path.startswith("frame:"):
            head = path[: len("frame:") + _DIGITS]
            tails[path] = path if any(other != path and other.startswith(head) for other in paths) else head
    return tails


def _path_and_options(name: str) -> tuple[str, str]:
    """The path of a task with its source, and the options of a file or DataFrame; other names have none."""
    path, _, options = name.partition("?") if name.startswith(("file:", "frame:")) else (name, "", "")
    return path, options


def _options(name: str, group: Sequence[str]) -> str:
    """The options that tell a name from the others of the group, as they are written: one option if that is enough,
    the label first, else all in which they differ."""
    options = {each: _by_option(each) for each in group}
    keys = sorted({key for each in options.values() for key in each}, key=lambda key: (key != "label", key))
    differing = [key for key in keys if len({each.get(key) for each in options.values()}) > 1]
    telling = [key for key in differing if len({each.get(key) for each in options.values()}) == len(group)]
    shown = telling[:1] or differing
    own = [text for key, texts in options[name].items() if key in shown for text in texts]
    return f"?{'&'.join(own)}" if own else ""


def _by_option(name: str) -> dict[str, tuple[str, ...]]:
    """Option -> its texts, `label=sentiment`, in the order of the name."""
    by_option: dict[str, tuple[str, ...]] = {}
    for text in filter(None, _path_and_options(name)[1].split("&")):
        option = text.partition("=")[0]
        by_option[option] = (*by_option.get(option, ()), text)
    return by_option


_SOURCES = ("dir:", "hub:", "file:")
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
    return abbreviate(text, LONGEST)


def abbreviate(text: str, most: int) -> str:
    """The text with its middle replaced by a hash if it has more than `most` characters (at least 22), so that
    different long names stay different.

    >>> abbreviate("x" * 40, 30)
    'xxxxx… [bd913ff6] …xxxxx'
    """
    if len(text) <= most:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    end = (most - 20) // 2
    return f"{text[:end]}… [{digest}] …{text[-end:]}"


def elide(text: str, most: int) -> str:
    """The text with its middle left out if it has more than `most` characters.

    >>> elide("customers_2024_final.csv", 16), elide("subj", 16)
    ('customer…nal.csv', 'subj')
    """
    if len(text) <= most:
        return text
    end = (most - 1) // 2
    return f"{text[: most - 1 - end]}…{text[len(text) - end :]}"


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
    """Parts without the source in front (`dir:`, `hub:`, `file:`)."""
    return [part.split(":", 1)[1] if i == 0 and part.startswith(_SOURCES) else part for i, part in enumerate(parts)]


def describe_shots(amount: int | None) -> str:
    """The number of training rows in words.

    >>> describe_shots(None), describe_shots(1), describe_shots(16)
    ('all training rows', '1 training row', '16 training rows')
    """
    return "all training rows" if amount is None else f"{amount:,} training row" + ("" if amount == 1 else "s")


NAMED = 5
"""The most names in a sentence; further ones are counted."""


def join_names(names: Sequence[str], most: int = NAMED) -> str:
    """Names in a sentence; of more than `most` + 1, the first `most` and the number of the others.

    >>> join_names(["a"]), join_names(["a", "b", "c"]), join_names("abcde", most=3)
    ('a', 'a, b and c', 'a, b, c and 2 more')
    """
    shown = list(names) if len(names) <= most + 1 else [*names[:most], f"{len(names) - most} more"]
    return shown[-1] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
