"""One number about a method or its recipe varies, nothing else does: score over the number, or over what is trained."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, replace

from tunefront.bench.records import Record
from tunefront.reports import units
from tunefront.reports.compare.checks import group_by
from tunefront.reports.compare.panels import REFERENCE
from tunefront.reports.compare.statistics import finite_values, median
from tunefront.reports.compare.trials import fields_of_method
from tunefront.reports.names import describe_shots, join_names
from tunefront.reports.sections.studies.centers import Center, about_bars, center, says_over, score_cell, shared_tasks
from tunefront.reports.sections.studies.span_removal import verdict
from tunefront.reports.sections.studies.study import Chart, Line, Material, Point, Study
from tunefront.reports.tables import Cell, Column, Table

FEWEST = 3
"""The fewest values of a number that are a sweep: two are just two methods."""
BESIDE = 6
"""The most methods that a chart shows beside the sweeps."""
CLOSE = 1.0
"""A score this many points below another is close to it."""
DEVIATION, LARGE, COSTLY = "std", 1e-2, 2.0
"""The field of methods for the standard deviation of initial weights; the largest that the paper found harmless; and
the loss in points that counts as harm."""


@dataclass(frozen=True)
class Sweep:
    """Records that differ in one number alone: its name, the label of all, and the records of each value, from small to
    large."""

    field: str
    label: str
    values: dict[float, list[Record]]

    def on(self, tasks: Collection[str]) -> Sweep:
        """The sweep on some of its tasks."""
        kept = {value: [r for r in records if r.task in tasks] for value, records in self.values.items()}
        return replace(self, values=kept)

    @property
    def grows(self) -> bool:
        """Whether every value trains another number of parameters."""
        sizes = [trained(records) for records in self.values.values()]
        return None not in sizes and len(set(sizes)) == len(sizes)


def trained(records: Sequence[Record]) -> float | None:
    """The median number of trained parameters."""
    return median(finite_values(records, lambda record: record.parameters.trainable))


def sweep_studies(
    material: Material, chosen: Sequence[Record], row: Callable[[Record], str], unchosen: Callable[[Record], bool]
) -> list[Study]:
    """Per backbone and number of training rows: a study of all sweeps that change the number of trained parameters, and
    one of each other swept number. A recipe counts only where none was `chosen` by a search."""
    studies: list[Study] = []
    trains = [record for record in chosen if record.score is not None and record.parameters.trainable]
    for place, group in group_by(trains, lambda record: (record.backbone, record.shots)).items():
        where = f"{material.backbones[place[0]]}, {describe_shots(place[1])}"
        sweeps = find_sweeps(group, unchosen)
        sizes = [sweep for sweep in sweeps if sweep.grows]
        swept = {id(record) for sweep in sweeps for records in sweep.values.values() for record in records}
        if sizes:
            others = group_by([record for record in group if id(record) not in swept], row)
            studies.append(_size_study(material, len(studies), where, sizes, dict(list(others.items())[:BESIDE])))
        for name, same in group_by([s for s in sweeps if not s.grows], lambda sweep: sweep.field).items():
            studies.append(_value_study(material, len(studies), where, name, same))
    return studies


def find_sweeps(records: Sequence[Record], unchosen: Callable[[Record], bool]) -> list[Sweep]:
    """The sweeps of these records, by label and number."""
    read = {id(record): _numbers(record, unchosen(record)) for record in records}
    found = []
    for field in sorted({name for names in read.values() for name, value in names.items() if _is_number(value)}):
        having = [record for record in records if _is_number(read[id(record)].get(field))]
        for group in group_by(having, lambda record, field=field: _rest(record, read[id(record)], field)).values():  # type: ignore[misc]
            by_value = group_by(group, lambda record, field=field: float(read[id(record)][field]))  # type: ignore[misc]
            if len(by_value) >= FEWEST:
                found.append(Sweep(field.rpartition(".")[2], _label(group, field), dict(sorted(by_value.items()))))
    return found


def _numbers(record: Record, with_recipe: bool) -> dict[str, str]:
    """Name -> text of every field of the method, and of the recipe as `recipe.name`."""
    own = {"": record.method.partition(":")[0], **fields_of_method(record)}
    return own | ({f"recipe.{key}": units.number(value) for key, value in record.recipe.items()} if with_recipe else {})


def _rest(record: Record, names: dict[str, str], field: str) -> Hashable:
    """Everything that must be equal in a sweep of a field, draws, seeds, tasks and templates apart."""
    return tuple(sorted((name, value) for name, value in names.items() if name != field))


def _is_number(text: str | None) -> bool:
    try:
        return text is not None and units.finite(float(text))
    except ValueError:
        return False


def _label(records: Sequence[Record], field: str) -> str:
    """The label that all have, without the swept field."""
    name = field.rpartition(".")[2]
    bare = {re.sub(rf"(?<=[:,]){name}=[^,]*(?:,|$)", "", record.label).rstrip(":,") for record in records}
    return min(bare, key=lambda text: (len(text), text))


def _size_study(
    material: Material, number: int, where: str, sweeps: Sequence[Sweep], others: dict[str, list[Record]]
) -> Study:
    """Score over trained parameters, as in Houlsby's figure 4."""
    tasks = shared_tasks([records for sweep in sweeps for records in sweep.values.values()])
    sweeps = [sweep.on(tasks) for sweep in sweeps]
    others = {
        label: [record for record in records if record.task in tasks]
        for label, records in others.items()
        if set(tasks) <= set(shared_tasks([records]))
    }
    groups = [records for sweep in sweeps for records in sweep.values.values()]
    whole = [record for records in (*groups, *others.values()) for record in records]
    lines = [Line(f"{sweep.label} ({sweep.field})", _points(sweep, tasks, trained)) for sweep in sweeps]
    for label, records in others.items():
        found, size = center(records, tasks), trained(records)
        lines += [Line(label, (found.at(size),), True)] if found is not None and size is not None else []
    over, bars = says_over(whole, tasks, material.names), about_bars(point for line in lines for point in line.points)
    note = f"Mean over {over}.{bars}"
    chart = Chart(
        "trained", "Score against trained parameters", note, tuple(lines), "trained parameters per task", "100 × score"
    )
    intro = [f"One size varies, on {where}. Scores × 100: means over {over}."]
    intro += [_reaches(sweep, tasks, others) for sweep in sweeps]
    tables = (_size_table(material, sweeps, others, tasks),)
    title = f"{join_names(list(dict.fromkeys(sweep.label for sweep in sweeps)))}: size"
    return Study(f"size-{number + 1}", title, tuple(intro), tables, (chart,))


