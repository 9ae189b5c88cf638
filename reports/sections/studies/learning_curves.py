"""Learning curves: the score over the number of training rows, demonstrations in a prompt beside trained methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tunefront.bench.records import Record
from tunefront.reports import units
from tunefront.reports.compare.checks import group_by
from tunefront.reports.compare.entries import Entry
from tunefront.reports.compare.evidence import weigh
from tunefront.reports.compare.uncertainty.contrasts import Interval
from tunefront.reports.names import describe_shots, join_names
from tunefront.reports.sections.certainty_words import about, interval_text
from tunefront.reports.sections.studies.centers import Center, about_bars, center, says_over, score_cell, shared_tasks
from tunefront.reports.sections.studies.study import Chart, Line, Material, Point, Study
from tunefront.reports.tables import Cell, Column, Table

FEWEST = 3
"""The fewest numbers of training rows that are a curve."""
FROM_LOWEST = "from the lowest to the highest run, where there are several"
MOST = 8
"""The most curves of a chart."""


def curve_studies(material: Material, chosen: Sequence[Record], row: Callable[[Record], str]) -> list[Study]:
    """A study per backbone with methods that ran with several numbers of training rows."""
    studies: list[Study] = []
    scored = [record for record in chosen if record.score is not None]
    for backbone, group in group_by(scored, lambda record: record.backbone).items():
        by_label = {
            label: group_by(records, lambda record: record.shots) for label, records in group_by(group, row).items()
        }
        curves = {label: shots for label, shots in by_label.items() if len(shots) >= FEWEST}
        tasks = shared_tasks([records for shots in curves.values() for records in shots.values()])
        if curves and tasks:
            studies.append(_study(material, len(studies), material.backbones[backbone], curves, tasks))
    return studies


def _study(
    material: Material,
    number: int,
    backbone: str,
    curves: dict[str, dict[int | None, list[Record]]],
    tasks: Sequence[str],
) -> Study:
    found = {
        label: {shots: known for shots, records in by_shots.items() if (known := center(records, tasks)) is not None}
        for label, by_shots in curves.items()
    }
    whole = [record for by_shots in curves.values() for records in by_shots.values() for record in records]
    sizes = _sizes(whole)
    untrained = {
        label for label, by in curves.items() if not any(r.parameters.trainable for rs in by.values() for r in rs)
    }
    ordered = sorted(sizes, key=lambda shots: sizes[shots])
    intervals, meaning = _intervals(material, curves, tasks)
    lines = tuple(
        Line(
            label,
            tuple(_point(centers[s], sizes[s], intervals.get((label, s))) for s in ordered if s in centers),
            label in untrained,
        )
        for label, centers in list(found.items())[:MOST]
    )
    over = says_over(whole, tasks, material.names)
    bars = f" Bars: {meaning}." if meaning else about_bars(point for line in lines for point in line.points)
    note = f"Mean over {over}.{bars}" + (" Dashed: nothing is trained." if untrained else "")
    chart = Chart("rows", "Learning curves", note, lines, "training rows", "100 × score")
    intro = [
        f"The number of training rows varies, on {backbone}. Scores × 100: means over {over}. Draws "
        "are nested: with the same seed, a smaller draw is the first rows of a larger one.",
        *_findings(found, ordered, untrained),
    ]
    columns = (Column("training rows", numeric=False), *(Column(label) for label in found))
    rows = tuple(
        (
            Cell(
                "all" if shots is None else units.count(shots),
                f"({units.count(sizes[shots])})" if shots is None else "",
            ),
            *(_cell(centers.get(shots), intervals.get((label, shots))) for label, centers in found.items()),
        )
        for shots in ordered
    )
    table = Table(
        "Score by number of training rows",
        columns,
        rows,
        f"Scores × 100; in brackets {meaning or FROM_LOWEST}. A dash: did not run.",
    )
    return Study(f"shots-{number + 1}", f"Learning curves on {backbone}", tuple(intro), (table,), (chart,))


def _intervals(
    material: Material, curves: dict[str, dict[int | None, list[Record]]], tasks: Sequence[str]
) -> tuple[dict[tuple[str, int | None], Interval], str]:
    """The 95 % interval of every mean of the curves, and what they are about; nothing if one is not known.

    A draw is the same run for every method and number of rows, since draws are nested.
    """
    places = [(label, shots) for label, by_shots in curves.items() for shots in by_shots]
    entries = [
        Entry(f"{label}, {shots}", {task: tuple(r for r in curves[label][shots] if r.task == task) for task in tasks})
        for label, shots in places
    ]
    known = weigh(entries, tasks, None, {}, material.answers)
    if isinstance(known, str) or len(known.labels) < len(entries):
        return {}, ""
    by_label = dict(zip(known.labels, known.means, strict=True))
    found = {place: by_label[entry.label] for place, entry in zip(places, entries, strict=True)}
    return found, f"95 % intervals of the mean, each its own, about {about(known)}"


def _point(center: Center, rows: float, interval: Interval | None) -> Point:
    return center.at(rows) if interval is None else Point(rows, center.mean, interval.low, interval.high)


def _cell(center: Center | None, interval: Interval | None) -> Cell:
    plain = score_cell(center)
    return plain if interval is None else replace(plain, minor=interval_text(interval, mean=True))


def _sizes(records: Sequence[Record]) -> dict[int | None, float]:
    """Shots -> number of training rows; of all rows, the most that a task has."""
    sizes: dict[int | None, float] = {}
    for record in records:
        drawn = (
            record.shots
            if record.shots is not None
            else (record.data.split_rows or {}).get("train", record.data.n_train)
        )
        sizes[record.shots] = max(sizes.get(record.shots, 0.0), float(drawn or 0))
    return sizes


def _findings(
    found: dict[str, dict[int | None, Center]], ordered: Sequence[int | None], untrained: set[str]
) -> list[str]:
    """The best method with the fewest and with the most rows, and from how many rows on training is ahead."""
    texts = []
    for shots in (ordered[0], ordered[-1]):
        here = {label: centers[shots].mean for label, centers in found.items() if shots in centers}
        best = max(here, key=lambda label: here[label])
        texts.append(f"With {describe_shots(shots)} {best} scores most, {units.points(here[best] / 100)}.")
    sentences = [" ".join(texts)]
    for prompt in untrained:
        ahead = []
        for label in found:
            both = [shots for shots in ordered if shots in found[label] and shots in found[prompt]]
            leads = [found[label][shots].mean > found[prompt][shots].mean for shots in both]
            if label not in untrained and leads and leads[-1]:
                first = next(place for place in range(len(both)) if all(leads[place:]))
                ahead.append(f"{label} from {describe_shots(both[first])}")
        if ahead:
            sentences.append(f"Ahead of {prompt} at every number of rows from there on: {join_names(ahead)}.")
        else:
            sentences.append(f"No trained method is ahead of {prompt} with the most rows that both have.")
    return sentences
