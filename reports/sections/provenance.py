"""Machines, versions, settings, recipes and tasks of the runs; chosen recipes; cells that did not run, and why."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare.checks import group_by
from tunefront.reports.compare.factors import order_of
from tunefront.reports.compare.recipe_choice import recipe_of, varying_fields
from tunefront.reports.names import natural_key
from tunefront.reports.tables import Cell, Column, Table
from tunefront.reports.units import MISSING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tunefront.bench.records import Record
    from tunefront.reports.compare.recipe_choice import Choice

UNTRAINED = ("dtype",)
"""Fields of a recipe that change numbers even if nothing is trained."""

MANY = 12
"""Most values of a field that are listed; the others are counted."""


def environment_table(records: Sequence[Record], folders: Mapping[str, str], note: str = "") -> Table:
    """One row per fact, with its values in the records; several values are followed by their numbers of records.
    `folders`: key -> results folder, empty for one folder."""
    shown: list[tuple[str, Callable[[Record], object]]] = [
        ("results folder", lambda r: folders.get(r.key)),
        ("machine", lambda r: r.environment.host),
        ("device", lambda r: r.environment.device_name or r.environment.device),
        ("processor", lambda r: r.environment.cpu_model),
        ("threads per cell", lambda r: r.environment.threads),
        ("concurrent cells", lambda r: r.environment.concurrent_cells),
        ("seeds", lambda r: r.seed),
        ("draws of training rows", lambda r: r.draw_seed),
        ("training rows drawn", lambda r: "all" if r.shots is None else r.shots),
        ("drawn from", lambda r: r.data.draw_source),
        ("templates", lambda r: r.template),
        ("weights stored as", lambda r: r.model.stored_weights and f"{r.model.stored_weights} (GGUF), used as float32"),
        ("git commit", lambda r: r.environment.git_commit),
        ("written", lambda r: (r.environment.created_at or "")[:10] or None),
        ("schema version", lambda r: r.schema_version),
    ]
    rows = [(name, _values(records, read)) for name, read in shown]
    for field in sorted({name for record in records for name in record.settings}):
        if field not in ("device", "threads"):
            rows.append((f"setting {field}", _values(records, lambda r, field=field: r.settings.get(field, ""), True)))  # type: ignore[misc]
    for package in sorted({name for record in records for name in record.versions}):
        rows.append((package, _values(records, lambda r, package=package: r.versions.get(package))))  # type: ignore[misc]
    columns = (Column("what", numeric=False), Column("value", numeric=False))
    return Table("Machine, versions and settings", columns, _cells((n, v) for n, v in rows if v), note)


def describe_origin(records: Sequence[Record]) -> str:
    """Where the numbers come from, in one sentence: dates, versions, machines and commits of the records."""
    days = sorted({record.environment.created_at[:10] for record in records if record.environment.created_at})
    when = f" of {days[0]}" + (f" to {days[-1]}" if len(days) > 1 else "") if days else ""
    packages = ("tunefront", "torch", "transformers")
    versions = [(name, _values(records, lambda r, name=name: r.versions.get(name))) for name in packages]  # type: ignore[misc]
    parts = [f"{name} {value}" for name, value in versions if value]
    facts = [
        _values(records, lambda r: r.environment.device_name or r.environment.device),
        _values(records, lambda r: r.environment.cpu_model),
        _values(records, lambda r: r.environment.git_commit and f"commit {r.environment.git_commit[:12]}"),
    ]
    return f"{'; '.join([units.plural(len(records), 'record') + when, *parts, *filter(None, facts)])}."


def task_table(records: Sequence[Record], names: Mapping[str, str]) -> Table:
    """The tasks, their sizes and their numbers of truncated rows."""
    columns = (
        Column("task", numeric=False),
        Column("kind", numeric=False),
        Column("metric", numeric=False),
        Column("scored on", numeric=False),
        Column("training rows"),
        Column("truncated", "to max_length"),
        Column("scored rows"),
        Column("truncated", "to max_length"),
    )
    rows = []
    for task, task_records in sorted(group_by(records, lambda r: r.task).items()):
        first = task_records[0]
        sizes = [
            _range(getattr(r.data, f) for r in task_records)
            for f in ("n_train", "truncated_train", "n_test", "truncated_test")
        ]
        full = task if names[task] == task else f"{names[task]} ({task})"
        words = [_text(value) for value in (first.data.task_kind, first.scores.headline, first.data.eval_split)]
        rows.append((full, *words, *sizes))
    return Table("Tasks", columns, _cells(rows), "Truncated rows were longer than max_length tokens.")


def input_table(records: Sequence[Record], names: Mapping[str, str]) -> Table | None:
    """The data that was read for each task: inputs, fields that were left out and why, shares of labels. None if no
    record has this."""
    columns = (
        Column("task", numeric=False),
        Column("rows", numeric=False),
        Column("inputs", numeric=False),
        Column("left out", numeric=False),
        Column("labels", "of training rows", numeric=False),
        Column("notes", numeric=False),
    )
    rows = []
    for task, task_records in sorted(group_by(records, lambda r: r.task).items()):
        first = next((record for record in task_records if record.data.input_fields is not None), None)
        if first is None:
            continue
        left_out = [f"{name} ({why})" for name, why in (first.data.left_out_fields or {}).items()]
        counts = first.data.label_counts or {}
        total = sum(counts.values()) or 1
        labels = [f"{name} {units.percent(count, total)}" for name, count in counts.items()]
        sizes = [f"{units.count(count)} {split}" for split, count in (first.data.split_rows or {}).items()]
        cells = (
            _few(sizes),
            _few(first.data.input_fields or ()),
            _few(left_out),
            _few(labels),
            _few(first.data.notes or ()),
        )
        rows.append((names[task], *cells))
    return Table("Data of the tasks", columns, _cells(rows)) if rows else None


def _few(parts: Sequence[str]) -> str:
    more = len(parts) - MANY
    return (", ".join(parts[:MANY]) + (f" and {more} more" if more > 0 else "")) or units.MISSING


def recipe_tables(records: Sequence[Record], backbones: Mapping[str, str]) -> list[Table]:
    """The recipe of each method: one table, or one per backbone if recipes differ between backbones."""
    by_backbone = group_by(records, lambda record: record.backbone)
    if not _differently(records):
        return [_recipes(records, "Recipes")]
    return [
        _recipes(backbone_records, f"Recipes on {backbones[name]}")
        for name, backbone_records in sorted(by_backbone.items())
    ]


def _differently(records: Sequence[Record]) -> bool:
    """Whether a method was trained with different recipes on different backbones."""
    trained = group_by((record for record in records if record.training.steps != 0), lambda record: record.method)
    return any(
        len(
            {
                frozenset(map(recipe_of, group))
                for group in group_by(method_records, lambda record: record.backbone).values()
            }
        )
        > 1
        for method_records in trained.values()
    )


def _recipes(records: Sequence[Record], caption: str) -> Table:
    """A row per method; fields with the same value everywhere are in the note."""
    fields = sorted({name for record in records for name in record.recipe})
    differing = varying_fields(records)
    same = [f"{name} {units.number(records[0].recipe.get(name))}" for name in fields if name not in differing]
    name_columns = (Column("method", numeric=False), Column("as spelled", numeric=False))
    columns = (*name_columns, *(Column(name, numeric=False) for name in differing))
    rows, idle = [], []
    by_method = group_by(records, lambda record: record.method)
    for method, method_records in sorted(by_method.items(), key=lambda pair: natural_key(pair[0])):
        trained = any(record.training.steps != 0 for record in method_records)
        cells = [
            _values(method_records, lambda r, name=name: units.number(r.recipe.get(name)))  # type: ignore[misc]
            if trained or name in UNTRAINED
            else units.MISSING
            for name in differing
        ]
        rows.append((method_records[0].label, method, *cells))
        idle += [] if trained else [method_records[0].label]
    notes = ["The same for all: " + ", ".join(same) + "."] if same else []
    if idle:
        notes.append(f"Only {' and '.join(UNTRAINED)} affects methods without training ({', '.join(idle)}).")
    return Table(caption, columns, _cells(rows), " ".join(notes))


def choice_table(made: Sequence[Choice], names: Mapping[str, str], backbones: Mapping[str, str]) -> Table:
    """The recipes chosen on the selection rows, the values tried, and whether a chosen value is at the edge."""
    columns = (
        Column("method", numeric=False),
        Column("backbone", numeric=False),
        Column("task", numeric=False),
        Column("trials"),
        Column("selection", "score × 100"),
        Column("chosen", numeric=False),
        Column("out of", numeric=False),
        Column("at the edge", numeric=False),
    )
    rows = []
    for choice in made:
        chosen = "; ".join(f"{name} {value}" for name, value in choice.chosen)
        tried = "; ".join(", ".join(values) for values in choice.tried.values())
        task = names[choice.task] + (f" ({choice.template})" if choice.template else "")
        task += "" if choice.shots is None else f", {choice.shots} rows"
        where = (choice.label, backbones[choice.backbone], task, str(choice.trials))
        edges = "; ".join(f"{edge.name}, {edge.end}" for edge in choice.edges) or "no"
        rows.append((*where, units.points(choice.score), chosen, tried, edges))
    note = "The recipe with the best mean selection score over draws and seeds was chosen; test scores were not used."
    if any(choice.edges for choice in made):
        note += " A value at the edge of its range may not be the best: widen the range."
    return Table("Chosen on the selection rows", columns, _cells(rows), note)


RecordColumns = list[tuple[Column, "Callable[[Record], str]"]]
"""Columns of a table of records, each with what it shows of a record."""


def record_columns(names: Mapping[str, str], panel: Sequence[Record], folders: Mapping[str, str]) -> RecordColumns:
    """The columns of the tables of a panel's records: those that some record of the panel has a value for. `folders`:
    key -> results folder, empty for one folder."""
    shown: RecordColumns = [
        (Column("task", numeric=False), lambda r: names[r.task]),
        (Column("seed"), lambda r: str(r.seed)),
        (Column("draw"), lambda r: str(r.draw_seed)),
        (Column("score", "× 100"), lambda r: units.points(r.score)),
        (Column("record", numeric=False), lambda r: f"records/{r.key}.json"),
    ]
    if folders:
        shown.insert(4, (Column("in", numeric=False), lambda r: _text(folders.get(r.key))))
    if any(record.collapse.collapsed for record in panel):
        shown.insert(4, (Column("collapsed", numeric=False), lambda r: r.collapse.reason or _no(r)))
    if any(order_of(record) is not None for record in panel):
        shown.insert(1, (Column("order"), lambda r: _text(order_of(r))))
    if any(record.template for record in panel):
        shown.insert(1, (Column("template", numeric=False), lambda r: _text(r.template)))
    return shown


def record_table(records: Iterable[Record], shown: RecordColumns) -> Table:
    """The records behind an entry's numbers and their files, with the columns `shown`."""
    rows = [tuple(read(record) for _, read in shown) for record in records]
    return Table("Records", tuple(column for column, _ in shown), _cells(rows))


