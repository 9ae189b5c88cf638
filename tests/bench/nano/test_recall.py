"""The recall warm-up: what counts can be known from what stands before, and nothing else counts."""

import numpy as np

from tunefront.bench.nano import recall
from tunefront.bench.nano.episodes import IGNORED
from tunefront.bench.nano.preparation import Material


def test_every_counted_token_of_a_phrase_was_seen_after_the_same_tokens() -> None:
    ids, targets = recall.phrases(5, 62, np.arange(1000), np.random.default_rng(0))
    counted = 0
    for row, wanted in zip(ids, targets, strict=True):
        for place in np.flatnonzero(wanted != IGNORED):
            assert wanted[place] == row[place + 1]
            start = place - place % recall.PHRASE  # of the phrase that the token stands in
            begun = row[start : place + 1].tolist()
            earlier = [row[at : at + len(begun)].tolist() == begun for at in range(0, start, recall.PHRASE)]
            assert any(earlier)
            counted += 1
    assert counted > 100


def test_first_tokens_and_first_occurrences_do_not_count() -> None:
    _, targets = recall.phrases(3, 48, np.arange(1000), np.random.default_rng(1))
    assert (targets[:, recall.PHRASE - 1 :: recall.PHRASE] == IGNORED).all()  # what follows is a phrase's first token
    assert (targets[:, : recall.PHRASE] == IGNORED).all()


def test_labels_are_recalled_by_their_phrase(material: Material) -> None:
    around = material.layout
    ids, targets = recall.labelled(4, 96, material.recalled, material.reserved, around, np.random.default_rng(2))
    pair = recall.PHRASE + 4
    for row, wanted in zip(ids, targets, strict=True):
        named: dict[tuple[int, ...], int] = {}
        for start in range(0, 96, pair):
            phrase, cue, label = tuple(row[start + 1 : start + 5]), start + 5, row[start + 6]
            assert (row[start], row[cue], row[start + 7]) == (around.opening, around.cue, around.between)
            assert wanted[cue] == (label if phrase in named else IGNORED)
            assert named.setdefault(phrase, label) == label
        others = np.ones(96, dtype=bool)
        others[5::pair] = False
        assert (wanted[others] == IGNORED).all()
