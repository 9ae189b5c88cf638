"""Chooses the templates of a task that a call names."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tunefront.bench.errors import UserError
from tunefront.bench.templates import PLAIN, Template, find_template, templates_of

if TYPE_CHECKING:
    from tunefront.bench.data.task import Row, Task

ALL = "all"
"""In place of a template's name: every template of the task's file for the original task that skips no row."""
SAMPLE_SIZE = 32
"""Number of rows per split to render and tokenise."""


def sample_rows(task: Task) -> list[Row]:
    """Evenly spaced rows of the train and of the scored split, since rows may be sorted by label."""
    splits = (task.splits[name] for name in dict.fromkeys(("train", task.eval_split)))
    return [row for rows in splits for row in rows[:: max(1, math.ceil(len(rows) / SAMPLE_SIZE))]]


def applicable_rows(task: Task, template: Template, rows: Iterable[Row]) -> list[Row]:
    """The rows that a template does not skip."""
    return [row for row in rows if template.applies(task, row)]


def template_names(task: Task, name: str | None, warnings: list[str]) -> list[str]:
    """The names of the templates that a call requests for a task; a warning names those that `all` leaves out.

    Errors: UserError for an unknown template, or where `all` selects none.
    """
    if name != ALL:
        return [find_template(task, name).name]
    own = {name: template for name, template in templates_of(task).items() if template.original_task and name != PLAIN}
    if not own:
        return [find_template(task, None).name]
    rows = sample_rows(task)
    skipping = []
    for own_name, template in own.items():
        with contextlib.suppress(UserError):  # raised when they are rendered
            skipping += [own_name] if len(applicable_rows(task, template, rows)) < len(rows) else []
    if len(skipping) == len(own):
        raise UserError(
            f"all templates of {task.name} for the original task skip some rows, so --template {ALL} selects none; "
            f"split the task into one task per kind of row, or use the built-in one with --template {PLAIN}."
        )
    if skipping:
        listed = ", ".join(map(repr, skipping))
        warnings.append(f"--template {ALL} leaves out {listed} of {task.name}, which skip some rows.")
    return [name for name in own if name not in skipping]
