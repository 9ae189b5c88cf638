"""Rows as prompts by the built-in template."""

from __future__ import annotations

from dataclasses import replace

from tests.bench.templates.tasks import copa, make_task, said
from tunefront.bench.templates import Prompt
from tunefront.bench.templates.plain import Plain

ENTAILMENT = ("entailment", "not_entailment")


def test_plain_calls_a_lone_field_text() -> None:
    task, row = make_task({"tweet": " So it goes. ", "length": 3}, ("not_hate", "hate"), inputs=("tweet",))
    prompt = Prompt("Text: So it goes.\nLabel:", ("not hate", "hate"), 1)
    assert Plain().render(task, row) == prompt
    assert Plain().applies(task, row)
    assert Plain().content_free(task, "N/A") == replace(prompt, text="Text: N/A\nLabel:")


def test_plain_names_several_fields() -> None:
    task, row = make_task({"premise_text": "A b.", "hypothesis": "C d."}, ENTAILMENT)
    assert Plain().render(task, row).text == "Premise text: A b.\nHypothesis: C d.\nLabel:"


def test_plain_leaves_the_answers_of_multiple_choice_out_of_the_prompt() -> None:
    task, row = copa()
    prompt = Prompt("Premise: The cat purred.\nQuestion: cause\nAnswer:", ("It was fed.", "It was lost."), 1)
    assert Plain().render(task, row) == prompt
    lone = replace(task, input_fields=("premise", "choice1", "choice2"))
    assert Plain().render(lone, row).text == "Text: The cat purred.\nAnswer:"


def test_plain_takes_labels_of_multiple_choice_for_fields() -> None:
    task, row = make_task({"text": "a"}, ("first", "second"), kind="multiple choice")
    assert "a label names the field 'first', which it lacks" in said(Plain(), task, row)


def test_plain_refuses_equal_answers() -> None:
    task, row = make_task({"text": "a"}, ("not_ok", "not ok"))
    assert "the answer 'not ok' occurs 2 times" in said(Plain(), task, row)
