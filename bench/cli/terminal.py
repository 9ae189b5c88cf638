"""All printing: no text can control the terminal, and a printing error never ends the work.

Every console of the command is the one here (a test checks it), so that no label, name, record or exception text
reaches a terminal with its escapes, and neither a closed pipe (`| head`), a full disk nor an encoding that lacks
characters loses computed results.
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

_SUBSTITUTES = str.maketrans(
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
"""Substitutes for our characters in encodings that lack them; other characters are written as escapes."""


class Console(RichConsole):
    """A rich console that interprets no markup, escapes control characters, writes only characters of its encoding,
    and goes silent once its stream is closed."""

    def __init__(self, stderr: bool = False, **settings: Any):  # Any: rich's own settings
        file = _Outlet("stderr" if stderr else "stdout")
        super().__init__(file=file, markup=False, emoji=False, highlight=False, **settings)  # type: ignore[arg-type]

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Rich's segments with their texts escaped; control segments are rich's own."""
        for segment in super().render(renderable, options):
            if segment.control or not segment.text.strip(" \n"):
                yield segment
            else:
                yield Segment(encodable(printable(segment.text), self.encoding), segment.style)


def encodable(text: str, encoding: str) -> str:
    """The text in characters of an encoding: ours become similar ones, others become escapes.

    >>> encodable("✓ 0.500 · é", "ascii")
    'ok 0.500 - \\\\xe9'
    """
    if text.isascii():
        return text
    try:
        text.encode(encoding)
        return text
    except (UnicodeEncodeError, LookupError):
        usable = encoding if _is_known(encoding) else "ascii"
        return text.translate(_SUBSTITUTES).encode(usable, "backslashreplace").decode(usable)


def _is_known(encoding: str) -> bool:
    try:
        "".encode(encoding)
    except LookupError:
        return False
    return True


def print_raw(text: str) -> None:
    """Prints a text for programs to standard output, without any formatting."""
    outlet = _Outlet("stdout")
    outlet.write(encodable(text, outlet.encoding) + "\n")
    outlet.flush()


_lost: OSError | ValueError | None = None


def forget_lost_output() -> None:
    """Forgets printing errors of an earlier command in this process."""
    global _lost
    _lost = None


def lost_output() -> str | None:
    """Why some output could not be printed; None if all was printed, or if the reader closed the pipe."""
    number = getattr(_lost, "errno", None)
    return None if _lost is None or number == errno.EPIPE else str(getattr(_lost, "strerror", None) or _lost)


class _Outlet(io.TextIOBase):
    """The current standard output or error; once it cannot be written, further output is dropped."""

    def __init__(self, name: str):
        self._name = name

    @property
    def _stream(self) -> Any:  # Any: any stream; a live display replaces it by a proxy
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
        if stream is None:  # closed before the command began
            return
        try:
            getattr(stream, verb)(*arguments)
        except UnicodeEncodeError:
            stream.write(arguments[0].encode("ascii", "backslashreplace").decode())
        except (OSError, ValueError) as error:  # ValueError: the stream is closed
            _lost = error
            _redirect_to_null(self._name, stream)


def _redirect_to_null(name: str, stream: Any) -> None:
    """Redirects a stream to the null device, so that neither buffered nor later output fails, even at exit."""
    with suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
        stream.flush()
        return
    setattr(sys, name, None)
