"""The templates of the shared data folder: which can be ranked, and that they render as in PromptSource."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jinja2
import pytest

from tests import SHARED
from tunefront.bench.data.sources import load_task
from tunefront.bench.data.task import Row, Task
from tunefront.bench.errors import UserError
from tunefront.bench.templates import Prompt, find_template, templates_of
from tunefront.bench.templates.promptsource import PromptSource
from tunefront.bench.templates.reading import Entry, read_templates

DATA = SHARED / "data"
FOLDERS = sorted(meta.parent.name for meta in DATA.glob("*/meta.json"))
FIRST = 50

ANOTHER_QUESTION = ("fine_grained_open", "fine_grained_open_context_first")
"""Templates of trec that say original_task, but ask for one of 50 fine classes where the task has 6 labels."""
ON_HALF_OF_THE_ROWS = {
    "…What could happen next, C1 or C2?": "effect",
    "…As a result, C1 or C2?": "effect",
    "…which may be caused by": "cause",
    "…why? C1 or C2": "cause",
}
"""Templates of copa that skip the rows with the other question; T-Few uses the other 8, the first ones by name."""
ENVIRONMENT = jinja2.Environment()

pytestmark = pytest.mark.skipif(not FOLDERS, reason="../shared/data is not next to this checkout")


@pytest.fixture(params=FOLDERS or ["none"])
def task(request: pytest.FixtureRequest) -> Task:
    return load_task(f"dir:{DATA / request.param}")


def with_files(task: Task) -> Iterator[Task]:
    """The task with its file of templates; tweet_stance has one for each of its targets, on whose rows it is used."""
    assert task.folder is not None
    for file in sorted(task.folder.glob("templates*.yaml")):
        target = file.stem.removeprefix("templates").removeprefix("_")
        rows = {
            split: [row for row in rows if not target or row.fields["target"] == target]
            for split, rows in task.splits.items()
        }
        yield replace(task, splits=rows, templates=file)


def first_rows(task: Task) -> list[Row]:
    return [row for rows in task.splits.values() for row in rows[:FIRST]]


def test_every_template_for_the_original_task_renders_and_its_label_is_the_rows(task: Task) -> None:
    for variant in with_files(task):
        usable = templates_of(variant)
        for entry in read_templates(variant.templates or Path()):
            if not entry.original_task or task.kind == "regression":
                continue
            if entry.name in ANOTHER_QUESTION:
                with pytest.raises(UserError, match="it has 50 answers for 6 labels"):
                    find_template(variant, entry.name)
                continue
            template = usable[entry.name]
            rows = [row for row in first_rows(variant) if template.applies(variant, row)]
            only = ON_HALF_OF_THE_ROWS.get(entry.name)
            assert rows == [row for row in first_rows(variant) if only in (None, row.fields.get("question"))]
            assert rows
            for row in rows:
                prompt = template.render(variant, row)
                assert prompt.label == row.label
                assert len(prompt.choices) == len(task.label_names)


def test_prompts_are_those_of_promptsource(task: Task) -> None:
    for variant in with_files(task):
        for entry in read_templates(variant.templates or Path()):
            if entry.answer_choices is None:
                continue
            template = templates_of(variant).get(entry.name)
            for row in first_rows(variant):
                if isinstance(template, PromptSource) and template.applies(variant, row):
                    assert template.render(variant, row) == published(entry, row)


def published(entry: Entry, row: Row) -> Prompt:
    """What promptsource.templates.Template.apply and get_answer_choices_list give, and the template's line breaks."""
    protector = "3ed2dface8203c4c9dfb1a5dc58e41e0"
    values = {
        key: value.replace("|||", protector) if isinstance(value, str) else value
        for key, value in {**row.fields, "label": row.label}.items()
    }

    def parts(source: str, **more: object) -> list[str]:
        text = ENVIRONMENT.from_string(source).render(**values, **more)
        return [part.strip().replace(protector, "|||") for part in text.split("|||")]

    choices = parts(entry.answer_choices or "")
    text, target = parts(entry.jinja, answer_choices=choices)
    breaks = re.findall(r"([ \t\n]*)\|\|\|", entry.jinja)[0].count("\n")
    return Prompt(text, tuple(choices), choices.index(target), "\n" * breaks or " ")


def test_a_bar_before_the_separator_stays_in_the_text() -> None:
    """PromptSource takes the first three of the four bars for the separator, and finds no answer in `| joy`."""
    task = load_task(f"dir:{DATA / 'tweet_emotion'}")
    template = find_template(task, "author_emotion")
    (row,) = [row for rows in task.splits.values() for row in rows if str(row.fields["text"]).rstrip().endswith("|")]
    assert template.render(task, row).text.endswith("|")
    assert template.render(task, row).label == row.label


def test_the_default_is_the_first_template_for_the_original_task(task: Task) -> None:
    if task.kind == "regression":
        assert templates_of(task) == {}
        return
    entries = read_templates(task.templates) if task.templates else ()
    first = next((entry.name for entry in entries if entry.original_task), "plain")
    template = find_template(task, None)
    assert template.name == first
    assert template.original_task


def test_plain_renders_every_task(task: Task) -> None:
    if task.kind == "regression":
        return
    for row in first_rows(task):
        prompt = find_template(task, "plain").render(task, row)
        assert prompt.label == row.label
        assert prompt.text.endswith("\nAnswer:" if task.kind == "multiple choice" else "\nLabel:")
        assert len(prompt.choices) == len(task.label_names)


def test_the_counts_are_those_that_the_docstring_of_promptsource_states() -> None:
    entries = {}
    for name in FOLDERS:
        task = load_task(f"dir:{DATA / name}")
        for variant in with_files(task):
            for entry in read_templates(variant.templates or Path()):
                usable = entry.name in templates_of(variant)
                entries[variant.templates, entry.name] = (
                    "usable" if usable else entry.answer_choices and "other answers"
                )
    outcomes = list(entries.values())
    assert len(outcomes) == 176
    assert [outcomes.count(outcome) for outcome in ("usable", "other answers", None)] == [156, 13, 7]
    assert len({file for file, _ in entries}) == 23
    assert len({file.parent for file, _ in entries if file}) == 19
