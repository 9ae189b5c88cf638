"""Mixtures of tasks and templates, and drawing rows from them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tunefront.bench.data.sampling import draw
from tunefront.bench.errors import UserError
from tunefront.bench.templates import PLAIN, Template, find_template, templates_of
from tunefront.bench.templates.choose import ALL, applicable_rows

if TYPE_CHECKING:
    from tunefront.bench.data.task import Row, Task

CAP = 500_000
"""The most rows per task, over all its templates (T0 and T-Few)."""


@dataclass(frozen=True)
class MixtureTask:
    """A task with the templates that render its rows."""

    task: Task
    templates: tuple[Template, ...]


def with_template(task: Task, template: str) -> MixtureTask:
    """A task with one of its templates, or with `all` templates that rank answers, also those for other questions than
    the original task; the built-in template if the task has no other. UserError for a task without answers."""
    if task.kind == "regression":
        raise UserError(f"{task.name} is regression; a mixture takes classification and multiple choice.")
    if template != ALL:
        return MixtureTask(task, (find_template(task, template),))
    known = templates_of(task)
    own = tuple(known[name] for name in known if name != PLAIN)
    return MixtureTask(task, own or (known[PLAIN],))


def draw_rows(
    mixture: Sequence[MixtureTask], cap: int = CAP, most: int | None = None, seed: int = 0
) -> list[tuple[Task, Template, list[Row]]]:
    """Draws rows for each task and template of a mixture; a list of rows may be empty.

    Each template gets up to `cap` / templates rows of its task, drawn by `seed`; of all these, at most `most` are
    drawn. Rows that a template skips are dropped afterwards.
    Differs from T-Few, whose code takes a task's first rows, and trains on skipped ones as "<NO LABEL>".
    """
    parts: list[tuple[Task, Template, Sequence[Row]]] = []
    for member in mixture:
        task_rows = draw(member.task, max(1, cap // len(member.templates)), seed)
        parts += [(member.task, template, task_rows) for template in member.templates]
    total = sum(len(rows) for _, _, rows in parts)
    chosen = torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:most].sort().values.tolist()
    drawn = []
    for task, template, rows in parts:
        end = bisect_left(chosen, len(rows))
        drawn.append((task, template, applicable_rows(task, template, [rows[place] for place in chosen[:end]])))
        chosen = [place - len(rows) for place in chosen[end:]]
    return drawn
