"""What is said before anything runs: what was read of each task, how it is asked, what is cut and scored."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tunefront.bench.data import reading
from tunefront.bench.data.sampling import eval_rows, training_rows
from tunefront.bench.suites.grids import Grid
from tunefront.bench.suites.validate import Chosen
from tunefront.bench.templates import PLAIN, find_template, left_out_of

if TYPE_CHECKING:
    from tunefront.bench.data.task import Row, Task
    from tunefront.bench.models.config import Cut
    from tunefront.bench.settings import RunConfig

log = logging.getLogger("tunefront")

_LOOKED_AT = 1000
"""So many rows of a split are tokenised to tell how many are cut; of more, every other, third and so on."""
_FEWEST_LOOKED_AT, _ANSWERS_LOOKED_AT = 10, 50_000
"""At least so many rows, and else no more than have so many answers together."""
_CHOSEN = ("learning_rate", "epochs", "steps", "batch_size", "eval_rows")
"""Of a suite's settings, those that are chosen by the task and decide most about what comes out."""
_MANY_CUT = 0.05
"""Share of the rows that are cut from which on it is a warning."""


def announced(asked: Sequence[tuple[Grid, Chosen]], tasks: Iterable[Task]) -> tuple[list[str], list[str]]:
    """A line for each task, then one for each backbone of a GGUF file, then one where settings were chosen for other
    tasks; and warnings.

    `asked`: the parts with the templates of their backbones and tasks.
    """
    lines, warnings = [], []
    for task in tasks:
        told, warned = _of_task(task, asked)
        lines.append(told)
        warnings += warned
    inherited = _inherited([grid for grid, _ in asked])
    return [*lines, *_stored(asked), *([inherited] if inherited else [])], warnings


def _stored(asked: Sequence[tuple[Grid, Chosen]]) -> list[str]:
    """How the weights of each backbone of a GGUF file are quantised."""
    from tunefront.bench.models.locate import stored_weights

    names = dict.fromkeys(name for grid, _ in asked for name in grid.part.backbones)
    known = {name: stored_weights(name) for name in names}
    return [
        f"{name}: weights read from a GGUF file, most of them stored as {kind}, and used in float32."
        for name, kind in known.items()
        if kind is not None
    ]


def _of_task(task: Task, asked: Sequence[tuple[Grid, Chosen]]) -> tuple[str, list[str]]:
    parts, warnings = [reading.describe_task(task)], []
    for grid, templates in asked:
        if task.name not in grid.part.tasks or task.name not in grid.sizes:
            continue
        config = grid.config_of(task.name)
        tests, drawn = eval_rows(task, config.eval_rows), _largest_draw(task, grid)
        for backbone in grid.part.backbones:
            why = _cannot(task, backbone)
            if why:
                parts.append(why)
                continue
            for name in templates[backbone, task.name]:
                told, warned = _of_backbone(task, backbone, name, drawn, tests, config, _more_asked(grid, task.name))
                parts.append(told)
                warnings += warned
    return f"{task.name}: {'; '.join(dict.fromkeys(parts))}.", warnings


def _cannot(task: Task, backbone: str) -> str:
    """Why the cells of a backbone are skipped, empty where they are not."""
    from tunefront.bench.models.config import family_of

    encoder = family_of(backbone) == "encoder"
    if task.kind == ("multiple choice" if encoder else "regression"):
        return f"{backbone} is {'an encoder' if encoder else 'a language model'} and skipped: it does no {task.kind}"
    return ""


def _more_asked(grid: Grid, task: str) -> str:
    """That more rows are asked for than there are; empty where that is not so."""
    more = [f"{count:,}" for count in grid.part.shots if count is not None and count > grid.sizes[task]]
    return (
        f"all there are, where {reading.listed(more)} were asked for"
        if more and not grid.config.published_draws
        else ""
    )


def _largest_draw(task: Task, grid: Grid) -> Sequence[Row]:
    shots = grid.shots_of(task.name)
    most = None if None in shots else max(filter(None, shots), default=0)
    return training_rows(task, most, grid.part.draws[0], grid.config)[0] if grid.part.draws else ()


def _why_template(task: Task, name: str) -> str:
    """Why the built-in template or one of another task is taken, where that may surprise."""
    if task.templates is None:
        return ""
    if name == PLAIN:
        return " (of templates.yaml none is for this task)"
    left_out = left_out_of(task)
    told = "; ".join(f"{each}: {why}" for each, why in left_out.items())
    other = "" if find_template(task, name).original_task else "not marked as the task's own"
    return "".join(f" ({each:.200})" for each in (other, f"not {told}" if told else "") if each)


