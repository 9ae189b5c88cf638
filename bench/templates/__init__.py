"""Prompt templates: the text that a language model reads for a row of a task, and the answers that it ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.bench.errors import UserError, unknown
from tunefront.bench.templates.plain import NAME as PLAIN
from tunefront.bench.templates.plain import Plain
from tunefront.bench.templates.prompts import Prompt, Template
from tunefront.bench.templates.promptsource import PromptSource
from tunefront.bench.templates.reading import read_templates

if TYPE_CHECKING:
    from tunefront.bench.data.task import Task

__all__ = ["PLAIN", "Prompt", "Template", "find_template", "left_out_of", "templates_of"]

_TRIED_ROWS = 8
_NO_ANSWERS = "it has no answer_choices"


def templates_of(task: Task) -> dict[str, Template]:
    """The templates that can rank the task's answers: those of its file, in order, then `plain`.

    Empty for regression, which has no answers. Templates of the file without answers are left out, and, for
    classification, those whose number of answers differs from the number of labels (where that depends on the row,
    rendering checks it). Errors: UserErrors for an unreadable file; errors of a Jinja source are raised by rendering.
    """
    return {} if task.kind == "regression" else {**_usable(task)[0], PLAIN: Plain()}


def find_template(task: Task, name: str | None) -> Template:
    """The template of this name; None: the file's first template for the original task, else the first that renders
    the task's first rows, else `plain`.

    Errors: UserError, with the nearest name, for an unknown template or one that cannot be ranked, and if no template
    of the file can be ranked; as in `templates_of`.
    """
    if task.kind == "regression":
        raise UserError(
            f"{task.name} is a regression task: it has no answers to rank, and no template asks for numbers."
        )
    if name == PLAIN:
        return Plain()
    usable, left_out = _usable(task)
    if name is None:
        if left_out and not usable:
            reasons = "; ".join(f"{each!r}: {why}" for each, why in left_out.items())
            raise UserError(
                f"no template of {task.templates} can be ranked ({reasons:.500}): answer_choices needs one "
                f"answer per label, in the order {', '.join(task.label_names):.200}. Correct a template, or use the "
                f"built-in one with --template {PLAIN}."
            )
        original = (template for template in usable.values() if template.original_task)
        others = (template for template in usable.values() if _fits(task, template))
        return next(original, None) or next(others, Plain())
    if name in left_out:
        listed = ", ".join([*usable, PLAIN])
        raise UserError(f"template {name!r} of {task.name} cannot be ranked: {left_out[name]}; use one of {listed}.")
    if name not in usable:
        raise UserError(f"{task.name}: {unknown('template', name, [*usable, PLAIN])}")
    return usable[name]


def left_out_of(task: Task, generating: bool = False) -> dict[str, str]:
    """The templates of the task's file that cannot be ranked, with reasons; with `generating` also those that declare
    no answers, since they are made to generate text.

    Errors: as in `templates_of`.
    """
    left_out = {} if task.kind == "regression" else _usable(task)[1]
    return {name: why for name, why in left_out.items() if generating or why != _NO_ANSWERS}


def _fits(task: Task, template: Template) -> bool:
    try:
        for row in task.splits.get("train", ())[:_TRIED_ROWS]:
            template.render(task, row)
    except UserError:
        return False
    return True


def _usable(task: Task) -> tuple[dict[str, Template], dict[str, str]]:
    """The file's templates that can be ranked, and the reasons why others cannot."""
    usable: dict[str, Template] = {}
    left_out: dict[str, str] = {}
    for entry in read_templates(task.templates) if task.templates else ():
        if entry.name == PLAIN:
            raise UserError(f"{task.templates}: {PLAIN!r} is the name of the built-in template; rename yours.")
        if entry.answer_choices is None:
            left_out[entry.name] = _NO_ANSWERS
            continue
        template = PromptSource(entry.name, entry.original_task, entry.jinja, entry.answer_choices)
        answers = template.answers()
        known = task.kind == "classification" and task.label_names  # a preview has no labels
        if known and answers not in (None, len(task.label_names)):
            left_out[entry.name] = f"it has {answers} answers for {len(task.label_names)} labels"
        else:
            usable[entry.name] = template
    return usable, left_out
