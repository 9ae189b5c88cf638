"""Hashes that decide rows: places of texts in [0, 1), splits, texts up to case and spaces, and versions of code."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path


def fraction(text: str) -> float:
    """A uniform hash of the text in [0, 1)."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48


def split_of(text: str, shares: Mapping[str, float]) -> str:
    """The split of everything with this text; `shares` has the upper bound of the hash for each split, in order."""
    place = fraction(f"split {text}")
    return next(split for split, bound in shares.items() if place < bound)


def normalised(text: str) -> str:
    """A text up to case and spaces, by which copies are found."""
    return " ".join(text.casefold().split())


def code_digest(files: Iterable[str]) -> str:
    """sha256 over source files, of which each is given as a module's `__file__`."""
    return hashlib.sha256(b"".join(Path(file).read_bytes() for file in files)).hexdigest()
