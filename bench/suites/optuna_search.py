"""A search by Optuna: what is tried next follows from the selection scores so far, asked in batches and told back."""

from __future__ import annotations

import importlib.util
import math
import random
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tunefront.bench.cells import Cell
from tunefront.bench.errors import UserError
from tunefront.bench.suites.search import RATE, SIZE, Space, Tried, random_trials

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

    from tunefront.bench.records import Record

OPTUNA = "optuna"
STARTUP = 4
"""Trials drawn at random before the first one that depends on scores."""
BATCH = 2
"""Trials asked together. It is fixed, so that the number of workers does not change what is asked."""
MOST_ASKS = 20
"""Answers after which a trial that would repeat an earlier one is drawn at random instead."""


def check_installed() -> None:
    """UserError if Optuna is not installed."""
    if importlib.util.find_spec(OPTUNA) is None:
        raise UserError(
            "the sampler 'optuna' needs the package optuna, which is not installed; install it with: "
            "pip install 'tunefront[optuna]', or take the sampler 'random'."
        )


def asks(cells: Iterable[Cell]) -> bool:
    """Whether some of the cells only stand for trials that depend on scores."""
    return any(cell.trial is not None and cell.trial.sampler == OPTUNA for cell in cells)


def check_all_known(cells: Iterable[Cell], what: str, instead: str = "`tunefront run`") -> None:
    """UserError for `what`, which must know all cells in advance, if they depend on scores; it may be replaced by
    `instead`."""
    if asks(cells):
        raise UserError(
            f"{what} must know all cells before the first one runs, but the sampler 'optuna' chooses them by scores; "
            f"take the sampler 'random' there, or {instead}."
        )


@dataclass(frozen=True)
class Study:
    """The search of one method on one task. `planned` has the cells of each trial, one per draw and seed; those from
    number STARTUP on stand for others, whose method and recipe are asked once the scores before them are known."""

    space: Space
    seed: int
    planned: tuple[tuple[Cell, ...], ...]
    _known: dict[tuple[float | None, ...], list[Tried]] = field(default_factory=dict, compare=False)

    def next_cells(self, records: Mapping[Cell, Record]) -> list[Cell]:
        """The cells of the first batch that has not run completely; empty once all trials have.

        What is asked depends on the scores in `records` alone: a search that was stopped goes on as if it had not been.
        """
        told: list[tuple[Tried, float | None]] = []
        while len(told) < len(self.planned):
            scores = tuple(score for _, score in told)  # what was tried follows from them
            if scores not in self._known:
                self._known[scores] = self._batch(told)
            batch = self._known[scores]
            groups = [self._cells(number, tried) for number, tried in enumerate(batch, len(told))]
            cells = [cell for group in groups for cell in group]
            if any(cell not in records for cell in cells):
                return cells
            told += [
                (tried, _score([records[cell] for cell in group])) for tried, group in zip(batch, groups, strict=True)
            ]
        return []

    def _cells(self, place: int, tried: Tried) -> list[Cell]:
        """The cells of a trial, one for each planned in its place."""
        if place < STARTUP:
            return list(self.planned[place])
        method, values = tried
        return [
            replace(
                cell,
                method=method,
                recipe=replace(cell.recipe, **values),  # type: ignore[arg-type]  # checked when they were read
                searched=tuple(values),
                deviations=None,
            )
            for cell in self.planned[place]
        ]

    def _batch(self, told: Sequence[tuple[Tried, float | None]]) -> list[Tried]:
        """The next trials after these, whose scores are known, None for a trial without one."""
        drawn, left = random_trials(self.space, self.seed), len(self.planned) - len(told)
        if len(told) < STARTUP:
            return [next(drawn) for _ in range(min(STARTUP, left))]
        seen = [tried for tried, _ in told]
        asked = self._asked(told)
        asked += [tried for tried in drawn if tried not in (*seen, *asked)] if self.space.rates is None else []
        while len(asked) < min(BATCH, left):
            tried = next(drawn)
            asked += [tried] if tried not in (*seen, *asked) else []
        return asked[: min(BATCH, left)]

    def _asked(self, told: Sequence[tuple[Tried, float | None]]) -> list[Tried]:
        """What Optuna's tree-structured Parzen estimator (Bergstra et al., 2011) answers, each answer once."""
        import optuna

        known = [score for _, score in told if score is not None]
        seen, asked = [tried for tried, _ in told], list[Tried]()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what of Optuna may change: its version is pinned by the user
            optuna.logging.set_verbosity(optuna.logging.ERROR)
            seed = random.Random(f"{self.seed}/{len(told)}").getrandbits(32)
            sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=0)
            study = optuna.create_study(direction="maximize", sampler=sampler)
            for place, (tried, score) in enumerate(told):
                trial = self._told(place, tried, min(known, default=None) if score is None else score)
                if trial is not None:
                    study.add_trial(trial)
            for _ in range(MOST_ASKS):
                answer = study.ask(self._distributions()).params
                names = {name: values[answer[name]] for name, values in self.space.listed.items()}
                tried = self.space.at(answer[SIZE], answer.get(RATE), names)
                asked += [tried] if tried not in (*seen, *asked) else []
                if len(asked) == BATCH:
                    break
        return asked

    def _distributions(self) -> dict[str, BaseDistribution]:
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        searched: dict[str, BaseDistribution] = {SIZE: IntDistribution(0, len(self.space.sizes) - 1)}
        if self.space.rates is not None:
            searched[RATE] = FloatDistribution(*self.space.rates, log=True)
        listed = self.space.listed.items()
        return searched | {name: CategoricalDistribution(range(len(values))) for name, values in listed}

    def _told(self, place: int, tried: Tried, score: float | None) -> FrozenTrial | None:
        """A trial as Optuna is told of it; None for one outside the space, as the method's own rate may be, and before
        any has a score. A trial that failed counts as the worst one."""
        from optuna.trial import create_trial

        method, values = tried
        rate = self._cells(place, tried)[0].recipe.learning_rate
        outside = self.space.rates is not None and not self.space.rates[0] <= rate <= self.space.rates[1]
        if score is None or outside or method not in self.space.sizes:
            return None
        params: dict[str, object] = {SIZE: list(self.space.sizes).index(method)}
        params |= {} if self.space.rates is None else {RATE: rate}
        params |= {name: list(listed).index(values[name]) for name, listed in self.space.listed.items()}
        return create_trial(params=params, distributions=self._distributions(), value=score)


