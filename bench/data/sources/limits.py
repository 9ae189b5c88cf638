"""The memory budget of a task's data, estimated before reading: a small file can expand to gigabytes of rows."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunefront.bench.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

VARIABLE = "TUNEFRONT_MAX_DATA_BYTES"
DEFAULT_BYTES = 2**30
VALUE_BYTES = 64
"""Cost of a value as a Python object, in addition to its text."""


class Unreadable(Exception):
    """A file cannot be read; the message is a complete paragraph that names the file."""


@dataclass
class Budget:
    """Estimated memory of a task's rows: the bytes of their text, and 64 bytes per value."""

    limit_bytes: int
    spent_bytes: int = 0

    @classmethod
    def from_environment(cls) -> Budget:
        """The default, or $TUNEFRONT_MAX_DATA_BYTES. Errors: UserError if that is no whole number."""
        text = os.environ.get(VARIABLE, "").strip()
        if text and not re.fullmatch(r"0*[1-9]\d{0,17}", text, re.ASCII):
            raise UserError(f"{VARIABLE} is {text[:40]!r}; give a whole number of bytes, for example {4 * 2**30}.")
        return cls(int(text) if text else DEFAULT_BYTES)

    @property
    def left_bytes(self) -> int:
        """The remaining budget."""
        return self.limit_bytes - self.spent_bytes

    def spend(self, file: Path, text_bytes: int, values: int = 0) -> None:
        """Charges data of `file` to the budget. Errors: Unreadable if it exceeds the remaining budget."""
        self.check(file, text_bytes, values)
        self.spent_bytes += text_bytes + VALUE_BYTES * values

    def check(self, file: Path, text_bytes: int, values: int = 0) -> None:
        """Like `spend`, without charging."""
        needed = text_bytes + VALUE_BYTES * values
        if needed > self.left_bytes:
            total = self.spent_bytes + needed
            raise Unreadable(
                f"{file} and the files before it need at least {_megabytes(total)} of memory, more than the limit of "
                f"{_megabytes(self.limit_bytes)} for a task's data. If the file is meant to be this large, raise it: "
                f"export {VARIABLE}={max(2 * total, 2 * self.limit_bytes)}; otherwise give fewer rows."
            )


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"
