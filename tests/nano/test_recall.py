"""The recall warm-up: what is a target follows from what stands before, and nothing else is one."""

import numpy as np

from nano import recall
from nano.episodes import IGNORED
from nano.material import Material


def test_every_target_was_seen_after_the_same_tokens_of_its_phrase() -> None:
    drawn = recall.phrases(5, 62, np.arange(1000), np.random.default_rng(0))
    assert (drawn.targets != IGNORED).sum() > 100
    for row, wanted in zip(drawn.ids, drawn.targets, strict=True):
        for place in np.flatnonzero(wanted != IGNORED):
            assert wanted[place] == row[place + 1]
            start = place - place % recall.PHRASE
            begun = row[start : place + 1].tolist()
            assert any(row[at : at + len(begun)].tolist() == begun for at in range(0, start, recall.PHRASE))


def test_first_tokens_and_first_occurrences_are_no_targets() -> None:
    targets = recall.phrases(3, 48, np.arange(1000), np.random.default_rng(1)).targets
    assert (targets[:, recall.PHRASE - 1 :: recall.PHRASE] == IGNORED).all()  # what follows is a phrase's first token
    assert (targets[:, : recall.PHRASE] == IGNORED).all()


def test_labels_are_recalled_by_their_phrase(material: Material) -> None:
    layout = material.layout
    drawn = recall.labelled(4, 96, material.recalled, material.reserved, layout, np.random.default_rng(2))
    unit = recall.PHRASE + 4
    for row, wanted in zip(drawn.ids, drawn.targets, strict=True):
        named: dict[tuple[int, ...], int] = {}
        for start in range(0, 96, unit):
            phrase, cue, label = tuple(row[start + 1 : start + 5]), start + 5, row[start + 6]
            assert (row[start], row[cue], row[start + 7]) == (layout.opening, layout.cue, layout.between)
            assert wanted[cue] == (label if phrase in named else IGNORED)
            assert named.setdefault(phrase, label) == label
        others = np.ones(96, dtype=bool)
        others[5::unit] = False
        assert (wanted[others] == IGNORED).all()
