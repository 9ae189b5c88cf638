"""What a difference says: names, places, and what is left out."""

from __future__ import annotations

import pytest

from tests.reports.compare.difference.test_diff import METHODS, compared, seeded, together
from tests.reports.factory import failed
from tunefront.bench.records import Records
from tunefront.reports.sections.difference import Text, describe


def text_of(old: Records, new: Records, **options) -> Text:
    return describe(compared(old, new, **options), "old", "new")


def everything(text: Text) -> str:
    cells = [cell.text + cell.minor for table in text.tables for row in table.rows for cell in row]
    return "\n".join([text.title, *text.lead, *cells, *text.notes])


@pytest.fixture
def old(tmp_path):
    return seeded(tmp_path / "old", 0, 0)


def test_the_worst_stands_first(old, tmp_path):
    (table,) = text_of(old, seeded(tmp_path / "new", 0, 1, {**METHODS, "ia3": 0.4})).tables
    assert [row[0].text for row in table.rows] == ["ia3", "features", "full"]
    assert table.rows[0][-1].strong


def test_methods_on_other_tasks_have_their_number_of_tasks(old, tmp_path):
    new = seeded(tmp_path / "new", 0, 1)
    fewer = Records([made for made in new if (made.label, made.task) != ("ia3", "trec")], new.places)
    (table,) = text_of(old, fewer).tables
    place = [column.head for column in table.columns].index("tasks")
    assert {row[0].text: row[place].text for row in table.rows} == {"features": "2", "full": "2", "ia3": "1"}


def test_a_regression_names_its_backbone_where_there_are_several(old, tmp_path):
    others = {"backbone": "nano", "shots": 16}
    before = together(old, seeded(tmp_path / "a", 0, 0, {"full": 0.8}, **others))
    after = together(seeded(tmp_path / "b", 0, 1), seeded(tmp_path / "c", 0, 1, {"full": 0.3}, **others))
    text = text_of(before, after)
    assert "full (nano, 16 training rows)" in text.lead[0]
    assert len(text.tables) == 2


@pytest.mark.parametrize(("luck", "words"), [(0, "the same"), (1, "with no change seen")])
def test_no_regression_says_what_there_is_instead(old, tmp_path, luck, words):
    assert words in text_of(old, seeded(tmp_path / "new", 0, luck)).lead[0]


def test_what_is_not_compared_is_said_with_both_values(old, tmp_path):
    new = seeded(tmp_path / "new", 0, 1)
    cut = [made.model_copy(update={"settings": {"max_length": 9}}) if made.task == "trec" else made for made in new]
    (note,) = (line for line in text_of(old, Records(cut, new.places)).notes if "max_length" in line)
    assert "none then, 9 now" in note
    assert note.endswith("on trec.")


def test_a_method_without_a_score_is_in_the_lead(old, tmp_path):
    new = together(seeded(tmp_path / "new", 0, 1), Records([failed(label="ia3", task="sst2", seed=7)]))
    assert "ia3 on sst2 (1 run failed: loss is not finite at step 12)" in everything(text_of(old, new))


def test_costs_are_shown_with_their_relative_change(old, tmp_path):
    new = seeded(tmp_path / "new", 0, 1, {"full": 0.8}, parameters__trainable=1, storage__checkpoint_bytes=8)
    table = text_of(old, new).tables[-1]
    assert {row[1].text for row in table.rows} == {"trained parameters", "bytes stored per task"}
    assert all(row[-1].text.endswith(" %") for row in table.rows)


def test_many_checkpoints_are_shown_only_where_they_differ(old, tmp_path):
    draws = tuple(range(12))
    one = seeded(tmp_path / "a", 0, 0, {"full": 0.8}, draws=draws)
    text = text_of(one, seeded(tmp_path / "b", 0, 1, {"full": 0.78}, draws=draws), checkpoints=True)
    assert "of 24 checkpoints" in text.lead[0] or "None of 24" in text.lead[0]
    assert all(row[-1].text != "no change seen" for row in text.tables[0].rows)
    assert "left out" in text.tables[0].note


def test_a_variance_that_is_taken_from_the_other_side_is_said(old, tmp_path):
    notes = text_of(old, seeded(tmp_path / "new", 0, 1, draws=(7,))).notes
    assert any(note.startswith("The new results have one run per task of") for note in notes)
