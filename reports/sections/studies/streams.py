"""Tasks that arrive one after another: what is remembered of earlier ones, and what each further task costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tunefront.reports import units
from tunefront.reports.compare.checks import find_timing_mismatch
from tunefront.reports.compare.statistics import mean_if_complete, median
from tunefront.reports.compare.streams import SEPARATE, Passage, Spread, Stream, StreamRow, streams_of
from tunefront.reports.names import describe_shots, join_names
from tunefront.reports.sections.studies.study import Chart, HeatMap, Line, Material, Point, Study
from tunefront.reports.tables import Cell, Column, Table

IN_WORDS = {
    "separate": "",
    "sequential": " in sequence",
    "replay": " with replay",
    "multitask": " on all tasks",
}
"""Way -> what follows the method's name."""
MEANINGS = {
    "sequential": "in sequence: one model for all tasks, trained on one after another",
    "replay": "with replay: the same, also on some rows of earlier tasks",
    "multitask": "on all tasks: the pretrained model, trained on all tasks so far together",
}
"""Way -> what it means, for those with one model for all tasks."""
MOST_MAPS = 4
"""The most score matrices that are drawn."""
LINES = 8
"""The most lines of a chart."""


def stream_studies(material: Material) -> list[Study]:
    """A study for each set of tasks that arrived one after another."""
    streams = streams_of(material.records)
    return [_study(material, place, stream, len(streams) > 1) for place, stream in enumerate(streams)]


def _study(material: Material, number: int, stream: Stream, several: bool) -> Study:
    names = [material.names[task] for task in stream.tasks]
    runs, alone = _runs(stream), all(len(row.passages) == 1 for row in stream.rows)
    intervals = (
        "."
        if alone
        else f": means over {runs}, with 95 % intervals of Student's t {_between(stream)} where they differ. They are "
        "about other such runs on these tasks and test rows, not about other tasks."
    )
    where = f"{material.backbones[stream.backbone]}, {describe_shots(stream.shots)} of each task"
    orders = "; ".join(_listed(order, material) for order in stream.orders)
    intro = (
        f"{units.plural(len(names), 'task')} arrive one after another on {where}. After each, every earlier task is "
        f"scored again. Scores × 100{intervals}",
        "A method alone has parameters of its own for each task, kept in a checkpoint"
        + "".join(f"; {text}" for way, text in MEANINGS.items() if any(row.way == way for row in stream.rows))
        + ".",
        *_findings(stream),
    )
    note = f"Orders: {orders}."
    tables = (_scores(stream, material), _costs(stream), _averages(stream, note))
    return Study(
        f"stream-{number + 1}",
        f"Tasks in a stream on {material.backbones[stream.backbone]}{f', {number + 1}' if several else ''}",
        intro,
        tables,
        (_over_time(stream), _bytes_over_tasks(stream), *_matrices(stream, material)),
    )


def _listed(order: Sequence[str], material: Material) -> str:
    """The tasks in order."""
    return " → ".join(material.names[task] for task in order)


def _runs(stream: Stream) -> str:
    """What the means are over: `3 orders`, or `3 orders × 2 draws or seeds`."""
    most = max(stream.rows, key=lambda row: len(row.passages)).passages
    others = len({passage.run for passage in most})
    orders = units.plural(len({passage.order for passage in most}), "order")
    return orders if others == 1 else f"{orders} × {others} draws and seeds"


def _between(stream: Stream) -> str:
    """What the intervals are between."""
    several = len({passage.run for row in stream.rows for passage in row.passages}) > 1
    return "between draws and seeds, each the mean over its orders," if several else "between orders"


def _name(row: StreamRow) -> str:
    words = IN_WORDS[row.way]
    if row.replay_share is not None:
        words = f" with {100 * row.replay_share:.3g}\u00a0% replay"
    return f"{row.label}{words}{f' ({row.note})' if row.note else ''}"


def _findings(stream: Stream) -> list[str]:
    """What is remembered, what is lost, and what all tasks need together."""
    separate = [row for row in stream.rows if row.way == SEPARATE]
    sentences = []
    if separate:
        equal, scored = _unchanged([passage for row in separate for passage in row.passages])
        same = "every one" if equal == scored else units.count(equal)
        sentences.append(
            f"With a checkpoint for each task, earlier tasks were scored {units.plural(scored, 'time')} after later "
            f"ones were added: {same} of these gave the same scores as when the task was new, to the bit."
        )
    changes = []
    for row in stream.rows:
        lost = row.spread(lambda passage: passage.backward_transfer)
        if row.way != SEPARATE and lost is not None:
            changes.append(f"{_name(row)}: {_signed(lost)} points")
    if changes:
        sentences.append(
            "On earlier tasks the score after the last one differs from that when the task was new, on average, by: "
            f"{'; '.join(changes)}."
        )
    whole = [(row, _last_size(row)) for row in stream.rows]
    shares = [f"{_name(row)}: {units.times(size)}" for row, size in whole if size is not None]
    if shares:
        sentences.append(
            f"All {len(stream.tasks)} tasks together need, in bytes of files and against those of the backbone: "
            f"{'; '.join(shares)}."
        )
    return sentences


