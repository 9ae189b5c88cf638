"""Mixed batches: whether every row has the scores of its cell alone, and how many rows a second three ways score."""

from __future__ import annotations

from collections.abc import Sequence

from tunefront.bench.records import Record
from tunefront.reports import units
from tunefront.reports.sections.studies.study import Material, Study
from tunefront.reports.tables import Cell, Column, Table

IN_WORDS = {
    "mixed": "one mixed batch",
    "switching": "one task after another",
    "separate": "a model per task",
}
"""Way -> its short name."""


def mixed_studies(material: Material) -> list[Study]:
    """A study for each set of cells that were mixed."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in material.records:
        if record.mixed.members is not None:
            groups.setdefault(record.mixed.members, []).append(record)
    return [_study(material, place, records) for place, records in enumerate(groups.values(), 1)]


def _study(material: Material, number: int, records: Sequence[Record]) -> Study:
    first = records[0]
    n_methods, n_tasks = (len({getattr(record, name) for record in records}) for name in ("label", "task"))
    backbone, members = material.backbones[first.backbone], units.plural(len(first.mixed.members or ()), "member")
    intro = (
        f"Rows of {members} ({units.plural(n_methods, 'method')}, {units.plural(n_tasks, 'task')}) share passes "
        f"through one {backbone}, each row through the modules of its own member (Liu et al. 2022, section 2), in "
        f"batches of at most {first.settings.get('eval_batch_size')} rows that arrive in any order.",
        *_findings(records),
    )
    return Study(
        f"mixed-{number}",
        f"Mixed batches on {backbone}",
        intro,
        (_ways(first), _members(material, records)),
    )


def _findings(records: Sequence[Record]) -> list[str]:
    differences = [record.mixed.largest_difference for record in records]
    known = [value for value in differences if value is not None]
    changed = sum(record.mixed.changed_answers or 0 for record in records)
    sentences = []
    if known:
        answers = "no answer differs" if not changed else f"{units.plural(changed, 'answer')} differ"
        sentences.append(f"Scores are those of each member alone to {max(known):.1e}; {answers}.")
    speeds = records[0].mixed.rows_per_second or {}
    if "mixed" in speeds:
        faster = [
            f"{units.times(speeds['mixed'] / speeds[way])} the rows per second of {IN_WORDS[way]}"
            for way in ("switching", "separate")
            if speeds.get(way)
        ]
        if faster:
            sentences.append(f"Mixed batches score {' and '.join(faster)}.")
    return sentences


def _ways(record: Record) -> Table:
    """The table of rows per second and memory."""
    speeds, weights, peaks = (
        values or {} for values in (record.mixed.rows_per_second, record.mixed.weights_bytes, record.mixed.peak_bytes)
    )
    rows = tuple(
        (
            Cell(words),
            Cell(units.MISSING if way not in speeds else units.significant(speeds[way])),
            Cell(units.si(weights.get(way), "B")),
            Cell(units.si(peaks.get(way), "B")),
        )
        for way, words in IN_WORDS.items()
        if way in speeds
    )
    return Table(
        "Three ways to score the rows of all members",
        (Column("way", numeric=False), Column("rows per second"), Column("weights"), Column("peak memory")),
        rows,
        f"Medians of rounds over the same {units.count(record.mixed.n_rows)} rows, in turn on one machine. Weights: of "
        "the backbone or its copies, and of all members' modules and heads; peak memory: these, and the most that "
        "tensors took beside them.",
        keys=((record.key,),) * len(rows),
    )


def _members(material: Material, records: Sequence[Record]) -> Table:
    """The table of members, with their scores alone."""
    rows = tuple(
        (
            Cell(record.label),
            Cell(material.names[record.task]),
            Cell(units.MISSING if record.score is None else f"{100 * record.score:.1f}"),
            Cell(units.MISSING if (d := record.mixed.largest_difference) is None else f"{d:.1e}"),
            Cell(f"{units.count(record.mixed.changed_answers)} of {units.count(record.data.n_test)}"),
        )
        for record in records
    )
    return Table(
        "Members of the mixed batches",
        (
            Column("method", numeric=False),
            Column("task", numeric=False),
            Column("score alone"),
            Column("largest difference"),
            Column("changed answers"),
        ),
        rows,
        "Score × 100 on the task's first metric, of the cell alone. Largest difference: of a row's score in mixed "
        "batches from that alone.",
        leading=2,
        keys=tuple((record.key,) for record in records),
    )
