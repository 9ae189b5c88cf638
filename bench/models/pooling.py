"""The pooling and the later modules of a sentence-transformers folder."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from tunefront.bench.errors import UserError
from tunefront.bench.models.architectures import is_recorded
from tunefront.bench.models.json_files import read_json, read_object
from tunefront.methods.sites import Sites

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

_MODES = {"mean": "mean", "cls": "first", "pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "first"}
"""The poolings that a head can read here, by the library's names: values of the field, and flags before version 5.4."""


def folder_pooling(folder: Path) -> str | None:
    """`mean` or `first`, by the folder's pooling configuration; None if there is none.

    Errors: UserError for a configuration that cannot be read, or that asks for a pooling that no head reads here.
    """
    path = folder / _pooling_folder(folder) / "config.json"
    if not path.exists():
        return None
    config = read_object(path, "pooling configuration")
    modes = _enabled_modes(config)
    if len(modes) != 1 or modes[0] not in _MODES:
        requested = " and ".join(map(repr, modes)) or "nothing"
        raise UserError(
            f"{path} asks for the pooling {requested}; only one of {', '.join(_MODES)} can be used. Give a model "
            "with such a pooling; to try these weights with another pooling, change it in a copy of the folder."
        )
    return _MODES[modes[0]]


def found_pooling(has_pooler: bool, tokenizer: PreTrainedTokenizerBase | None) -> str:
    """The pooling of an encoder that neither a folder nor a record says: `pooler` if the checkpoint has one, `first` if
    every text starts with the same special token, else `mean`. Without a tokenizer, texts are taken to start so."""
    if has_pooler:
        return "pooler"
    if tokenizer is None:
        return "first"
    starts = {tokenizer(text)["input_ids"][0] for text in ("a", "b c", "1")}
    return "first" if len(starts) == 1 and starts <= set(tokenizer.all_special_ids) else "mean"


def published_pooling(config: Any, sites: Sites) -> str | None:  # Any: a configuration of transformers
    """What the architecture's published classifier reads: as its configuration says (ModernBERT's does), else as its
    sites say; None for a language model, and if neither says it."""
    if sites.family != "encoder":
        return None
    own = {"cls": "first", "mean": "mean"}.get(getattr(config, "classifier_pooling", None) or "")
    return own or (sites.pooling if is_recorded(sites) else None)


def pooled_states(output: Any, pooling: str) -> Tensor:  # Any: the output of an encoder of transformers
    """The states (rows, width) that a head reads, of rows without padding."""
    states: Tensor = output.pooler_output if pooling == "pooler" else output.last_hidden_state
    return states if pooling == "pooler" else states[:, 0] if pooling == "first" else states.mean(1)


def ignored_modules_warning(folder: Path) -> str | None:
    """A warning about modules after the pooling, which are ignored here; None if there are none."""
    after = [kind for kind, _ in _modules(folder) if kind not in ("Transformer", "Pooling")]
    if not after:
        return None
    return (
        f"{folder / 'modules.json'} has {' and '.join(after)} after the pooling, which is ignored here: a head reads "
        "the pooled states themselves."
    )


def _enabled_modes(config: dict[str, Any]) -> list[str]:  # Any: whatever the file has
    """The enabled modes."""
    if "pooling_mode" in config:
        modes = config["pooling_mode"]
        return [str(mode) for mode in (modes if isinstance(modes, list) else [modes])]
    return [flag for flag, on in config.items() if flag.startswith("pooling_mode_") and on is True]


def _pooling_folder(folder: Path) -> str:
    """The folder of the pooling's configuration, by modules.json if it lists one."""
    return next((path for kind, path in _modules(folder) if kind == "Pooling" and path), "1_Pooling")


def _modules(folder: Path) -> list[tuple[str, str]]:
    """(class, folder) of each module in order; none if the folder has no list of them.

    Errors: UserError for a list that cannot be read, that names outside folders, or that does not start with a
    transformer.
    """
    path = folder / "modules.json"
    if not path.exists():
        return []
    content = read_json(path, "list of modules")
    if not isinstance(content, list) or not all(isinstance(module, dict) for module in content):
        raise UserError(f"{path} must be a list of modules, as sentence-transformers writes it.")
    modules = [(str(module.get("type")).rpartition(".")[2], str(module.get("path", ""))) for module in content]
    for _, place in modules:
        if PurePosixPath(place).is_absolute() or ".." in PurePosixPath(place).parts:
            raise UserError(f"{path} names the folder {place[:100]!r}, which is outside the model's folder.")
    if modules and modules[0][0] != "Transformer":
        raise UserError(f"{path} starts with {modules[0][0][:100]!r}, but only a Transformer can be adapted here.")
    return modules
