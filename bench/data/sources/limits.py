"""How much memory data may take: a small file can stand for gigabytes of rows, so it is estimated before it is held."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunefront.bench.errors import Mistake

if TYPE_CHECKING:
    from pathlib import Path

VARIABLE = "TUNEFRONT_MAX_DATA_BYTES"
DEFAULT_BYTES = 2**30
VALUE_BYTES = 64
"""What a value costs as a Python object, beside its text."""


class Unreadable(Exception):
    """One file cannot be read; the message is a whole paragraph and names the file."""


@dataclass
class Budget:
    """Bytes of memory that the rows of a task may take, by estimate: their text, and 64 bytes for each value."""

    limit_bytes: int
    spent_bytes: int = 0

    @classmethod
    def from_environment(cls) -> Budget:
        """The default, or what $TUNEFRONT_MAX_DATA_BYTES allows. Errors: Mistake where that is no whole number."""
        given = os.environ.get(VARIABLE, "").strip()
        if given and not re.fullmatch(r"0*[1-9]\d{0,17}", given, re.ASCII):
            raise Mistake(f"{VARIABLE} is {given[:40]!r}; give a whole number of bytes, for example {4 * 2**30}.")
        return cls(int(given) if given else DEFAULT_BYTES)

    @property
    def left_bytes(self) -> int:
        """What may still be spent."""
        return self.limit_bytes - self.spent_bytes

    def spend(self, file: Path, text_bytes: int, values: int = 0) -> None:
        """Book what was or is about to be read of `file`. Errors: Unreadable where that is more than is left."""
        self.check(file, text_bytes, values)
        self.spent_bytes += text_bytes + VALUE_BYTES * values

    def check(self, file: Path, text_bytes: int, values: int = 0) -> None:
        """As `spend`, without booking."""
        needed = text_bytes + VALUE_BYTES * values
        if needed > self.left_bytes:
            whole = self.spent_bytes + needed
            raise Unreadable(
                f"{file} would need at least {_megabytes(whole)} of memory with what was read before it, more than the "
                f"{_megabytes(self.limit_bytes)} that a task's data may take. If the file is meant to be this large, "
                f"allow more: export {VARIABLE}={max(2 * whole, 2 * self.limit_bytes)}; else give fewer rows."
            )


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"
