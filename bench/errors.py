"""Errors that a user can fix: one clear paragraph and exit code 2."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

LONGEST_WORD, SHOWN_OF_IT = 400, 100
"""A word (text without blanks) of more than LONGEST_WORD characters is cut to its first SHOWN_OF_IT."""
_LONG_WORD = re.compile(rf"\S{{{LONGEST_WORD + 1},}}")


def without_long_words(text: str) -> str:
    """The text with very long words cut, such as a number of thousands of digits.

    >>> without_long_words("got " + "9" * 5000)[-25:]
    '999... (5,000 characters)'
    """
    return _LONG_WORD.sub(lambda word: f"{word[0][:SHOWN_OF_IT]}... ({len(word[0]):,} characters)", text)


_PASSWORD = re.compile(r"(://[^\s:/@]*:)[^\s/@]+(?=@)")


def without_passwords(text: str) -> str:
    """The text with the passwords of URLs hidden: messages are copied into reports of faults.

    >>> without_passwords("ftp://ann:secret@host/results does not answer; s3://bucket/a:b@c does")
    'ftp://ann:***@host/results does not answer; s3://bucket/a:b@c does'
    """
    return _PASSWORD.sub(r"\1***", text)


class UserError(ValueError):
    """Something in the call, a suite or the data is wrong: what was requested, what was found, what to do. Passwords of
    URLs are hidden."""

    def __init__(self, text: str = "", *more: object):
        super().__init__(without_passwords(without_long_words(text)), *more)


class UserErrors(UserError):
    """Several user errors, reported together."""

    def __init__(self, messages: Iterable[str]):
        self.messages = [without_passwords(without_long_words(text)) for text in dict.fromkeys(messages)]
        numbered = "\n".join(f"  {number}. {text}" for number, text in enumerate(self.messages, 1))
        super().__init__(f"{len(self.messages)} errors:\n{numbered}" if len(self.messages) > 1 else self.messages[0])


class ErrorCollector:
    """Collects user errors to report all of them together.

    >>> wrong = ErrorCollector()
    >>> with wrong.collect("suite mine.toml: "):
    ...     raise UserError("seeds must be a list")
    >>> wrong.messages
    ['suite mine.toml: seeds must be a list']
    """

    def __init__(self) -> None:
        self.messages: list[str] = []

    @contextmanager
    def collect(self, prefix: str = "") -> Iterator[None]:
        """Collects the errors raised inside the block, each message prefixed with `prefix`."""
        try:
            yield
        except UserError as error:
            if lacks_threads(error):
                raise
            found = error.messages if isinstance(error, UserErrors) else [str(error)]
            self.messages += [prefix + text for text in found]

    def raise_if_any(self) -> None:
        """Raises the collected errors, if there are any."""
        if self.messages:
            raise UserErrors(self.messages)


NO_THREAD = "can't start new thread"
"""What Python's RuntimeError says where the system starts no further thread."""


def lacks_threads(error: BaseException) -> bool:
    """Whether an error comes of a thread that could not be started: one that was raised from that, while a library read
    a file, blames the file.

    >>> try:
    ...     raise UserError("the weights cannot be loaded") from RuntimeError(NO_THREAD)
    ... except UserError as error:
    ...     lacks_threads(error)
    True
    """
    causes = [error]
    while (cause := causes[-1].__cause__) is not None and cause not in causes:
        causes.append(cause)
    return any(isinstance(cause, RuntimeError) and str(cause) == NO_THREAD for cause in causes)


UNMAPPED = "failed to map segment"
"""What the system's loader says of a library for which there is no memory."""


def lacks_memory(error: BaseException) -> bool:
    """Whether an error says that there is no memory left, also for a library that is imported.

    >>> lacks_memory(ImportError("x.so: failed to map segment from shared object"))
    True
    """
    return isinstance(error, MemoryError) or (isinstance(error, ImportError) and UNMAPPED in str(error))


