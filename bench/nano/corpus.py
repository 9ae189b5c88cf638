"""The text that `nano` is trained on: docstrings, whole for the next token, and in short pieces for episodes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tunefront.bench.data.sources.candidates import summarise
from tunefront.bench.data.sources.harvest import SOURCES, Docstring, Source, fraction, harvest, versions
from tunefront.bench.nano import holdout
from tunefront.bench.nano.holdout import SHORTEST, Passages, normal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CORE = tuple(Source(source.package, source.distribution) for source in SOURCES)
"""The core dependencies and the standard library, every file of them."""
INSTALLED = (Source("numpy", "numpy"), Source("setuptools", "setuptools"))
"""What comes with them."""
FURTHER = tuple(
    Source(package, distribution)
    for package, distribution in {
        "aiohttp": "aiohttp",
        "astropy": "astropy",
        "Bio": "biopython",
        "bokeh": "bokeh",
        "dask": "dask",
        "distributed": "distributed",
        "django": "django",
        "flax": "flax",
        "h5py": "h5py",
        "jax": "jax",
        "keras": "keras",
        "mne": "mne",
        "nilearn": "nilearn",
        "nltk": "nltk",
        "numba": "numba",
        "pymc": "pymc",
        "scrapy": "scrapy",
        "seaborn": "seaborn",
        "skimage": "scikit-image",
        "sqlalchemy": "sqlalchemy",
        "statsmodels": "statsmodels",
        "twisted": "twisted",
        "xarray": "xarray",
    }.items()
)
"""Libraries with much to read under permissive licences; nothing of them is imported, so they need not be installed."""
_COPIES = frozenset({"compat", "extern", "external", "externals", "third_party", "vendored", "_vendor"})
"""Folders of code from elsewhere: a copy of a file that is held out would be read."""
LONGEST_DOCUMENT = 6000
"""Characters of a docstring that are read."""

_BLANK = re.compile(r"\n\s*\n")
_LONG_PARAGRAPH = 8
"""Words."""
_SECTION = re.compile(r"^(?P<title>[A-Z][A-Za-z ]{2,20})\n-{3,}\n(?P<text>(?:.+\n?)+)", re.MULTILINE)
_TITLE = re.compile(r"[A-Z][A-Za-z ]*(?::|\n-{3,}\n|\n={3,}\n)")
_DESCRIPTION = re.compile(r"^(?:\w+ : [^\n]+\n|[ ]*\w+ \([^\n]+?\):)(?P<text>(?:[ ]+\S[^\n]*\n?)+)", re.MULTILINE)


@dataclass(frozen=True)
class Snippet:
    """A sentence and where it stands: library, file, and the part of a docstring (summary, parameter, a section)."""

    text: str
    library: str
    path: str
    part: str

    @property
    def module(self) -> str:
        """The folder that the file lies in."""
        return str(PurePosixPath(self.path).parent)


@dataclass(frozen=True)
class Corpus:
    """What is read in training: whole docstrings, and snippets, each text once."""

    documents: tuple[str, ...]
    snippets: tuple[Snippet, ...]


def gather(beside: Path | None = None, sources: Iterable[Source] = (*CORE, *INSTALLED, *FURTHER)) -> Corpus:
    """The corpus out of the packages installed here and, before those, the ones in the folder `beside`.

    Held out: see `tunefront.bench.nano.holdout`. Errors: Mistake where a package is missing.
    """
    found = harvest(sources, beside)
    held = [docstring for docstring in found if holdout.is_held_out(docstring)]
    held += harvest(holdout.HELD_OUT, beside)
    unseen = holdout.contents(held) | {normal(text) for docstring in held for _, text in _parts(docstring.text)}
    passages = Passages(unseen)
    elsewhere = frozenset(part for docstring in held for part in _paragraphs(docstring.text))
    kept = [docstring for docstring in found if not holdout.is_held_out(docstring) and not _is_copy(docstring)]
    return Corpus(tuple(_documents(kept, passages, elsewhere)), tuple(_snippets(kept, passages)))


def held_out_snippets(beside: Path | None = None) -> tuple[Snippet, ...]:
    """The snippets of the libraries that are kept out, for measuring."""
    return tuple(_snippets(harvest(holdout.HELD_OUT, beside), Passages(())))


def development_snippets(beside: Path | None = None) -> tuple[Snippet, ...]:
    """The snippets of the held-out files of libraries that no benchmark row comes from: what progress is watched on."""
    found = [docstring for docstring in harvest(FURTHER, beside) if holdout.is_held_out(docstring)]
    return tuple(_snippets(found, Passages(())))


def read_versions(beside: Path | None) -> dict[str, str]:
    """Package -> version of everything that is read in training, and of the libraries held out."""
    return versions((*CORE, *INSTALLED, *FURTHER, *holdout.HELD_OUT), beside)


def _is_copy(docstring: Docstring) -> bool:
    return not _COPIES.isdisjoint(PurePosixPath(docstring.path).parts)


def _documents(docstrings: Iterable[Docstring], unseen: Passages, elsewhere: frozenset[str]) -> Iterator[str]:
    """Each text once, in the order of their hashes, without held-out sentences and the paragraphs `elsewhere`."""
    texts = {unseen.cut(_without(docstring.text[:LONGEST_DOCUMENT], elsewhere)) for docstring in docstrings}
    return iter(
        sorted((text for text in texts if len(text.split()) >= SHORTEST), key=lambda t: fraction(f"document {t}"))
    )


def _without(text: str, paragraphs: frozenset[str]) -> str:
    return "\n\n".join(part for part in _BLANK.split(text) if normal(part) not in paragraphs)


def _paragraphs(text: str) -> Iterator[str]:
    """Those of some length: short ones, as a section's heading, stand everywhere."""
    spelled = (normal(part) for part in _BLANK.split(text))
    return (part for part in spelled if len(part.split()) >= _LONG_PARAGRAPH)


def _snippets(docstrings: Iterable[Docstring], unseen: Passages) -> Iterator[Snippet]:
    """Each text once, the first place where it stands; none that holds a held-out sentence."""
    seen: set[str] = set()
    for docstring in docstrings:
        for part, text in _parts(docstring.text):
            content = normal(text)
            if content and content not in seen and not unseen.occur_in(text):
                seen.add(content)
                yield Snippet(text, docstring.package, docstring.path, part)


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """The sentences of a docstring that make snippets: its summary, its parameters' descriptions, its sections'."""
    if summary := summarise(text):
        yield "summary", summary
    for found in _DESCRIPTION.finditer(text):
        if description := summarise(found["text"]):
            yield "parameter", description
    for found in _SECTION.finditer(text):
        title = found["title"].strip().lower()
        if title not in ("parameters", "attributes", "examples") and (sentence := summarise(found["text"])):
            yield title, sentence
    for paragraph in _BLANK.split(text.strip())[1:]:
        first = paragraph.lstrip()
        prose = first == paragraph and first[:1].isupper() and not _TITLE.match(first)
        if prose and (body := summarise(first)):
            yield "body", body
