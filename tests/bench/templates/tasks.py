"""Small tasks made in code, with the templates that a test writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tunefront.bench.data.task import Kind, MetricSpec, Row, Task
from tunefront.bench.errors import UserError
from tunefront.bench.templates import Template
from tunefront.bench.templates.promptsource import PromptSource

COPA = {"premise": "The cat purred.", "choice1": "It was fed.", "choice2": "It was lost.", "question": "cause"}


def make_task(
    fields: dict[str, Any],
    labels: tuple[str, ...] = ("no", "yes"),
    label: int = 1,
    kind: Kind = "classification",
    inputs: tuple[str, ...] | None = None,
    templates: Path | None = None,
) -> tuple[Task, Row]:
    """A task of one row, and the row."""
    row = Row("7", fields, label)
    task = Task(
        name="dir:toy",
        kind=kind,
        splits={"train": [row], "validation": [row]},
        input_fields=inputs or tuple(fields),
        label_names=() if kind == "regression" else labels,
        metrics=(MetricSpec("accuracy"),),
        templates=templates,
    )
    return task, row


def copa(label: int = 1, templates: Path | None = None, **fields: str) -> tuple[Task, Row]:
    """A task of one COPA row."""
    return make_task(COPA | fields, ("choice1", "choice2"), label, "multiple choice", templates=templates)


def template(jinja: str, answers: str = "no ||| yes", name: str = "first") -> PromptSource:
    """A template of PromptSource."""
    return PromptSource(name, True, jinja, answers)


def written(folder: Path, **templates: dict[str, Any]) -> Path:
    """A templates.yaml as PromptSource writes it."""
    entries = []
    for key, given in templates.items():
        original = given.pop("original_task", True)
        lines = yaml.safe_dump({"name": key, **given}, allow_unicode=True).splitlines()
        metadata = "" if original is None else f"    metadata: !TemplateMetadata\n      original_task: {original}\n"
        entries.append(f"  {key}: !Template\n" + "".join(f"    {line}\n" for line in lines) + metadata)
    file = folder / "templates.yaml"
    file.write_text("dataset: toy\ntemplates:\n" + "".join(entries), encoding="utf-8")
    return file


def said(template: Template, task: Task, row: Row) -> str:
    """The mistake that rendering makes: one paragraph that names the template, the task and the row."""
    with pytest.raises(UserError) as mistake:
        template.render(task, row)
    text = str(mistake.value)
    assert text.startswith(f"template {template.name!r} of dir:toy, row {row.id!r}: ")
    assert text.endswith(".")
    assert ".." not in text.replace("...", "")
    assert "\n" not in text
    return text
