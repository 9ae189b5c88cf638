"""What a config.json says of itself that cannot both be so."""

from __future__ import annotations

from pathlib import Path

from tunefront.bench.models.json_files import read_object


def of_another(folder: Path) -> str | None:
    """A warning where the file names a class of models of another architecture than its model_type; None where it does
    not, or names none that transformers knows."""
    path = folder / "config.json"
    fields = read_object(path, "configuration")
    named, model_type = fields.get("architectures"), fields.get("model_type")
    for name in named if isinstance(named, list) else ():
        types = _types_of(name) if isinstance(name, str) else set()
        if types and model_type not in types:
            return (
                f"{path} has model_type {model_type}, and architectures {name}, which is a model of "
                f"{' or '.join(sorted(types))}: one of the two is wrong. It is read as {model_type}; if the weights "
                "are not of that architecture, its results say little."
            )
    return None


def _types_of(name: str) -> set[str]:
    """The architectures that a class of transformers is a model of."""
    from transformers.models.auto import modeling_auto

    tables = [table for label, table in vars(modeling_auto).items() if label.endswith("_MAPPING_NAMES")]
    return {
        model_type
        for table in tables
        for model_type, classes in table.items()
        if name in ((classes,) if isinstance(classes, str) else classes)
    }
