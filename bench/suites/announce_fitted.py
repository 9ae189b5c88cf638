"""What a part that is fitted to a task does, in three lines: lengths, methods and their search, training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tunefront.bench.data.reading import count, listed
from tunefront.bench.data.sampling import eval_rows, training_rows
from tunefront.bench.suites.toml import Fitting
from tunefront.methods.spelling import label

if TYPE_CHECKING:
    from tunefront.bench.data.task import Row, Task
    from tunefront.bench.suites.grids import Grid
    from tunefront.methods.base import Recipe


def describe_fitted(grid: Grid, task: Task) -> list[str]:
    """Three lines about a part of one backbone, task and number of shots; one if its cells are skipped."""
    (backbone,) = grid.part.backbones
    reason = why_skipped(task, backbone)
    if reason:
        return [f"{reason}."]
    (shots,) = grid.part.shots
    drawn = training_rows(task, shots, grid.part.draws[0], grid.config_for(task.name, shots))
    methods = _methods(grid, backbone, _search(grid, task, shots, *drawn[1:3]))
    return [_lengths(grid, backbone), methods, _training(grid, task, len(drawn[0]))]


def length_warnings(grid: Grid, task: Task) -> list[str]:
    """A warning if the backbone accepts too little for the share of uncut rows that the part asks for."""
    wanted, lengths = Fitting(**grid.part.fitted).uncut_share, grid.lengths
    if lengths is None or wanted is None or lengths.uncut >= wanted * lengths.looked_at:
        return []
    return [
        f"{task.name}: {lengths.looked_at - lengths.uncut:,} of {count(lengths.looked_at, 'row')} looked at are cut to "
        f"{lengths.max_length:,} tokens; the longest has {lengths.longest:,}, {grid.part.backbones[0]} accepts no more."
    ]


def why_skipped(task: Task, backbone: str) -> str:
    """Why the cells of a backbone are skipped; empty if they are not."""
    from tunefront.bench.models.config import family_of

    encoder = family_of(backbone) == "encoder"
    if task.kind == ("multiple choice" if encoder else "regression"):
        return f"{backbone} is skipped: {'an encoder' if encoder else 'a language model'} cannot do {task.kind} here"
    return ""


def _lengths(grid: Grid, backbone: str) -> str:
    lengths, given = grid.lengths, grid.config.max_length
    if lengths is None:
        most = "as much of a row as it can" if given is None else f"at most {given:,} tokens of a row"
        return f"{backbone} reads {most}."
    cut = lengths.looked_at - lengths.uncut
    share = f"{100 * lengths.uncut / lengths.looked_at:.3g} % of {count(lengths.looked_at, 'row')} looked at"
    uncut = f"{share} are uncut" if cut else "none is cut"
    return (
        f"{backbone} reads up to {lengths.max_length:,} tokens of a row: {uncut}, the longest has {lengths.longest:,}."
    )


def _methods(grid: Grid, backbone: str, search: str) -> str:
    trained = [label(method) for method in grid.methods if method.trains]
    others = [label(method) for method in grid.methods if not method.trains]
    ways = [f"trained by {listed(trained)}{search}"] if trained else []
    ways += [f"used without training by {listed(others)}"] if others else []
    return f"{backbone} is {'; and '.join(ways)}."


def _search(grid: Grid, task: Task, shots: int | None, chosen_on: Sequence[Row], split: str | None) -> str:
    """How the rates are chosen, on these rows of a split; empty if nothing is searched."""
    if not grid.searches:
        return ""
    trials = [method.trains for method, _ in grid.trials_for(task.name, shots)]
    n_trials = sum(trials) // sum(method.trains for method in grid.methods)
    if not grid.config.select:
        return f", each with {count(n_trials, 'setting')}, of which none is chosen" if n_trials > 1 else ""
    if not grid.selects(task.name, shots):
        return ", at one learning rate each, since there are too few rows to hold some out"
    held_out = "held-out " if split == "train" else ""
    best = f"the best on {len(chosen_on):,} {held_out}rows of {split} is used"
    return f", each with {count(n_trials, 'setting')}, of which {best}"


def _training(grid: Grid, task: Task, rows: int) -> str:
    how: dict[str, list[str]] = {}
    for method in grid.methods:
        if method.trains:
            how.setdefault(_steps(grid.recipe_of(method)), []).append(label(method))
    most = max(how, key=lambda text: len(how[text]), default="")
    others = "; ".join(f"{listed(names)} {text}" for text, names in how.items() if text != most)
    trained = f"Training: {count(rows, 'row')} for {most}{f' ({others})' if others else ''}. " if how else ""
    tests = task.splits[task.eval_split]
    scored = len(eval_rows(task, grid.config.eval_rows))
    of = "all " if scored == len(tests) else f"{scored:,} of "
    return f"{trained}Scoring: {of}{count(len(tests), f'{task.eval_split} row')}."


def _steps(recipe: Recipe) -> str:
    epochs = f"{recipe.epochs:g} epoch{'' if recipe.epochs == 1 else 's'}"
    how = epochs if recipe.steps is None else count(recipe.steps, "step")
    return f"{how} in batches of {recipe.batch_size}"