def _keys(row: StreamRow, last: int | None = None) -> tuple[str, ...]:
    """The keys of a row's records: of the step `last` (counted from 0) alone, or of all."""
    steps = [passage.steps if last is None else passage.steps[last : last + 1] for passage in row.passages]
    return tuple(dict.fromkeys(step.key for passage in steps for step in passage))


def _unchanged(passages: Sequence[Passage]) -> tuple[int, int]:
    """How many scorings of earlier tasks gave the same scores as when the task was new, and of how many."""
    counts = [passage.unchanged for passage in passages]
    return sum(equal for equal, _ in counts), sum(scored for _, scored in counts)


def _last_size(row: StreamRow) -> float | None:
    """Bytes of the files for all tasks, as a multiple of the backbone's."""
    return mean_if_complete(_in_backbones(passage)[-1] for passage in row.passages)


def _in_backbones(passage: Passage) -> list[float | None]:
    """Bytes after each step, as a multiple of the backbone's files."""
    whole = passage.steps[0].storage.backbone_bytes
    return [None if n_bytes is None or not whole else n_bytes / whole for _, n_bytes in passage.sizes]


def _scores(stream: Stream, material: Material) -> Table:
    """The table of scores and of what is remembered, after the last step."""
    reference, last = stream.reference, len(stream.tasks) - 1
    rows = []
    for row in stream.rows:
        passages = row.passages
        against = None if reference is None or row is reference else row.against(reference, last)
        equal, scored = _unchanged(passages)
        rows.append(
            (
                Cell(_name(row)),
                _cell(_average(row, last), signed=False),
                _cell(against),
                Cell(_mean(row.spread(lambda passage: passage.forgetting))),
                _cell(row.spread(lambda passage: passage.backward_transfer)),
                _cell(row.spread(lambda passage: passage.forward_transfer)),
                Cell(f"{units.count(equal)} of {units.count(scored)}"),
            )
        )
    compared = "" if reference is None else f"Difference: from {_name(reference)}, in the same runs. "
    metrics = {
        record.scores.headline
        for row in stream.rows
        for passage in row.passages
        for record in passage.steps
        if record.scores.headline
    }
    mixed = f"The average is over different metrics ({join_names(sorted(metrics))}). " if len(metrics) > 1 else ""
    return Table(
        f"Scores after {units.plural(len(stream.tasks), 'task')}",
        (
            Column("method", numeric=False),
            Column("average"),
            Column("difference"),
            Column("forgetting"),
            Column("backward", "transfer"),
            Column("forward", "transfer"),
            Column("unchanged", "to the bit"),
        ),
        tuple(rows),
        f"{compared}{mixed}Forgetting: the best earlier score on an earlier task less the last one (Chaudhry et al. "
        "2018). Backward transfer: the last score less that when the task was new (Lopez-Paz and Ranzato 2017). "
        "Forward transfer: the score when the task was new less that of the same method on the task alone; a dash "
        "where both are the same by construction. Unchanged: scorings of earlier tasks that gave the same scores as "
        "when the task was new, to the bit. Without brackets: a single run, or the same in all of them because it does "
        "not depend on the order; other draws or seeds would tell how sure it is.",
        keys=tuple(map(_keys, stream.rows)),
    )


def _costs(stream: Stream) -> Table:
    """The table of sizes and seconds; without seconds if they were measured under different conditions."""
    uneven = find_timing_mismatch(record for row in stream.rows for passage in row.passages for record in passage.timed)
    rows = []
    for row in stream.rows:
        backbone = row.passages[0].steps[0]
        params = mean_if_complete(passage.sizes[-1][0] for passage in row.passages)
        n_bytes = mean_if_complete(passage.sizes[-1][1] for passage in row.passages)
        seconds = [] if uneven else [passage.seconds for passage in row.passages]
        rows.append(
            (
                Cell(_name(row)),
                _multiple(params, backbone.parameters.backbone),
                _multiple(n_bytes, backbone.storage.backbone_bytes, "B"),
                Cell(units.seconds(_middle(passage[1] for passage in seconds))),
                Cell(units.seconds(_middle(passage[-1] for passage in seconds))),
            )
        )
    return Table(
        f"Cost of {units.plural(len(stream.tasks), 'task')}",
        (
            Column("method", numeric=False),
            Column("parameters", "of all tasks"),
            Column("bytes of files", "of all tasks"),
            Column("second task", "seconds to train"),
            Column("last task", "seconds to train"),
        ),
        tuple(rows),
        "Of all tasks together: parameters that are frozen count once, and so do the backbone's files if any of its "
        "parameters is frozen; in brackets, as a multiple of the backbone's. Seconds"
        + (
            f" cannot be compared and are left out: {uneven}."
            if uneven
            else ": medians over the runs of training when a task is added, without evaluation."
        ),
        keys=tuple(map(_keys, stream.rows)),
    )


