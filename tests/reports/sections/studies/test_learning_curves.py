"""Learning curves: scores over numbers of training rows, with demonstrations beside them."""

import pytest

from tests.reports.answered import world
from tests.reports.factory import record
from tunefront.bench.records.answers import AnswerFiles
from tunefront.reports.sections import document


def curve(label, scores, **fields):
    """A record per number of rows."""
    return [
        record(
            label=label,
            shots=shots,
            scores__test={"accuracy": score},
            data__n_train=2000 if shots is None else shots,
            data__split_rows={"train": 2000, "test": 500},
            **fields,
        )
        for shots, score in scores.items()
    ]


def study_of(records):
    (study,) = document.compose(records).studies
    return study


def test_three_numbers_of_rows_are_a_curve_and_two_are_not():
    assert document.compose(curve("full", {4: 0.5, 8: 0.6})).studies == ()
    study = study_of(curve("full", {8: 0.6, 4: 0.5, None: 0.9}))
    (line,) = study.figures[0].lines
    assert [(point.x, round(point.y, 6)) for point in line.points] == [(4, 50), (8, 60), (2000, 90)]
    assert [row[0].text + row[0].minor for row in study.tables[0].rows] == ["4", "8", "all(2,000)"]


def test_demonstrations_are_dashed_and_it_is_said_from_where_training_is_ahead():
    fields = {"backbone": "nano", "template": "plain"}
    ordered = {"method": "icl:k=none,order=0", "prompt__demonstration_ids": (("r1", "r2"),)}
    records = curve("ia3", {4: 0.5, 16: 0.6, 64: 0.8}, **fields)
    records += curve("bitfit", {4: 0.4, 16: 0.4, 64: 0.5}, **fields)
    records += curve("icl", {4: 0.55, 16: 0.55, 64: 0.6}, parameters__trainable=0, **fields, **ordered)
    study = study_of(records)
    assert {line.label: line.dashed for line in study.figures[0].lines} == {"ia3": False, "bitfit": False, "icl": True}
    text = " ".join(study.intro)
    assert "1 task (sst2), each over 1 seed" in text
    assert "Ahead of icl" in text
    assert "ia3 from 16 training rows" in text
    assert "bitfit from" not in text
    assert "With 4 training rows icl scores most, 55.0." in text
    assert "With 64 training rows ia3 scores most, 80.0." in text


def test_a_method_with_fewer_numbers_of_rows_is_no_curve_and_a_missing_point_is_a_dash():
    records = (
        curve("full", {4: 0.5, 8: 0.6, 16: 0.7})
        + curve("ia3", {4: 0.5, 8: 0.6})
        + curve("bitfit", {4: 0.5, 8: 0.6, 32: 0.7})
    )
    study = study_of(records)
    assert [column.head for column in study.tables[0].columns[1:]] == ["bitfit", "full"]
    by_rows = {row[0].text: [cell.text for cell in row[1:]] for row in study.tables[0].rows}
    assert by_rows["16"] == ["—", "70.0"]


def test_with_predictions_the_bars_are_intervals_of_the_means(tmp_path):
    accuracies = {"full": 0.8, "ia3": 0.75}
    made = [
        record
        for shots in (16, 64, 256)
        for record in world(tmp_path, accuracies, ("sst2", "trec"), spread=0.02, shots=shots, data__n_train=shots)
    ]
    places = dict.fromkeys((made_record.key for made_record in made), str(tmp_path))
    report = document.compose(made, answers=AnswerFiles(places), places=places)
    (study,) = report.studies
    assert "95 % intervals" in study.figures[0].note
    for line in study.figures[0].lines:
        for point in line.points:
            assert point.low < point.y < point.high
    by_shots = {page.panel.shots: page.panel.evidence for page in report.pages}
    points = {line.label: {int(point.x): point for point in line.points} for line in study.figures[0].lines}
    for shots, known in by_shots.items():
        for label, mean in zip(known.labels, known.means, strict=True):
            assert points[label][shots].y == pytest.approx(mean.difference)
