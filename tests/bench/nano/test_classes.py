"""Groups of snippets: what a benchmark asks for is no class, and classes of one episode come from one library."""

import numpy as np
import pytest

from tests.bench.nano.conftest import snippets
from tunefront.bench.nano.classes import groupings
from tunefront.bench.nano.corpus import Snippet
from tunefront.bench.nano.holdout import gives_away
from tunefront.bench.nano.preparation import Material


@pytest.mark.parametrize("name", ["file", "module", "part", "cluster of 24"])
def test_classes_of_an_episode_are_of_one_library(material: Material, name: str) -> None:
    corpus, grouping = snippets(), material.train.groupings[name]
    for scope in grouping.scopes:
        assert len({corpus[row].library for place in scope for row in grouping.groups[place]}) == 1


def test_words_of_a_benchmarks_classes_group_nothing() -> None:
    words = ("pandas", "method", "boolean", "river")
    corpus = tuple(
        Snippet(
            f"{word.title()} stands here, {word} number {number}.",
            f"lib{number % 3}",
            f"lib{number % 3}/f.py",
            "summary",
        )
        for word in words
        for number in range(60)
    )
    embeddings = np.random.default_rng(0).normal(size=(len(corpus), 8)).astype(np.float32)
    made = groupings(corpus, np.full(len(corpus), 5), embeddings, sizes=(20,))
    sharing = {corpus[int(group[0])].text.split()[0].casefold() for group in made["first word"].groups}
    assert sharing == {"river"}
    own = [frozenset(corpus[row].text.split()[0].casefold() for row in group) for group in made["word"].groups]
    assert frozenset({"river"}) in own
    assert not [group for group in own if group in [frozenset({word}) for word in words[:3]]]


def test_a_word_that_stands_for_a_library_groups_nothing() -> None:
    corpus = tuple(
        Snippet(f"Thing {word} number {number}.", library, f"{library}/f.py", "summary")
        for word, library in (("alpha", "one"), ("omega", "two"))
        for number in range(60)
    )
    embeddings = np.random.default_rng(0).normal(size=(len(corpus), 8)).astype(np.float32)
    made = groupings(corpus, np.full(len(corpus), 5), embeddings, sizes=(20,))
    assert {len(group) for group in made["word"].groups} == {120}  # "thing" and "number", which both libraries have


@pytest.mark.parametrize("word", ["torch", "sklearn", "class", "functions", "bool", "integer", "default"])
def test_names_kinds_and_types_give_away(word: str) -> None:
    assert gives_away(word)
    assert not gives_away(f"{word}xyz")
