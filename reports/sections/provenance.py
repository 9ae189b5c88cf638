"""What ran and on what: machines, versions, settings, recipes, tasks; what was chosen; what did not run, and why."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare.checks import grouped
from tunefront.reports.compare.factors import order_of
from tunefront.reports.compare.recipe_choice import recipe_of, varied
from tunefront.reports.names import natural
from tunefront.reports.tables import Cell, Column, Table
from tunefront.reports.units import MISSING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tunefront.bench.records import Record
    from tunefront.reports.compare.recipe_choice import Choice

UNTRAINED = ("dtype",)
"""Fields of a recipe that change numbers where nothing is trained."""

MANY = 12
"""Values of a field that are listed before the rest is counted."""


def facts(records: Sequence[Record]) -> Table:
    """One line a fact, every value that occurs in the records with the number of records where there are several."""
    shown: list[tuple[str, Callable[[Record], object]]] = [
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
    return Table("Machine, versions and settings", columns, _cells((n, v) for n, v in rows if v))


def tasks(records: Sequence[Record], names: Mapping[str, str]) -> Table:
    """The tasks, their sizes and how many rows were cut."""
    columns = (
        Column("task", numeric=False),
        Column("kind", numeric=False),
        Column("metric", numeric=False),
        Column("scored on", numeric=False),
        Column("training rows"),
        Column("cut", "to max_length"),
        Column("scored rows"),
        Column("cut", "to max_length"),
    )
    rows = []
    for task, found in sorted(grouped(records, lambda r: r.task).items()):
        first = found[0]
        sizes = [
            _range(getattr(r.data, f) for r in found)
            for f in ("n_train", "truncated_train", "n_test", "truncated_test")
        ]
        full = task if names[task] == task else f"{names[task]} ({task})"
        words = [_text(value) for value in (first.data.task_kind, first.scores.headline, first.data.eval_split)]
        rows.append((full, *words, *sizes))
    return Table("Tasks", columns, _cells(rows), "Cut rows were longer than max_length tokens.")


def read(records: Sequence[Record], names: Mapping[str, str]) -> Table | None:
    """What was read of each task: inputs, what was left out and why, labels and their shares; None where no record
    says."""
    columns = (
        Column("task", numeric=False),
        Column("rows", numeric=False),
        Column("inputs", numeric=False),
        Column("left out", numeric=False),
        Column("labels", "of the train rows", numeric=False),
        Column("notes", numeric=False),
    )
    rows = []
    for task, found in sorted(grouped(records, lambda r: r.task).items()):
        first = next((record for record in found if record.data.input_fields is not None), None)
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
    return Table("What was read of the tasks", columns, _cells(rows)) if rows else None


def _few(parts: Sequence[str]) -> str:
    more = len(parts) - MANY
    return (", ".join(parts[:MANY]) + (f" and {more} more" if more > 0 else "")) or units.MISSING


def recipes(records: Sequence[Record], backbones: Mapping[str, str]) -> list[Table]:
    """How each method was trained: a table, or one a backbone where that differs between them."""
    by_backbone = grouped(records, lambda record: record.backbone)
    if not _differently(records):
        return [_recipes(records, "Recipes")]
    return [_recipes(found, f"Recipes on {backbones[name]}") for name, found in sorted(by_backbone.items())]


def _differently(records: Sequence[Record]) -> bool:
    """Whether a method was trained in another way on one backbone than on another."""
    trained = grouped((record for record in records if record.training.steps != 0), lambda record: record.method)
    return any(
        len({frozenset(map(recipe_of, alike)) for alike in grouped(found, lambda record: record.backbone).values()}) > 1
        for found in trained.values()
    )


def _recipes(records: Sequence[Record], caption: str) -> Table:
    """A row a method; fields that are the same everywhere are named once in the note."""
    fields = sorted({name for record in records for name in record.recipe})
    differing = varied(records)
    same = [f"{name} {units.number(records[0].recipe.get(name))}" for name in fields if name not in differing]
    named = (Column("method", numeric=False), Column("as spelled", numeric=False))
    columns = (*named, *(Column(name, numeric=False) for name in differing))
    rows, idle = [], []
    by_method = grouped(records, lambda record: record.method)
    for method, found in sorted(by_method.items(), key=lambda pair: natural(pair[0])):
        trained = any(record.training.steps != 0 for record in found)
        cells = [
            _values(found, lambda r, name=name: units.number(r.recipe.get(name)))  # type: ignore[misc]
            if trained or name in UNTRAINED
            else units.MISSING
            for name in differing
        ]
        rows.append((found[0].label, method, *cells))
        idle += [] if trained else [found[0].label]
    notes = ["The same for all: " + ", ".join(same) + "."] if same else []
    if idle:
        notes.append(f"Of what takes no step ({', '.join(idle)}) only {' and '.join(UNTRAINED)} tells.")
    return Table(caption, columns, _cells(rows), " ".join(notes))


def choices(made: Sequence[Choice], names: Mapping[str, str], backbones: Mapping[str, str]) -> Table:
    """Which recipe was chosen on the selection rows, out of which, and whether it lies on the edge."""
    columns = (
        Column("method", numeric=False),
        Column("backbone", numeric=False),
        Column("task", numeric=False),
        Column("trials"),
        Column("selection", "score × 100"),
        Column("chosen", numeric=False),
        Column("out of", numeric=False),
        Column("on the edge", numeric=False),
    )
    rows = []
    for choice in made:
        chosen = "; ".join(f"{name} {value}" for name, value in choice.chosen)
        tried = "; ".join(", ".join(values) for values in choice.tried.values())
        task = names[choice.task] + (f" ({choice.template})" if choice.template else "")
        task += "" if choice.shots is None else f", {choice.shots} rows"
        where = (choice.label, backbones[choice.backbone], task, str(choice.trials))
        edges = ", ".join(choice.edges) or "no"
        rows.append((*where, units.points(choice.score), chosen, tried, edges))
    note = "The best mean selection score over draws and seeds was chosen; test scores were not looked at."
    if any(choice.edges for choice in made):
        note += " A value on the edge of its range may not be the best one: widen the range."
    return Table("Chosen on the selection rows", columns, _cells(rows), note)


def runs(records: Iterable[Record], names: Mapping[str, str], panel: Sequence[Record]) -> Table:
    """The records behind an entry's numbers and where they lie; `panel`, all those whose columns are to be the same."""
    shown: list[tuple[Column, Callable[[Record], str]]] = [
        (Column("task", numeric=False), lambda r: names[r.task]),
        (Column("seed"), lambda r: str(r.seed)),
        (Column("draw"), lambda r: str(r.draw_seed)),
        (Column("score", "× 100"), lambda r: units.points(r.score)),
        (Column("record", numeric=False), lambda r: f"records/{r.key}.json"),
    ]
    if any(order_of(record) is not None for record in panel):
        shown.insert(1, (Column("order"), lambda r: _text(order_of(r))))
    if any(record.template for record in panel):
        shown.insert(1, (Column("template", numeric=False), lambda r: _text(r.template)))
    rows = [tuple(read(record) for _, read in shown) for record in records]
    return Table("Records", tuple(column for column, _ in shown), _cells(rows))


