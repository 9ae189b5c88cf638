"""Checks that a user's folder is a model, with a message that says what it is instead."""

from __future__ import annotations

import os
from pathlib import Path

from tunefront.bench.errors import UserError
from tunefront.bench.files import expanded
from tunefront.bench.models.json_files import read_object

_SAVED = "give a folder saved with save_pretrained()"


def local(name: str) -> Path:
    """The path that a name stands for, existing or not; UserError if the system cannot look for it."""
    path = expanded(name)
    try:
        path.exists()
    except OSError as error:  # a name that is too long, a link that leads to itself
        short = name if len(name) < 100 else f"{name[:96]} ..."
        raise UserError(f"the backbone {short!r} cannot be looked up ({error.strerror}); give another.") from error
    return path


def check_folder(folder: Path, name: str) -> None:
    """UserError if the folder has no complete model; the message says what it has and what to give."""
    config, adapter = folder / "config.json", folder / "adapter_config.json"
    try:
        if adapter.is_file():
            raise UserError(_adapter_message(adapter, name, whole=config.is_file()))
        if config.is_file():
            return
        if os.path.lexists(config):
            raise UserError(f"{config} is not a file; {_SAVED}.")
        raise UserError(f"the folder {name} has no config.json{_what_it_holds(folder)}")
    except OSError as error:
        raise UserError(f"the folder {name} cannot be read ({error.strerror}); give another.") from error


def check_no_file(path: Path, name: str) -> None:
    """UserError if the path exists and is not a folder."""
    if path.suffix.lower() == ".gguf" and not path.is_symlink():
        raise UserError(f"there is no GGUF file {name}; give its path, a model folder, or a Hub id.")
    if path.is_file():
        raise UserError(f"there is no model folder {name}: it is a file; give the folder that has it and config.json.")
    if path.exists() or path.is_symlink():
        raise UserError(f"there is no model folder {name}: it is neither a folder nor a file; {_SAVED}, or a Hub id.")


_FORMATS = {
    ".onnx": "ONNX",
    ".h5": "TensorFlow",
    ".msgpack": "Flax",
    ".pth": "plain PyTorch",
    ".pt": "plain PyTorch",
    ".ckpt": "plain PyTorch",
}


def _what_it_holds(folder: Path) -> str:
    """What a folder without config.json has instead, and what to do; the end of a sentence."""
    inside = sorted((path.parent for path in folder.glob("*/config.json") if _has_weights(path.parent)), key=_number)
    if inside:
        newest, names_inside = inside[-1], ", ".join(path.name for path in inside[:5])
        reason = (
            "it is the output folder of a Trainer" if newest.name.startswith("checkpoint-") else "it has subfolders"
        )
        return f", but {reason} with models ({names_inside}): give {newest}."
    names = sorted(path.name for path in folder.iterdir())
    if files := [name for name in names if name.lower().endswith(".gguf")]:
        listed = f"{', '.join(files[:5])}{', ...' if len(files) > 5 else ''}"
        return f", but {listed}: give one GGUF file by its path, such as {folder / files[0]}."
    if "model_index.json" in names:
        return ": it has a diffusion pipeline (model_index.json) and no language model."
    other = {kind: name for name in names if (kind := _FORMATS.get(Path(name).suffix))}
    if other:
        kind, name = next(iter(other.items()))
        return (
            f", but {name} ({kind}); load it with transformers, save it with save_pretrained(), and give that folder."
        )
    if any(name.endswith((".safetensors", ".bin")) for name in names):
        return "; copy it from the source of the weights, which do not name their model."
    return f"; {_SAVED}."


def unread_weights(folder: Path) -> str:
    """The weights in a folder whose format is not read here; the end of a sentence, empty if there are none."""
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() == ".gguf":
            return f"; {path.name} is there: give {path} to use it"
        if kind := _FORMATS.get(path.suffix):
            return f"; {path.name} is there, but {kind} weights are not read"
    return ""


def _has_weights(folder: Path) -> bool:
    return any(path.suffix in (".safetensors", ".bin") for path in folder.iterdir())


def _number(folder: Path) -> tuple[int, str]:
    """Sort key: the step of a checkpoint folder."""
    end = folder.name.rpartition("-")[2]
    return (int(end) if end.isascii() and end.isdigit() and len(end) < 20 else -1), folder.name


def _adapter_message(path: Path, name: str, whole: bool) -> str:
    """The message about a PEFT adapter."""
    base = read_object(path, "adapter configuration").get("base_model_name_or_path")
    of = f", trained on {base}" if isinstance(base, str) and base else ""
    if whole:
        return (
            f"the folder {name} has a model and a PEFT adapter (adapter_config.json{of}): it is ambiguous which one is "
            "meant. Merge the adapter (peft: merge_and_unload(), then save_pretrained() into a new folder), or move "
            "its files away."
        )
    give = f"give that model ({base}) itself" if of else "give that model itself"
    return (
        f"the folder {name} has a PEFT adapter{of}, but no model: {give}, or merge the adapter into the model (peft: "
        "AutoPeftModel.from_pretrained(...).merge_and_unload(), then save_pretrained() with the tokenizer) and give "
        "the new folder."
    )
