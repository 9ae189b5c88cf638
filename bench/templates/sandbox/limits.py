"""What one rendering may use, counted and never timed: the same template and row end the same way on any machine."""

from __future__ import annotations

import hashlib
from typing import TypeVar

from jinja2.runtime import Undefined

ROUNDS = 10_000
"""Rounds of all loops together."""
WORK = 2_000_000
"""Nodes of loop bodies gone through, items handled, and characters, ten of which count as one item."""
LONGEST = 1_000_000
"""Characters of a text, and of all that is written."""
_AN_ITEM = 10
_LARGEST = 10**100
_KINDS = {"str": "text", "int": "number", "float": "number", "NoneType": "none", "Allowed": "function"}
_KINDS |= {"LoopContext": "loop", "Namespace": "namespace"}

_Value = TypeVar("_Value")


class Fault(Exception):
    """What a template did wrong, in sentences that say what to do; the caller knows whose template it is."""


class Meter:
    """Counts what a rendering uses and raises `Fault` beyond the limits.

    Plain values are texts, numbers, None, and lists, tuples and dicts of plain values. Every container is weighed as a
    tree before a template gets hold of it, so that none can hold itself, and one that holds another many times over
    weighs as much as if each were a copy. Args: salt, what `draw` depends on.
    """

    def __init__(self, salt: str = "") -> None:
        self._salt = salt
        self._draws = 0
        self._rounds = ROUNDS
        self._work = WORK
        self._room = LONGEST

    def rounds(self, count: int, nodes: int) -> None:
        """Notes a loop of `count` rounds over a body of `nodes` nodes."""
        self._rounds -= count
        if self._rounds < 0:
            raise Fault(f"its loops go round more than {ROUNDS:,} times; loop over less")
        self._spend(count * nodes)

    def write(self, text: str) -> str:
        """Notes a text that is written out."""
        self._room -= len(text)
        if self._room < 0:
            raise Fault(f"it writes more than {LONGEST:,} characters; write less")
        return text

    def room(self, length: int) -> None:
        """Notes, before it is made, a text or list of `length` characters or items, whose items are not weighed."""
        if length > LONGEST:
            raise Fault(f"it makes a text or list of more than {LONGEST:,} characters or items; make a smaller one")
        self._spend(length // _AN_ITEM)

    def read(self, *values: object) -> None:
        """Notes that plain values are gone through, texts to their ends."""
        for value in values:
            self._spend(self._weigh(value, texts=True))

    def build(self, value: _Value) -> _Value:
        """Notes that a plain value was made or copied: a text by its length, a container by how much it holds."""
        self._spend(self._weigh(value, texts=isinstance(value, str)))
        return value

    def draw(self, count: int) -> int:
        """A number below `count`, by sha256 of the salt and of how many were drawn before: the same in any process."""
        self._draws += 1
        return int.from_bytes(hashlib.sha256(f"{self._salt} {self._draws}".encode()).digest()) % count

    def _spend(self, amount: int) -> None:
        self._work -= amount
        if self._work < 0:
            raise Fault(f"it handles more than {WORK:,} items (ten characters count as one); do less in loops")

    def _weigh(self, value: object, texts: bool) -> int:
        weight, waiting = 0, [value]
        while waiting:
            one = waiting.pop()
            weight += 1
            if isinstance(one, str):
                weight += len(one) // _AN_ITEM if texts else 0
            elif isinstance(one, (list, tuple)):
                waiting += one
            elif isinstance(one, dict):
                waiting += (*one.keys(), *one.values())
            elif isinstance(one, int):
                number(one)
            elif isinstance(one, Undefined):
                one._fail_with_undefined_error()
            elif one is not None and not isinstance(one, float):
                raise Fault(f"it uses a {kind(one)} as if it were text; take a value out of it")
            if weight + len(waiting) > self._work:
                self._spend(weight + len(waiting))
        return weight


def number(value: int | float) -> int | float:
    """The number, unless it is a whole one of more than 100 digits, which could go on growing."""
    if isinstance(value, int) and abs(value) >= _LARGEST:
        raise Fault("it uses a whole number of more than 100 digits; use a smaller one")
    return value


def kind(value: object) -> str:
    """What a value is, as messages call it."""
    name = type(value).__name__
    return _KINDS.get(name, name)
