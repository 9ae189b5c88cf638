"""Fields of a config.json that contradict each other."""

from __future__ import annotations

from pathlib import Path

from tunefront.bench.models.json_files import read_object


def architecture_warning(folder: Path) -> str | None:
    """A warning if `architectures` names a class of another architecture than model_type; None if it does not, or if
    transformers knows none of its classes."""
    path = folder / "config.json"
    fields = read_object(path, "configuration")
    architectures, model_type = fields.get("architectures"), fields.get("model_type")
    for name in architectures if isinstance(architectures, list) else ():
        types = _types_of(name) if isinstance(name, str) else set()
        if types and model_type not in types:
            return (
                f"{path} has model_type {model_type}, but architectures {name}, which is a class of "
                f"{' or '.join(sorted(types))}: one of the two is wrong. It is read as {model_type}; if the weights "
                "belong to another architecture, its results mean little."
            )
    return None


def _types_of(name: str) -> set[str]:
    """The architectures of a transformers class."""
    from transformers.models.auto import modeling_auto

    tables = [table for label, table in vars(modeling_auto).items() if label.endswith("_MAPPING_NAMES")]
    return {
        model_type
        for table in tables
        for model_type, classes in table.items()
        if name in ((classes,) if isinstance(classes, str) else classes)
    }
