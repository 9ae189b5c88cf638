"""What was inserted is left out of spans of blocks after training: the study of Houlsby et al. 2019, figure 6."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tunefront.bench.records import Record
from tunefront.bench.records.record import ROUNDING
from tunefront.reports import units
from tunefront.reports.compare.checks import group_by
from tunefront.reports.names import describe_shots, join_names
from tunefront.reports.sections.studies.centers import Center, center, says_over, score_cell, shared_tasks
from tunefront.reports.sections.studies.study import HeatMap, Material, Study
from tunefront.reports.tables import Cell, Column, Table

Ends = tuple[int, int]
"""(first, last) block of a span."""
FEW = 4
"""The most tasks that have heat maps of their own."""
DRAWN = 6
"""The fewest spans of a heat map; fewer are in the table alone."""
SMALL, NEAR = 2.0, 5.0
"""A single block matters little up to this many points, the paper's own number; a score is that of the constant answer
if it is at most so many points from it."""
PAPER = (
    "Houlsby et al. (2019, figure 6: adapters of size 64 in BERT-base, on MNLI and CoLA) found that no single block "
    "costs more than 2 %, that without any adapter the score is that of the majority class, and that adapters of lower "
    "blocks matter less than those of higher ones."
)


def span_studies(material: Material, chosen: Sequence[Record], row: Callable[[Record], str]) -> list[Study]:
    """A study per method, backbone and number of training rows whose records have scores without spans."""
    known = [record for record in chosen if record.spans and record.score is not None]
    groups = group_by(known, lambda record: (row(record), record.backbone, record.shots))
    return [
        _study(material, label, place, group)
        for place, ((label, *_), group) in enumerate(sorted(groups.items(), key=lambda item: str(item[0])))
    ]


def _study(material: Material, label: str, place: int, records: Sequence[Record]) -> Study:
    tasks = shared_tasks([records])
    spans = _shared_spans(records)
    first = records[0]
    where = f"{material.backbones[first.backbone]}, {describe_shots(first.shots)}"
    changes = {span: found for span in spans if (found := center(records, tasks, _change(span))) is not None}
    blocks = 1 + max(last for _, last in changes)
    figures = []
    if len(changes) >= DRAWN:
        title = f"Mean over {units.plural(len(tasks), 'task')}" if len(tasks) > 1 else material.names[tasks[0]]
        figures.append(_heat_map("mean", title, changes, blocks))
        for number, task in enumerate(tasks if 1 < len(tasks) <= FEW else ()):
            own = [record for record in records if record.task == task]
            by_span = {span: found for span in spans if (found := center(own, [task], _change(span))) is not None}
            figures.append(replace(_heat_map(f"task-{number + 1}", material.names[task], by_span, blocks), small=True))
    over = says_over(records, tasks, material.names)
    intro = (
        f"After {label} was trained on {where}, what it had inserted was left out of each span of blocks, and the rows "
        "were scored again. Nothing was trained again: norms and a head that were trained stay as they are. Blocks are "
        f"counted from 0. Changes are in points against nothing left out: means over {over}.",
        *_findings(records, tasks, changes, blocks),
    )
    tables = (_table(material, records, tasks, changes),)
    return Study(f"spans-{place + 1}", f"{label} without spans of blocks", intro, tables, tuple(figures))


def _shared_spans(records: Sequence[Record]) -> list[Ends]:
    """The spans that every record has, in the order of the first record."""
    own = [{(span.first, span.last) for span in record.spans or ()} for record in records]
    return [(s.first, s.last) for s in records[0].spans or () if all((s.first, s.last) in spans for spans in own)]


def _change(span: Ends) -> Callable[[Record], float | None]:
    """The change of a record's score in points without this span."""

    def change(record: Record) -> float | None:
        left = next((one for one in record.spans or () if (one.first, one.last) == span), None)
        value = None if left is None else left.scores.get(record.scores.headline or "")
        return None if value is None or record.score is None else 100 * (value - record.score)

    return change


