"""The list of record fields and their types for each schema version.

`python -m tests.bench.records.schema` writes the list of the current version. It does not replace a list that differs
without `--replace`, which is right only if no record of that version is kept anywhere.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tunefront.bench.records import GROUPS, SCHEMA_VERSION, Percentiles, PhaseFlops, Record, Span, Spread
from tunefront.bench.records.record import KEYS

COMMAND = "python -m tests.bench.records.schema"
MODELS: tuple[type[BaseModel], ...] = (Record, *GROUPS.values(), PhaseFlops, Spread, Span, Percentiles)

Fields = dict[str, dict[str, Any]]  # Any: JSON Schema


def fields() -> Fields:
    """Model -> field -> its type in JSON Schema, without descriptions."""
    models = {model.__name__: _bare(model.model_json_schema()["properties"]) for model in MODELS}
    return models | {field: {name: {} for name in names} for field, names in KEYS.items()}


def listed(version: int = SCHEMA_VERSION) -> Fields:
    """The checked-in list of a version; empty if there is none."""
    path = place(version)
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def written(models: Fields) -> str:
    """The list as JSON with a line per field, for readable diffs."""
    parts = []
    for model, own in models.items():
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(kind)}" for name, kind in own.items())
        parts.append(f" {json.dumps(model)}: {{\n{lines}\n }}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def place(version: int) -> Path:
    """The path of the list of a version."""
    return Path(__file__).with_name(f"schema_{version}.json")


def changes(before: Fields, after: Fields) -> list[str]:
    """The differences, field by field."""
    differences = []
    for model in dict.fromkeys([*before, *after]):
        old, new = before.get(model, {}), after.get(model, {})
        for field in dict.fromkeys([*old, *new]):
            if old.get(field) != new.get(field):
                what = "is new" if field not in old else "is gone" if field not in new else "has another type"
                differences.append(f"{model}.{field} {what}")
    return differences


def _bare(value: Any) -> Any:
    if isinstance(value, dict):
        said = {"title", "description"} if not isinstance(value.get("title"), dict) else set()
        return {name: _bare(inner) for name, inner in value.items() if name not in said}
    return [_bare(inner) for inner in value] if isinstance(value, list) else value


def main() -> None:
    """Writes the list of the current version."""
    differences = changes(listed(), fields()) if listed() else []
    if differences and "--replace" not in sys.argv:
        sys.exit(
            f"{', '.join(differences)}: raise SCHEMA_VERSION (now {SCHEMA_VERSION}) in bench/records/record.py "
            "and run this command again; use --replace only if no record of this version is kept anywhere."
        )
    place(SCHEMA_VERSION).write_text(written(fields()), encoding="utf-8")


if __name__ == "__main__":
    main()
