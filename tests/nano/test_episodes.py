"""Episodes: the text of the plain template, random labels, and targets only where a label can be known."""

import numpy as np
import pytest

from nano.episodes import IGNORED, Difficulty, Episodes, Rows
from nano.material import Material
from tests.nano.conftest import SNIPPETS
from tunefront.bench.data.task import MetricSpec, Row, Task
from tunefront.bench.models.scoring.tokens import BETWEEN
from tunefront.bench.templates.plain import Plain

FILES = Difficulty({"file": 1.0}, 3, 40, {"reserved": 0.5, "words": 0.5})


def batch(material: Material, seed: int = 0, difficulty: Difficulty = FILES) -> Rows:
    return Episodes(material, np.random.default_rng(seed)).batch(6, 160, difficulty)


@pytest.fixture(scope="module")
def drawn(material: Material) -> Rows:
    return batch(material)


def pairs(material: Material, drawn: Rows, row: int) -> list[tuple[int, int, tuple[int, ...]]]:
    """(snippet, position of the cue, tokens of the label) of an episode."""
    found = []
    for snippet, cue in zip(drawn.texts, drawn.places, strict=True):
        if cue[0] == row:
            after = drawn.ids[row, cue[1] + 1 :].tolist()
            found.append((int(snippet), int(cue[1]), tuple(after[: after.index(material.layout.between)])))
    return found


def test_an_episode_reads_as_the_plain_template_does(material: Material, drawn: Rows) -> None:
    decode = material.tokenizer.decode
    episode = [(SNIPPETS[snippet].text, decode(label).strip()) for snippet, _, label in pairs(material, drawn, 0)]
    names = tuple(dict.fromkeys(label for _, label in episode))
    rows = [Row(str(place), {"text": text}, names.index(label)) for place, (text, label) in enumerate(episode)]
    task = Task("episode", "classification", {"train": rows}, ("text",), names, (MetricSpec("accuracy"),))
    expected = "".join(f"{Plain().render(task, example).answered}{BETWEEN}" for example in rows)
    assert decode(drawn.ids[0].tolist(), skip_special_tokens=True) == expected


def test_a_label_is_a_target_once_its_class_has_occurred(material: Material, drawn: Rows) -> None:
    for row in range(len(drawn.ids)):
        expected = np.full(drawn.ids.shape[1], IGNORED)
        known = set()
        for _, cue, label in pairs(material, drawn, row):
            if label in known:
                expected[cue : cue + len(label)] = label
            known.add(label)
        assert (drawn.targets[row] == expected).all()


def test_classes_are_files_of_one_library(material: Material, drawn: Rows) -> None:
    for row in range(len(drawn.ids)):
        episode = pairs(material, drawn, row)
        assert len({SNIPPETS[snippet].library for snippet, _, _ in episode}) == 1
        by_label = {(label, SNIPPETS[snippet].path) for snippet, _, label in episode}
        assert len(by_label) == len({label for label, _ in by_label}) == len({path for _, path in by_label})


def test_a_seed_draws_the_same_episodes(material: Material) -> None:
    assert (batch(material, 5).ids == batch(material, 5).ids).all()
    assert not (batch(material, 5).ids == batch(material, 6).ids).all()


def test_a_text_with_the_words_of_two_classes_stands_in_neither(material: Material) -> None:
    drawn = batch(material, 3, Difficulty({"word": 1.0}, 2, 40, {"reserved": 1.0}))
    words = [frozenset(group.tolist()) for group in material.groupings["word"].groups]
    for row in range(len(drawn.ids)):
        by_label: dict[tuple[int, ...], set[int]] = {}
        for snippet, _, label in pairs(material, drawn, row):
            by_label.setdefault(label, set()).add(snippet)
        if len(by_label) == 2:
            first, second = by_label.values()
            assert any(first <= a - b and second <= b - a for a in words for b in words)
