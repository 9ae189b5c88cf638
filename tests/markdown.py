"""The fenced code blocks, the links and the headings of a Markdown text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Block:
    """A fenced block; `skip` where the fence says that it is not to be run."""

    language: str
    text: str
    skip: bool = False

    @property
    def first(self) -> str:
        """The first line, for ids."""
        return self.text.splitlines()[0]

    @property
    def file(self) -> str | None:
        """The file that the block is to be written to, where its first line is a comment with a path."""
        found = re.fullmatch(r"# ([\w./-]+\.py)", self.first)
        return found[1] if found else None

    @property
    def appended(self) -> str | None:
        """The file that the block is to be appended to, where its first line says so."""
        found = re.fullmatch(r"# append to ([\w./-]+)", self.first)
        return found[1] if found else None


def blocks(text: str) -> Iterator[Block]:
    """The blocks, in order."""
    for language, mark, inside in re.findall(r"^```(\w+)( skip)?\n(.*?)^```$", text, re.M | re.S):
        yield Block(language, inside, bool(mark))


def links(text: str) -> list[str]:
    """The links, pictures among them, that lead to no other host."""
    outside = re.sub(r"^```.*?^```$|`[^`\n]*`", "", text, flags=re.M | re.S)
    return re.findall(r"\]\((?!https?://)([^)\s]+)\)", outside)


def anchors(text: str) -> set[str]:
    """What links to headings are called, as GitHub and MkDocs both make it of a heading."""
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", outside, re.M)
    return {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}