def _score(records: Sequence[Record]) -> float | None:
    """The mean selection score of a trial over draws and seeds; None if a run has none."""
    scores = [record.selection_score for record in records if record.status == "ok"]
    known = [score for score in scores if score is not None and math.isfinite(score)]
    return sum(known) / len(known) if len(known) == len(records) else None


@dataclass(frozen=True)
class Asking:
    """The cells of a suite in rounds: all whose trials are known, with the first of each study; then batch by batch."""

    known: tuple[Cell, ...]
    studies: tuple[Study, ...]

    @classmethod
    def of(cls, cells: Sequence[Cell], space_of: Callable[[Cell], Space]) -> Asking:
        """`space_of` says what the search of a cell may change."""
        studies: dict[tuple[object, ...], dict[int, list[Cell]]] = {}
        known: list[Cell] = []
        for cell in cells:
            if cell.trial is None or cell.trial.sampler != OPTUNA:
                known.append(cell)
                continue
            where = (cell.trial.method, cell.backbone, cell.task, cell.shots, cell.template)
            studies.setdefault(where, {}).setdefault(cell.trial.number, []).append(cell)
        planned = [tuple(tuple(trials[number]) for number in sorted(trials)) for trials in studies.values()]
        return cls(tuple(known), tuple(_study(space_of(trials[0][0]), trials) for trials in planned))

    def __call__(self, records: Mapping[Cell, Record]) -> list[Cell]:
        """The cells of the next round, given the records of those before; empty after the last one."""
        waiting = [] if all(cell in records for cell in self.known) else list(self.known)
        return waiting + [cell for study in self.studies for cell in study.next_cells(records)]


def _study(space: Space, planned: tuple[tuple[Cell, ...], ...]) -> Study:
    trial = planned[0][0].trial
    return Study(space, trial.seed or 0 if trial else 0, planned)