class DiskFull(OSError):
    """The disk has no room for a record; everything written before is complete (exit code 1)."""


MOST_KNOWN = 40
LONGEST_NAME = 200
"""Characters of a name that are shown and compared."""


def unknown(kind: str, name: str, known: Iterable[str], add: str = "") -> str:
    """The message for an unknown name, with the nearest known one.

    >>> unknown("suite", "qick", ["quick", "houlsby2019"])
    "no suite 'qick'; did you mean 'quick'? Known: houlsby2019, quick."
    """
    known = sorted(known)
    near = nearest(name, known)
    hint = f"; did you mean {near!r}?" if near else "."
    shown = name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}..."
    more = f" and {len(known) - MOST_KNOWN:,} more" if len(known) > MOST_KNOWN else ""
    return f"no {kind} {shown!r}{hint} Known: {', '.join(known[:MOST_KNOWN])}{more}.{' ' + add if add else ''}"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The most similar known name, ignoring case; None if none is similar.

    >>> nearest("QUCK", ["quick", "houlsby2019"])
    'quick'
    """
    by_lower_case = {candidate.lower(): candidate for candidate in sorted(known)}
    close = difflib.get_close_matches(name[:LONGEST_NAME].lower(), by_lower_case, n=1, cutoff=0.5)
    return next((by_lower_case[match] for match in close), None)


_KEPT_CONTROLS = "\n\t"
_UNSEEN = ("Cc", "Cs", "Zl", "Zp")
"""Unicode categories that a terminal may act on: controls, lone surrogates, line and paragraph separators."""
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
"""Characters that change the direction of the text after them, or are invisible."""


def printable(text: str, single_line: bool = False) -> str:
    """The text with every character that a terminal would act on escaped: controls except line feed and tab,
    characters that change the direction of writing, lone surrogates. `single_line` also escapes line feeds and tabs,
    as for a file name.

    >>> printable("a\\x1b[31mb"), printable("two\\nlines", single_line=True)
    ('a\\\\x1b[31mb', 'two\\\\nlines')
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(letter, "" if single_line else _KEPT_CONTROLS) for letter in text)


def _escaped(letter: str, kept: str) -> str:
    if letter in kept or (unicodedata.category(letter) not in _UNSEEN and letter not in _TURNING):
        return letter
    return letter.encode("unicode_escape").decode("ascii")


FORMULA_START = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
"""Text that a spreadsheet takes for the start of a formula; the last four characters are full-width forms."""


def escape_formula(value: object) -> object:
    """A value that a spreadsheet shows unchanged: a text that looks like a formula gets an apostrophe in front, as
    OWASP advises; numbers stay numbers.

    >>> [escape_formula(value) for value in ("=1+1", "-3.5", "- a", -3.5, "a=b", None)]
    ["'=1+1", '-3.5', "'- a", -3.5, 'a=b', None]
    """
    if not isinstance(value, str) or FORMULA_START.match(value) is None:
        return value
    return value if _PLAIN_NUMBER.fullmatch(value) else f"'{value}"


_PLAIN_NUMBER = re.compile(r"[+\-]?(\d+(\.\d*)?|\.\d+)(e[+\-]?\d+)?", re.IGNORECASE | re.ASCII)


LONGEST = 500
"""Characters of an exception's text that are kept."""


def in_short(error: BaseException) -> str:
    """One printable line for any error: without the stack trace that some libraries put into their text, and only its
    type if its text cannot be read."""
    try:
        text = str(error)
    except BaseException as worse:  # a user's exception may raise in its own __str__
        text = f"(its text cannot be read: {type(worse).__name__})"
    line = next((line for line in text[: 20 * LONGEST].splitlines() if line.strip()), "").strip()
    message = printable(line)[:LONGEST]
    if isinstance(error, UserError) and message:
        return message
    return f"{printable(type(error).__name__)[:LONGEST]}: {message}".removesuffix(": ")
