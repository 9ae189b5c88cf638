"""T-Few's three losses on and off: the score of every combination, and what each loss adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tunefront.bench.records import Record
from tunefront.reports import units
from tunefront.reports.compare.checks import group_by
from tunefront.reports.compare.entries import Entry
from tunefront.reports.compare.evidence import weigh
from tunefront.reports.compare.factors import rows_used
from tunefront.reports.compare.uncertainty.contrasts import Interval, contrasts, intervals
from tunefront.reports.names import describe_shots, join_names
from tunefront.reports.sections.certainty_words import interval_text
from tunefront.reports.sections.studies.centers import center, says_over, score_cell, shared_tasks
from tunefront.reports.sections.studies.study import HeatMap, Material, Study
from tunefront.reports.tables import Cell, Column, Table

Switches = tuple[bool, bool, bool]
"""Which of the losses are on, in the order of `LOSSES`."""
LOSSES = {"LM": "likelihood_weight", "UL": "unlikelihood_weight", "LN": "length_normalised_weight"}
"""The losses by their names in the paper, and their weights in a recipe."""
FEWEST = 4
"""The fewest combinations of losses that are a study."""
NONE: Switches = (False, False, False)
PAPER = (
    "Liu et al. (2022, section 3.2) trained all of T0-3B: 60.7 % with LM alone, 62.71 % with LN beside it, 63.3 % with "
    "UL as well."
)


@dataclass(frozen=True)
class Effect:
    """What a loss adds: the mean over pairs of combinations that differ in it alone, in points, with its interval if
    the predictions give one; `checkpoints`: the interval is about these runs on other test rows alone."""

    name: str
    pairs: int
    mean: float
    interval: Interval | None
    checkpoints: bool = False


def loss_studies(material: Material, records: Sequence[Record]) -> list[Study]:
    """A study per method, backbone and number of training rows whose records differ in which losses are on."""
    prompted = [record for record in records if record.template is not None and record.score is not None]
    untrained = [record for record in prompted if rows_used(record) == 0]
    trained = [
        record for record in prompted if record.parameters.trainable and set(LOSSES.values()) <= set(record.recipe)
    ]
    studies: list[Study] = []
    for (label, backbone, shots, _), group in group_by(trained, _place).items():
        combinations = group_by(group, switches_of)
        if len(combinations) >= FEWEST:
            beside = [record for record in untrained if record.backbone == backbone]
            where = f"{material.backbones[backbone]}, {describe_shots(shots)}"
            studies.append(_study(material, len(studies), f"{label} on {where}", combinations, beside))
    return studies


def switches_of(record: Record) -> Switches:
    """Which losses a record's recipe has."""
    likelihood, unlikelihood, length_normalised = (bool(record.recipe.get(name)) for name in LOSSES.values())
    return likelihood, unlikelihood, length_normalised


def _place(record: Record) -> tuple[str, str, int | None, tuple[tuple[str, str], ...]]:
    """Everything that must be equal but the losses, draws, seeds and tasks."""
    rest = {name: units.number(value) for name, value in record.recipe.items() if name not in LOSSES.values()}
    return record.label, record.backbone, record.shots, tuple(sorted(rest.items()))


def _study(
    material: Material, number: int, where: str, combinations: dict[Switches, list[Record]], untrained: list[Record]
) -> Study:
    ordered = dict(sorted(combinations.items(), reverse=True))
    tasks = shared_tasks(list(ordered.values()))
    whole = [record for records in ordered.values() for record in records]
    if untrained and set(tasks) <= set(shared_tasks([untrained])):
        ordered[NONE] = untrained
    effects = effects_of(material, {on: records for on, records in ordered.items() if on != NONE}, tasks)
    full, alone = (center(ordered[on], tasks) if on in ordered else None for on in ((True,) * 3, (True, False, False)))
    over = says_over(whole, tasks, material.names)
    intro = [
        f"{where}, trained with T-Few's losses on (weight 1) and off (0). LM: likelihood of the right answer; UL: "
        "unlikelihood of the wrong ones; LN: cross-entropy over length-normalised answers. Without any loss nothing "
        f"can be trained: that row is the model as it is. Scores × 100: means over {over}."
    ]
    listed = "; ".join(f"{effect.name} {_effect_text(effect)}" for effect in effects)
    intro += [f"What a loss adds, in points: {listed}."] if effects else []
    if full is not None and alone is not None:
        beside = effects_of(material, {on: records for on, records in ordered.items() if on[0]}, tasks)
        intro.append(
            f"{PAPER} Here {judged_beside(beside)}all three score {units.points(full.mean / 100)}, LM alone "
            f"{units.points(alone.mean / 100)} ({units.signed(full.mean - alone.mean)} points)."
        )
    tables = [_score_table(material, ordered, tasks)]
    trained = tuple(record.key for on, records in ordered.items() if on != NONE for record in records)
    tables += [replace(_effect_table(effects), keys=(trained,) * len(effects))] if effects else []
    return Study(
        f"losses-{number + 1}", f"{where}: losses", tuple(intro), tuple(tables), _heat_maps(material, ordered, tasks)
    )


