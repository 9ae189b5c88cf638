"""The training text of `nano`: whole docstrings for next-token prediction, and short snippets for episodes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tunefront.bench.data.hashing import fraction
from tunefront.bench.data.sources.candidates import summarise
from tunefront.bench.data.sources.harvest import SOURCES, Docstring, Source, harvest, versions
from tunefront.bench.nano import holdout
from tunefront.bench.nano.holdout import SHORTEST, Passages, normal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CORE = tuple(Source(source.package, source.distribution) for source in SOURCES)
"""The core dependencies and the standard library, with all files."""
INSTALLED = (Source("numpy", "numpy"), Source("setuptools", "setuptools"))
"""Packages that are installed with them."""
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
"""Libraries with much documentation under permissive licences; they are not imported and need not be installed."""
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

    @property
    def module(self) -> str:
        """The folder of the file."""
        return str(PurePosixPath(self.path).parent)


@dataclass(frozen=True)
class Corpus:
    """The distinct texts for training: whole docstrings and snippets."""

    documents: tuple[str, ...]
    snippets: tuple[Snippet, ...]


def gather(packages: Path | None = None, sources: Iterable[Source] = (*CORE, *INSTALLED, *FURTHER)) -> Corpus:
    """The corpus from the folder `packages` and, for packages missing there, from the installed ones.

    Held out: see `tunefront.bench.nano.holdout`. Errors: UserError if a package is missing.
    """
    docstrings = harvest(sources, packages)
    held = [docstring for docstring in docstrings if holdout.is_held_out(docstring)]
    held += harvest(holdout.HELD_OUT, packages)
    unseen = holdout.contents(held) | {normal(text) for docstring in held for _, text in _parts(docstring.text)}
    passages = Passages(unseen)
    elsewhere = frozenset(part for docstring in held for part in _paragraphs(docstring.text))
    kept = [docstring for docstring in docstrings if not holdout.is_held_out(docstring) and not _is_copy(docstring)]
    return Corpus(tuple(_documents(kept, passages, elsewhere)), tuple(_snippets(kept, passages)))


def held_out_snippets(packages: Path | None = None) -> tuple[Snippet, ...]:
    """The snippets of the held-out libraries, for measuring."""
    return tuple(_snippets(harvest(holdout.HELD_OUT, packages), Passages(())))


def development_snippets(packages: Path | None = None) -> tuple[Snippet, ...]:
    """Snippets for monitoring progress: from held-out files of libraries without benchmark rows."""
    held = [docstring for docstring in harvest(FURTHER, packages) if holdout.is_held_out(docstring)]
    return tuple(_snippets(held, Passages(())))


def read_versions(packages: Path | None) -> dict[str, str]:
    """Package -> version of all training packages and held-out libraries."""
    return versions((*CORE, *INSTALLED, *FURTHER, *holdout.HELD_OUT), packages)


def _is_copy(docstring: Docstring) -> bool:
    return not _COPIES.isdisjoint(PurePosixPath(docstring.path).parts)


def _documents(docstrings: Iterable[Docstring], unseen: Passages, elsewhere: frozenset[str]) -> Iterator[str]:
    """Distinct texts in hash order, without held-out sentences and the paragraphs `elsewhere`."""
    texts = {unseen.cut(_without(docstring.text[:LONGEST_DOCUMENT], elsewhere)) for docstring in docstrings}
    return iter(
        sorted((text for text in texts if len(text.split()) >= SHORTEST), key=lambda t: fraction(f"document {t}"))
    )


def _without(text: str, paragraphs: frozenset[str]) -> str:
    return "\n\n".join(part for part in _BLANK.split(text) if normal(part) not in paragraphs)


def _paragraphs(text: str) -> Iterator[str]:
    """Long paragraphs; short ones, such as headings, occur everywhere."""
    spelled = (normal(part) for part in _BLANK.split(text))
    return (part for part in spelled if len(part.split()) >= _LONG_PARAGRAPH)


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
