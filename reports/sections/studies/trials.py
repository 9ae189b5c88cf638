"""Score against the number of trials of a search: what each method gains by more of them, and which trial wins."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tunefront.bench.records import Record
from tunefront.reports import units
from tunefront.reports.compare.checks import group_by
from tunefront.reports.compare.protocols import is_ordinary
from tunefront.reports.compare.statistics import mean
from tunefront.reports.compare.trials import DRAWN, EXCHANGEABLE, Search, Trial, find_searches
from tunefront.reports.names import describe_shots, join_names, natural_key
from tunefront.reports.sections.studies.centers import Center, about_bars, center, says_over, score_cell
from tunefront.reports.sections.studies.study import Chart, Line, Material, Point, Study
from tunefront.reports.tables import Cell, Column, Table

TITLE = "Score against number of trials"
FEWEST = 4
"""The fewest trials of a method whose scores make a curve."""
CHOSEN = {"grid": "spread evenly", "random": "drawn at random", "optuna": "asked of Optuna by the scores so far"}
"""How the trials of each sampler are chosen."""
MOST_POINTS = 30
"""The most points of a line."""
BY_CHANCE = "over which of the trials were drawn"


@dataclass(frozen=True)
class Searched:
    """One method's searches on the tasks and templates that all methods of a study have."""

    label: str
    searches: tuple[Search, ...]

    @property
    def count(self) -> int:
        """The trials that it had on each task."""
        return min(len(search.trials) for search in self.searches)

    @property
    def lost(self) -> int:
        """Trials without a score, over all tasks."""
        return sum(trial.selection is None for search in self.searches for trial in search.trials)

    @property
    def sampler(self) -> str:
        """How its trials were chosen."""
        return self.searches[0].sampler

    @property
    def records(self) -> list[Record]:
        """The records of all trials."""
        return [record for search in self.searches for trial in search.trials for record in trial.records]

    @property
    def trains(self) -> bool:
        """Whether it has something to search: a method that trains nothing has one trial."""
        return self.count > 1 or any(record.training.steps for record in self.records)

    def expected(self, count: int) -> Center | None:
        """The expected score of the winner of so many trials, a mean over tasks, with one standard deviation on either
        side; None if a task has fewer trials."""
        found = [search.expected(count) for search in self.searches]
        known = [one for one in found if one is not None]
        if len(known) < len(found):
            return None
        middle = 100 * (mean(center for center, _ in known) or 0.0)
        spread = 100 * math.sqrt(sum(deviation**2 for _, deviation in known)) / len(known)
        return Center(middle, middle - spread, middle + spread) if spread else Center(middle)

    def in_order(self, count: int) -> Center | None:
        """The score of the winner of the first so many trials, from the lowest to the highest run."""
        winners = [search.winner(count) for search in self.searches]
        records = [record for winner in winners if winner is not None for record in winner.records]
        if None in winners or count > self.count:
            return None
        return center(records, {search.task for search in self.searches})

    def after(self, count: int) -> Center | None:
        """The score that stands for so many trials: the expected one, if any of the trials might have come first."""
        return self.expected(count) if self.sampler in EXCHANGEABLE else self.in_order(count)


def trial_studies(material: Material) -> list[Study]:
    """Per backbone, number of training rows and metric: a study of the searches with enough trials for a curve."""
    records = [record for record in (*material.records, *material.unscored) if is_ordinary(record)]
    scored = [search for search in find_searches(records) if search.ranked]
    found = []
    for group, searches in group_by(scored, lambda search: (search.backbone, search.shots, search.metric)).items():
        backbone, shots, metric = group
        methods = _shared(searches)
        if methods and max(method.count for method in methods) >= FEWEST:
            found.append((f"{material.backbones[backbone]}, {describe_shots(shots)}, {metric}", methods))
    return [
        _study(material, f"trials-{number}", f"{TITLE}: {where}" if len(found) > 1 else TITLE, where, methods)
        for number, (where, methods) in enumerate(found, 1)
    ]


