"""Draws the rows for training, model selection and scoring: by hash, the same on every machine.

Rows are sorted by sha256 over (purpose, seed, id, fields, label): no generator, no PYTHONHASHSEED. A row's hash depends
only on the row and the seed, so rows added to a split leave the order of the rest unchanged.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunefront.bench.cells import Cell
from tunefront.bench.data.quotas import quotas
from tunefront.bench.data.sources.folder import few_shot
from tunefront.bench.data.task import Row, Task
from tunefront.bench.errors import UserError
from tunefront.bench.settings import RunConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunefront.bench.data.task import Row, Task

HELD_OUT_SHARE = 0.1
FEWEST_HELD_OUT = 32


def draw(task: Task, shots: int | None, draw_seed: int, balanced: bool = False) -> tuple[Row, ...]:
    """`shots` training rows in drawn order; all rows for None, or if there are no more.

    With `balanced`, labels take turns to give their next row in drawn order while they have any. In both modes a
    smaller draw is a prefix of a larger one. Errors: UserError for a negative number, and for a balanced regression.
    """
    if shots is not None and shots < 0:
        raise UserError(f"shots must be at least 0, got {shots} for {task.name}; leave shots out for all rows.")
    rows = _in_order(task.splits["train"], "draw", draw_seed)
    if balanced:
        if task.kind == "regression":
            raise UserError(f"{task.name} is a regression task: it has no labels to balance; leave balanced_draws out.")
        rows = _in_turn(rows)
    return tuple(rows[:shots])


def _in_turn(rows: Sequence[Row]) -> list[Row]:
    """The first row of every label, then the second of every label, and so on; each turn keeps the order of `rows`."""
    seen: Counter[int | float] = Counter()
    turns = []
    for row in rows:
        turns.append(seen[row.label])
        seen[row.label] += 1
    return [row for _, row in sorted(zip(turns, rows, strict=True), key=lambda pair: pair[0])]


def hold_out(rows: Sequence[Row], draw_seed: int, task: Task) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """Drawn rows -> (rows to train on, rows to select with), each in the order given.

    Held out are 10 % of the rows, at least 32, in every class as large a share (regression: simply drawn); a class
    keeps its last training row while another can give one instead.
    Errors: UserError where fewer rows would remain than are held out.
    """
    size = max(FEWEST_HELD_OUT, round(HELD_OUT_SHARE * len(rows)))
    if len(rows) < 2 * size:
        raise UserError(
            f"selection holds {size} of the drawn rows of {task.name} out of training, but only {len(rows)} were "
            f"drawn; draw at least {2 * FEWEST_HELD_OUT}, give the task a validation split, or choose without a search "
            "(--set learning_rate=RATE)."
        )
    order = _in_order(rows, "hold out", draw_seed)
    if task.kind == "regression":
        held_out = order[:size]
    else:
        per_label = quotas(Counter(row.label for row in rows), size)
        held_out = [row for label, quota in per_label.items() for row in [r for r in order if r.label == label][:quota]]
    chosen = {id(row) for row in held_out}
    return tuple(r for r in rows if id(r) not in chosen), tuple(r for r in rows if id(r) in chosen)


def selection(
    task: Task, rows: Sequence[Row], draw_seed: int, limit: int | None = None
) -> tuple[tuple[Row, ...], tuple[Row, ...], str]:
    """Drawn rows -> (rows to train on, rows to select with, the split of the latter: `validation` or `train`).

    Selects on `validation` unless it is the scored split, and then trains on all drawn rows; otherwise `hold_out`.
    Above `limit` rows, a subset drawn by hash selects, the same for all cells with the same rows.
    """
    if selects_on_validation(task):
        return tuple(rows), _at_most(limit, task.splits["validation"], "select"), "validation"
    kept, held_out = hold_out(rows, draw_seed, task)
    return kept, _at_most(limit, held_out, "select"), "train"


def selects_on_validation(task: Task) -> bool:
    """Whether the task has a validation split and does not score it, so that no training rows need be held out."""
    return task.eval_split != "validation" and "validation" in task.splits


def eval_rows(task: Task, limit: int | None = None) -> tuple[Row, ...]:
    """The scored split in its own order; above `limit` rows, a subset drawn by hash, the same for all cells."""
    return _at_most(limit, task.splits[task.eval_split], "eval")


def thinned(rows: Sequence[Row], most: int) -> Sequence[Row]:
    """At most this many of the rows: every second, third, ... one."""
    return rows[:: max(1, -(-len(rows) // most))]


def _at_most(limit: int | None, rows: Sequence[Row], purpose: str) -> tuple[Row, ...]:
    """`limit` of the rows, drawn by hash, in their own order; all if there are no more."""
    if limit is None or len(rows) <= limit:
        return tuple(rows)
    chosen = {id(row) for row in _in_order(rows, purpose, 0)[:limit]}
    return tuple(row for row in rows if id(row) in chosen)


def _in_order(rows: Sequence[Row], purpose: str, seed: int) -> list[Row]:
    return sorted(rows, key=lambda row: _place(row, purpose, seed))


def _place(row: Row, purpose: str, seed: int) -> bytes:
    content = json.dumps([purpose, seed, row.id, dict(row.fields), row.label], sort_keys=True)
    return hashlib.sha256(content.encode()).digest()


@dataclass(frozen=True)
class Rows:
    """A cell's rows for training, selection and scoring; `selection_split` is None without selection, and `source` the
    folder of the published draw that the training rows come from."""

    train: tuple[Row, ...]
    selection: tuple[Row, ...]
    selection_split: str | None
    test: tuple[Row, ...]
    source: str | None = None


def rows_of(cell: Cell, task: Task) -> Rows:
    """A cell's rows: drawn by hash, or from the task folder's published draws. Errors: UserError if there are none."""
    train, chosen_on, split, source = training_rows(task, cell.shots, cell.draw_seed, cell.config)
    return Rows(train, chosen_on, split, tuple(eval_rows(task, cell.config.eval_rows)), source)


def training_rows(
    task: Task, shots: int | None, draw_seed: int, config: RunConfig
) -> tuple[tuple[Row, ...], tuple[Row, ...], str | None, str | None]:
    """(rows to train on, rows to select with, the split of the latter, the folder of a published draw)."""
    train, source = _drawn(task, shots, draw_seed, config)
    if not config.select:
        return tuple(train), (), None, source
    kept, chosen_on, split = selection(task, train, draw_seed, config.selection_rows)
    return kept, chosen_on, split, source


def _drawn(task: Task, shots: int | None, draw_seed: int, config: RunConfig) -> tuple[Sequence[Row], str | None]:
    if config.published_draws:
        return few_shot(task, shots, draw_seed)
    return draw(task, shots, draw_seed, config.balanced_draws), None


def published_fingerprint(cell: Cell, task: Task) -> str | None:
    """sha256 over the rows of a published draw, which are not in the task's splits; None for draws by hash."""
    if not cell.config.published_draws:
        return None
    rows, source = few_shot(task, cell.shots, cell.draw_seed)
    content = [source, [[row.id, dict(row.fields), row.label] for row in rows]]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
