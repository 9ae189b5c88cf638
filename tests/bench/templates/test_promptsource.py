"""Rows as prompts by PromptSource's templates, and what is said where that cannot be."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace

import pytest

from tests import ROOT
from tests.bench.templates.tasks import copa, make_task, said, template
from tunefront.bench.errors import UserError
from tunefront.bench.templates import Prompt
from tunefront.bench.templates.plain import Plain
from tunefront.methods.base import Unsupported

RTE = {"premise": "No weapons were found.", "hypothesis": "Weapons were found."}
ENTAILMENT = ("entailment", "not_entailment")
TARGET = "{% if label != -1 %}{{ answer_choices[label] }}{% endif %}"
GPT3 = f"{{{{premise}}}}\nQuestion: {{{{hypothesis}}}} True or False? ||| {TARGET}"


def test_a_row_of_rte_by_a_published_template() -> None:
    task, row = make_task(RTE, ENTAILMENT)
    prompt = template(GPT3, "True ||| False").render(task, row)
    text = "No weapons were found.\nQuestion: Weapons were found. True or False?"
    assert prompt == Prompt(text, ("True", "False"), 1)


@pytest.mark.parametrize(
    ("written", "separator"),
    [
        (" ||| ", " "),
        ("|||", " "),
        ("|||\n", " "),
        ("\n|||\n", "\n"),
        (" \n|||", "\n"),
        ("\n\n||| ", "\n\n"),
        ("\n \n\t|||", "\n\n"),
    ],
    ids=repr,
)
def test_line_breaks_before_the_answer_are_kept_as_the_template_writes_them(written: str, separator: str) -> None:
    task, row = make_task({"text": "So it goes."})
    prompt = template(f"{{{{ text }}}} Yes or no?{written}{{{{ answer_choices[label] }}}}").render(task, row)
    assert (prompt.text, prompt.separator) == ("So it goes. Yes or no?", separator)
    assert prompt.answered == f"So it goes. Yes or no?{separator}{prompt.choices[prompt.label]}"


def test_line_breaks_of_the_data_are_none_of_the_template() -> None:
    task, row = make_task({"text": "So it goes.\n\n"})
    assert template("{{ text }}||| {{ answer_choices[label] }}").render(task, row).separator == " "


def test_answers_may_differ_from_row_to_row() -> None:
    jinja = '{{ premise }} {% if question == "cause" %} because... {% else %} so... {% endif %}\n- {{choice1}}'
    choose = template(f"{jinja} ||| {TARGET}", "{{choice1}} ||| {{choice2}}")
    task, row = copa(label=0)
    assert choose.render(task, row) == Prompt(
        "The cat purred.  because... \n- It was fed.", ("It was fed.", "It was lost."), 0
    )
    _, other = copa(label=1, choice1="It slept. ", choice2="It left.", question="effect")
    assert choose.render(task, other).choices == ("It slept.", "It left.")
    assert choose.render(task, other).label == 1


def test_multiple_choice_takes_any_number_of_answers_in_any_order() -> None:
    choose = template(
        "{{ premise }} ||| {{ [choice1, choice2][label] }}",
        "{{ choice2 }} ||| {{ choice1 }} {% if question == 'cause' %} ||| neither {% endif %}",
    )
    task, row = copa(label=0)
    assert choose.render(task, row) == Prompt("The cat purred.", ("It was lost.", "It was fed.", "neither"), 1)
    _, other = copa(label=0, question="effect")
    assert len(choose.render(task, other).choices) == 2


def test_a_separator_within_a_text_is_text() -> None:
    task, row = make_task({"text": "a ||| b|"})
    assert template("{{ text }}||| {{ answer_choices[label] }}").render(task, row).text == "a ||| b|"
    task, row = copa(choice1="this ||| that")
    choose = template("{{ premise }} ||| {{ answer_choices[0] }}", "{{ choice1 }} ||| {{ choice2 }}")
    assert choose.render(task, row).choices == ("this ||| that", "It was lost.")


def test_fields_that_are_no_input_can_be_read_but_the_label_is_the_tasks() -> None:
    task, row = make_task({"text": "a", "coarse": 0, "label": "other"}, inputs=("text",))
    prompt = template("{{ text }} {{ coarse }} {{ label }} ||| {{ answer_choices[coarse + 1] }}").render(task, row)
    assert prompt == Prompt("a 0 1", ("no", "yes"), 1)


def test_a_template_that_skips_rows_says_to_which_it_applies() -> None:
    jinja = '{% if question == "effect" %}\n{{ premise }} So? ||| {{ answer_choices[label] }}\n{% endif %}'
    effect = template(jinja, "{{choice1}} ||| {{choice2}}", "effect")
    task, row = copa()
    _, other = copa(question="effect")
    assert not effect.applies(task, row)
    assert effect.applies(task, other)
    assert effect.render(task, other).text == "The cat purred. So?"
    assert "it writes no prompt" in said(effect, task, row)


def test_a_template_without_a_target_for_a_row_skips_it() -> None:
    task, row = make_task({"text": "a"})
    for jinja in ("{{ text }} ||| {% if label == 0 %}no{% endif %}", "{{ text }} |||"):
        assert not template(jinja).applies(task, row)
        assert "it writes no target" in said(template(jinja), task, row)


@pytest.mark.parametrize(
    ("jinja", "answers", "fact"),
    [
        (
            "{{ txt }} ||| yes",
            "no ||| yes",
            "there is no field 'txt'; did you mean 'text'? Known: answer_choices, label, text",
        ),
        ("{{ text }} ||| yes", "{{ no }} ||| yes", "in answer_choices, there is no field 'no'. Known: label, text"),
        ("{{ text }", "no ||| yes", "it is not valid Jinja, line 1: "),
        ("{{ text }} ||| {{ 1 / 0 }}", "no ||| yes", "it fails with ZeroDivisionError: division by zero; correct it"),
        ("{{ text.__class__ }} ||| yes", "no ||| yes", "it reads '__class__' of a text, which is not allowed"),
        (
            "{% for x in range(9999) %}{% for x in range(9) %}{% endfor %}{% endfor %}",
            "no ||| yes",
            "more than 10,000 times",
        ),
        ("{{ text }} yes", "no ||| yes", "was written 0 times"),
        ("{{ text }} ||| yes ||| no", "no ||| yes", "was written 2 times"),
        ("{{ text }} ||| perhaps", "no ||| yes", "the target 'perhaps' is none of the answers (no | yes)"),
        ("{{ text }} ||| {{ answer_choices[7] }}", "no ||| yes", "list object has no element 7"),
        ("{{ text }} ||| yes", "yes ||| {{ text[0:0] }}yes", "the answer 'yes' occurs 2 times"),
        ("{{ text }} ||| yes", "yes ||| ", "answer 1 is empty"),
        ("{{ text }} ||| yes", "yes", "only 1 answer"),
        (
            "{{ text }} ||| {{ answer_choices[1 - label] }}",
            "yes ||| no",
            "the target is answer 0 of 2 (yes | no), the label number 1 of 2 (no | yes), counted from 0",
        ),
        (
            "{{ text }} ||| {{ answer_choices[label] }}",
            "a ||| b ||| {{ text }}",
            "answer 1 of 3 (a | b | Fine.), the label",
        ),
    ],
)
def test_an_error_states_the_problem_in_one_paragraph(jinja: str, answers: str, fact: str) -> None:
    task, row = make_task({"text": "Fine."})
    assert fact in said(template(jinja, answers), task, row)


def test_a_field_called_as_the_answers_is_a_mistake() -> None:
    task, row = make_task({"text": "Fine.", "answer_choices": "x"})
    assert "a field called answer_choices" in said(template("a ||| yes"), task, row)


def test_equal_answers_of_a_row_are_a_mistake() -> None:
    task, row = copa(choice2="It was fed. ")
    choose = template("{{ premise }} ||| {{ answer_choices[label] }}", "{{ choice1 }} ||| {{ choice2 }}")
    for chosen in (choose, Plain()):
        assert "the answer 'It was fed.' occurs 2 times" in said(chosen, task, row)


def test_choice_depends_on_the_template_and_the_row_and_on_nothing_else() -> None:
    def text(name: str, value: str, label: int = 1) -> str:
        task, row = make_task({"text": value}, label=label)
        return (
            template(f"{{{{ {list(range(1000))}|choice }}}} ||| {{{{ answer_choices[label] }}}}", name=name)
            .render(task, row)
            .text
        )

    assert text("a", "x") == text("a", "x") == text("a", "x", label=0)
    assert len({text("a", "x"), text("b", "x"), text("a", "y")}) == 3
    code = (
        "from tests.bench.templates.tasks import make_task, template\n"
        "task, row = make_task({'text': 'x'})\n"
        "print(template('{{ ' + str(list(range(1000))) + '|choice }} ||| {{ answer_choices[label] }}', name='a')"
        ".render(task, row).text)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == text("a", "x")


def test_a_prompt_free_of_content_has_the_filler_for_every_input() -> None:
    task, _ = make_task({**RTE, "source": 3}, ENTAILMENT, inputs=("premise", "hypothesis"))
    jinja = "{{ premise }}/{{ hypothesis }}/{{ source }} ||| {{ answer_choices[label] }}"
    assert template(jinja).content_free(task, "N/A") == Prompt("N/A/N/A/3", ("no", "yes"), 1)
    assert template(jinja).content_free(task, "").text == "//3"
    with pytest.raises(UserError, match="row '7 with N/A as every input': there is no field 'premis'"):
        template("{{ premis }} ||| no").content_free(task, "N/A")


def test_no_prompt_is_free_of_content_where_answers_depend_on_the_row() -> None:
    task, _ = copa()
    choose = template("{{ premise }} ||| {{ answer_choices[label] }}", "{{ choice1 }} ||| {{ choice2 }}")
    with pytest.raises(Unsupported, match=r"'first' depend on the row \(choice1, choice2\)"):
        choose.content_free(task, "N/A")
    with pytest.raises(Unsupported, match="differ from row to row"):
        Plain().content_free(task, "N/A")
    with pytest.raises(UserError, match="in answer_choices, it is not valid Jinja"):
        template("a ||| no", "{{ no").content_free(task, "N/A")


def test_a_template_is_a_value_and_its_fingerprint_is_all_that_decides_the_rendering() -> None:
    original = template(GPT3)
    assert original == template(GPT3)
    assert {original: 1}[pickle.loads(pickle.dumps(original))] == 1
    assert original.fingerprint == replace(original, original_task=False).fingerprint
    others = [
        replace(original, jinja=GPT3 + " "),
        replace(original, answer_choices="no ||| yes "),
        replace(original, name="other"),
        Plain(),
    ]
    assert len({template.fingerprint for template in (original, *others)}) == 5
    assert original.fingerprint == "1558108ce1312ef695475450c32c08befa34067bc6fe02e65582c7d9a1bf2701"