def _heat_map(name: str, title: str, changes: dict[Ends, Center], blocks: int) -> HeatMap:
    numbers = tuple(str(block) for block in range(blocks))
    values = tuple(
        tuple(changes[first, last].mean if (first, last) in changes else None for last in range(blocks))
        for first in range(blocks)
    )
    note = (
        "Change in points where the blocks from the row's to the column's are left out; single blocks on the diagonal."
    )
    return HeatMap(
        name,
        title,
        note,
        numbers,
        numbers,
        values,
        "change in points",
        "last block left out",
        "first block left out",
        True,
    )


def _findings(records: Sequence[Record], tasks: Sequence[str], changes: dict[Ends, Center], blocks: int) -> list[str]:
    """What the numbers say, and whether what the paper found holds; empty if the spans do not show it."""
    single = {first: found.mean for (first, last), found in changes.items() if first == last}
    everything, half = changes.get((0, blocks - 1)), blocks // 2
    lower, upper = changes.get((0, half - 1)), changes.get((half, blocks - 1))
    whole = center(records, tasks)
    if len(single) < blocks or everything is None or whole is None or blocks < 2 or lower is None or upper is None:
        return []
    worst = min(single, key=lambda block: single[block])
    left = whole.mean + everything.mean
    constant = center(
        records, tasks, lambda record: None if record.baseline_score is None else 100 * record.baseline_score
    )
    loss = f"costs up to {-single[worst]:.1f} points (block {worst})" if single[worst] < 0 else "costs nothing"
    text = (
        f"A single block {loss}. Without all the score changes by {units.signed(everything.mean)}, from "
        f"{units.points(whole.mean / 100)} to {units.points(left / 100)}; "
    )
    text += "" if constant is None else f"the constant answer scores {units.points(constant.mean / 100)}. "
    text += (
        f"Without the lower half (blocks 0 to {half - 1}) it changes by {units.signed(lower.mean)}, without the upper "
        f"half ({half} to {blocks - 1}) by {units.signed(upper.mean)}."
    )
    claims = [
        ("a single block matters little", single[worst] >= -SMALL - ROUNDING),
        ("the lower half matters less than the upper", abs(lower.mean) < abs(upper.mean)),
    ]
    if constant is not None:
        claims.insert(
            1, ("without all only the constant answer's score is left", left - constant.mean <= NEAR + ROUNDING)
        )
    return [text, f"{PAPER} {verdict(claims)}"]


def verdict(claims: Sequence[tuple[str, bool]]) -> str:
    """Which claims hold here, in a sentence.

    >>> verdict([("a", True), ("b", True)]), verdict([("a", True), ("b", False)])
    ('All of it holds here.', 'Holds here: a. Does not: b.')
    """
    holding, failing = [text for text, holds in claims if holds], [text for text, holds in claims if not holds]
    if not failing:
        return "All of it holds here." if len(claims) > 1 else "It holds here."
    if not holding:
        return "None of it holds here." if len(claims) > 1 else "It does not hold here."
    return f"Holds here: {join_names(holding)}. Does not: {join_names(failing)}."


def _table(material: Material, records: Sequence[Record], tasks: Sequence[str], changes: dict[Ends, Center]) -> Table:
    """A row per span: its modules, and the change of the score over all tasks and on each."""
    own = {task: [record for record in records if record.task == task] for task in tasks}
    shown = tasks if 1 < len(tasks) <= FEW else ()
    columns = (
        Column("blocks", "left out", numeric=False),
        Column("modules", "left out"),
        Column("change", f"mean over {units.plural(len(tasks), 'task')}"),
        *(Column(material.names[task], "change") for task in shown),
    )
    plugs = {(span.first, span.last): span.plugs for span in records[0].spans or ()}
    rows = [
        (
            Cell(str(span[0]) if span[0] == span[1] else f"{span[0]}–{span[1]}"),
            Cell(units.count(plugs[span])),
            score_cell(found, signed=True),
            *(score_cell(center(own[task], [task], _change(span)), signed=True) for task in shown),
        )
        for span, found in changes.items()
    ]
    note = (
        "In points against nothing left out; in brackets from the lowest to the highest run, where there are several."
    )
    keys = tuple(record.key for record in records)
    return Table("Scores without spans of blocks", columns, tuple(rows), note, keys=(keys,) * len(rows))
