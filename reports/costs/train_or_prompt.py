"""Train or prompt: after how many queries training costs less than prompting, in FLOPs and seconds; stored bytes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare.checks import group_by
from tunefront.reports.compare.query_comparison import compare_ways
from tunefront.reports.compare.query_costs import MEASURES, WITH_CACHE, WITHOUT_CACHE, list_ways
from tunefront.reports.costs.breakdown import Ledger
from tunefront.reports.names import describe_shots, natural_key, short_names
from tunefront.reports.tables import Cell, Column, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from tunefront.bench.records import Record
    from tunefront.reports.compare.panels import Panel
    from tunefront.reports.compare.query_comparison import Pair
    from tunefront.reports.compare.query_costs import Way

Ways = dict[str, list["Way"]]
"""The ways to answer queries by group of comparable records: a task, or a backbone with shots and a task."""


@dataclass(frozen=True)
class Measure:
    """A measure of `Way.line` in words: its name, what a cheaper way costs, the second line of the column of training,
    how a cost is written, and its unit. A `noisy` one follows from seconds."""

    key: str
    name: str
    less: str
    under: str
    write: Callable[[float | None], str]
    unit: str
    noisy: bool = False


MEASURED = {
    "flops": Measure("flops", "FLOPs", "fewer FLOPs", "FLOPs", partial(units.si, unit="FLOP"), "FLOP"),
    "seconds": Measure("seconds", "seconds", "fewer seconds", "time", units.seconds, "s", noisy=True),
}
"""The words of MEASURES."""
TEXT = (
    "Training is paid for once. Demonstrations are paid for with every query, or once if their keys and values are "
    "cached. Each number is the number of queries after which training plus queries cost less in total than prompting. "
    "Trained: training + n × (inference per example). With cache: reading the demonstrations once + n × (inference per "
    "example). Without cache: n × (inference per example including demonstrations), plus the calibration if there is "
    "one. The cost of choosing a recipe or writing a prompt is not included."
)
SECONDS = (
    "Seconds depend on the machine, threads and batch sizes of these runs. Without a cache, a query's demonstrations "
    "are assumed to take as long as reading them once. The column without cache is missing if a calibration was timed "
    "with them, or if queries keep fewer demonstrations."
)

VARY = (
    " Seconds vary between runs, so these numbers are rounded to two digits. Not distinguished: the seconds per query "
    "of the two are not known to differ, because both need the same FLOPs per query, or because the spread between "
    "runs is as large as the difference, or because there is one run of each and FLOPs do not confirm it. Then no "
    "number of queries follows from them: if both took the same, the one that costs less before the first query would "
    "always cost less."
)
"""Explains the numbers in seconds."""


def break_even_table(records: Sequence[Record], measure: str = "flops") -> Table | None:
    """After how many queries each trained method costs less than each prompt, in `flops` or `seconds`.

    None if no two records can be compared. Records of any status are used if they have the numbers, also planned ones.
    Records of different backbones, shots or tasks are never compared.
    """
    groups = group_by(records, lambda record: (record.backbone, record.shots, record.task))
    tasks, backbones = short_names(r.task for r in records), short_names(r.backbone for r in records)
    models = {(backbone, amount) for backbone, amount, _ in groups}
    by_place = {}
    for (backbone, amount, task), group in groups.items():
        place = tasks[task] if len(models) == 1 else f"{tasks[task]} ({backbones[backbone]}, {describe_shots(amount)})"
        by_place[place] = list_ways(
            group_by(sorted(group, key=lambda r: natural_key(r.label)), lambda record: record.label)
        )
    return crossing_table(by_place, MEASURED[measure])


def panel_ways(panel: Panel, names: Mapping[str, str]) -> Ways:
    """The ways to answer queries on each task of a panel, by the task's short name."""
    return {
        names[task]: list_ways({entry.label: entry.records[task] for entry in panel.entries if task in entry.records})
        for task in panel.tasks
    }


def ledger(panel: Panel, names: Mapping[str, str]) -> Ledger | None:
    """The ledger of a panel; None if nothing was prompted or nothing trained."""
    ways_by_task = panel_ways(panel, names)
    measures = [MEASURED[key] for key in MEASURES if key == "flops" or not panel.timing_mismatch]
    tables = [table for measure in measures if (table := crossing_table(ways_by_task, measure)) is not None]
    if not tables:
        return None
    bytes_kept = kept_bytes_table(ways_by_task)
    text = (TEXT, SECONDS) if len(tables) > 1 else (TEXT,)
    shown = (*tables, bytes_kept) if bytes_kept is not None else tuple(tables)
    short = earliest(ways_by_task, {entry.label for entry in panel.worthwhile}, MEASURED["flops"])
    return Ledger("break-even", "Train or prompt?", short, text, shown)


