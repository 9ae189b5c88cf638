"""Announcements before a run: for each task its rows, its prompts, and how many rows are cut and scored."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tunefront.bench.data import reading
from tunefront.bench.data.sampling import eval_rows, thinned, training_rows
from tunefront.bench.suites.announce_fitted import describe_fitted, length_warnings, why_skipped
from tunefront.bench.suites.grids import Grid
from tunefront.bench.suites.validate import Chosen
from tunefront.bench.templates import PLAIN, find_template, left_out_of

if TYPE_CHECKING:
    from tunefront.bench.data.task import Row, Task
    from tunefront.bench.models.config import Cut
    from tunefront.bench.settings import RunConfig

log = logging.getLogger("tunefront")

_MOST_TOKENISED = 1000
"""Most rows per split that are tokenised to count cut rows; of a larger split every second, third, ... row is."""
_FEWEST_TOKENISED, _MOST_ANSWERS = 10, 50_000
"""Fewest rows that are tokenised, and the most answers of these rows together."""
_TUNED = ("learning_rate", "epochs", "steps", "batch_size", "eval_rows")
"""Settings of a suite that are tuned for its tasks and affect the results most."""
_MANY_CUT = 0.05
"""Share of cut rows above which there is a warning."""


def announce_tasks(grids: Sequence[tuple[Grid, Chosen]], tasks: Iterable[Task]) -> tuple[list[str], list[str]]:
    """A line per task, and three more where its numbers are fitted; a line per backbone of a GGUF file, a last line if
    settings were chosen for other tasks; and warnings.

    `grids`: the parts with the templates of their backbones and tasks.
    """
    lines, warnings = [], []
    for task in tasks:
        line, warned = _describe_task(task, [(grid, names) for grid, names in grids if not grid.part.fitted])
        fitted = [grid for grid, _ in grids if grid.part.fitted and task.name in grid.part.tasks]
        lines += [line, *(line for grid in fitted for line in describe_fitted(grid, task))]
        warnings += [*warned, *(text for grid in fitted for text in length_warnings(grid, task))]
    inherited = _inherited([grid for grid, _ in grids])
    return [*lines, *_describe_stored_weights(grids), *([inherited] if inherited else [])], warnings


def _describe_stored_weights(grids: Sequence[tuple[Grid, Chosen]]) -> list[str]:
    """A line per backbone of a GGUF file: the quantisation of its weights."""
    from tunefront.bench.models.locate import stored_weights

    names = dict.fromkeys(name for grid, _ in grids for name in grid.part.backbones)
    known = {name: stored_weights(name) for name in names}
    return [
        f"{name}: weights read from a GGUF file, most of them stored as {kind}, and used in float32."
        for name, kind in known.items()
        if kind is not None
    ]


def _describe_task(task: Task, grids: Sequence[tuple[Grid, Chosen]]) -> tuple[str, list[str]]:
    parts, warnings = [reading.describe_task(task)], []
    for grid, templates in grids:
        if task.name not in grid.part.tasks or task.name not in grid.sizes:
            continue
        config = grid.config_of(task.name)
        tests, drawn = eval_rows(task, config.eval_rows), _largest_draw(task, grid)
        for backbone in grid.part.backbones:
            reason = why_skipped(task, backbone)
            if reason:
                parts.append(reason)
                continue
            for name in templates[backbone, task.name]:
                limited = _shots_limited(grid, task.name)
                sentence, warned = _describe_backbone(task, backbone, name, drawn, tests, config, limited)
                parts.append(sentence)
                warnings += warned
    return f"{task.name}: {'; '.join(dict.fromkeys(parts))}.", warnings


def _shots_limited(grid: Grid, task: str) -> str:
    """A note if more rows are requested than the task has; else empty."""
    more = [f"{count:,}" for count in grid.part.shots if count is not None and count > grid.sizes[task]]
    return f"all there are; {reading.listed(more)} were requested" if more and not grid.config.published_draws else ""


def _largest_draw(task: Task, grid: Grid) -> Sequence[Row]:
    shots = grid.shots_of(task.name)
    most = None if None in shots else max(filter(None, shots), default=0)
    config = grid.config_for(task.name, most)
    return training_rows(task, most, grid.part.draws[0], config)[0] if grid.part.draws else ()


def _why_template(task: Task, name: str) -> str:
    """Why the built-in template or one of another task is used, if that may surprise."""
    if task.templates is None:
        return ""
    if name == PLAIN:
        return f" ({task.templates.name} has none for this task)" if find_template(task, None).name == PLAIN else ""
    left_out = left_out_of(task)
    skipped = "; ".join(f"{each}: {why}" for each, why in left_out.items())
    other = "" if find_template(task, name).original_task else "not marked as the task's own"
    return "".join(f" ({note:.200})" for note in (other, f"not {skipped}" if skipped else "") if note)


def _describe_backbone(
    task: Task,
    backbone: str,
    template: str | None,
    drawn: Sequence[Row],
    tests: Sequence[Row],
    config: RunConfig,
    limited: str,
) -> tuple[str, list[str]]:
    """The rows and template that a backbone gets from a task, and a warning if many rows are cut."""
    prompted = "" if template is None else f" by template {template}{_why_template(task, template)}"
    n_rows = reading.count(len(task.splits[task.eval_split]), f"{task.eval_split} row")
    cuts = [_cut(task, backbone, template, rows, config) for rows in (drawn, tests)]
    known = [cut for cut in cuts if cut is not None]
    trained = [limited, *_cut_note(cuts[0], drawn)]
    scored = _cut_note(cuts[1], tests)
    longest = max((cut.longest for cut in known), default=0)
    notes = [*(["none cut"] if known and not any(cut.rows for cut in known) else [])]
    notes += [f"longest {longest:,} tokens"] if longest else []
    sentence = (
        f"{backbone}{prompted}: {len(drawn):,} rows drawn{_in_brackets(trained)}, {len(tests):,} of {n_rows} scored"
        f"{_in_brackets(scored)}{''.join(f', {note}' for note in notes)}"
    )
    if not any(cut.rows > _MANY_CUT * cut.looked_at for cut in known):
        return sentence, []
    limit = max(cut.limit for cut in known)
    remedy = f"--set max_length={longest} cuts none" if limit == config.max_length else f"{backbone} accepts no more"
    share = " and ".join(
        f"{cut.rows:,} of {cut.looked_at:,} {name}"
        for name, cut in zip(("train", "scored"), cuts, strict=True)
        if cut is not None and cut.looked_at
    )
    return sentence, [
        f"{task.name}: {share} rows are cut to {limit:,} tokens on {backbone}; the longest has {longest:,}, {remedy}."
    ]


def _cut_note(cut: Cut | None, rows: Sequence[Row]) -> list[str]:
    if cut is None or not cut.rows:
        return []
    of = "" if cut.looked_at == len(rows) else f" of {cut.looked_at:,} looked at"
    return [f"{cut.rows:,}{of} cut to {cut.limit:,} tokens"]


def _in_brackets(parts: Iterable[str]) -> str:
    text = "; ".join(filter(None, parts))
    return f" ({text})" if text else ""


def _cut(task: Task, backbone: str, template: str | None, rows: Sequence[Row], config: RunConfig) -> Cut | None:
    """How many rows are cut, counted on a sample if there are many; None if it cannot be counted."""
    from tunefront.bench.models.config import cut_rows

    try:
        most = max(_FEWEST_TOKENISED, min(_MOST_TOKENISED, _MOST_ANSWERS // max(1, len(task.label_names))))
        return cut_rows(backbone, task, template, thinned(rows, most), config)
    except Exception:  # a broken tokenizer, for example: earlier checks, or the cell itself, report it
        log.debug("the cut rows of %s for %s cannot be counted before a cell runs", task.name, backbone, exc_info=True)
        return None


def _inherited(grids: Sequence[Grid]) -> str | None:
    """A note on settings that the parts chose for their own tasks, if the call names other tasks; else None."""
    chosen, others, own = [], dict[str, None](), dict[str, None]()
    for grid in grids:
        foreign = [name for name in grid.part.tasks if not grid.made_for(name)]
        values = _tuned(grid)
        if foreign and values:
            chosen.append(f"{', '.join(values)} ({grid.part.title})")
            others |= dict.fromkeys(foreign)
            own |= dict.fromkeys(grid.own_tasks)
    if not chosen:
        return None
    return (
        f"{reading.listed(list(others))}: uses settings that the suite chose for {reading.listed(list(own))}: "
        f"{'; '.join(chosen)}. Change them with --set NAME=VALUE."
    )


def _tuned(grid: Grid) -> list[str]:
    part = grid.part
    own = {**part.recipe, **part.settings}
    by_method = {name for recipe in part.recipes.values() for name in recipe}
    texts = []
    for name in (name for name in _TUNED if name not in grid.given):
        value = own.get(name)
        if isinstance(value, (int, float)):
            texts.append(f"{name}={value:g}{' or by method' if name in by_method else ''}")
        elif name in by_method:
            texts.append(f"{name} by method")
    return texts
