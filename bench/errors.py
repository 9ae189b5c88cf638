"""Errors that a person can do something about: one clear paragraph and exit code 2."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

LONGEST_WORD, SHOWN_OF_IT = 400, 100
"""Characters of a word, what has no blank in it, that is told of in full; of a longer one the first few are."""
_LONG_WORD = re.compile(rf"\S{{{LONGEST_WORD + 1},}}")


def without_long_words(text: str) -> str:
    """The text with endless words cut: a number of thousands of digits, say, that it repeats.

    >>> without_long_words("got " + "9" * 5000)[-25:]
    '999... (5,000 characters)'
    """
    return _LONG_WORD.sub(lambda word: f"{word[0][:SHOWN_OF_IT]}... ({len(word[0]):,} characters)", text)


class UserError(ValueError):
    """Something in the call, a suite or the data is wrong: what was asked, what was found, what to do."""

    def __init__(self, text: str = "", *more: object):
        super().__init__(without_long_words(text), *more)


class UserErrors(UserError):
    """Several user errors, reported together."""

    def __init__(self, mistakes: Iterable[str]):
        self.mistakes = [without_long_words(text) for text in dict.fromkeys(mistakes)]
        listed = "\n".join(f"  {number}. {text}" for number, text in enumerate(self.mistakes, 1))
        super().__init__(f"{len(self.mistakes)} mistakes:\n{listed}" if len(self.mistakes) > 1 else self.mistakes[0])


class ErrorCollector:
    """Collects user errors, so that all of them are reported at once.

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
        """Collects the errors that its block raises, each after `prefix`."""
        try:
            yield
        except UserErrors as error:
            self.messages += [prefix + text for text in error.mistakes]
        except UserError as error:
            self.messages.append(prefix + str(error))

    def raise_if_any(self) -> None:
        """Raises all that were collected, if any were."""
        if self.messages:
            raise UserErrors(self.messages)


class DiskFull(OSError):
    """No room is left to write a record; everything written before is whole (exit code 1)."""


MOST_KNOWN = 40
LONGEST_NAME = 200
"""Characters of a name that are shown and compared."""


def unknown(kind: str, name: str, known: Iterable[str], add: str = "") -> str:
    """The message for a name that is not there, with the nearest one that is.

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
    """The name that is most like this one, whatever its capitals; None where none is.

    >>> nearest("QUCK", ["quick", "houlsby2019"])
    'quick'
    """
    spelled = {one.lower(): one for one in sorted(known)}
    close = difflib.get_close_matches(name[:LONGEST_NAME].lower(), spelled, n=1, cutoff=0.5)
    return next((spelled[one] for one in close), None)


_SHOWN_AS_IT_IS = "\n\t"
_UNSEEN = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's categories of what a terminal may act on: controls, lone surrogates, separators of lines and paragraphs."""
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
"""Characters that turn the direction of what follows, or that no one sees."""


def printable(text: str, single_line: bool = False) -> str:
    """The text with all that a terminal would act on written out: controls but line feed and tab, characters that turn
    the direction of writing, lone surrogates. `single_line` writes line feeds and tabs out too, as in a file's name.

    >>> printable("a\\x1b[31mb"), printable("two\\nlines", single_line=True)
    ('a\\\\x1b[31mb', 'two\\\\nlines')
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_written_out(letter, "" if single_line else _SHOWN_AS_IT_IS) for letter in text)


def _written_out(letter: str, kept: str) -> str:
    if letter in kept or (unicodedata.category(letter) not in _UNSEEN and letter not in _TURNING):
        return letter
    return letter.encode("unicode_escape").decode("ascii")


LONGEST = 500
"""Characters of an exception's text that are kept."""


def in_short(error: BaseException) -> str:
    """One printable line of an error, whatever it is: without the stack that some libraries put into their text, and
    where it cannot even say what it is, its type alone."""
    try:
        text = str(error)
    except BaseException as worse:  # a method's own exception may do anything when it is asked
        text = f"(its text cannot be had: {type(worse).__name__})"
    line = next((line for line in text[: 20 * LONGEST].splitlines() if line.strip()), "").strip()
    told = printable(line)[:LONGEST]
    if isinstance(error, UserError) and told:
        return told
    return f"{printable(type(error).__name__)[:LONGEST]}: {told}".removesuffix(": ")
