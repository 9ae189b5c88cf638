"""The built-in template, for tasks without templates: the named fields, then `Label:` or `Answer:`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tunefront.bench.templates.prompts import Prompt, Template
from tunefront.methods.base import Unsupported

if TYPE_CHECKING:
    from tunefront.bench.data.task import Row, Task

NAME = "plain"
_LAYOUT = 1
"""Version of the rendered text's layout, part of the fingerprint."""


@dataclass(frozen=True)
class Plain(Template):
    """One line per non-empty field, then `Label:`; for multiple choice without the fields that are answers, and then
    `Answer:`.

    A line is `Premise: ...`, the field's name with spaces for underscores, or `Text: ...` if there is only one field.
    Answers are the label names, with spaces for underscores, or the values of the fields that they name.
    """

    name: str = NAME
    original_task: bool = True

    @property
    def fingerprint(self) -> str:
        """sha256 over the name and the version of the layout."""
        return hashlib.sha256(f"{self.name} {_LAYOUT}".encode()).hexdigest()

    def render(self, task: Task, row: Row) -> Prompt:
        """The row as a prompt. Errors: UserError for equal answers and for a label that names no field."""
        named = task.kind == "multiple choice"
        absent = [name for name in task.label_names if named and name not in row.fields]
        if absent:
            problem = f"a label names the field {absent[0]!r}, which it lacks; labels of multiple choice name fields"
            raise self.mistake(task, row, problem)
        shown = [name for name in task.input_fields if not (named and name in task.label_names)]
        titles = [_title(name if len(shown) > 1 else "text") for name in shown]
        texts = [(title, _text(row, name)) for title, name in zip(titles, shown, strict=True)]
        some = any(text for _, text in texts)  # else a content-free prompt, which keeps its form
        lines = [f"{title}: {text}" for title, text in texts if text or not some]
        present = [name for name in task.label_names if not named or row.fields[name] is not None]
        answers = tuple(_text(row, name) if named else _words(name) for name in present)
        right = task.label_names[int(row.label)]
        if right not in present:
            raise self.mistake(task, row, f"the right answer's field {right!r} is empty; fill it in")
        question = "Answer:" if named else "Label:"
        return Prompt("\n".join([*lines, question]), self.checked(task, row, answers), present.index(right))

    def applies(self, task: Task, row: Row) -> bool:
        """Always."""
        return True

    def content_free(self, task: Task, filler: str) -> Prompt:
        """The prompt with `filler` for every field. Errors: Unsupported for multiple choice."""
        if task.kind == "multiple choice":
            raise Unsupported(
                f"the answers of {task.name} differ from row to row, so calibration cannot build a content-free prompt"
            )
        row = task.splits["train"][0]
        return self.render(task, replace(row, fields={**row.fields, **dict.fromkeys(task.input_fields, filler)}))


def _words(name: str) -> str:
    return name.replace("_", " ").strip()


def _title(name: str) -> str:
    words = _words(name)
    return f"{words[:1].upper()}{words[1:]}"


def _text(row: Row, name: str) -> str:
    value = row.fields.get(name)
    return "" if value is None else str(value).strip()
