"""Regexes from files of others: whether matching one ends soon."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from re import _parser  # type: ignore[attr-defined]  # private, since Python shows a regex's parts nowhere else
from typing import Any

MOST_REPEATS = 4
"""More repetitions one after another could take minutes on the paths of a model; the sites of no architecture have
more than two."""

MOST_WAYS = 10_000
"""Ways to choose among alternatives one after another, such as (a|b)(a|b): all of them may be tried at every place."""
ALTERNATIVES = ("BRANCH", "GROUPREF_EXISTS")
"""Parts of which one is matched."""


def check_pattern(regex: str) -> None:
    r"""ValueError for a regex that cannot be read, or whose matching may take for ever, with the reason.

    Python's `re` tries every way to divide a text among repetitions: their number grows with the text's length to the
    power of the number of repetitions, and exponentially where a repetition is repeated.

    >>> check_pattern(r"encoder\.layer\.(\d+)\.attention")
    >>> check_pattern(r"(\w+\.)+weight")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: the regular expression ... may take for ever to match: it repeats what itself repeats or has ...
    """
    try:
        parts = _parser.parse(regex)
        repeats, ways = _repeats(parts), _ways(parts)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{regex!r} is not a regular expression ({error})") from error
    start = f"the regular expression {regex!r} may take for ever to match: it"
    if repeats is None:
        raise ValueError(f"{start} repeats what itself repeats or has alternatives; write the parts one after another")
    if repeats > MOST_REPEATS:
        raise ValueError(f"{start} has {repeats} repetitions one after another, at most {MOST_REPEATS} are allowed")
    if ways > MOST_WAYS:
        raise ValueError(f"{start} has alternatives in more than {MOST_WAYS:,} ways")


def _repeats(parts: Iterable[tuple[Any, Any]]) -> int | None:  # Any: Python's own codes and arguments
    """The number of repetitions of varying length; None if one repeats what has several ways to match."""
    count = 0
    for code, argument in parts:
        name = str(code)
        if name.endswith("REPEAT"):
            fewest, most, repeated = argument
            inside = _repeats(repeated)
            if inside is None or (int(most) > 1 and (inside or _has_alternatives(repeated))):
                return None
            count += inside + int(fewest != most)
            continue
        of_parts = [_repeats(inner) for inner in _inner(name, argument)]
        known = [inside for inside in of_parts if inside is not None]
        if len(known) < len(of_parts):
            return None
        count += max(known, default=0) if name in ALTERNATIVES else sum(known)
    return count


def _ways(parts: Iterable[tuple[Any, Any]]) -> int:
    """The number of ways to choose among alternatives, without those of repetitions."""
    count = 1
    for code, argument in parts:
        name = str(code)
        inner = [argument[2]] if name.endswith("REPEAT") else _inner(name, argument)
        of_parts = [_ways(each) for each in inner]
        count *= max(1, sum(of_parts)) if name in ALTERNATIVES else math.prod(of_parts)
    return count


def _has_alternatives(parts: Iterable[tuple[Any, Any]]) -> bool:
    return any(
        str(code) == "BRANCH" or any(_has_alternatives(inner) for inner in _inner(str(code), argument))
        for code, argument in parts
    )


def _inner(name: str, argument: Any) -> list[Any]:
    """The sequences of parts inside a part."""
    if name == "SUBPATTERN":
        return [argument[-1]]
    if name == "BRANCH":
        return list(argument[1])
    if name in ("ASSERT", "ASSERT_NOT"):
        return [argument[1]]
    if name == "ATOMIC_GROUP":
        return [argument]
    if name == "GROUPREF_EXISTS":
        return [inner for inner in argument[1:] if inner]
    return []
