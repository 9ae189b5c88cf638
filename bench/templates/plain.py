"""The built-in template, for tasks that bring none: the fields with their names, then what is asked for."""

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
"""Of the rendered text; a change of layout changes the fingerprint."""


@dataclass(frozen=True)
class Plain(Template):
    """One line a field that is not empty, then `Label:`; for multiple choice the fields that are answers are left out,
    then `Answer:`.

    A line is `Premise: ...`, the field's name with spaces for underscores, and `Text: ...` where there is only one.
    Answers are the names of the labels, with spaces for underscores, or the values of the fields that they name.
    """

    name: str = NAME
    original_task: bool = True

    @property
    def fingerprint(self) -> str:
        """sha256 over the name and the layout's number."""
        return hashlib.sha256(f"{self.name} {_LAYOUT}".encode()).hexdigest()

    def render(self, task: Task, row: Row) -> Prompt:
        """The row as a prompt. Errors: Mistake for equal answers and for a label that names no field."""
        named = task.kind == "multiple choice"
        absent = [name for name in task.label_names if named and name not in row.fields]
        if absent:
            found = f"a label names the field {absent[0]!r}, which it lacks; labels of multiple choice name fields"
            raise self.mistake(task, row, found)
        shown = [name for name in task.input_fields if not (named and name in task.label_names)]
        titles = [_title(name if len(shown) > 1 else "text") for name in shown]
        texts = [(title, _text(row, name)) for title, name in zip(titles, shown, strict=True)]
        some = any(text for _, text in texts)  # else it is a prompt without content, which keeps its form
        lines = [f"{title}: {text}" for title, text in texts if text or not some]
        given = [name for name in task.label_names if not named or row.fields[name] is not None]
        answers = tuple(_text(row, name) if named else _words(name) for name in given)
        right = task.label_names[int(row.label)]
        if right not in given:
            raise self.mistake(task, row, f"the right answer's field {right!r} is empty; fill it in")
        asked = "Answer:" if named else "Label:"
        return Prompt("\n".join([*lines, asked]), self.checked(task, row, answers), given.index(right))

    def applies(self, task: Task, row: Row) -> bool:
        """Always."""
        return True

    def content_free(self, task: Task, filler: str) -> Prompt:
        """The prompt with `filler` for every field. Errors: Unsupported for multiple choice."""
        if task.kind == "multiple choice":
            raise Unsupported(
                f"the answers of {task.name} differ from row to row, so that no prompt is free of content"
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
