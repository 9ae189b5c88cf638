"""Mixtures of tasks and templates, and the rows that are drawn from one."""

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
"""The most rows of a task, all its templates together (T0 and T-Few)."""


@dataclass(frozen=True)
class MixtureTask:
    """A task with the templates by which its rows are asked."""

    task: Task
    templates: tuple[Template, ...]


def with_template(task: Task, template: str) -> MixtureTask:
    """A task with one of its templates, or with `all` by which its answers can be ranked, whatever they ask; the
    built-in one where it has none of its own. UserError for a task without answers."""
    if task.kind == "regression":
        raise UserError(f"{task.name} is regression; a mixture takes classification and multiple choice.")
    if template != ALL:
        return MixtureTask(task, (find_template(task, template),))
    known = templates_of(task)
    own = tuple(known[name] for name in known if name != PLAIN)
    return MixtureTask(task, own or (known[PLAIN],))


def drawn(
    mixture: Sequence[MixtureTask], cap: int = CAP, most: int | None = None, seed: int = 0
) -> list[tuple[Task, Template, list[Row]]]:
    """The rows for each task and template of a mixture, maybe none.

    Of each template as many rows of its task as `cap` / templates, drawn by `seed`; of all these together at most
    `most`, at random. Rows that a template skips are left out then.
    Differs from T-Few, whose code takes a task's first rows, and trains on skipped ones as "<NO LABEL>".
    """
    parts: list[tuple[Task, Template, Sequence[Row]]] = []
    for one in mixture:
        of_each = draw(one.task, max(1, cap // len(one.templates)), seed)
        parts += [(one.task, template, of_each) for template in one.templates]
    total = sum(len(rows) for _, _, rows in parts)
    chosen = torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:most].sort().values.tolist()
    found = []
    for task, template, rows in parts:
        end = bisect_left(chosen, len(rows))
        found.append((task, template, applicable_rows(task, template, [rows[place] for place in chosen[:end]])))
        chosen = [place - len(rows) for place in chosen[end:]]
    return found
