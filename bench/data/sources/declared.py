"""What files and splits say of labels: names of classes in a file's metadata, and splits whose labels are hidden."""

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
    """`meta` with the names of the label's classes that the files' metadata give, where meta.json gives none.

    Splits that give different names, or the same in another order, are noted: their labels would mean different things.
    """
    if meta.label_names or meta.task_type in ("regression", "multiple choice"):
        return meta
    given = {split: table.class_names[meta.label_field] for split, table in tables.items()
             if meta.label_field in table.class_names}  # fmt: skip
    if len(set(given.values())) > 1:
        listed = "; ".join(f"{split}: {', '.join(names)[:200]}" for split, names in given.items())
        problems.add(
            f"{next(iter(tables.values())).file.parent}: the files name the classes of {meta.label_field!r} "
            f"differently ({listed}); make them alike, or give label_names in meta.json."
        )
    names = next(iter(given.values()), ())
    return meta.model_copy(update={"label_names": list(names)}) if len(names) > 1 else meta


def without_unlabelled(
    tables: Mapping[str, Table], schema: Schema, problems: Problems
) -> tuple[dict[str, Table], list[str]]:
    """(the splits that can be used, a note for each that is left out because all its labels are hidden).

    Hidden are labels without a column, empty ones, and -1 where that is no label of the task. Noted as a problem where
    nothing would be left to score; a train split always stays, as does one whose label column seems to be misspelt.
    """
    hidden = {
        split: why for split, table in tables.items() if split != "train" and (why := _hidden(table, tables, schema))
    }
    scored = [split for split in tables if split != "train"]
    if hidden and len(hidden) == len(scored):
        listed = "; ".join(f"{split} {why}" for split, why in hidden.items())
        problems.add(
            f"{tables[scored[0]].file}: no labels to score against: {listed}. Labels are needed in validation or in "
            "test; hold some rows of train out as validation."
        )
    notes = [f"{split} left out, which {why}" for split, why in hidden.items()]
    return {split: table for split, table in tables.items() if split not in hidden}, notes


def _hidden(table: Table, tables: Mapping[str, Table], schema: Schema) -> str:
    """Why no row of the table has a label; empty where one has, or where the column may only be misspelt."""
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
    return "" if below else f"has only -1 as {field!r}, which stands for hidden"