def _cells(rows: Iterable[tuple[str, ...]]) -> tuple[tuple[Cell, ...], ...]:
    return tuple(tuple(Cell(text) for text in row) for row in rows)


def _text(value: object) -> str:
    return units.MISSING if value is None else str(value)


def _values(records: Sequence[Record], read: Callable[[Record], object], nulls: bool = False) -> str:
    """Every value with how often it occurs, the count left out where there is one value only."""
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
    there = [value for value in values if value is not None]
    if not there:
        return units.MISSING
    low, high = min(there), max(there)
    return units.count(low) if low == high else f"{units.count(low)}–{units.count(high)}"


ROW = re.compile(r"\brow ('[^']*')")
"""How a reason names the row of the task that it stumbled on."""
FEW = 3


def absent(records: Sequence[Record], names: Mapping[str, str], backbones: Mapping[str, str]) -> Table:
    """Cells that were skipped or failed; the same reason on the same task once, with the methods, backbones and rows
    that it concerns."""
    columns = (
        Column("status", numeric=False),
        Column("method", numeric=False),
        Column("backbone", numeric=False),
        Column("task", numeric=False),
        Column("cells"),
        Column("reason", numeric=False),
    )
    groups = grouped(records, lambda r: (r.status, r.task, ROW.sub("row", r.reason or MISSING)))
    rows = []
    for (status, task, _), alike in sorted(groups.items(), key=lambda item: str(item[0])):
        methods = "; ".join(sorted({record.label for record in alike}))
        models = "; ".join(sorted({backbones[record.backbone] for record in alike}))
        cells = (status, methods, models, names[task], str(len(alike)), _reason(alike))
        rows.append(tuple(Cell(text) for text in cells))
    return Table("Skipped and failed cells", columns, tuple(rows))


def _reason(alike: Sequence[Record]) -> str:
    """The reason, with the first few of the rows that it names.

    >>> ROW.sub(lambda _: "rows '1', '2'", "row '1': it writes no prompt")
    "rows '1', '2': it writes no prompt"
    """
    reason = min(record.reason or MISSING for record in alike)
    found = sorted({name for record in alike for name in ROW.findall(record.reason or "")})
    if len(found) < 2:
        return reason
    listed = ", ".join(found[:FEW]) + (f" and {len(found) - FEW} more" if len(found) > FEW else "")
    return ROW.sub(lambda _: f"rows {listed}", reason, count=1)
