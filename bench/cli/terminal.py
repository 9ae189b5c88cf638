"""The edge where anything is printed: nothing in a text acts on the terminal, and printing never ends the work.

Every console of the command is the one here (a test sees to it), so that no label, name, record or exception text
reaches a terminal with its escapes, and neither a pipe that was closed (`| head`), a full disk nor an encoding without
the characters costs what was computed.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

from tunefront.bench.errors import printable

_INSTEAD = str.maketrans(
    {
        "✓": "ok",
        "✗": "x",
        "–": "-",
        "—": "-",
        "·": "-",
        "−": "-",
        "…": "...",
        "×": "x",
        "→": "->",
        "±": "+-",
        "≥": ">=",
        "≤": "<=",
        "“": '"',
        "”": '"',
        "„": '"',
        "‘": "'",
        "’": "'",
        "\u00a0": " ",
        "\u202f": " ",
        **{chr(dots): "*" for dots in range(0x2800, 0x2900)},  # spinners
    }
)
"""What is written where an encoding lacks a character of ours; any other is written as its escape."""


class Console(RichConsole):
    """A rich console that takes no text for markup, shows what a terminal would act on as escapes, writes what its
    encoding has, and goes silent where nobody reads any more."""

    def __init__(self, stderr: bool = False, **settings: Any):  # Any: rich's own settings
        file = _Outlet("stderr" if stderr else "stdout")
        super().__init__(file=file, markup=False, emoji=False, highlight=False, **settings)  # type: ignore[arg-type]

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """What rich makes of something, its texts made safe; control segments are rich's own."""
        for segment in super().render(renderable, options):
            if segment.control or not segment.text.strip(" \n"):
                yield segment
            else:
                yield Segment(encodable(printable(segment.text), self.encoding), segment.style)


def encodable(text: str, encoding: str) -> str:
    """The text in characters that an encoding has: ours by something like them, others as escapes.

    >>> encodable("✓ 0.500 · é", "ascii")
    'ok 0.500 - \\\\xe9'
    """
    if text.isascii():
        return text
    try:
        text.encode(encoding)
        return text
    except (UnicodeEncodeError, LookupError):
        known = encoding if _is_known(encoding) else "ascii"
        return text.translate(_INSTEAD).encode(known, "backslashreplace").decode(known)


def _is_known(encoding: str) -> bool:
    try:
        "".encode(encoding)
    except LookupError:
        return False
    return True


def plain(text: str) -> None:
    """Prints a text for programs to standard output, as it is."""
    outlet = _Outlet("stdout")
    outlet.write(encodable(text, outlet.encoding) + "\n")
    outlet.flush()


_lost: OSError | ValueError | None = None


def begin() -> None:
    """Forgets what an earlier command of this process could not print."""
    global _lost
    _lost = None


def lost_output() -> str | None:
    """Why something could not be printed, None where all was, or where a reader had enough of it."""
    known = getattr(_lost, "errno", None)
    return None if _lost is None or known == errno.EPIPE else str(getattr(_lost, "strerror", None) or _lost)


class _Outlet(io.TextIOBase):
    """Standard output or error as it is now; where it cannot be written any more, what comes is let go."""

    def __init__(self, name: str):
        self._name = name

    @property
    def _stream(self) -> Any:  # Any: whatever stands there; a display puts a proxy in its place
        stream = getattr(sys, self._name)
        return getattr(stream, "rich_proxied_file", stream)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        try:
            return bool(self._stream.isatty())
        except (AttributeError, ValueError, OSError):
            return False

    def fileno(self) -> int:
        return int(self._stream.fileno())

    def write(self, text: str) -> int:
        self._try("write", text)
        return len(text)

    def flush(self) -> None:
        self._try("flush")

    def _try(self, verb: str, *arguments: str) -> None:
        global _lost
        stream = self._stream
        if stream is None:  # it was closed before the command began
            return
        try:
            getattr(stream, verb)(*arguments)
        except UnicodeEncodeError:
            stream.write(arguments[0].encode("ascii", "backslashreplace").decode())
        except (OSError, ValueError) as error:  # ValueError: of a stream that was closed
            _lost = error
            _let_go(self._name, stream)


def _let_go(name: str, stream: Any) -> None:
    """Leads a stream nowhere, so that neither what it still holds nor what comes fails again, even at the very end."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()
        return
    setattr(sys, name, None)
