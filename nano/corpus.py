"""The training text of `nano`: whole docstrings for next-token prediction, and short snippets for episodes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nano import holdout
from nano.holdout import SHORTEST, Passages, is_held_out, normal
from tunefront.bench.data.hashing import fraction
from tunefront.bench.data.sources.candidates import summarise
from tunefront.bench.data.sources.harvest import SOURCES, Docstring, Source, harvest

_DISTRIBUTIONS = {"Bio": "biopython", "skimage": "scikit-image"}
_FURTHER = (
    *("numpy", "setuptools", "aiohttp", "astropy", "Bio", "bokeh", "dask", "distributed", "django", "flax", "h5py"),
    *("jax", "keras", "mne", "nilearn", "nltk", "numba", "pymc", "scrapy", "seaborn", "skimage", "sqlalchemy"),
    *("statsmodels", "twisted", "xarray"),
)
PACKAGES = (
    *(Source(source.package, source.distribution) for source in SOURCES),
    *(Source(package, _DISTRIBUTIONS.get(package, package)) for package in _FURTHER),
)
"""The sources of the docstring tasks with all of their files, and libraries with much documentation under permissive
licences; none is imported."""
_COPIES = frozenset({"compat", "extern", "external", "externals", "third_party", "vendored", "_vendor"})
"""Folders of vendored code, which may contain copies of held-out files."""
LONGEST_DOCUMENT = 6000
"""Maximum characters per docstring."""

_BLANK = re.compile(r"\n\s*\n")
_LONG_PARAGRAPH = 8
"""Minimum words of a long paragraph."""
_SECTION = re.compile(r"^(?P<title>[A-Z][A-Za-z ]{2,20})\n-{3,}\n(?P<text>(?:.+\n?)+)", re.MULTILINE)
_TITLE = re.compile(r"[A-Z][A-Za-z ]*(?::|\n-{3,}\n|\n={3,}\n)")
_DESCRIPTION = re.compile(r"^(?:\w+ : [^\n]+\n|[ ]*\w+ \([^\n]+?\):)(?P<text>(?:[ ]+\S[^\n]*\n?)+)", re.MULTILINE)


@dataclass(frozen=True)
class Snippet:
    """A sentence and its origin: library, file, and part of the docstring (summary, parameter, a section)."""

    text: str
    library: str
    path: str
    part: str


def gather(packages: Path | None, sources: Iterable[Source] = PACKAGES) -> tuple[list[str], list[Snippet]]:
    """Whole docstrings and snippets from the folder `packages` and, for packages missing there, the installed ones.

    Held out: see `nano.holdout`. Errors: UserError if a package is missing.
    """
    docstrings = harvest(sources, packages)
    held = [docstring for docstring in docstrings if is_held_out(docstring)] + harvest(holdout.LIBRARIES, packages)
    unseen = holdout.contents(held) | {normal(text) for docstring in held for _, text in _parts(docstring.text)}
    passages = Passages(unseen)
    elsewhere = frozenset(part for docstring in held for part in _long_paragraphs(docstring.text))
    kept = [docstring for docstring in docstrings if not is_held_out(docstring) and not is_copy(docstring)]
    return _documents(kept, passages, elsewhere), list(_snippets(kept, passages))


def is_copy(docstring: Docstring) -> bool:
    """Whether it is from a folder of vendored code."""
    return not _COPIES.isdisjoint(PurePosixPath(docstring.path).parts)


def _documents(docstrings: Iterable[Docstring], unseen: Passages, elsewhere: frozenset[str]) -> list[str]:
    """Distinct texts in hash order, without held-out sentences and the paragraphs `elsewhere`."""
    texts = {unseen.cut(_without(docstring.text[:LONGEST_DOCUMENT], elsewhere)) for docstring in docstrings}
    return sorted((text for text in texts if len(text.split()) >= SHORTEST), key=lambda t: fraction(f"document {t}"))


def _without(text: str, paragraphs: frozenset[str]) -> str:
    return "\n\n".join(part for part in _BLANK.split(text) if normal(part) not in paragraphs)


def _long_paragraphs(text: str) -> Iterator[str]:
    """Short ones, such as headings, occur everywhere."""
    return (words for part in _BLANK.split(text) if len((words := normal(part)).split()) >= _LONG_PARAGRAPH)


def _snippets(docstrings: Iterable[Docstring], unseen: Passages) -> Iterator[Snippet]:
    """Distinct texts at their first place, without those that contain a held-out sentence."""
    seen: set[str] = set()
    for docstring in docstrings:
        for part, text in _parts(docstring.text):
            content = normal(text)
            if content and content not in seen and not unseen.occur_in(text):
                seen.add(content)
                yield Snippet(text, docstring.package, docstring.path, part)


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """(part, sentence) for the snippets of a docstring: summary, parameter descriptions, sections, body."""
    if summary := summarise(text):
        yield "summary", summary
    for section in _DESCRIPTION.finditer(text):
        if description := summarise(section["text"]):
            yield "parameter", description
    for section in _SECTION.finditer(text):
        title = section["title"].strip().lower()
        if title not in ("parameters", "attributes", "examples") and (sentence := summarise(section["text"])):
            yield title, sentence
    for paragraph in _BLANK.split(text.strip())[1:]:
        first = paragraph.lstrip()
        prose = first == paragraph and first[:1].isupper() and not _TITLE.match(first)
        if prose and (body := summarise(first)):
            yield "body", body