def _shared(searches: Sequence[Search]) -> list[Searched]:
    """The methods on the tasks where all of them have a score."""
    ways = group_by(searches, lambda search: search.method)
    several = {method for method, own in ways.items() if len({(search.sampler, search.seed) for search in own}) > 1}
    by_method = group_by(searches, lambda search: _label(search, search.method in several))
    places = [set(map(_place, own)) for own in by_method.values()]
    shared = set.intersection(*places) if places else set()
    methods = [
        Searched(
            label, tuple(sorted((s for s in own if _place(s) in shared), key=lambda s: (s.task, s.template or "")))
        )
        for label, own in by_method.items()
    ]
    methods = sorted(methods, key=lambda method: natural_key(method.label))
    return methods if shared else []


def _place(search: Search) -> tuple[str, str | None]:
    return search.task, search.template


def _label(search: Search, several: bool) -> str:
    """The method, and how its trials were chosen if there are several searches of it."""
    seed = "" if search.seed is None else f", seed {search.seed}"
    return f"{search.method} ({search.sampler}{seed})" if several else search.method


def _study(material: Material, tag: str, title: str, where: str, methods: Sequence[Searched]) -> Study:
    shown = _shown(max(method.count for method in methods))
    scored = [record for method in methods for record in method.records if record.status == "ok"]
    tasks = sorted({search.task for search in methods[0].searches})
    over = says_over(scored, tasks, material.names)
    free = [method for method in methods if method.sampler in EXCHANGEABLE]
    drawn = [method for method in methods if method.sampler in DRAWN]
    intro = [
        f"What a search is worth, on {where}. The winner of n trials is the best of them on the selection rows. Its "
        f"score, × 100, is that on the scored rows, a mean over {over}.",
        *_leaders(methods, shown),
        _budgets(methods),
    ]
    charts, tables = [], [_score_table(methods, shown)]
    if free:
        lines = tuple(Line(m.label, _points(m.expected, m.count)) for m in free)
        bars = f" Bars: one standard deviation on either side, {BY_CHANCE}." if _has_bars(lines) else ""
        charts.append(_chart("expected", "Expected score of the best of n trials", f"Mean over {over}.{bars}", lines))
    if drawn:
        lines = tuple(Line(m.label, _points(m.in_order, m.count)) for m in drawn)
        bars = about_bars(point for line in lines for point in line.points)
        charts.append(_chart("order", "Score of the best of the first n trials", f"Mean over {over}.{bars}", lines))
    tables.append(_winner_table(material, methods, shown))
    return Study(tag, title, tuple(intro), tuple(tables), tuple(charts))


def _chart(name: str, title: str, note: str, lines: tuple[Line, ...]) -> Chart:
    return Chart(name, title, note, lines, "trials per method", "100 × score", small=True, steps=True)


def _shown(most: int) -> list[int]:
    """The numbers of trials in tables: powers of two, and all.

    >>> _shown(8), _shown(6)
    ([1, 2, 4, 8], [1, 2, 4, 6])
    """
    return [*(2**power for power in range(most.bit_length()) if 2**power < most), most]


def _points(score: Callable[[int], Center | None], most: int) -> tuple[Point, ...]:
    """The points of a line from one trial to `most`, evenly in their logarithm if there are too many."""
    step = math.log(most) / (MOST_POINTS - 1)
    counts = range(1, most + 1) if most <= MOST_POINTS else {round(math.exp(step * n)) for n in range(MOST_POINTS)}
    found = [(count, score(count)) for count in sorted(counts)]
    return tuple(known.at(count) for count, known in found if known is not None)


def _has_bars(lines: Sequence[Line]) -> bool:
    return any(point.low is not None for line in lines for point in line.points)


def _leaders(methods: Sequence[Searched], shown: Sequence[int]) -> list[str]:
    """Which method leads with one trial and with all, and which gains most and least, in sentences."""
    compared = [method for method in methods if method.count == shown[-1]]
    ends = {m.label: (m.after(1), m.after(shown[-1])) for m in compared}
    known = {
        label: (one.mean, many.mean) for label, (one, many) in ends.items() if one is not None and many is not None
    }
    if not known:
        return []
    first, last = (max(known, key=lambda label, place=place: known[label][place]) for place in (0, 1))  # type: ignore[misc]
    one, many = units.points(known[first][0] / 100), units.points(known[last][1] / 100)
    scores = "is expected to score" if all(method.sampler in EXCHANGEABLE for method in compared) else "scores"
    text = f"With 1 trial {first} {scores} most ({one}), with {shown[-1]} trials {last} ({many})."
    if first == last:
        most = "" if len(known) < 2 else " most"
        text = f"{first} {scores}{most} with 1 trial ({one}) and with {shown[-1]} trials ({many})."
    if len(known) < 2:
        return [text]
    gains = {label: many - one for label, (one, many) in known.items()}
    most, least = max(gains, key=gains.__getitem__), min(gains, key=gains.__getitem__)
    gained = f"{most} gains most by the search ({units.signed(gains[most])} points), {least} least"
    return [text, f"{gained} ({units.signed(gains[least])})."]


