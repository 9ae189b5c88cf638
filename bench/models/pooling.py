"""What a folder of sentence-transformers says beside its model: how states are pooled, and what comes after."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from tunefront.bench.errors import UserError
from tunefront.bench.models.json_files import read_json, read_object

_MODES = {"mean": "mean", "cls": "first", "pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "first"}
"""What a head can read here, by the library's names: of the field, and of the flags that there were before 5.4."""


def folder_pooling(folder: Path) -> str | None:
    """`mean` or `first` where the folder's pooling configuration says so, None where there is none.

    Errors: UserError for a configuration that cannot be read, or that asks for what no head reads here.
    """
    path = folder / _pooling_folder(folder) / "config.json"
    if not path.exists():
        return None
    config = read_object(path, "pooling configuration")
    modes = _asked(config)
    if len(modes) != 1 or modes[0] not in _MODES:
        found = " and ".join(map(repr, modes)) or "nothing"
        raise UserError(
            f"{path} asks for the pooling {found}; only one of {', '.join(_MODES)} can be used. Give a "
            "model that pools so; to try these weights with another pooling, change it in a copy of the folder."
        )
    return _MODES[modes[0]]


def left_out(folder: Path) -> str | None:
    """What the folder's modules do after pooling, which is not done here; None where that is all."""
    after = [kind for kind, _ in _modules(folder) if kind not in ("Transformer", "Pooling")]
    if not after:
        return None
    return (
        f"{folder / 'modules.json'} has {' and '.join(after)} after the pooling, left out "
        "here: a head reads the pooled states themselves."
    )


def _asked(config: dict[str, Any]) -> list[str]:  # Any: as the file has them
    """The modes that are on."""
    if "pooling_mode" in config:
        named = config["pooling_mode"]
        return [str(mode) for mode in (named if isinstance(named, list) else [named])]
    return [flag for flag, on in config.items() if flag.startswith("pooling_mode_") and on is True]


def _pooling_folder(folder: Path) -> str:
    """Where the modules say that the pooling's configuration is, else where it always was."""
    return next((path for kind, path in _modules(folder) if kind == "Pooling" and path), "1_Pooling")


def _modules(folder: Path) -> list[tuple[str, str]]:
    """(class, folder) of each module in order; none where the folder does not list them.

    Errors: UserError for a list that cannot be read, that names folders elsewhere, or that has no transformer first.
    """
    path = folder / "modules.json"
    if not path.exists():
        return []
    listed = read_json(path, "list of modules")
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise UserError(f"{path} must be a list of modules, as sentence-transformers writes it.")
    found = [(str(one.get("type")).rpartition(".")[2], str(one.get("path", ""))) for one in listed]
    for _, place in found:
        if PurePosixPath(place).is_absolute() or ".." in PurePosixPath(place).parts:
            raise UserError(f"{path} names the folder {place[:100]!r}; a module's is inside the model's.")
    if found and found[0][0] != "Transformer":
        raise UserError(f"{path} begins with {found[0][0][:100]!r}, and only a Transformer can be adapted here.")
    return found
