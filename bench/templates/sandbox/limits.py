"""Limits of one rendering: counted, not timed, so that a template and row give the same result on any machine."""

from __future__ import annotations

import hashlib
from typing import TypeVar

from jinja2.runtime import Undefined

ROUNDS = 10_000
"""Iterations of all loops together."""
WORK = 2_000_000
"""Executed nodes of loop bodies, plus items handled, plus characters (ten count as one item)."""
LONGEST = 1_000_000
"""Characters of a text, and of the whole output."""
_AN_ITEM = 10
_LARGEST = 10**100
_KINDS = {"str": "text", "int": "number", "float": "number", "NoneType": "none", "Allowed": "function"}
_KINDS |= {"LoopContext": "loop", "Namespace": "namespace"}

_Value = TypeVar("_Value")


class Fault(Exception):
    """A failure of a template and what to do about it; the caller adds the template's name."""


class Meter:
    """Counts the resources of a rendering and raises `Fault` beyond the limits.

    Plain values are texts, numbers, None, and lists, tuples and dicts of plain values. Every container is weighed as a
    tree before a template can use it, so none can contain itself, and one that contains another many times weighs as
    much as if each were a copy. Args: salt, the seed of `draw`.
    """

    def __init__(self, salt: str = "") -> None:
        self._salt = salt
        self._draws = 0
        self._rounds = ROUNDS
        self._work = WORK
        self._room = LONGEST

    def rounds(self, count: int, nodes: int) -> None:
        """Counts a loop of `count` iterations over a body of `nodes` nodes."""
        self._rounds -= count
        if self._rounds < 0:
            raise Fault(f"its loops iterate more than {ROUNDS:,} times; loop over less")
        self._spend(count * nodes)

    def write(self, text: str) -> str:
        """Counts text that is written out."""
        self._room -= len(text)
        if self._room < 0:
            raise Fault(f"it writes more than {LONGEST:,} characters; write less")
        return text

    def room(self, length: int) -> None:
        """Counts a text or list of `length` characters or items before it is built; its items are not weighed."""
        if length > LONGEST:
            raise Fault(f"it builds a text or list of more than {LONGEST:,} characters or items; build a smaller one")
        self._spend(length // _AN_ITEM)

    def read(self, *values: object) -> None:
        """Counts reading plain values, texts in full."""
        for value in values:
            self._spend(self._weigh(value, texts=True))

    def build(self, value: _Value) -> _Value:
        """Counts building or copying a plain value: a text by its length, a container by its contents."""
        self._spend(self._weigh(value, texts=isinstance(value, str)))
        return value

    def draw(self, count: int) -> int:
        """A number below `count`, from sha256 of the salt and the number of draws so far: the same in any process."""
        self._draws += 1
        return int.from_bytes(hashlib.sha256(f"{self._salt} {self._draws}".encode()).digest()) % count

    def _spend(self, amount: int) -> None:
        self._work -= amount
        if self._work < 0:
            raise Fault(f"it handles more than {WORK:,} items (ten characters count as one); do less in loops")

    def _weigh(self, value: object, texts: bool) -> int:
        weight, waiting = 0, [value]
        while waiting:
            item = waiting.pop()
            weight += 1
            if isinstance(item, str):
                weight += len(item) // _AN_ITEM if texts else 0
            elif isinstance(item, (list, tuple)):
                waiting += item
            elif isinstance(item, dict):
                waiting += (*item.keys(), *item.values())
            elif isinstance(item, int):
                number(item)
            elif isinstance(item, Undefined):
                item._fail_with_undefined_error()
            elif item is not None and not isinstance(item, float):
                raise Fault(f"it uses a {kind(item)} as text; take a value out of it")
            if weight + len(waiting) > self._work:
                self._spend(weight + len(waiting))
        return weight


def number(value: int | float) -> int | float:
    """The number; Fault for an integer of more than 100 digits, which could keep growing."""
    if isinstance(value, int) and abs(value) >= _LARGEST:
        raise Fault("it uses an integer of more than 100 digits; use a smaller one")
    return value


def kind(value: object) -> str:
    """The kind of a value, as named in messages."""
    name = type(value).__name__
    return _KINDS.get(name, name)