def _averages(stream: Stream, note: str) -> Table:
    """The table of averages after each step."""
    steps = range(len(stream.tasks))
    rows = tuple(
        (
            Cell(str(step + 1)),
            *(Cell(_mean(_average(row, step)), keys=_keys(row, step)) for row in stream.rows),
        )
        for step in steps
    )
    columns = (Column("tasks so far", numeric=False), *(Column(_name(row)) for row in stream.rows))
    return Table(
        "Average over the tasks so far",
        columns,
        rows,
        f"Early averages are over few tasks, easy or hard ones by the order. {note}",
    )


def _over_time(stream: Stream) -> Chart:
    """The average after each step: against the reference, where every run is compared on the same tasks."""
    reference = stream.reference
    lines = []
    for row in stream.rows[:LINES]:
        points = []
        for step in range(len(stream.tasks)):
            found = _average(row, step) if reference is None else row.against(reference, step)
            if found is not None:
                points.append(Point(step + 1.0, found.mean, found.low, found.high))
        lines.append(Line(_name(row), tuple(points), dashed=row is reference))
    up = "average score × 100" if reference is None else f"points against {_name(reference)}, on average"
    return Chart(
        "average",
        "Average over the tasks so far",
        f"Means over {_runs(stream)}; bars are 95 % intervals {_between(stream)} where they differ.",
        tuple(lines),
        "tasks so far",
        up,
        steps=True,
    )


def _bytes_over_tasks(stream: Stream) -> Chart:
    """The size of all files over the number of tasks."""
    lines = []
    for row in stream.rows[:LINES]:
        sizes = [_in_backbones(passage) for passage in row.passages]
        means = [mean_if_complete(size[step] for size in sizes) for step in range(len(stream.tasks))]
        points = tuple(Point(step + 1.0, size) for step, size in enumerate(means) if size is not None)
        lines.append(Line(_name(row), points))
    return Chart(
        "size",
        "Bytes of files over tasks",
        "Checkpoints of all tasks so far, with the backbone's files if any of its parameters is frozen.",
        tuple(lines),
        "tasks so far",
        "bytes, as a multiple of the backbone's",
        steps=True,
    )


def _matrices(stream: Stream, material: Material) -> list[HeatMap]:
    """The score on every task after every step, in one order: one row after another, those that forget first."""
    shown = sorted(stream.rows, key=lambda row: row.way == SEPARATE)[:MOST_MAPS]
    maps = []
    for place, row in enumerate(shown):
        passage = row.passages[0]
        names = tuple(material.names[task] for task in passage.order)
        scores = tuple((*line, *[None] * (len(names) - len(line))) for line in passage.scores)
        maps.append(
            HeatMap(
                f"scores-{place + 1}",
                f"Scores of {_name(row)}",
                f"{_listed(passage.order, material)}. Rows: after this task; columns: the score × 100 on this task.",
                names,
                names,
                scores,
                "100 × score",
                "scored task",
                "after the task",
            )
        )
    return maps


def _cell(found: Spread | None, signed: bool = True) -> Cell:
    """A mean in points with its interval."""
    if found is None:
        return Cell(units.MISSING)
    write = units.signed if signed else _plain
    interval = "" if found.low is None or found.high is None else f"[{write(found.low)}, {write(found.high)}]"
    return Cell(write(found.mean), interval, f"{found.mean:.6g}")


def _average(row: StreamRow, step: int) -> Spread | None:
    """The average over the tasks so far, after a step."""
    return row.spread(lambda passage: passage.averages[step])


def _mean(found: Spread | None) -> str:
    return units.MISSING if found is None else _plain(found.mean)


def _plain(value: float) -> str:
    return units.points(value / 100)


def _signed(found: Spread) -> str:
    interval = "" if found.low is None else f" [{units.signed(found.low)}, {units.signed(found.high)}]"
    return f"{units.signed(found.mean)}{interval}"


def _multiple(value: float | None, whole: float | None, unit: str = "") -> Cell:
    share = "" if value is None or not whole else f"({units.times(value / whole)})"
    return Cell(units.si(value, unit), share, units.exact(value, unit))


def _middle(values: Iterable[float | None]) -> float | None:
    known = list(values)
    return None if None in known else median([value for value in known if value is not None])
