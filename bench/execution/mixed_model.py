"""One model for several fitted methods and tasks, which scores new rows of all of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tunefront.bench.cells import Cell
from tunefront.bench.data.task import Row, Task, Value
from tunefront.bench.errors import UserError, unknown
from tunefront.bench.execution.mixing import FittedMember, fit_members
from tunefront.bench.models.routing.router import Router
from tunefront.bench.models.routing.rows import MixedRows
from tunefront.bench.models.scoring.answers import predictions_of
from tunefront.bench.models.session import Session
from tunefront.methods.spelling import label

Fields = str | Mapping[str, Value]
"""The text of a row, or its input fields by name."""


class MixedModel:
    """Fitted methods on one backbone; each row goes through the small modules of its own member.

    `members` are their names, `METHOD@TASK`, in order. Errors: UserError for members of several backbones, or with the
    same name; Unsupported for a method that cannot share a batch.
    """

    def __init__(self, cells: Sequence[Cell]):
        self._cells = tuple(cells)
        names = [f"{label(cell.method)}@{cell.task}" for cell in cells]
        repeated = next((name for name in names if names.count(name) > 1), None)
        if repeated is not None:
            raise UserError(f"two members are {repeated}; give each method on a task once, with one seed.")
        mixture = fit_members(self._cells, Session())
        self._fitted: dict[str, FittedMember] = dict(zip(names, mixture.fitted, strict=True))
        self._router, self._autocast = Router(mixture.published, mixture.members), mixture.autocast

    @property
    def members(self) -> tuple[str, ...]:
        """The names of the members."""
        return tuple(self._fitted)

    def scores(self, rows: Sequence[tuple[str, Fields]]) -> list[Tensor]:
        """The scores (choices,) of rows, each given with the name of its member, in their order: of several passes
        over rows of like length, if that is faster than one over all."""
        places = {name: place for place, name in enumerate(self._fitted)}
        own: list[list[Row]] = [[] for _ in places]
        tags = []
        for name, fields in rows:
            if name not in places:
                raise UserError(unknown("member", name, list(places)))
            member = places[name]
            own[member].append(_row(self._fitted[name].task, fields, len(own[member])))
            tags.append((member, len(own[member]) - 1))
        encoded = []
        for place, (fitted, new) in enumerate(zip(self._fitted.values(), own, strict=True)):
            with self._router.as_member(place):
                encoded.append(fitted.encode(new) if new else fitted.rows.take([]))
        mixed = MixedRows.of(self._router.backbone, encoded)
        scores: dict[tuple[int, int], Tensor] = {}
        with torch.no_grad(), self._autocast():
            for batch in mixed.order(len(tags), tags):
                scores |= zip(batch, self._router.score_rows(mixed, batch), strict=True)
        return [scores[tag].float().cpu() for tag in tags]

    def predict(self, rows: Sequence[tuple[str, Fields]]) -> list[str | float | int]:
        """The answers to rows: a class's name, the index of a choice, or a value."""
        return [
            _answer(self._fitted[name].task, scores) for (name, _), scores in zip(rows, self.scores(rows), strict=True)
        ]


def _row(task: Task, fields: Fields, place: int) -> Row:
    given: Mapping[str, Value] = {task.input_fields[0]: fields} if isinstance(fields, str) else fields
    missing = [name for name in task.input_fields if name not in given]
    if missing:
        raise UserError(
            f"a row of {task.name} needs the fields {', '.join(task.input_fields)}; {', '.join(missing)} is missing."
        )
    return Row(f"row {place}", given, 0)


def _answer(task: Task, scores: Tensor) -> str | float | int:
    (answer,) = predictions_of(task, scores[None])
    return task.label_names[int(answer)] if task.kind == "classification" else answer
