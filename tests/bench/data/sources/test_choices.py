"""Multiple choice whose answers are lists: HellaSwag's and ARC's forms, and lists that are no answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bench.templates.tasks import written as templates_yaml
from tunefront.bench.data.cache import read_task, write_task
from tunefront.bench.data.sources.folder import few_shot, load
from tunefront.bench.data.task import Task
from tunefront.bench.errors import UserError
from tunefront.bench.templates import find_template

ANSWERS = ("driver", "pillow", "manual", "parcel", "hotel")


def hellaswag(row: int) -> dict[str, Any]:
    endings = [ANSWERS[(row + place) % 5] for place in range(4)]
    return {"ind": row, "ctx": f"Which is {endings[row % 4]}, case {row}?", "endings": endings, "label": str(row % 4)}


def arc(row: int) -> dict[str, Any]:
    count = 3 if row % 5 == 0 else 4
    names = ["A", "B", "C", "D"] if row % 2 else ["1", "2", "3", "4"]
    texts = [ANSWERS[(row + place) % 5] for place in range(count)]
    return {
        "question": f"Which is {texts[row % count]}, case {row}?",
        "choices": {"text": texts, "label": names[:count]},
        "answerKey": names[row % count],
    }


def openbook(row: int) -> dict[str, Any]:
    made = arc(row)
    each = [{"text": text, "label": name} for text, name in zip(*made["choices"].values(), strict=True)]
    return {**made, "choices": each}


def task_of(folder: Path, make: Any, meta: dict[str, object] | None = None, rows: int = 40) -> Task:
    for split in ("train", "validation"):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(make(row)) + "\n" for row in range(rows)))
    if meta is not None:
        (folder / "meta.json").write_text(json.dumps(meta))
    return load(str(folder))


@pytest.mark.parametrize(
    "meta", [None, {"task_type": "multiple choice"}, {"choices_field": "endings", "task_type": "multiple choice"}]
)
def test_a_list_of_answers_that_the_labels_name_is_multiple_choice(tmp_path, meta):
    task = task_of(tmp_path, hellaswag, meta)
    assert task.kind == "multiple choice"
    assert task.label_names == ("endings[0]", "endings[1]", "endings[2]", "endings[3]")
    assert task.input_fields == ("ctx", *task.label_names)
    prompt = find_template(task, None).render(task, task.splits["train"][5])
    assert prompt.choices == ("driver", "pillow", "manual", "parcel")
    assert prompt.choices[prompt.label] == "pillow"
    assert prompt.text == "Text: Which is pillow, case 5?\nAnswer:"


@pytest.mark.parametrize("make", [arc, openbook])
@pytest.mark.parametrize("typed", [True, False])
def test_answers_with_labels_of_their_own_and_rows_with_fewer(tmp_path, make, typed):
    meta = {"label_field": "answerKey"} | ({"task_type": "multiple choice"} if typed else {})
    task = task_of(tmp_path, make, meta)
    assert task.kind == "multiple choice"
    for row, given in zip(task.splits["validation"], map(arc, range(40)), strict=True):
        prompt = find_template(task, None).render(task, row)
        assert prompt.choices == tuple(given["choices"]["text"])
        assert prompt.choices[prompt.label] == given["question"].split()[2].strip(",")
    assert task.splits["train"][0].fields["choices[3]"] is None


def test_the_list_is_there_for_templates_as_promptsource_writes_them(tmp_path):
    templates_yaml(
        tmp_path,
        one={
            "jinja": "{{ ctx }}\n{% for e in endings %}- {{ e }}\n{% endfor %}||| {{ answer_choices[label | int] }}",
            "answer_choices": '{{ endings | join("|||") }}',
        },
    )
    task = task_of(tmp_path, hellaswag)
    prompt = find_template(task, None).render(task, task.splits["train"][0])
    assert prompt.choices == ("driver", "pillow", "manual", "parcel")
    assert prompt.text.endswith("- driver\n- pillow\n- manual\n- parcel")
    assert prompt.choices[prompt.label] == "driver"


def test_mappings_are_there_for_templates(tmp_path):
    templates_yaml(
        tmp_path,
        one={
            "jinja": "{{ question }} ||| {{ answer_choices[label] }}",
            "answer_choices": '{{ choices.text | join("|||") }}',
        },
    )
    task = task_of(tmp_path, arc, {"label_field": "answerKey"})
    prompt = find_template(task, None).render(task, task.splits["train"][1])
    assert prompt.choices == ("pillow", "manual", "parcel", "hotel")
    assert prompt.choices[prompt.label] == "manual"


def test_words_of_a_text_are_no_answers(tmp_path):
    def tokens(row: int) -> dict[str, Any]:
        words = ["word"] * (2 + row % 7)
        return {"text": " ".join(words) + f" {row}", "tokens": words, "label": row % 2}

    task = task_of(tmp_path, tokens)
    assert task.kind == "classification"
    assert (task.input_fields, task.left_out) == (("text",), {"tokens": "lists"})
    assert task.splits["train"][0].fields["tokens"] == ["word", "word"]


@pytest.mark.parametrize(
    "made",
    [
        lambda row: {"text": f"some words {row}", "span": [3, 7], "label": row % 2},
        lambda row: {"text": f"some words {row}", "probs": [0.1, 0.9], "label": row % 2},
        lambda row: {"text": f"these are {row} words", "tokens": f"these are {row} words".split(), "label": row % 4},
    ],
)
def test_lists_that_are_no_answers_make_no_multiple_choice(tmp_path, made):
    task = task_of(tmp_path, made)
    assert (task.kind, task.input_fields) == ("classification", ("text",))


def test_lists_that_may_be_answers_and_are_not_read_are_warned_of(tmp_path):
    def counted_from_one(row: int) -> dict[str, Any]:
        return {**hellaswag(row), "label": row % 4 + 1}

    task = task_of(tmp_path, counted_from_one)
    assert task.kind == "classification"
    assert any("'endings'" in text and '"multiple choice"' in text for text in task.warnings)


def test_letters_next_to_lists_are_warned_of(tmp_path):
    def few_letters(row: int) -> dict[str, Any]:
        return {**hellaswag(row), "label": "AB"[row % 2]}

    task = task_of(tmp_path, few_letters)
    assert task.label_names == ("A", "B")
    assert any("'endings'" in text for text in task.warnings)


def test_multiple_choice_that_nothing_says_is_warned_of(tmp_path):
    assert any("'endings'" in text and '"classification"' in text for text in task_of(tmp_path, hellaswag).warnings)
    typed = task_of(tmp_path, hellaswag, {"task_type": "multiple choice"})
    assert not typed.warnings


def test_lists_in_csv_are_lists_as_in_json(tmp_path):
    import pandas as pd

    for split in ("train", "validation"):
        pd.DataFrame([hellaswag(row) for row in range(40)]).to_csv(tmp_path / f"{split}.csv", index=False)
    task = load(str(tmp_path))
    assert task.kind == "multiple choice"
    assert task.splits["train"][0].fields["endings"] == ["driver", "pillow", "manual", "parcel"]


def test_lists_as_numpy_writes_them_are_no_text(tmp_path):
    for split in ("train", "validation"):
        lines = [f"question {row},['a b' 'c d'],{row % 2}" for row in range(8)]
        (tmp_path / f"{split}.csv").write_text("\n".join(["ctx,endings,label", *lines]) + "\n")
    task = load(str(tmp_path))
    assert task.left_out == {"endings": "lists written as text"}


def test_a_label_is_there_for_templates_under_its_own_name(tmp_path):
    templates_yaml(
        tmp_path,
        one={
            "jinja": "{{ question }} ||| {{ choices.text[choices.label.index(answerKey)] }}",
            "answer_choices": '{{ choices.text | join("|||") }}',
        },
    )
    task = task_of(tmp_path, arc, {"label_field": "answerKey"})
    prompt = find_template(task, None).render(task, task.splits["train"][1])
    assert prompt.choices[prompt.label] == "manual"


def test_a_label_that_names_no_answer_is_reported_with_its_row(tmp_path):
    def wrong(row: int) -> dict[str, Any]:
        return {**hellaswag(row), "label": "4" if row == 3 else "0"}

    with pytest.raises(UserError, match=r"line 4: label '4' names none of its 4 answers"):
        task_of(tmp_path, wrong, {"task_type": "multiple choice"})


def test_a_multiple_choice_task_without_answers_says_where_they_go(tmp_path):
    with pytest.raises(UserError, match="choices_field"):
        task_of(tmp_path, lambda row: {"ctx": f"q {row}", "label": row % 2}, {"task_type": "multiple choice"})


@pytest.mark.parametrize("empty", ["", None, "absent"])
def test_answers_in_columns_may_be_fewer_in_some_rows(tmp_path, empty):
    def columns(row: int) -> dict[str, Any]:
        made = {"question": f"q {row}", **dict(zip("ABCD", ANSWERS, strict=False)), "answer": "ABC"[row % 3]}
        if row % 2 and empty == "absent":
            del made["D"]
        elif row % 2:
            made["D"] = empty
        return made

    meta = {"task_type": "multiple choice", "label_field": "answer", "label_names": ["A", "B", "C", "D"]}
    for inputs in (["question"], ["question", "A", "B", "C", "D"]):
        task = task_of(tmp_path, columns, {**meta, "input_fields": inputs})
        prompts = [find_template(task, None).render(task, row) for row in task.splits["train"][:2]]
        assert [len(prompt.choices) for prompt in prompts] == [4, 3]


def test_it_comes_back_from_the_cache_and_has_published_draws(tmp_path):
    (tmp_path / "few_shot" / "4_shot").mkdir(parents=True)
    rows = [hellaswag(row) for row in range(4)]
    (tmp_path / "few_shot" / "4_shot" / "0.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = task_of(tmp_path, hellaswag)
    drawn, _ = few_shot(task, 4, 0)
    assert list(drawn) == list(task.splits["train"][:4])
    write_task(tmp_path / "kept.jsonl", task)
    kept = read_task(tmp_path / "kept.jsonl")
    assert kept.fingerprint == task.fingerprint
    assert (kept.left_out, kept.notes) == (task.left_out, task.notes)
