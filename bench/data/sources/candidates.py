"""Builds the embedded tasks from docstrings: inputs, classes, and the words that would reveal the class."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunefront.bench.data import hashing
from tunefront.bench.data.hashing import fraction, normalised
from tunefront.bench.data.sources.harvest import Docstring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

SHARES = {"train": 0.62, "validation": 0.77, "test": 1.0}
"""Upper bound of the path's hash fraction for each split."""
_WORDS = range(4, 41)

LIBRARIES = {
    "torch": r"py ?torch|torch",
    "transformers": r"transformers|hugging ?face|hf",
    "pandas": r"pandas|pd",
    "matplotlib": r"matplotlib|mpl|pyplot|plt",
    "sklearn": r"scikit[- ]learn|sklearn",
    "scipy": r"scipy|sp",
}
"""Classes of `library`, and patterns of their names, which are masked by the word `library`."""
PARAM_TYPES = {"bool": ("bool", "boolean"), "float": ("float",), "int": ("int", "integer"), "str": ("str", "string")}
"""Classes of `param_type`, and their spellings in docstrings."""

LIBRARY_NAME = re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(LIBRARIES.values())})(?![A-Za-z0-9])", re.IGNORECASE)
KIND_WORD = re.compile(
    r"\b((sub|super|base|meta)?-?class(es)?|functions?|methods?|(sub)?(module|package)s?|mixins?)\b", re.IGNORECASE
)
TYPE_WORD = re.compile(
    r"\b(bools?|booleans?|floats?|floating|ints?|integers?|strs?|strings?|true|false|defaults?)\b", re.IGNORECASE
)
_ROLE = re.compile(r":[a-z:+-]+:(?=`)")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z(])")
_NUMPY_PARAMETER = re.compile(r"^(?:\w+) : (?P<type>[^\n]+)\n(?P<text>(?:[ ]+\S[^\n]*\n?)+)", re.MULTILINE)
_GOOGLE_PARAMETER = re.compile(
    r"^(?P<indent>[ ]*)\w+ \((?P<type>[^\n]+?)\):[ ]*(?P<text>[^\n]*\n?(?:(?P=indent)[ ]+\S[^\n]*\n?)*)", re.MULTILINE
)


@dataclass(frozen=True)
class Candidate:
    """A candidate row: the inputs, the class, and the file that contains it."""

    inputs: Mapping[str, str]
    label: str
    path: str

    @property
    def content(self) -> str:
        """The inputs up to case and spaces, by which duplicates are found."""
        return "\n".join(map(normalised, self.inputs.values()))


def library(docstrings: Iterable[Docstring]) -> list[Candidate]:
    """Which library does this summary come from? The libraries' names in it are masked."""
    return [
        Candidate({"text": LIBRARY_NAME.sub("library", summary)}, docstring.package, docstring.path)
        for docstring in docstrings
        if docstring.package in LIBRARIES and (summary := summarise(docstring.text))
    ]


def kind(docstrings: Iterable[Docstring]) -> list[Candidate]:
    """Does this summary describe a class, a function or a module? Such words in it are masked."""
    return [
        Candidate({"text": KIND_WORD.sub("code", summary)}, docstring.kind, docstring.path)
        for docstring in docstrings
        if (summary := summarise(docstring.text))
    ]


def param_type(docstrings: Iterable[Docstring]) -> list[Candidate]:
    """Which type has the parameter with this description? Descriptions that name a type or a default are left out."""
    return [
        Candidate({"text": description}, label, docstring.path)
        for docstring in docstrings
        if docstring.kind != "module"
        for pattern in (_NUMPY_PARAMETER, _GOOGLE_PARAMETER)
        for parameter in pattern.finditer(docstring.text)
        if (label := _type_class(parameter["type"]))
        and (description := summarise(parameter["text"]))
        and not TYPE_WORD.search(description)
    ]


def match(docstrings: Iterable[Docstring]) -> list[Candidate]:
    """Does this summary belong to the function of this name?

    Every name and every summary occurs once. Half of the functions, by hash, keep their summary; the others pass theirs
    on to the next function of their package and split, in hash order.
    """
    named: dict[str, tuple[str, Docstring]] = {}
    for docstring in sorted(docstrings, key=lambda d: fraction(f"name {d.path} {d.name} {d.text}")):
        words = " ".join(re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", docstring.name)).lower()
        if docstring.kind == "function" and " " in words and not docstring.name.startswith("__"):
            summary = summarise(docstring.text)
            if summary:
                named.setdefault(words, (summary, docstring))
    candidates, groups = [], dict[tuple[str, str], list[tuple[str, str, str]]]()
    for words, (summary, docstring) in named.items():
        if fraction(f"match {words}") < 0.5:
            candidates.append(Candidate({"name": words, "summary": summary}, "match", docstring.path))
        else:
            group = groups.setdefault((docstring.package, split_of(docstring.path)), [])
            group.append((words, summary, docstring.path))
    for group in groups.values():
        for (words, own, path), (_, other, _) in zip(group, group[1:] + group[:1], strict=True):
            if own.casefold() != other.casefold():
                candidates.append(Candidate({"name": words, "summary": other}, "no match", path))
    return candidates


TASKS: dict[str, Callable[[Iterable[Docstring]], list[Candidate]]] = {
    "library": library,
    "kind": kind,
    "param_type": param_type,
    "match": match,
}


def summarise(text: str) -> str:
    """The first sentence of the first paragraph without markup; empty for under 4 or over 40 words."""
    paragraph = " ".join(re.split(r"\n\s*\n", text.strip())[0].split())
    plain = re.sub(r"[`*]|(?<=\W)~|^~", "", _ROLE.sub("", paragraph))
    sentence = _SENTENCE_END.split(plain)[0]
    return sentence if len(sentence.split()) in _WORDS and sentence.isprintable() else ""


def split_of(path: str) -> str:
    """The split of all rows of a file."""
    return hashing.split_of(path, SHARES)


def _type_class(spelled: str) -> str | None:
    """`int, default=5` -> `int`; None for other types and for alternatives other than None."""
    words = re.findall(r"[A-Za-z_]\w*", re.split(r",|default", re.sub(r" or `?None`?", "", spelled))[0])
    return next((label for label, names in PARAM_TYPES.items() if len(words) == 1 and words[0] in names), None)