def judged_beside(beside: Sequence[Effect]) -> str:
    """Whether the paper's order is found, from what the other losses add beside LM, as the paper added them; nothing
    without intervals."""
    known = [(effect, effect.interval) for effect in beside if effect.interval is not None]
    clear = [effect for effect, interval in known if interval.separates and interval.standard_error]
    if not known:
        return ""
    if not clear:
        return "neither LN nor UL is distinguished from no effect beside LM: "
    worse = [effect.name for effect in clear if effect.mean < 0]
    return (
        f"{join_names(worse)} takes away from LM: " if worse else f"{join_names([e.name for e in clear])} adds to LM: "
    )


def effects_of(material: Material, trained: dict[Switches, list[Record]], tasks: Sequence[str]) -> list[Effect]:
    """The main effect of each loss over the pairs of trained combinations that differ in it alone."""
    combinations = list(trained)
    entries = [
        Entry(describe(on), {task: tuple(r for r in records if r.task == task) for task in tasks})
        for on, records in trained.items()
    ]
    known = weigh(entries, tasks, None, {}, material.answers)
    effects = []
    for place, name in enumerate(LOSSES):
        pairs = [(on, off) for on in combinations if on[place] and (off := _without(on, place)) in combinations]
        gains = [_gain(trained[on], trained[off], tasks) for on, off in pairs]
        whole = [gain for gain in gains if gain is not None]
        if not whole:
            continue
        interval = None
        if not isinstance(known, str) and len(known.labels) == len(entries):
            weights = np.zeros(len(entries))
            for on, off in pairs:
                weights[combinations.index(on)] += 1 / len(pairs)
                weights[combinations.index(off)] -= 1 / len(pairs)
            (interval,) = intervals(contrasts(known.estimate, weights))
        mean = sum(whole) / len(whole) if interval is None else interval.difference
        checkpoints = not isinstance(known, str) and known.estimate.checkpoints_only
        effects.append(Effect(name, len(whole), mean, interval, checkpoints))
    return effects


def _without(on: Switches, place: int) -> Switches:
    first, second, third = (value and number != place for number, value in enumerate(on))
    return first, second, third


def _gain(on: Sequence[Record], off: Sequence[Record], tasks: Sequence[str]) -> float | None:
    more, less = center(on, tasks), center(off, tasks)
    return None if more is None or less is None else more.mean - less.mean


def describe(on: Switches) -> str:
    """A combination in words.

    >>> describe((True, False, True)), describe((False, False, False))
    ('LM + LN', 'none (untrained)')
    """
    return " + ".join(name for name, value in zip(LOSSES, on, strict=True) if value) or "none (untrained)"


def _score_table(material: Material, ordered: dict[Switches, list[Record]], tasks: Sequence[str]) -> Table:
    columns = (
        *(Column(name, numeric=False) for name in LOSSES),
        Column("score", f"mean over {units.plural(len(tasks), 'task')}"),
        *(Column(material.names[task]) for task in (tasks if len(tasks) > 1 else ())),
    )
    rows = tuple(
        (
            *(Cell("on" if value else "off") for value in on),
            score_cell(center(records, tasks)),
            *(score_cell(center(records, [task])) for task in (tasks if len(tasks) > 1 else ())),
        )
        for on, records in ordered.items()
    )
    note = "Scores × 100; in brackets from the lowest to the highest run, where there are several."
    note += " Without any loss: the model as it is, without training and demonstrations." if NONE in ordered else ""
    keys = tuple(tuple(record.key for record in records) for records in ordered.values())
    return Table("Score by combination of losses", columns, rows, note, leading=3, keys=keys)


def _effect_table(effects: Sequence[Effect]) -> Table:
    columns = (
        Column("loss", numeric=False),
        Column("adds", "points"),
        Column("95 % interval"),
        Column("pairs", "on and off"),
    )
    rows = tuple(
        (
            Cell(effect.name),
            Cell(units.signed(effect.mean), title=f"{effect.mean:.6g}"),
            Cell(units.MISSING if effect.interval is None else interval_text(effect.interval)),
            Cell(str(effect.pairs)),
        )
        for effect in effects
    )
    note = "Mean over the pairs of trained combinations that differ in this loss alone, over tasks and runs."
    if any(effect.interval is not None for effect in effects):
        alone = any(effect.checkpoints for effect in effects)
        about = "these runs on other test rows" if alone else "other draws or seeds, and other test rows"
        note += f" Each interval is its own, about {about}."
    return Table("What each loss adds", columns, rows, note)


def _effect_text(effect: Effect) -> str:
    interval = "" if effect.interval is None else f" {interval_text(effect.interval)}"
    return f"{units.signed(effect.mean)}{interval}"


def _heat_maps(material: Material, ordered: dict[Switches, list[Record]], tasks: Sequence[str]) -> tuple[HeatMap, ...]:
    """Scores of combinations by task, with the mean over tasks as a last column if there are several."""
    columns = [*([task] for task in tasks), *([list(tasks)] if len(tasks) > 1 else [])]
    names = tuple(material.names[own[0]] if len(own) == 1 else "mean" for own in columns)
    values = tuple(
        tuple(None if (found := center(records, own)) is None else found.mean for own in columns)
        for records in ordered.values()
    )
    rows = tuple(describe(on) for on in ordered)
    note = "Score × 100 by the losses that are on; darker is higher."
    return (HeatMap("scores", "Scores by losses", note, rows, names, values, "100 × score", "task", "losses"),)