def _points(
    sweep: Sweep, tasks: Sequence[str], place: Callable[[Sequence[Record]], float | None] | None = None
) -> tuple[Point, ...]:
    """The points of a sweep's line, over its values or over another number of its records."""
    points = []
    for value, records in sweep.values.items():
        found, x = center(records, tasks), value if place is None else place(records)
        points += [found.at(x)] if found is not None and x is not None else []
    return tuple(sorted(points, key=lambda point: point.x))


def _reaches(sweep: Sweep, tasks: Sequence[str], others: dict[str, list[Record]]) -> str:
    """From which size on a sweep is close to the reference, else to its own best, in a sentence."""
    found = {value: known for value, records in sweep.values.items() if (known := center(records, tasks)) is not None}
    best = max(found, key=lambda value: found[value].mean)
    spread = max(known.mean for known in found.values()) - min(known.mean for known in found.values())
    text = (
        f"{sweep.label}: {sweep.field} {_at(best)} scores most, {units.points(found[best].mean / 100)}; its values "
        f"differ by up to {spread:.1f} points."
    )
    base = center(others[REFERENCE], tasks) if REFERENCE in others else None
    goal, whose = (found[best].mean, "its best") if base is None else (base.mean, REFERENCE)
    near = next((value for value in found if found[value].mean >= goal - CLOSE), None)
    if near is None:
        return f"{text} No value is within {CLOSE:g} point of {whose} ({units.points(goal / 100)})."
    records = sweep.values[near]
    size, backbone = trained(records), records[0].parameters.backbone
    share = f", {units.of_backbone(size, backbone)} trained" if size is not None and backbone else ""
    against = f"{whose} ({units.points(goal / 100)})"
    return f"{text} {sweep.field} {_at(near)} is the first within {CLOSE:g} point of {against}{share}."


def _at(value: float) -> str:
    return units.number(int(value) if value.is_integer() else value)


