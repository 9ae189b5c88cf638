"""Class names from a file's metadata, and splits with hidden labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.bench.data.sources.labels import missing, number, whole
from tunefront.bench.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tunefront.bench.data.sources.meta import Meta
    from tunefront.bench.data.sources.schema import Schema
    from tunefront.bench.data.sources.tables import Problems, Table


def declared_names(tables: Mapping[str, Table], meta: Meta, problems: Problems) -> Meta:
    """`meta` with the class names from the files' metadata, unless meta.json has its own.

    Splits with different names, or another order, are a problem: their labels would mean different classes.
    """
    if meta.label_names or meta.task_type in ("regression", "multiple choice"):
        return meta
    declared = {split: table.class_names[meta.label_field] for split, table in tables.items()
             if meta.label_field in table.class_names}  # fmt: skip
    if len(set(declared.values())) > 1:
        listed = "; ".join(f"{split}: {', '.join(names)[:200]}" for split, names in declared.items())
        instead = "" if problems.advice.declaration is None else f", or set {problems.advice.declaration}"
        problems.add(
            f"{next(iter(tables.values())).file.parent}: the files name the classes of {meta.label_field!r} "
            f"differently ({listed}); make them equal{instead}."
        )
    names = next(iter(declared.values()), ())
    return meta.model_copy(update={"label_names": list(names)}) if len(names) > 1 else meta


def without_unlabelled(
    tables: Mapping[str, Table], schema: Schema, problems: Problems
) -> tuple[dict[str, Table], list[str]]:
    """(usable splits, one note per split that is left out because all of its labels are hidden).

    Labels are hidden if their column is missing or empty, or if they are -1 and the task has no such label. It is a
    problem if no split is left to score. Train always stays, and so does a split with a misspelt label column.
    """
    hidden = {
        split: why for split, table in tables.items() if split != "train" and (why := _hidden(table, tables, schema))
    }
    scored = [split for split in tables if split != "train"]
    if hidden and len(hidden) == len(scored):
        listed = "; ".join(f"{split} {why}" for split, why in hidden.items())
        problems.add(
            f"{tables[scored[0]].file}: no labels to score against: {listed}. validation or test "
            "needs labels; hold some rows of train out as validation."
        )
    notes = [f"{split} left out: it {why}" for split, why in hidden.items()]
    return {split: table for split, table in tables.items() if split not in hidden}, notes


def _hidden(table: Table, tables: Mapping[str, Table], schema: Schema) -> str:
    """The reason why no row of the table has a label; empty if one has, or if the column may be misspelt."""
    field = schema.label_field
    if field not in table.columns:
        added = [name for name in table.columns if name not in tables["train"].columns]
        return "" if nearest(field, added) else f"has no label column {field!r}"
    values = [record.get(field) for record in table.records]
    if all(map(missing, values)):
        return f"has no value in its label column {field!r}"
    if "-1" in schema.label_names or any(whole(value) != -1 for value in values):
        return ""
    trained = [number(record.get(field)) for record in tables["train"].records]
    below = schema.kind == "regression" and any(value is not None and value < 0 for value in trained)
    return "" if below else f"has only -1 as {field!r}, which means hidden"
