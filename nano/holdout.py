"""The data held out from `nano`: two libraries, and every file of a row in a benchmark's test split.

Files are excluded by the rule that makes the splits (a hash of their paths), not by a list, so this holds for every
version of the packages, and for files that give no test row in current versions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from tunefront.bench.data.sources.candidates import KIND_WORD, LIBRARY_NAME, TASKS, TYPE_WORD, split_of, summarise
from tunefront.bench.data.sources.harvest import Docstring, Source

LIBRARIES = (Source("sympy", "sympy"), Source("networkx", "networkx"))
"""Libraries of which nothing is read."""
SHORTEST = 4
"""Words of the shortest text in a benchmark row."""
_WORD = re.compile(r"\w+")


def is_held_out(docstring: Docstring) -> bool:
    """Whether it is from a file of the test split."""
    return split_of(docstring.path) == "test"


def contents(held: Iterable[Docstring]) -> frozenset[str]:
    """Every sentence of held-out docstrings that may occur in a benchmark row, normalised by `normal`.

    A training file may contain the same sentence as a test file ("Fit the model."); such sentences are held out too.
    """
    held = list(held)
    fields = (text for make in TASKS.values() for candidate in make(held) for text in candidate.inputs.values())
    summaries = (summary for docstring in held if (summary := summarise(docstring.text)))
    return frozenset(normal(text) for text in (*fields, *summaries) if len(text.split()) >= SHORTEST)


def normal(text: str) -> str:
    """The words of a text, without case, markup and punctuation."""
    return " ".join(_WORD.findall(text.casefold()))


def gives_away(word: str) -> bool:
    """Whether this word (nearly) identifies a class of a benchmark: a library's name, a kind of object, a type."""
    return any(pattern.fullmatch(word) for pattern in (LIBRARY_NAME, KIND_WORD, TYPE_WORD))


class Passages:
    """Finds held-out sentences inside longer texts. Args: contents, normalised by `normal`."""

    def __init__(self, contents: Iterable[str]):
        self._by_start: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
        for content in contents:
            words = tuple(content.split())
            if len(words) >= SHORTEST:
                self._by_start.setdefault(words[:SHORTEST], set()).add(words)

    def cut(self, text: str) -> str:
        """The text without held-out sentences."""
        for start, end in reversed(list(self._spans(text))):
            text = text[:start] + text[end:]
        return text

    def occur_in(self, text: str) -> bool:
        """Whether the text contains a held-out sentence."""
        return next(self._spans(text), None) is not None

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        """(start, end) of disjoint held-out passages in order, preferring longer ones."""
        matches = list(_WORD.finditer(text))
        words = [match[0].casefold() for match in matches]
        at = 0
        while at <= len(words) - SHORTEST:
            starting = self._by_start.get(tuple(words[at : at + SHORTEST]), ())
            longest = max(
                (len(content) for content in starting if tuple(words[at : at + len(content)]) == content), default=0
            )
            if longest:
                yield matches[at].start(), matches[at + longest - 1].end()
            at += longest or 1
