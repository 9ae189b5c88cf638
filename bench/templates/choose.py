"""Which templates a call means, of those that a task has."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tunefront.bench.errors import Mistake
from tunefront.bench.templates import PLAIN, Template, find_template, templates_of

if TYPE_CHECKING:
    from tunefront.bench.data.task import Row, Task

ALL = "all"
"""In the place of a template's name: each of the task's own that asks the original task of every row."""
FEW = 32
"""So many rows of a split are rendered and tokenised."""


def few(task: Task) -> list[Row]:
    """A few rows of the train and of the scored split, evenly spaced: labels may come sorted."""
    splits = (task.splits[name] for name in dict.fromkeys(("train", task.eval_split)))
    return [row for rows in splits for row in rows[:: max(1, math.ceil(len(rows) / FEW))]]


def unskipped(task: Task, template: Template, rows: Iterable[Row]) -> list[Row]:
    """The rows that a template does not skip."""
    return [row for row in rows if template.applies(task, row)]


def template_names(task: Task, asked: str | None, warnings: list[str]) -> list[str]:
    """The names of the templates that a call asks of a task; what `all` leaves out is added to the warnings.

    Errors: Mistake where there is no such template, or where `all` leaves none.
    """
    if asked != ALL:
        return [find_template(task, asked).name]
    own = {name: template for name, template in templates_of(task).items() if template.original_task and name != PLAIN}
    if not own:
        return [find_template(task, None).name]
    rows = few(task)
    skipping = []
    for name, template in own.items():
        with contextlib.suppress(Mistake):  # told when they are rendered
            skipping += [name] if len(unskipped(task, template, rows)) < len(rows) else []
    if len(skipping) == len(own):
        raise Mistake(
            f"every template of {task.name} that asks the original task skips some rows, so that `{ALL}` leaves none; "
            f"split the task by what they ask, or take the built-in one with --template {PLAIN}."
        )
    if skipping:
        listed = ", ".join(map(repr, skipping))
        warnings.append(f"`{ALL}` templates of {task.name} are without {listed}, which skip some rows.")
    return [name for name in own if name not in skipping]
