"""`tunefront templates`: prompts as a language model reads them, and a first file of templates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bench.data.sources.test_own_file import csv_file, lines, put, sentence
from tests.bench.data.sources.test_own_prompts import templates as write_templates
from tunefront.bench.data.sources import load_task
from tunefront.bench.data.task import Task
from tunefront.bench.templates import PLAIN, left_out_of, templates_of
from tunefront.bench.templates.reading import read_templates


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    csv_file(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shown(call: Any, *arguments: str) -> dict[str, Any]:
    result = call("templates", *arguments, "--json")
    assert result.exit_code == 0, result.output
    content: dict[str, Any] = json.loads(result.stdout)
    return content


def written(call: Any, path: Path, *arguments: str) -> Task:
    """The task of a file for which a first file of templates was written."""
    content = shown(call, str(path), "--write", *arguments)
    assert Path(content["written"]).is_file()
    read_templates.cache_clear()
    return load_task(content["task"])


def rendered(task: Task) -> int:
    """The number of the file's templates, each of which renders every row."""
    own = {name: template for name, template in templates_of(task).items() if name != PLAIN}
    assert not left_out_of(task, generating=True)
    for template in own.values():
        for row in (row for rows in task.splits.values() for row in rows):
            template.render(task, row)
    return len(own)


def test_a_prompt_is_shown_with_every_answer_and_the_right_one(folder: Path, call: Any) -> None:
    content = shown(call, "tickets.csv", "--text", "review")
    (plain,) = content["templates"]
    assert (plain["name"], content["used"]) == (PLAIN, PLAIN)
    for row in plain["rows"]:
        number = int(row["row"])
        assert row["prompt"] == f"Text: {sentence(number)}\nLabel:"
        assert (row["separator"], row["answers"], row["right"]) == (" ", ["bad", "good"], number % 2)
    assert {row["right"] for row in plain["rows"]} == {0, 1}


def test_every_template_of_a_file_is_shown_on_three_rows(folder: Path, call: Any) -> None:
    write_templates(folder)
    content = shown(call, "tickets.csv")
    assert [(each["name"], len(each["rows"])) for each in content["templates"]] == [("own", 3), (PLAIN, 3)]
    assert content["used"] == "own"


def test_the_right_answer_is_marked_on_the_screen(folder: Path, call: Any) -> None:
    screen = call("templates", "tickets.csv").stdout
    assert '  ✓ " bad"\n    " good"' in screen
    assert '    " bad"\n  ✓ " good"' in screen


def test_a_template_that_is_left_out_is_named_with_the_reason(folder: Path, call: Any) -> None:
    templates = "templates: {1: {name: three, answer_choices: a ||| b ||| c, jinja: x ||| y}, 2: {name: t, jinja: x}}"
    put(folder, "tickets.templates.yaml", templates)
    content = shown(call, "tickets.csv")
    assert content["left_out"]["three"] == "it has 3 answers for 2 labels"
    assert content["left_out"].keys() == {"three", "t"}
    assert content["used"] is None
    assert "it has 3 answers for 2 labels" in call("templates", "tickets.csv").stdout


def test_a_row_that_cannot_be_rendered_has_the_reason(folder: Path, call: Any) -> None:
    put(folder, "p.yaml", "templates: {1: {name: typo, answer_choices: a ||| b, jinja: '{{ revew }} ||| {{ label }}'}}")
    own, _ = shown(call, "tickets.csv", "--prompts", "p.yaml")["templates"]
    assert all("did you mean 'review'" in row["error"] for row in own["rows"])
    assert "did you mean 'review'" in call("templates", "tickets.csv", "--prompts", "p.yaml").stdout


def test_tokens_are_those_of_a_language_model(folder: Path, call: Any, language_models: dict[str, str]) -> None:
    row = shown(call, "tickets.csv", "--backbone", language_models["gpt2"])["templates"][0]["rows"][0]
    assert row["tokens"] >= row["kept_tokens"] > 0


def test_an_embedded_task_and_a_folder_are_shown_too(folder: Path, call: Any) -> None:
    put(folder, "mine/train.csv", lines("text,label", lambda i: f"{sentence(i)},{i % 3}"))
    put(folder, "mine/test.csv", lines("text,label", lambda i: f"{sentence(i + 99)},{i % 3}"))
    assert [len(shown(call, name)["templates"]) for name in ("mine", "dir:mine")] == [1, 1]


def test_control_characters_reach_no_terminal(tmp_path: Path, call: Any) -> None:
    labels = ("b\x1b[2Jad", "good")
    row = lambda i: f'"{sentence(i)} \x1b[31m\u202e [red]x[/red]",{labels[i % 2]}'  # noqa: E731
    path = put(tmp_path, "a.csv", lines("te\x1bxt,label", row))
    result = call("templates", str(path))
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output
    assert "\u202e" not in result.output
    assert "[red]x[/red]" in result.output


def test_a_long_prompt_is_shown_in_part_and_is_whole_in_json(tmp_path: Path, call: Any) -> None:
    path = put(tmp_path, "a.csv", lines("text,label", lambda i: f"{sentence(i)} {'word ' * 1000},{i % 2}"))
    assert len(call("templates", str(path)).stdout) < 5_000
    assert len(shown(call, str(path))["templates"][0]["rows"][0]["prompt"]) > 5_000