def _no(record: Record) -> str:
    return MISSING if record.collapse.collapsed is None else "no"


def _cells(rows: Iterable[tuple[str, ...]]) -> tuple[tuple[Cell, ...], ...]:
    return tuple(tuple(Cell(text) for text in row) for row in rows)


def _text(value: object) -> str:
    return units.MISSING if value is None else str(value)


def _values(records: Sequence[Record], read: Callable[[Record], object], nulls: bool = False) -> str:
    """The values with their numbers of records; no number if there is only one value."""
    amounts: dict[str, tuple[object, int]] = {}
    for record in records:
        value = read(record)
        if value is not None or nulls:
            text = units.number(value)
            amounts[text] = (value, amounts.get(text, (value, 0))[1] + 1)
    ordered = sorted(amounts.items(), key=lambda item: _order(item[1][0]))
    if len(ordered) == 1:
        return ordered[0][0]
    listed = [f"{text} ({amount})" for text, (_, amount) in ordered[:MANY]]
    return ", ".join(listed) + (f" and {len(ordered) - MANY} more" if len(ordered) > MANY else "")


def _order(value: object) -> tuple[int, float, str]:
    return (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, str(value))


def _range(values: Iterable[int | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return units.MISSING
    low, high = min(known), max(known)
    return units.count(low) if low == high else f"{units.count(low)}–{units.count(high)}"


ROW = re.compile(r"\brow ('[^']*')")
"""The name of a task's row in a reason."""
FEW = 3


def not_run_table(records: Sequence[Record], names: Mapping[str, str], backbones: Mapping[str, str]) -> Table:
    """Skipped and failed cells. A reason on a task is listed once, with its methods, backbones and rows."""
    columns = (
        Column("status", numeric=False),
        Column("method", numeric=False),
        Column("backbone", numeric=False),
        Column("task", numeric=False),
        Column("cells"),
        Column("reason", numeric=False),
    )
    groups = group_by(records, lambda r: (r.status, r.task, ROW.sub("row", r.reason or MISSING)))
    rows = []
    for (status, task, _), group in sorted(groups.items(), key=lambda item: str(item[0])):
        methods = "; ".join(sorted({record.label for record in group}))
        models = "; ".join(sorted({backbones[record.backbone] for record in group}))
        cells = (status, methods, models, names[task], str(len(group)), _reason(group))
        rows.append(tuple(Cell(text) for text in cells))
    return Table("Skipped and failed cells", columns, tuple(rows))


def _reason(records: Sequence[Record]) -> str:
    """The reason with the names of the first few rows.

    >>> ROW.sub(lambda _: "rows '1', '2'", "row '1': it writes no prompt")
    "rows '1', '2': it writes no prompt"
    """
    reason = min(record.reason or MISSING for record in records)
    rows = sorted({name for record in records for name in ROW.findall(record.reason or "")})
    if len(rows) < 2:
        return reason
    listed = ", ".join(rows[:FEW]) + (f" and {len(rows) - FEW} more" if len(rows) > FEW else "")
    return ROW.sub(lambda _: f"rows {listed}", reason, count=1)
