"""What `nano` never saw: two libraries, and every file that a row of a benchmark's test split comes from.

The files are left out by the rule that makes the splits (a hash of their paths), not by a list: so the same holds for
every version of the packages, and for files that give no test row in the versions of today.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tunefront.bench.data.sources import docstrings
from tunefront.bench.data.sources.candidates import KIND_WORD, LIBRARY_NAME, TASKS, TYPE_WORD, split_of, summarise
from tunefront.bench.data.sources.harvest import Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tunefront.bench.data.sources.harvest import Docstring

LIBRARIES = ("sympy", "networkx")
"""Whole libraries that no objective reads; how well `nano` learns in context is measured on their files."""
NEVER_CLASSES = ("library", "kind of object", "type of a parameter", "whether a text belongs to a name")
"""What the tasks `docstrings/*` ask for: no episode of the training does. See `gives_away` and `nano.classes`."""

HELD_OUT = tuple(Source(name, name) for name in LIBRARIES)
SHORTEST = 4
"""Words of the shortest text that a benchmark row has."""
_SPLIT = "test"
_WORD = re.compile(r"\w+")


def is_held_out(docstring: Docstring) -> bool:
    """Whether it stands in a library or a file that is kept out of every objective."""
    return docstring.package in LIBRARIES or split_of(docstring.path) == _SPLIT


def contents(held: Iterable[Docstring]) -> frozenset[str]:
    """Every sentence of held-out docstrings that a benchmark row may show, as `normal` spells it.

    A file of the training may say word for word what a file of the test says ("Fit the model."); such sentences are
    kept out as well.
    """
    held = list(held)
    fields = (text for make in TASKS.values() for candidate in make(held) for text in candidate.inputs.values())
    summaries = (summary for docstring in held if (summary := summarise(docstring.text)))
    return frozenset(normal(text) for text in (*fields, *summaries) if len(text.split()) >= SHORTEST)


def normal(text: str) -> str:
    """The words of a text, case, markup and punctuation set aside."""
    return " ".join(_WORD.findall(text.casefold()))


def gives_away(word: str) -> bool:
    """Whether texts that share this word are a class of a benchmark's, or nearly: a library's name, a kind of object, a
    type. Such words are never what a class has in common.

    >>> [word for word in ("pandas", "method", "boolean", "axis") if gives_away(word)]
    ['pandas', 'method', 'boolean']
    """
    return any(pattern.fullmatch(word) for pattern in (LIBRARY_NAME, KIND_WORD, TYPE_WORD))


def benchmark_texts() -> frozenset[str]:
    """Every text that a benchmark's test row shows, as `normal` spells it; not the names of functions, a few words."""
    return frozenset(
        text
        for task in map(docstrings.load, TASKS)
        for row in task.splits["test"]
        for field in task.input_fields
        if len((text := normal(str(row.fields[field]))).split()) >= SHORTEST and field != "name"
    )


def count_read(texts: Iterable[str]) -> int:
    """How many texts of benchmarks' test rows stand anywhere in these texts; by plain search, not by `Passages`."""
    whole = f" {' | '.join(normal(text) for text in texts)} "
    return sum(f" {text} " in whole for text in benchmark_texts())


class Passages:
    """Sentences that may not be read, to be found inside longer texts. Args: contents, as `normal` spells them."""

    def __init__(self, contents: Iterable[str]):
        self._by_start: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
        for content in contents:
            words = tuple(content.split())
            if len(words) >= SHORTEST:
                self._by_start.setdefault(words[:SHORTEST], set()).add(words)

    def cut(self, text: str) -> str:
        """The text without them."""
        for start, end in reversed(list(self._found(text))):
            text = text[:start] + text[end:]
        return text

    def occur_in(self, text: str) -> bool:
        """Whether there is one in it."""
        return next(self._found(text), None) is not None

    def _found(self, text: str) -> Iterator[tuple[int, int]]:
        """From which character to which, in order, the longest first; none overlaps another."""
        matches = list(_WORD.finditer(text))
        words = [match[0].casefold() for match in matches]
        at = 0
        while at <= len(words) - SHORTEST:
            starting = self._by_start.get(tuple(words[at : at + SHORTEST]), ())
            longest = max((len(one) for one in starting if tuple(words[at : at + len(one)]) == one), default=0)
            if longest:
                yield matches[at].start(), matches[at + longest - 1].end()
            at += longest or 1