def crossing_table(ways_by_task: Ways, measure: Measure, further: str = "") -> Table | None:
    """A table with a row per task and trained method, and a column per prompt. `further` ends its note."""
    by_task = {task: compare_ways(ways, measure.key, measure.noisy) for task, ways in ways_by_task.items()}
    shown = [pair for task_pairs in by_task.values() for pair in task_pairs]
    if not shown:
        return None
    prompts = _prompts(pair.prompted for pair in shown)
    several = len(ways_by_task) > 1
    rows: list[tuple[Cell, ...]] = []
    for task, task_pairs in by_task.items():
        for label, method_pairs in group_by(task_pairs, lambda pair: pair.trained.label).items():
            cells = {(pair.prompted.label, pair.prompted.how): pair for pair in method_pairs}
            way = method_pairs[0].trained
            spent = way.line(measure.key)
            start = _start(spent.start if spent else None, measure, way.keys)
            first = (Cell(label), *((Cell(task),) if several else ()), start)
            rows.append((*first, *(_crossing(cells.get(prompt), measure) for prompt in prompts)))
    columns = (
        Column("method", numeric=False),
        *((Column("task", numeric=False),) if several else ()),
        Column("training", measure.under),
        *(Column(label, how) for label, how in prompts),
    )
    note = (
        "The number of queries after which the trained method costs less in total than the prompt of the column. From "
        "the first: it always costs less. Never: it always costs more. Up to: it costs less only up to that number. "
        f"Medians over the runs of a task.{VARY if measure.noisy else ''}{further}"
    )
    return Table(
        f"Number of queries after which training pays off, in {measure.name}",
        columns,
        tuple(rows),
        note,
        leading=1 + several,
    )


def kept_bytes_table(ways_by_task: Ways) -> Table | None:
    """Bytes stored in addition to the backbone, for any number of queries: a row per way, a column per task."""
    by_task = {task: {way.name: way for way in there} for task, there in ways_by_task.items()}
    names = dict.fromkeys(name for there in by_task.values() for name in there)
    if all(way.kept_bytes is None for there in by_task.values() for way in there.values()):
        return None
    columns = (Column("method", numeric=False), *(Column(task, "stored bytes") for task in by_task))
    rows = tuple((Cell(name), *(_size(there.get(name)) for there in by_task.values())) for name in names)
    note = (
        "Bytes in addition to the backbone, for any number of queries: the file of trained parameters, or the text of "
        "a prompt's demonstrations, plus their keys and values with a cache."
    )
    return Table("Stored bytes, trained and prompted", columns, rows, note)


def _prompts(ways: Iterable[Way]) -> list[tuple[str, str]]:
    """The columns: prompts without demonstrations first, then by label in natural order, with cache before without."""
    return sorted(
        {(way.label, way.how) for way in ways},
        key=lambda prompt: (prompt[1] != "", natural_key(prompt[0]), (WITH_CACHE, WITHOUT_CACHE, "").index(prompt[1])),
    )


def _start(value: float | None, measure: Measure, keys: tuple[str, ...]) -> Cell:
    return Cell(measure.write(value), title=units.exact(value, measure.unit), keys=() if value is None else keys)


def _crossing(pair: Pair | None, measure: Measure) -> Cell:
    if pair is None:
        return Cell(units.MISSING)
    kind, words = pair.crossing.kind, pair.crossing.rough if measure.noisy else pair.crossing.words
    comparison = {
        "same": f"costs the same {measure.name} as",
        "never": f"never costs {measure.less} than",
        "unclear": f"is not distinguished ({pair.crossing.reason}) from",
    }.get(kind, f"costs {measure.less} {words} than")
    return Cell(
        pair.crossing.rough_short if measure.noisy else pair.crossing.short,
        title=f"{pair.trained.label} {comparison} {pair.prompted.name}",
        keys=(*pair.trained.keys, *pair.prompted.keys),
    )


def _size(way: Way | None) -> Cell:
    value = None if way is None else way.kept_bytes
    keys = () if way is None or value is None else way.keys
    return Cell(units.si(value, "B"), title=units.exact(value, "B"), keys=keys)


def earliest(ways_by_task: Ways, worthwhile: Collection[str], measure: Measure) -> str:
    """The earliest break-even with a prompt with demonstrations, of methods that did not collapse; empty if none."""
    met = [
        pair
        for ways in ways_by_task.values()
        for pair in compare_ways(ways, measure.key, measure.noisy)
        if pair.prompted.how and pair.crossing.kind in ("after", "always") and pair.trained.label in worthwhile
    ]
    if not met:
        return ""
    soonest = min(met, key=lambda pair: pair.crossing.queries or 0.0)
    names = f"{soonest.trained.label} costs {measure.less} than {soonest.prompted.name}"
    return f"earliest: {names} {soonest.crossing.rough if measure.noisy else soonest.crossing.words}"
