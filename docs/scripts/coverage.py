"""The simulated figures of docs/statistics.md and docs/ci.md: `python -m docs.scripts.coverage` computes and writes
them.

The worlds are those of tests/reports/compare/uncertainty/worlds.py: the truth is known, so that one can count how often
an interval contains it. The whole takes about half an hour of one core; `--repetitions 50` shows in minutes that it
runs. `--part` writes one table alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy import stats

from tests import ROOT
from tests.reports.compare.uncertainty.worlds import comparisons
from tunefront.reports.compare.uncertainty.chances import chances
from tunefront.reports.compare.uncertainty.changes import changes, level_of_each
from tunefront.reports.compare.uncertainty.checkpoints import compare_checkpoints
from tunefront.reports.compare.uncertainty.contrasts import all_pairs, contrasts, pair_weights
from tunefront.reports.compare.uncertainty.crossed import ENOUGH, Estimate, Floats, estimate
from tunefront.reports.compare.uncertainty.simultaneous import against_reference, tied_set

World = Callable[[int], Sequence[float]]
"""The standard deviation between runs of each method, by the number of methods."""
REPETITIONS = 2000
ROWS = 300
DESIGNS = ((1, 3), (2, 2), (5, 2), (5, 3), (5, 5))
"""Tasks and runs per task."""
WORLDS: dict[str, World] = {
    "equal: 5 points": lambda methods: (0.05,) * methods,
    "mixed: 2 to 7 points": lambda methods: tuple(np.linspace(0.02, 0.07, methods)),
    "one unstable: 1 point, one 11": lambda methods: (0.01,) * (methods - 1) + (0.11,),
}
FEW, MANY = 6, 10
"""Numbers of methods."""
SPREAD = 0.02
"""Standard deviation of the true means where the chances are judged: two points."""
DEVIATIONS, TEST_ROWS = (0.0, 0.02, 0.05), (100, 300, 1000)
"""Standard deviations between runs and numbers of test rows where checkpoints are compared."""
LOSS_DESIGNS = ((1, 3), (2, 3), (2, 5), (5, 3), (5, 5))
LOSS_DEVIATIONS, LOSS_METHODS, LOSS_ROWS, FOUND = (0.01, 0.02, 0.04), 4, 400, 0.8
"""Designs, standard deviations between runs, methods and rows where a loss is found in this share of cases."""
BINS = ((0.0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.0))


def worlds(
    repetitions: int, design: tuple[int, int], world: World, methods: int, seed: int
) -> Iterator[tuple[int, Estimate]]:
    """(repetition, estimate) of methods that are all equally good."""
    for number, tasks in enumerate(comparisons(repetitions, design, world(methods), rows=ROWS, seed=seed)):
        yield number, estimate(tasks)


def coverage_row(repetitions: int, design: tuple[int, int], world: World, seed: int) -> tuple[float, ...]:
    """Shares: intervals of pairs with the last method, of other pairs, and all intervals against the first at once,
    that contain the truth; comparisons of six and of ten methods in which one is left out of the tied set."""
    pairs = all_pairs(FEW)
    weights, last = pair_weights(FEW, pairs), np.array([second == FEW - 1 for _, second in pairs])
    held, at_once, alarms = [], [], []
    for number, known in worlds(repetitions, design, world, FEW, seed):
        found = contrasts(known, weights)
        held.append(np.abs(found.t) <= stats.t.ppf(0.975, found.df))
        at_once.append(not any(gain.separates for gain in against_reference(known, 0, seed=number) if gain))
        alarms.append(len(tied_set(known, seed=number).tied) < FEW)
    of_many = [
        len(tied_set(known, seed=number).tied) < MANY
        for number, known in worlds(repetitions, design, world, MANY, seed + 1)
    ]
    shares = np.mean(held, axis=0)
    return tuple(
        float(share)
        for share in (
            shares[last].mean(),
            shares[~last].mean(),
            np.mean(at_once),
            np.mean(alarms),
            np.mean(of_many),
        )
    )


def coverage_table(repetitions: int) -> list[str]:
    """The Markdown of coverage and of false alarms."""
    lines = [
        "| spread between runs | tasks × runs | n | with the last method | other pairs | all against the reference | "
        f"left out, {FEW} methods | left out, {MANY} methods |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for place, (name, world) in enumerate(WORLDS.items()):
        for index, (tasks, runs) in enumerate(DESIGNS):
            shares = coverage_row(repetitions, (tasks, runs), world, 1000 * place + 10 * index)
            *covered, few, many = (100 * share for share in shares)
            texts = [f"{share:.1f} %" for share in (*covered, few, many)]
            lines.append(f"| {name} | {tasks} × {runs} | {tasks * (runs - 1)} | {' | '.join(texts)} |")
            print(lines[-1], flush=True)
    return lines


def calibration_table(repetitions: int) -> list[str]:
    """The Markdown of what was said of the best method and of the Pareto front, and how often it was true."""
    ends = [f"{100 * low:.0f} to {100 * high:.0f} %" for low, high in BINS]
    lines = [f"| chance | spread between runs | tasks × runs | {' | '.join(ends)} |", "|---" * (3 + len(BINS)) + "|"]
    designs = [(tasks, runs) for tasks, runs in DESIGNS if tasks * (runs - 1) >= ENOUGH]
    for place, (name, world) in enumerate(WORLDS.items()):
        for index, (tasks, runs) in enumerate(designs):
            found = calibration(repetitions, (tasks, runs), world, 5000 + 1000 * place + 10 * index)
            for what, (said, true) in found.items():
                texts = [_said_and_true(said, true, low, high) for low, high in BINS]
                lines.append(f"| {what} | {name} | {tasks} × {runs} | {' | '.join(texts)} |")
                print(lines[-1], flush=True)
    return lines


def calibration(repetitions: int, design: tuple[int, int], world: World, seed: int) -> dict[str, tuple[Floats, Floats]]:
    """What was said of each method, and whether it was true: (methods of all repetitions,) each."""
    generator, costs = np.random.default_rng(seed), np.arange(float(FEW))
    best, front = [], []
    for number in range(repetitions):
        means = SPREAD * generator.standard_normal(FEW)
        order = generator.permutation(FEW)  # so that the unstable method is not always the dearest
        deviations = np.asarray(world(FEW))[order].tolist()
        (tasks,) = comparisons(1, design, deviations, rows=ROWS, means=means, seed=seed * 100_000 + number)
        found = chances(estimate(tasks), costs.tolist(), draws=4000, seed=number)
        best.append((found.best, means == means.max()))
        on_front = [all(means[:method] < means[method]) for method in range(FEW)]
        front.append((found.front[1:], on_front[1:]))  # the cheapest is always on the front
    return {
        "best": (np.ravel([said for said, _ in best]), np.ravel([true for _, true in best])),
        "Pareto front": (np.ravel([said for said, _ in front]), np.ravel([true for _, true in front])),
    }


def checkpoints_table(repetitions: int) -> list[str]:
    """The Markdown of how often McNemar's test calls checkpoints of two identical methods different, at 5 %."""
    lines = [f"| spread between runs | {' | '.join(f'{rows:,} test rows' for rows in TEST_ROWS)} |"]
    lines.append("|---" * (1 + len(TEST_ROWS)) + "|")
    for place, deviation in enumerate(DEVIATIONS):
        shares = []
        for index, rows in enumerate(TEST_ROWS):
            seed = 9000 + 100 * place + index
            made = comparisons(repetitions, (1, 1), (deviation, deviation), rows=rows, seed=seed)
            shares.append(np.mean([compare_checkpoints(*tasks[0][:, 0], np.ones(rows)).p < 0.05 for tasks in made]))
        lines.append(f"| {100 * deviation:.0f} points | {' | '.join(f'{100 * share:.0f} %' for share in shares)} |")
        print(lines[-1], flush=True)
    return lines


