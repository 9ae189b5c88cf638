"""The study of losses: every combination, the untrained model, and what each loss adds."""

import itertools

import numpy as np
import pytest

from tests.reports.answered import answered
from tests.reports.factory import record
from tunefront.bench.records import Records
from tunefront.bench.records.answers import AnswerFiles
from tunefront.reports.compare.uncertainty.contrasts import Interval
from tunefront.reports.sections import document
from tunefront.reports.sections.studies.losses import LOSSES, Effect, describe, judged_beside

GAINS = (0.10, 0.04, 0.02)
"""What each loss adds to the score of 0.5."""
EVERY = [on for on in itertools.product((True, False), repeat=3) if any(on)]
ROWS = 100


def fields_of(on, **fields):
    recipe = {weight: float(value) for weight, value in zip(LOSSES.values(), on, strict=True)}
    base = {"method": "ia3:start=none", "label": "ia3", "backbone": "nano", "template": "plain", "shots": 32}
    return {
        **base,
        "recipe": {"learning_rate": 0.01, "dtype": "float32", **recipe},
        "parameters__trainable": 500,
        **fields,
    }


def score_of(on):
    return 0.5 + sum(gain for gain, value in zip(GAINS, on, strict=True) if value)


def trained(**fields):
    return [record(scores__test={"accuracy": score_of(on)}, **fields_of(on, **fields)) for on in EVERY]


def untrained(**fields):
    base = {"method": "icl:k=0", "label": "icl:k=0", "backbone": "nano", "template": "plain", "shots": 32}
    nothing = {"parameters__trainable": 0, "storage__checkpoint_bytes": 0}
    return record(**{**base, **nothing, "scores__test": {"accuracy": 0.45}, **fields})


def study_of(records, **options):
    (study,) = document.compose(records, **options).studies
    return study


def test_seven_combinations_and_the_untrained_model_are_a_table():
    study = study_of([*trained(), untrained()])
    rows = {tuple(cell.text for cell in row[:3]): row[3].text for row in study.tables[0].rows}
    assert len(rows) == 8
    assert rows["on", "on", "on"] == "66.0"
    assert rows["on", "off", "off"] == "60.0"
    assert rows["off", "off", "off"] == "45.0"
    assert study.figures[0].rows[-1] == "none (untrained)"
    assert "(+6.0 points)" in study.intro[-1]


def test_without_the_untrained_model_seven_rows_are_left_and_three_combinations_are_none():
    assert len(study_of(trained()).tables[0].rows) == 7
    assert document.compose(trained()[:3]).studies == ()


def test_what_a_loss_adds_is_the_mean_over_pairs_of_trained_combinations():
    study = study_of([*trained(), *trained(task="trec"), untrained(), untrained(task="trec")])
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in study.tables[1].rows}
    assert rows == {"LM": ["+10.0", "—", "3"], "UL": ["+4.0", "—", "3"], "LN": ["+2.0", "—", "3"]}


def test_with_predictions_each_effect_has_an_interval_around_it(tmp_path):
    generator = np.random.default_rng(0)
    records = []
    for task in ("sst2", "trec"):
        labels = generator.integers(2, size=ROWS)
        difficulty = generator.random(ROWS)
        for on in EVERY:
            for draw in range(3):
                right = 0.8 * difficulty + 0.2 * generator.random(ROWS) < score_of(on)
                answers = np.where(right, labels, 1 - labels)
                settings = {"task": task, "draw_seed": draw, "data__n_test": ROWS}
                records.append(answered(tmp_path, labels.tolist(), answers.tolist(), **fields_of(on, **settings)))
    places = {made.key: str(tmp_path) for made in records}
    known = Records(records, places)
    study = study_of(known, answers=AnswerFiles(known.places))
    by_loss = {row[0].text: row for row in study.tables[1].rows}
    for name, place in (("LM", 0), ("UL", 1), ("LN", 2)):
        pairs = [(on, off) for on in EVERY for off in EVERY if on[place] and _differ(on, off) == [place]]
        by_hand = np.mean([_mean(records, on) - _mean(records, off) for on, off in pairs])
        assert float(by_loss[name][1].title) == pytest.approx(100 * by_hand, abs=0.01)
        assert by_loss[name][2].text != "—"
    assert "other draws or seeds" in study.tables[1].note
    single = [made for made in records if made.draw_seed == 0]
    alone = study_of(Records(single, places), answers=AnswerFiles(known.places))
    assert "these runs on other test rows" in alone.tables[1].note


def _differ(on, off):
    return [place for place in range(3) if on[place] != off[place]]


def _mean(records, on):
    own = [made for made in records if tuple(bool(made.recipe[weight]) for weight in LOSSES.values()) == on]
    return np.mean([made.score for made in own])


def test_encoders_have_one_loss_and_no_study():
    assert document.compose(trained(template=None)).studies == () or all(
        not study.tag.startswith("losses") for study in document.compose(trained(template=None)).studies
    )


def test_a_combination_is_named_by_its_losses():
    assert [describe(on) for on in EVERY[:3]] == ["LM + UL + LN", "LM + UL", "LM + LN"]


def test_the_papers_order_is_judged_beside_the_likelihood_alone():
    """A loss that only helps where the likelihood is missing adds nothing to it."""

    def effect(name, low, high, error=0.5):
        return Effect(name, 2, (low + high) / 2, Interval((low + high) / 2, low, high, error, 9.0, 0.1, 0.95))

    assert judged_beside([]) == ""
    assert "neither" in judged_beside([effect("UL", -1, 2), effect("LN", -0.5, 0.4)])
    assert "neither" in judged_beside([effect("UL", 1e-15, 1e-15, error=0.0)])  # no variation was seen
    assert judged_beside([effect("UL", -1, 2), effect("LN", 0.5, 2)]).startswith("LN adds")
    assert judged_beside([effect("UL", -3, -1), effect("LN", 0.5, 2)]).startswith("UL takes away")