def _budgets(methods: Sequence[Searched]) -> str:
    """How many trials the methods had, in a sentence; methods without training have nothing to search."""
    counts = {method.label: method.count for method in methods if method.trains}
    ways = join_names([CHOSEN[sampler] for sampler in dict.fromkeys(m.sampler for m in methods if m.trains)])
    if len(set(counts.values())) == 1:
        return f"Every method had {units.plural(next(iter(counts.values())), 'trial')}, {ways}."
    listed = join_names([f"{label} {count}" for label, count in counts.items()], len(counts))
    return f"Unequal budgets: {listed} trials, {ways}. A method with more of them has more chances of a good one."


def _score_table(methods: Sequence[Searched], shown: Sequence[int]) -> Table:
    columns = (
        Column("method", numeric=False),
        Column("trials"),
        Column("without a score"),
        *(Column(f"best of {count}") for count in shown),
    )
    rows = []
    for method in methods:
        keys = tuple(record.key for record in method.records)
        cells = [score_cell(method.after(count)) for count in shown]
        rows.append((Cell(method.label, keys=keys), Cell(str(method.count)), Cell(str(method.lost)), *cells))
    notes = ["Scores × 100."]
    if any(method.sampler in EXCHANGEABLE for method in methods):
        notes.append(
            "Expected test score of the trial that is best on the selection rows, over all choices of so many of the "
            "trials (Dodge et al. 2019); in brackets one standard deviation on either side."
        )
    asked = [method.label for method in methods if method.sampler not in EXCHANGEABLE]
    if asked:
        notes.append(
            f"For {join_names(asked)}, whose trials depend on earlier scores, the best of the first trials; in "
            "brackets from the lowest to the highest run."
        )
    return Table("Score by number of trials", columns, tuple(rows), " ".join(notes))


def _winner_table(material: Material, methods: Sequence[Searched], shown: Sequence[int]) -> Table:
    """The winner of the first trials on each task, by number of trials where they have an order."""
    columns = (
        Column("method", numeric=False),
        Column("task", numeric=False),
        Column("trials"),
        Column("winner", numeric=False),
        Column("selection", "score × 100"),
        Column("test", "score × 100"),
        Column("at the edge", numeric=False),
    )
    rows: list[tuple[Cell, ...]] = []
    lines = []
    for method in methods:
        lines.append(len(rows))
        for search in method.searches:
            task = material.names[search.task] + (f" ({search.template})" if search.template else "")
            counts = [count for count in shown if count <= len(search.trials)] if search.sampler in DRAWN else []
            for count in counts or [len(search.trials)]:
                winner = search.winner(count)
                edges = "; ".join(f"{edge.name}, {edge.end}" for edge in search.edges) or "no"
                edge = Cell(edges if count == len(search.trials) else "")
                name = (Cell(method.label), Cell(task), Cell(str(count)))
                if winner is None:
                    rows.append((*name, Cell("none has a score"), Cell(units.MISSING), Cell(units.MISSING), edge))
                    continue
                keys = tuple(record.key for record in winner.records)
                scores = [
                    Cell(units.points(value), title="" if value is None else f"{100 * value:.6g}", keys=keys)
                    for value in (winner.selection, winner.test)
                ]
                rows.append((*name, Cell(_describe(search, winner), keys=keys), *scores, edge))
    note = (
        "The best trial on the selection rows, of the first so many if the trials have an order; of equals the first."
    )
    return Table("Winners", columns, tuple(rows), note, tuple(line for line in lines if 0 < line < len(rows)), 3)


def _describe(search: Search, trial: Trial) -> str:
    """What distinguishes a trial from the others of its search."""
    values = trial.values
    return ", ".join(f"{name} {units.number(values.get(name))}" for name in search.varying) or "the only one"