def _size_table(
    material: Material, sweeps: Sequence[Sweep], others: dict[str, list[Record]], tasks: Sequence[str]
) -> Table:
    columns = (
        Column("method", numeric=False),
        Column("value"),
        Column("trained", "parameters"),
        Column("of the backbone"),
        Column("score", f"mean over {units.plural(len(tasks), 'task')}"),
        *(Column(material.names[task]) for task in _shown(tasks)),
    )
    rows: list[tuple[Cell, ...]] = []
    lines = []
    for sweep in sweeps:
        lines.append(len(rows))
        for value, records in sweep.values.items():
            rows.append((Cell(f"{sweep.label}: {sweep.field}"), Cell(_at(value)), *_size_cells(records, tasks)))
    lines.append(len(rows))
    rows += [(Cell(label), Cell(""), *_size_cells(records, tasks)) for label, records in others.items()]
    note = "Scores × 100; in brackets from the lowest to the highest run, where there are several."
    return Table("Score by size", columns, tuple(rows), note, tuple(line for line in lines if 0 < line < len(rows)), 2)


def _size_cells(records: Sequence[Record], tasks: Sequence[str]) -> tuple[Cell, ...]:
    size = trained(records)
    backbone = median(finite_values(records, lambda record: record.parameters.backbone))
    keys = tuple(record.key for record in records)
    return (
        Cell(units.count(size), keys=keys),
        Cell(units.percent(size, backbone), keys=keys),
        score_cell(center(records, tasks)),
        *(score_cell(center(records, [task])) for task in _shown(tasks)),
    )


def _shown(tasks: Sequence[str]) -> Sequence[str]:
    """The tasks that have columns of their own."""
    return tasks if 1 < len(tasks) <= 4 else ()


def _value_study(material: Material, number: int, where: str, name: str, sweeps: Sequence[Sweep]) -> Study:
    """Score over a number that trains the same parameters whatever its value, such as a deviation or a rate."""
    groups = [records for sweep in sweeps for records in sweep.values.values()]
    tasks = shared_tasks(groups)
    whole = [record for records in groups for record in records]
    lines = tuple(Line(sweep.label, _points(sweep, tasks)) for sweep in sweeps)
    over, bars = says_over(whole, tasks, material.names), about_bars(point for line in lines for point in line.points)
    note = f"Mean over {over}.{bars}"
    chart = Chart("value", f"Score over {name}", note, lines, name, "100 × score")
    found = {
        sweep.label: {value: center(records, tasks) for value, records in sweep.values.items()} for sweep in sweeps
    }
    intro = [f"Only {name} varies, on {where}. Scores × 100: means over {over}."]
    intro += [
        _stays(label, name, {v: c for v, c in centers.items() if c is not None}) for label, centers in found.items()
    ]
    values = sorted({value for centers in found.values() for value in centers})
    columns = (Column(name, numeric=False), *(Column(sweep.label) for sweep in sweeps))
    rows = tuple(
        (Cell(_at(value)), *(score_cell(found[sweep.label].get(value)) for sweep in sweeps)) for value in values
    )
    note = "Scores × 100; in brackets from the lowest to the highest run, where there are several."
    table = Table(f"Score by {name}", columns, rows, note)
    title = f"{join_names([sweep.label for sweep in sweeps])}: {name}"
    return Study(f"{name.replace('_', '-')}-{number + 1}", title, tuple(intro), (table,), (chart,))


def _stays(label: str, name: str, found: dict[float, Center]) -> str:
    """For which values a method stays close to its best, in sentences; of initial deviations, what the paper found."""
    if not found:
        return f"{label}: no value has a score on every task."
    best = max(found, key=lambda value: found[value].mean)
    top = found[best].mean
    near = [value for value, known in found.items() if known.mean >= top - CLOSE]
    text = (
        f"{label}: best at {_at(best)} ({units.points(top / 100)}); within {CLOSE:g} point of that at "
        f"{join_names([_at(value) for value in near], 8)}; at the largest value, {_at(max(found))}, "
        f"{units.points(found[max(found)].mean / 100)}."
    )
    small = [known.mean for value, known in found.items() if value <= LARGE]
    large = [known.mean for value, known in found.items() if value > LARGE]
    if name != DEVIATION or not small or not large:
        return text
    claims = [
        ("small deviations are harmless", max(small) - min(small) <= COSTLY),
        ("large ones are not", max(small) - min(large) > COSTLY),
    ]
    return (
        f"{text} Houlsby et al. (2019, section 3.6) tried 1e-7 to 1 and found adapters robust below 1e-2, and worse "
        f"above. {verdict(claims)} Values up to {LARGE:g} differ by {max(small) - min(small):.1f} points; the worst "
        f"larger one is {max(small) - min(large):.1f} below the best of these."
    )
