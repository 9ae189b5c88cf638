"""Prompt templates: what a language model reads for a row of a task, and the answers that it ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.bench.errors import Mistake, unknown
from tunefront.bench.templates.plain import NAME as PLAIN
from tunefront.bench.templates.plain import Plain
from tunefront.bench.templates.prompts import Prompt, Template
from tunefront.bench.templates.promptsource import PromptSource
from tunefront.bench.templates.reading import read_templates

if TYPE_CHECKING:
    from tunefront.bench.data.task import Task

__all__ = ["PLAIN", "Prompt", "Template", "find_template", "templates_of"]


def templates_of(task: Task) -> dict[str, Template]:
    """The templates by which the task's answers can be ranked: those of its file, in order, then `plain`.

    None for regression, which has no answers. Left out are those of the file without answers, and, for classification,
    those with more or fewer answers than labels (where that depends on the row, rendering the row tells).
    Errors: Mistakes for a file that cannot be read; what is wrong with a Jinja source is told when a row is rendered.
    """
    return {} if task.kind == "regression" else {**_usable(task)[0], PLAIN: Plain()}


def find_template(task: Task, name: str | None) -> Template:
    """The template of this name; None: the first of the file that asks the original task, else `plain`.

    Errors: Mistake, with the nearest name, for one that there is not or that cannot be ranked; as in `templates_of`.
    """
    if task.kind == "regression":
        raise Mistake(f"{task.name} is a regression task, which has no answers to rank; no template asks for numbers.")
    if name == PLAIN:
        return Plain()
    usable, left_out = _usable(task)
    if name is None:
        return next((template for template in usable.values() if template.original_task), Plain())
    if name in left_out:
        listed = ", ".join([*usable, PLAIN])
        raise Mistake(f"template {name!r} of {task.name} cannot be ranked: {left_out[name]}; take one of {listed}.")
    if name not in usable:
        raise Mistake(f"{task.name}: {unknown('template', name, [*usable, PLAIN])}")
    return usable[name]


def _usable(task: Task) -> tuple[dict[str, Template], dict[str, str]]:
    """The file's templates that can be ranked, and why the others cannot."""
    usable: dict[str, Template] = {}
    left_out: dict[str, str] = {}
    for entry in read_templates(task.templates) if task.templates else ():
        if entry.name == PLAIN:
            raise Mistake(f"{task.templates}: {PLAIN!r} is the name of the built-in template; rename yours.")
        if entry.answer_choices is None:
            left_out[entry.name] = "it has no answer_choices"
            continue
        template = PromptSource(entry.name, entry.original_task, entry.jinja, entry.answer_choices)
        answers = template.answers()
        if task.kind == "classification" and answers not in (None, len(task.label_names)):
            left_out[entry.name] = f"it has {answers} answers for {len(task.label_names)} labels"
        else:
            usable[entry.name] = template
    return usable, left_out