def test_regression_has_no_templates(tmp_path: Path, call: Any) -> None:
    path = put(tmp_path, "a.csv", lines("text,score", lambda i: f"{sentence(i)},{i / 7:.2f}"))
    assert shown(call, str(path))["templates"] == []
    assert "no template asks" in call("templates", str(path)).stdout
    result = call("templates", str(path), "--write")
    assert result.exit_code == 2
    assert not (tmp_path / "a.templates.yaml").exists()


def test_what_is_written_is_found_by_a_run_and_renders_every_row(folder: Path, call: Any) -> None:
    task = written(call, folder / "tickets.csv")
    assert task.templates == folder / "tickets.templates.yaml"
    assert rendered(task) >= 2


def test_labels_of_the_templates_are_words(tmp_path: Path, call: Any) -> None:
    path = put(tmp_path, "a.csv", lines("text,label", lambda i: f"{sentence(i)},{('not_good', 'good')[i % 2]}"))
    task = written(call, path)
    prompts = [t.render(task, task.splits["train"][0]) for t in templates_of(task).values()]
    assert {prompt.choices for prompt in prompts} == {("good", "not good")}


def test_many_classes_are_not_listed_in_a_prompt(tmp_path: Path, call: Any) -> None:
    path = put(tmp_path, "a.csv", lines("text,intent", lambda i: f"{sentence(i)},intent {i % 150}", 600))
    task = written(call, path)
    assert rendered(task) >= 2
    assert all(len(t.render(task, task.splits["train"][0]).text) < 200 for t in templates_of(task).values())


@pytest.mark.parametrize("header", ["question,A,B,C,answer", "Question text,option 1,option 2,option 3,label"])
def test_answers_of_multiple_choice_are_those_of_the_row(tmp_path: Path, call: Any, header: str) -> None:
    row = lambda i: f"{sentence(i)}?,one {i},two {i},three {i},{'ABC'[i % 3]}"  # noqa: E731
    task = written(call, put(tmp_path, "a.csv", lines(header, row)))
    assert task.kind == "multiple choice"
    assert rendered(task) == 2


def test_answers_in_lists_may_be_fewer_in_some_rows(tmp_path: Path, call: Any) -> None:
    rows = [
        {"ctx": sentence(i), "endings": [f"a {i}", f"b {i}", *([f"c {i}"] if i % 5 else [])], "label": i % 2 + (i == 1)}
        for i in range(60)
    ]
    task = written(call, put(tmp_path, "a.json", json.dumps(rows)))
    assert task.kind == "multiple choice"
    assert rendered(task) == 2


HOSTILE = [
    "{{ 7 * 7 }}",
    "{% for %}",
    "a ||| b",
    "a||||b",
    'say "hi" \\n',
    "{# no #}",
    "line\u2028two",
    "next\x85line",
    "#: - !x",
    "'",
    "label",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_text_in_a_template(tmp_path: Path, call: Any, name: str) -> None:
    rows = [{name: sentence(i), "topic": (name, "other")[i % 2]} for i in range(60)]
    task = written(call, put(tmp_path, "a.json", json.dumps(rows)), "--label", "topic")
    assert task.input_fields == (name,)
    assert rendered(task) >= 2
    answers = templates_of(task)["named_fields"].render(task, task.splits["train"][0]).choices
    assert " ".join(name.replace("_", " ").split()) in [" ".join(answer.split()) for answer in answers]


def test_a_missing_field_is_written_as_nothing(tmp_path: Path, call: Any) -> None:
    row = lambda i: f'{f"Title {sentence(i)}" if i % 4 else ""},"{sentence(i)}",{i % 2}'  # noqa: E731
    assert rendered(written(call, put(tmp_path, "a.csv", lines("title,review,label", row)))) >= 2


def test_no_file_is_overwritten(folder: Path, call: Any) -> None:
    file = put(folder, "tickets.templates.yaml", "mine")
    result = call("templates", "tickets.csv", "--write")
    assert result.exit_code == 2
    assert "not overwritten" in result.stderr
    assert file.read_text() == "mine"


def test_a_folder_gets_its_templates_inside(folder: Path, call: Any) -> None:
    put(folder, "mine/all.csv", (folder / "tickets.csv").read_text())
    assert Path(shown(call, "mine", "--write")["written"]).name == "templates.yaml"
    assert (folder / "mine" / "templates.yaml").is_file()


def test_templates_are_written_where_the_call_says(folder: Path, call: Any) -> None:
    content = shown(call, "tickets.csv", "--write", "--prompts", "prompts/mine.yaml")
    assert content["file"] == str(folder / "prompts" / "mine.yaml")
    assert len(read_templates(folder / "prompts" / "mine.yaml")) >= 2


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (("tikets.csv",), "did you mean 'tickets.csv'"),
        (("docstrings/kind", "--write"), "no place"),
        (("docstrings/kind", "--label", "x"), "only applies to"),
        (("tickets.csv", "--label", "sentimnt"), "did you mean 'sentiment'"),
        (("tickets.csv", "--backbone", "minilm"), "reads no prompts"),
        (("tickets.csv", "--prompts", "tickets.csv"), "tickets.csv"),
    ],
)
def test_a_mistake_is_one_paragraph_and_exit_code_2(folder: Path, call: Any, arguments: Any, fact: str) -> None:
    result = call("templates", *arguments)
    assert result.exit_code == 2, result.output
    assert fact in " ".join(result.stderr.split())
    assert result.stderr.count("error:") == 1