def _of_backbone(
    task: Task,
    backbone: str,
    template: str | None,
    drawn: Sequence[Row],
    tests: Sequence[Row],
    config: RunConfig,
    more_asked: str,
) -> tuple[str, list[str]]:
    """What a backbone gets of a task, and a warning where many rows are cut."""
    asked = "" if template is None else f" by template {template}{_why_template(task, template)}"
    held = reading.count(len(task.splits[task.eval_split]), f"{task.eval_split} row")
    cuts = [_cut(task, backbone, template, rows, config) for rows in (drawn, tests)]
    known = [each for each in cuts if each is not None]
    trained = [more_asked, *_said(cuts[0], drawn)]
    scored = _said(cuts[1], tests)
    longest = max((each.longest for each in known), default=0)
    whole = [*(["none cut"] if known and not any(each.rows for each in known) else [])]
    whole += [f"longest {longest:,} tokens"] if longest else []
    sentence = (
        f"{backbone}{asked}: {len(drawn):,} rows drawn{_in_brackets(trained)}, {len(tests):,} of {held} scored"
        f"{_in_brackets(scored)}{''.join(f', {each}' for each in whole)}"
    )
    if not any(each.rows > _MANY_CUT * each.looked_at for each in known):
        return sentence, []
    limit = max(each.limit for each in known)
    cure = f"--set max_length={longest} cuts none" if limit == config.max_length else f"{backbone} takes no more"
    share = " and ".join(
        f"{each.rows:,} of {each.looked_at:,} {what}"
        for what, each in zip(("train", "scored"), cuts, strict=True)
        if each is not None and each.looked_at
    )
    return sentence, [
        f"{task.name}: {share} rows are cut to {limit:,} tokens on {backbone}; the longest has {longest:,}, {cure}."
    ]


def _said(cut: Cut | None, rows: Sequence[Row]) -> list[str]:
    if cut is None or not cut.rows:
        return []
    of = "" if cut.looked_at == len(rows) else f" of {cut.looked_at:,} looked at"
    return [f"{cut.rows:,}{of} cut to {cut.limit:,} tokens"]


def _in_brackets(parts: Iterable[str]) -> str:
    told = "; ".join(filter(None, parts))
    return f" ({told})" if told else ""


def _cut(task: Task, backbone: str, template: str | None, rows: Sequence[Row], config: RunConfig) -> Cut | None:
    """What is cut of the rows, or of every other, third and so on where they are many; None where it cannot be told."""
    from tunefront.bench.models.config import cut_rows

    try:
        most = max(_FEWEST_LOOKED_AT, min(_LOOKED_AT, _ANSWERS_LOOKED_AT // max(1, len(task.label_names))))
        return cut_rows(backbone, task, template, rows[:: max(1, -(-len(rows) // most))], config)
    except Exception:  # of a broken tokenizer, say: the checks before, or the cell, tell of it
        log.debug("what is cut of %s for %s cannot be told before a cell runs", task.name, backbone, exc_info=True)
        return None


def _inherited(grids: Sequence[Grid]) -> str | None:
    """What of the parts was chosen for their own tasks, where the call names others; None where nothing was."""
    told, others, own = [], dict[str, None](), dict[str, None]()
    for grid in grids:
        foreign = [name for name in grid.part.tasks if not grid.made_for(name)]
        values = _chosen(grid)
        if foreign and values:
            told.append(f"{', '.join(values)} ({grid.part.title})")
            others |= dict.fromkeys(foreign)
            own |= dict.fromkeys(grid.own_tasks)
    if not told:
        return None
    return (
        f"{reading.listed(list(others))}: takes over what the suite chose for {reading.listed(list(own))}: "
        f"{'; '.join(told)}. Change it by --set NAME=VALUE."
    )


def _chosen(grid: Grid) -> list[str]:
    part = grid.part
    own = {**part.recipe, **part.settings}
    by_method = {name for recipe in part.recipes.values() for name in recipe}
    said = []
    for name in (name for name in _CHOSEN if name not in grid.given):
        value = own.get(name)
        if isinstance(value, (int, float)):
            said.append(f"{name}={value:g}{' or by method' if name in by_method else ''}")
        elif name in by_method:
            said.append(f"{name} by method")
    return said