def losses_table(repetitions: int) -> list[str]:
    """The Markdown of the loss of one of four methods that `tunefront diff` finds in 8 of 10 cases.

    A loss is found if it is larger than the upper end of the interval of a change by chance alone.
    """
    heads = [f"{tasks} task{'s' if tasks > 1 else ''}, {runs} draws" for tasks, runs in LOSS_DESIGNS]
    lines = [f"| scores deviate between seeds by | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    level = level_of_each(LOSS_METHODS)
    for place, deviation in enumerate(LOSS_DEVIATIONS):
        texts = []
        for index, (tasks, runs) in enumerate(LOSS_DESIGNS):
            deviations, seed = (deviation,) * LOSS_METHODS, 7000 + 10 * place + index
            highs = []
            for scores in comparisons(repetitions, (tasks, 2 * runs), deviations, rows=LOSS_ROWS, seed=seed):
                sides = [
                    [(dict(enumerate(method[:runs])), dict(enumerate(method[runs:]))) for method in task]
                    for task in scores
                ]
                highs.append(changes(sides).intervals(level)[0].high)
            texts.append(f"{100 * float(np.quantile(highs, FOUND)):.0f}")
        lines.append(f"| {100 * deviation:g} point{'s' if deviation > 0.01 else ''} | {' | '.join(texts)} |")
        print(lines[-1], flush=True)
    return lines


def _said_and_true(said: Floats, true: Floats, low: float, high: float) -> str:
    inside = (said >= low) & ((said < high) | (high == 1))
    if not inside.any():
        return "—"
    return f"{100 * said[inside].mean():.0f} → {100 * true[inside].mean():.0f} %"


TABLES = {
    "checkpoints": ("statistics.md", checkpoints_table),
    "coverage": ("statistics.md", coverage_table),
    "calibration": ("statistics.md", calibration_table),
    "losses": ("ci.md", losses_table),
}
"""Part -> the page, and what computes it."""


def put(text: str, part: str, block: Sequence[str]) -> str:
    """The page with a block between the markers of a part.

    >>> put("a\\n<!-- part: start -->\\nold\\n<!-- part: end -->\\nb", "part", ["new"])
    'a\\n<!-- part: start -->\\n\\nnew\\n\\n<!-- part: end -->\\nb'
    """
    start, end = f"<!-- {part}: start -->", f"<!-- {part}: end -->"
    if start not in text or end not in text:
        raise ValueError(f"the page has no lines {start} and {end}; add them where the table belongs")
    before, rest = text.split(start, 1)
    return "\n".join([f"{before}{start}", "", *block, "", f"{end}{rest.split(end, 1)[1]}"])


def main() -> None:
    """Computes the tables and writes each into the page when it is ready."""
    parser = argparse.ArgumentParser(prog="python -m docs.scripts.coverage", description=__doc__.split("\n")[0])
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--part", choices=TABLES, action="append")
    known = parser.parse_args()
    for part in known.part or TABLES:
        name, table = TABLES[part]
        page, block = ROOT / "docs" / name, table(known.repetitions)
        if known.repetitions == REPETITIONS:  # fewer are a trial of this script
            page.write_text(put(page.read_text(encoding="utf-8"), part, block), encoding="utf-8")


if __name__ == "__main__":
    main()
