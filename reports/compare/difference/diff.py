"""The difference between two sets of results, method by method, with what may be said of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from tunefront.bench.errors import UserError
from tunefront.reports.compare.checks import group_by
from tunefront.reports.compare.difference.checkpoints import Checkpoint, compare_all
from tunefront.reports.compare.difference.costs import CostChange, cost_changes, untimed_notes
from tunefront.reports.compare.difference.methods import MethodChange, Read, judge
from tunefront.reports.compare.difference.pairs import Lost, Pair, Paired, Refused, pair, what_changed
from tunefront.reports.compare.difference.runs import BothAnswers, task_runs
from tunefront.reports.compare.difference.sides import Place, both_sides
from tunefront.reports.names import join_names

if TYPE_CHECKING:
    from tunefront.bench.records import Record
    from tunefront.bench.records.answers import AnswerFiles
    from tunefront.reports.compare.filters import Where


@dataclass(frozen=True)
class Difference:
    """What changed from the old results to the new ones.

    `methods`: every method that both have, per backbone, shots and metric. `lost`: methods that have no score any more
    where they had one. `checkpoints`: each pair of trained files, empty if there are none. `costs`: costs that changed.
    `refused`: runs that cannot be compared. `changed`: differences of recipes, code, files and versions -> methods.
    `tolerance`: in points. `guards`: whether a regression is one of methods or of these checkpoints. `notes`: what else
    a reader must know.
    """

    methods: tuple[MethodChange, ...]
    lost: tuple[Lost, ...]
    checkpoints: tuple[Checkpoint, ...]
    costs: tuple[CostChange, ...]
    refused: tuple[Refused, ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]
    changed: Mapping[str, Sequence[str]]
    tolerance: float
    guards: Literal["methods", "checkpoints"]
    records: tuple[int, int]
    notes: tuple[str, ...]

    @property
    def worse(self) -> list[str]:
        """The methods, or the checkpoints, that are significantly worse."""
        if self.guards == "checkpoints":
            return [f"{one.label} on {one.task}, {one.run}" for one in self.checkpoints if one.verdict == "worse"]
        return [one.label for one in self.methods if one.verdict == "worse"]

    @property
    def regressed(self) -> bool:
        """Whether something is significantly worse, or has no score any more."""
        return bool(self.worse or self.lost)

    @property
    def unknown(self) -> list[MethodChange]:
        """The methods with too few runs."""
        return [one for one in self.methods if one.verdict == "too few runs"]


def diff(
    old: Sequence[Record],
    new: Sequence[Record],
    old_places: Mapping[str, str],
    new_places: Mapping[str, str],
    where: Where = None,
    tolerance: float = 0.0,
    checkpoints: bool = False,
    allowed: Collection[str] = (),
) -> Difference:
    """Compares two sets of results.

    Args: `old_places`, `new_places`, key of a record -> results folder or URL with its predictions; where, which
    records of both; tolerance, a loss in points that is no regression; checkpoints, whether a regression is one of
    these very checkpoints; allowed, fields that may differ because they are what is tested.

    Errors: UserError if a set is empty or cannot be compared with itself, if nothing can be compared, or for a field
    that cannot be allowed.
    """
    before, after = both_sides(old, new, where)
    paired = pair(before, after, allowed)
    answers = BothAnswers(old_places, new_places)
    kept, refused = _read(paired.pairs, answers)
    if not kept:
        raise UserError(_nothing(paired, refused, before.rows, after.rows))
    found = compare_all(kept, tolerance)
    if checkpoints and not found:
        raise UserError(
            "--checkpoints: no two checkpoints can be compared; this needs stored predictions of a classification or "
            "multiple-choice task, of the same run in both results."
        )
    notes = [
        f"{side.replaced} older record{'s' if side.replaced > 1 else ''} of cells that ran again in the {side.name} "
        "results do not count."
        for side in (before, after)
        if side.replaced
    ]
    pairs = [one for one, _ in kept]
    return Difference(
        methods=tuple(judge(kept, tolerance)),
        lost=paired.lost,
        checkpoints=tuple(found),
        costs=tuple(cost_changes(pairs)),
        refused=(*paired.refused, *refused),
        only_old=paired.only_old,
        only_new=paired.only_new,
        changed=what_changed(pairs),
        tolerance=tolerance,
        guards="checkpoints" if checkpoints else "methods",
        records=(len(before.records), len(after.records)),
        notes=(*notes, *untimed_notes(pairs)),
    )


def _read(pairs: Sequence[Pair], answers: AnswerFiles) -> tuple[list[Read], list[Refused]]:
    """The pairs with their runs, and those tasks of which other rows were scored, or no run has a common template."""
    kept: list[Read] = []
    refused: list[Refused] = []
    for one in pairs:
        found = {task: task_runs(one, task, answers) for task in one.tasks}
        refused += [Refused("scored rows", "", "", one.label, task) for task, runs in found.items() if runs is None]
        runs = {task: known for task, known in found.items() if known is not None and all(known.scores)}
        unpaired = [task for task, known in found.items() if known is not None and task not in runs]
        refused += [Refused("the template of every draw", "", "", one.label, task) for task in unpaired]
        if runs:
            sides = [{task: side[task] for task in runs} for side in (one.old, one.new)]
            kept.append((replace(one, old=sides[0], new=sides[1]), runs))
    return kept, refused


def _nothing(
    paired: Paired, refused: Sequence[Refused], old: Mapping[Place, Collection[str]], new: Mapping[Place, object]
) -> str:
    """Why nothing can be compared."""
    everything = [*paired.refused, *refused]
    if everything:
        fields = group_by(everything, lambda one: (one.field, one.old, one.new))
        named = [f"{field}{f' ({a} then, {b} now)' if a or b else ''}" for field, a, b in fields]
        return (
            f"nothing can be compared, because the two results differ in {', '.join(named)}. Run both with the same "
            "data and settings; --allow FIELD compares results that differ in a setting, where that is what you test."
        )
    if paired.lost:
        return (
            "nothing can be compared: no method has a score in the new results any more. The first reason is: "
            f"{paired.lost[0].reason or paired.lost[0].status}"
        )
    for name, side in (("old", old), ("new", new)):
        if not side:
            return f"nothing can be compared: no record of the {name} results has a score."
    return (
        "nothing can be compared: no method ran on the same backbone, task and number of rows in both. The old results "
        f"have {_named(paired.only_old)}; the new ones have {_named(paired.only_new)}."
    )


def _named(labels: Sequence[str]) -> str:
    return join_names(labels) if labels else "nothing else"
