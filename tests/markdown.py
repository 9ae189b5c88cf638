"""The fenced code blocks, the links and the headings of a Markdown text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Block:
    """A fenced block; `skip` if the fence says not to run it."""

    language: str
    text: str
    skip: bool = False

    @property
    def first(self) -> str:
        """The first line, for ids."""
        return self.text.splitlines()[0]

    @property
    def file(self) -> str | None:
        """The file to write the block to, if its first line is a comment with a path."""
        match = re.fullmatch(r"# ([\w./-]+\.py)", self.first)
        return match[1] if match else None

    @property
    def appended(self) -> str | None:
        """The file to append the block to, if its first line says so."""
        match = re.fullmatch(r"# append to ([\w./-]+)", self.first)
        return match[1] if match else None


def blocks(text: str) -> Iterator[Block]:
    """The blocks, in order."""
    for language, mark, inside in re.findall(r"^```(\w+)( skip)?\n(.*?)^```$", text, re.M | re.S):
        yield Block(language, inside, bool(mark))


def links(text: str) -> list[str]:
    """The links, pictures among them, that lead to no other host."""
    outside = re.sub(r"^```.*?^```$|`[^`\n]*`", "", text, flags=re.M | re.S)
    return re.findall(r"\]\((?!https?://)([^)\s]+)\)", outside)


def anchors(text: str) -> set[str]:
    """The anchors of headings, as GitHub and MkDocs both form them."""
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", outside, re.M)
    return {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}
