"""Errors that a person can do something about: one clear paragraph and exit code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class Mistake(ValueError):
    """Something in the call, a suite or the data is wrong: what was asked, what was found, what to do."""


class Mistakes(Mistake):
    """Several mistakes, reported together."""

    def __init__(self, mistakes: Iterable[str]):
        self.mistakes = list(dict.fromkeys(mistakes))
        listed = "\n".join(f"  {number}. {text}" for number, text in enumerate(self.mistakes, 1))
        super().__init__(f"{len(self.mistakes)} mistakes:\n{listed}" if len(self.mistakes) > 1 else self.mistakes[0])


class Gathered:
    """Mistakes gathered on the way, so that a person hears of all of them at once.

    >>> wrong = Gathered()
    >>> with wrong.any("suite mine.toml: "):
    ...     raise Mistake("seeds must be a list")
    >>> wrong.found
    ['suite mine.toml: seeds must be a list']
    """

    def __init__(self) -> None:
        self.found: list[str] = []

    @contextmanager
    def any(self, prefix: str = "") -> Iterator[None]:
        """Keeps the mistakes that its block raises, after `prefix`."""
        try:
            yield
        except Mistakes as error:
            self.found += [prefix + text for text in error.mistakes]
        except Mistake as error:
            self.found.append(prefix + str(error))

    def told(self) -> None:
        """Raises all that were gathered, if any were."""
        if self.found:
            raise Mistakes(self.found)


class DiskFull(OSError):
    """No room is left to write a record; everything written before is whole (exit code 1)."""


def unknown(kind: str, name: str, known: Iterable[str], add: str = "") -> str:
    """The message for a name that is not there, with the nearest one that is.

    >>> unknown("suite", "qick", ["quick", "houlsby2019"])
    "no suite 'qick'; did you mean 'quick'? Known: houlsby2019, quick."
    """
    known = sorted(known)
    near = nearest(name, known)
    hint = f"; did you mean {near!r}?" if near else "."
    return f"no {kind} {name!r}{hint} Known: {', '.join(known)}.{' ' + add if add else ''}"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The name that is most like this one, whatever its capitals; None where none is.

    >>> nearest("QUCK", ["quick", "houlsby2019"])
    'quick'
    """
    spelled = {one.lower(): one for one in sorted(known)}
    return next((spelled[one] for one in difflib.get_close_matches(name.lower(), spelled, n=1, cutoff=0.5)), None)
