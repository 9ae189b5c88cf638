"""Episodes: the text of the plain template, random labels, and losses only where a label can be known."""

import numpy as np
import pytest

from tunefront.bench.data.task import MetricSpec, Row, Task
from tunefront.bench.models.scoring.tokens import ANSWER, BETWEEN
from tunefront.bench.nano.episodes import IGNORED, Difficulty, Rows
from tunefront.bench.nano.preparation import Material
from tunefront.bench.templates.plain import Plain

FILES = Difficulty({"file": 1.0}, 3, 40, {"reserved": 0.5, "words": 0.5})


@pytest.fixture(scope="module")
def drawn(material: Material) -> Rows:
    return material.episodes(material.train).batch(6, 160, FILES, np.random.default_rng(0))


def test_an_episode_reads_as_the_plain_template_does(material: Material, drawn: Rows) -> None:
    tokenizer, around = material.tokenizer, material.layout
    row = 0
    mine = drawn.places[:, 0] == row
    texts = [tokenizer.decode(list(material.train.ids[text])).strip() for text in drawn.texts[mine]]
    ends = [int(at) for at in drawn.places[mine, 1]]
    labels = []
    for at in ends:
        stop = at + 1 + int(np.flatnonzero(drawn.ids[row, at + 1 :] == around.between)[0])
        labels.append(tokenizer.decode(drawn.ids[row, at + 1 : stop].tolist()).strip())
    names = tuple(dict.fromkeys(labels))
    rows = [
        Row(str(place), {"text": text}, names.index(label))
        for place, (text, label) in enumerate(zip(texts, labels, strict=True))
    ]
    task = Task("episode", "classification", {"train": rows}, ("text",), names, (MetricSpec("accuracy"),))
    prompts = [Plain().render(task, example) for example in rows]
    expected = BETWEEN.join(f"{prompt.text}{ANSWER}{prompt.choices[prompt.label]}" for prompt in prompts) + BETWEEN
    assert tokenizer.decode(drawn.ids[row].tolist(), skip_special_tokens=True) == expected


def test_a_label_counts_once_its_class_has_occurred(drawn: Rows) -> None:
    for row in range(len(drawn.ids)):
        mine = np.flatnonzero(drawn.places[:, 0] == row)
        known: set[int] = set()
        for number, pair in enumerate(mine):
            place, which = int(drawn.places[pair, 1]), int(drawn.right[pair])
            right = drawn.ids[row, place + 1]
            assert drawn.candidates[pair, which] == right
            assert drawn.targets[row, place] == (right if which in known else IGNORED)
            assert drawn.seen[pair] == number
            known.add(which)


def test_classes_are_files_of_one_library(material: Material, drawn: Rows) -> None:
    from tests.bench.nano.conftest import snippets

    corpus = snippets()
    for row in range(len(drawn.ids)):
        mine = drawn.places[:, 0] == row
        paths = {corpus[text].path for text in drawn.texts[mine]}
        assert len({path.split("/")[0] for path in paths}) == 1
        by_class = {
            int(which): corpus[text].path for which, text in zip(drawn.right[mine], drawn.texts[mine], strict=True)
        }
        assert len(set(by_class.values())) == len(by_class)


def test_labels_and_classes_differ_between_episodes(drawn: Rows) -> None:
    assert len({tuple(candidates) for candidates in drawn.candidates}) > 3


def test_a_seed_draws_the_same_episodes(material: Material) -> None:
    episodes = material.episodes(material.train)
    first, again = (episodes.batch(3, 120, FILES, np.random.default_rng(5)).ids for _ in range(2))
    other = episodes.batch(3, 120, FILES, np.random.default_rng(6)).ids
    assert (first == again).all()
    assert not (first == other).all()


def test_a_text_with_the_words_of_two_classes_stands_in_none(material: Material) -> None:
    from tests.bench.nano.conftest import snippets

    corpus = [snippet.text.casefold() for snippet in snippets()]
    grouping = material.train.groupings["word"]
    difficulty = Difficulty({"word": 1.0}, 2, 40, {"reserved": 1.0})
    drawn = material.episodes(material.train).batch(8, 160, difficulty, np.random.default_rng(3))
    members = [frozenset(group.tolist()) for group in grouping.groups]
    for row in range(len(drawn.ids)):
        mine = drawn.places[:, 0] == row
        by_class: dict[int, set[int]] = {}
        for which, text in zip(drawn.right[mine], drawn.texts[mine], strict=True):
            by_class.setdefault(int(which), set()).add(int(text))
        pairs = [[m for m in members if texts <= m] for texts in by_class.values()]
        assert all(pairs), corpus[0]
        if len(by_class) == 2:
            first, second = by_class.values()
            assert any(not (first & b) and not (second & a) for a in pairs[0] for b in pairs[1])
