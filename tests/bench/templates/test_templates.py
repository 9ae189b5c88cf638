"""The templates of a task, by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.templates.tasks import make_task, said, written
from tunefront.bench.data.sources import load_task
from tunefront.bench.errors import UserError
from tunefront.bench.templates import Prompt, find_template, left_out_of, templates_of
from tunefront.bench.templates.plain import Plain
from tunefront.bench.templates.reading import _EXAMPLE


def test_templates_of_a_task_come_in_the_order_of_the_file_then_plain(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        zebra={"jinja": "{{ text }} ||| x", "original_task": False, "answer_choices": "no ||| yes"},
        generates={"jinja": "{{ text }} ||| {{ text }}"},
        fine={"jinja": "{{ text }} ||| a", "answer_choices": "a ||| b ||| c"},
        ant={"jinja": "{{ text }} ||| {{ answer_choices[label] }}", "answer_choices": "No ||| Yes"},
        unmarked={"jinja": "{{ text }} ||| x", "original_task": None, "answer_choices": "{{ text }} ||| yes"},
        broken={"jinja": "{{ text }} ||| x", "answer_choices": "{{ text"},
    )
    task, row = make_task({"text": "a"}, templates=file)
    templates = templates_of(task)
    assert list(templates) == ["zebra", "ant", "unmarked", "broken", "plain"]
    assert [template.name for template in templates.values()] == list(templates)
    assert {name for name, template in templates.items() if template.original_task} == {
        "ant",
        "unmarked",
        "broken",
        "plain",
    }
    assert find_template(task, None) == templates["ant"] == find_template(task, "ant")
    assert find_template(task, "plain") == templates["plain"] == Plain()
    assert templates["ant"].render(task, row) == Prompt("a", ("No", "Yes"), 1)
    assert "in answer_choices, it is not valid Jinja" in said(templates["broken"], task, row)
    with pytest.raises(
        UserError, match=r"^dir:toy: no template 'ants'; did you mean 'ant'\? Known: ant, broken, plain"
    ):
        find_template(task, "ants")
    with pytest.raises(UserError, match=r"'generates' of dir:toy cannot be ranked: it has no answer_choices; .* zebra"):
        find_template(task, "generates")
    with pytest.raises(UserError, match="it has 3 answers for 2 labels"):
        find_template(task, "fine")


def test_where_no_template_asks_the_original_task_the_first_that_fits_is_taken(tmp_path: Path) -> None:
    other = {"jinja": "a ||| no", "answer_choices": "no ||| yes", "original_task": False}
    asks = {**other, "jinja": "{{ text }} ||| {{ answer_choices[label] }}"}
    task, row = make_task({"text": "a"}, label=1, templates=written(tmp_path, other={**other}, asks=asks))
    folder = tmp_path / "alone"
    folder.mkdir()
    assert find_template(task, None).name == "asks"
    assert find_template(task, None).render(task, row).choices == ("no", "yes")
    alone = make_task({"text": "a"}, label=1, templates=written(folder, other=other))[0]
    assert find_template(alone, None) == Plain()


def test_a_template_as_our_own_message_shows_it_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "templates.yaml"
    file.write_text(_EXAMPLE.replace("'... ||| ...'", "'{{ text }} ||| {{ answer_choices[label] }}'"))
    task, row = make_task({"text": "a"}, templates=file)
    assert find_template(task, None).render(task, row).choices == ("yes", "no")


def test_a_file_of_which_nothing_can_be_ranked_is_a_mistake_that_says_why(tmp_path: Path) -> None:
    three = {"jinja": "{{ text }} ||| a", "answer_choices": "a ||| b ||| c"}
    task = make_task({"text": "a"}, templates=written(tmp_path, three=three, writes={"jinja": "{{ text }} ||| x"}))[0]
    with pytest.raises(UserError, match=r"'three': it has 3 answers for 2 labels.*--template plain"):
        find_template(task, None)
    assert left_out_of(task) == {"three": "it has 3 answers for 2 labels"}
    assert find_template(task, "plain") == Plain()


def test_a_folder_brings_its_templates(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text('{"text": "a", "label": "no"}\n{"text": "b", "label": "yes"}\n')
    written(tmp_path, ask={"jinja": "{{ text }}? ||| {{ answer_choices[label] }}", "answer_choices": "No ||| Yes"})
    task = load_task(f"dir:{tmp_path}")
    prompts = [find_template(task, None).render(task, row) for row in task.splits["test"]]
    assert prompts == [Prompt("a?", ("No", "Yes"), 0), Prompt("b?", ("No", "Yes"), 1)]


def test_regression_has_no_templates(tmp_path: Path) -> None:
    file = written(tmp_path, rate={"jinja": "{{ text }} ||| {{ label }}"})
    task, _ = make_task({"text": "a"}, kind="regression", templates=file)
    assert templates_of(task) == {}
    for name in (None, "plain", "rate"):
        with pytest.raises(UserError, match="dir:toy is a regression task"):
            find_template(task, name)
