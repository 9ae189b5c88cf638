"""Groups of snippets: what a benchmark asks for is no class, and classes of one episode come from one library."""

import numpy as np
import pytest

from nano.classes import groupings
from nano.corpus import Snippet
from nano.holdout import gives_away
from nano.material import Material
from tests.nano.conftest import SNIPPETS


@pytest.mark.parametrize("name", ["file", "cluster of 24"])
def test_classes_of_an_episode_are_of_one_library(material: Material, name: str) -> None:
    grouping = material.groupings[name]
    assert grouping.scopes
    for scope in grouping.scopes:
        assert len({SNIPPETS[row].library for place in scope for row in grouping.groups[place]}) == 1


def word_groups(corpus: tuple[Snippet, ...]) -> list[set[str]]:
    """The first words in each group of snippets that share a word."""
    embeddings = np.zeros((len(corpus), 8), dtype=np.float32)
    made = groupings(corpus, np.full(len(corpus), 5), embeddings, sizes=())
    groups = (*made["first word"].groups, *made["word"].groups)
    return [{corpus[row].text.split()[0] for row in group} for group in groups]


def test_words_of_a_benchmarks_classes_group_nothing() -> None:
    corpus = tuple(
        Snippet(f"{word} stands here, {word} number {number}.", f"lib{number % 3}", f"lib{number % 3}/f.py", "summary")
        for word in ("pandas", "method", "boolean", "river")
        for number in range(60)
    )
    groups = word_groups(corpus)
    assert {"river"} in groups
    assert not any({word} in groups for word in ("pandas", "method", "boolean"))


def test_a_word_that_stands_for_a_library_groups_nothing() -> None:
    corpus = tuple(
        Snippet(f"{word} thing number {number}.", library, f"{library}/f.py", "summary")
        for word, library in (("alpha", "one"), ("omega", "two"))
        for number in range(60)
    )
    assert word_groups(corpus) == [{"alpha", "omega"}] * 2  # "thing" and "number", which both libraries have


@pytest.mark.parametrize("word", ["torch", "sklearn", "class", "functions", "bool", "integer", "default"])
def test_names_kinds_and_types_give_away(word: str) -> None:
    assert gives_away(word)
    assert not gives_away(f"{word}xyz")


def test_words_group_in_the_order_of_rows_then_of_letters() -> None:
    """Not in that of a set, which differs between processes."""
    rows = {"amber": 60, "birch": 45, "cedar": 55, "denim": 42, "ember": 58}
    texts = [" ".join(word for word, count in rows.items() if row < count) for row in range(60)]
    corpus = [Snippet(text, "one", "one/f.py", "summary") for text in texts]
    made = groupings(corpus, np.full(60, 5), np.zeros((60, 8)), sizes=())
    assert [len(group) for group in made["word"].groups] == list(rows.values())
