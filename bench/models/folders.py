"""A folder that somebody gives as a model: found to be one, or told what it is instead."""

from __future__ import annotations

import os
from pathlib import Path

from tunefront.bench.errors import UserError
from tunefront.bench.files import expanded
from tunefront.bench.models.json_files import read_object

_SAVED = "give a folder saved with save_pretrained()"


def local(name: str) -> Path:
    """The path that a name stands for, there or not; UserError where it cannot even be looked for."""
    path = expanded(name)
    try:
        path.exists()
    except OSError as error:  # a name that is too long, a link that leads to itself
        short = name if len(name) < 100 else f"{name[:96]} ..."
        raise UserError(f"the backbone {short!r} cannot be looked for ({error.strerror}); give another.") from error
    return path


def check_folder(folder: Path, name: str) -> None:
    """UserError where the folder holds no model by itself, which says what it holds and what to give."""
    config, adapter = folder / "config.json", folder / "adapter_config.json"
    try:
        if adapter.is_file():
            raise UserError(_adapter(adapter, name, whole=config.is_file()))
        if config.is_file():
            return
        if os.path.lexists(config):
            raise UserError(f"{config} is no file; {_SAVED}.")
        raise UserError(f"the folder {name} has no config.json{_instead(folder)}")
    except OSError as error:
        raise UserError(f"the folder {name} cannot be read ({error.strerror}); give another.") from error


def check_no_file(path: Path, name: str) -> None:
    """UserError where the path is a file, or anything else that is there and is no folder."""
    if path.suffix.lower() == ".gguf" and not path.is_symlink():
        raise UserError(f"there is no GGUF file {name}; give its path, a model folder, or a Hub id.")
    if path.is_file():
        raise UserError(
            f"there is no model folder {name}: it is a file; give the folder that holds it and config.json."
        )
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


def _instead(folder: Path) -> str:
    """What a folder without config.json holds, and what to do; the end of a sentence."""
    inside = sorted((path.parent for path in folder.glob("*/config.json") if _has_weights(path.parent)), key=_number)
    if inside:
        newest, told = inside[-1], ", ".join(path.name for path in inside[:5])
        what = "it is the output folder of a Trainer" if newest.name.startswith("checkpoint-") else "a folder in it has"
        return f", but {what}, with {told} inside: give {newest}."
    names = sorted(path.name for path in folder.iterdir())
    if files := [name for name in names if name.lower().endswith(".gguf")]:
        listed = f"{', '.join(files[:5])}{', ...' if len(files) > 5 else ''}"
        return f", but {listed}: give one GGUF file by its path, such as {folder / files[0]}."
    if "model_index.json" in names:
        return ": it holds a diffusion pipeline (model_index.json), and no language model."
    other = {kind: name for name in names if (kind := _FORMATS.get(Path(name).suffix))}
    if other:
        kind, name = next(iter(other.items()))
        return f", but {name}, of {kind}; load it in transformers and save it with save_pretrained(), then give that."
    if any(name.endswith((".safetensors", ".bin")) for name in names):
        return "; copy it from where the weights come from, for they do not say what model they are of."
    return f"; {_SAVED}."


def unread_weights(folder: Path) -> str:
    """What weights a folder holds that are not read here; the end of a sentence, empty where there are none."""
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() == ".gguf":
            return f"; {path.name} is there: give {path} to use it"
        if kind := _FORMATS.get(path.suffix):
            return f"; {path.name} is there, of {kind}, which is not read"
    return ""


def _has_weights(folder: Path) -> bool:
    return any(path.suffix in (".safetensors", ".bin") for path in folder.iterdir())


def _number(folder: Path) -> tuple[int, str]:
    """Checkpoints by their steps."""
    end = folder.name.rpartition("-")[2]
    return (int(end) if end.isascii() and end.isdigit() and len(end) < 20 else -1), folder.name


def _adapter(path: Path, name: str, whole: bool) -> str:
    """What is said of a PEFT adapter."""
    base = read_object(path, "adapter configuration").get("base_model_name_or_path")
    of = f", trained on {base}" if isinstance(base, str) and base else ""
    if whole:
        return (
            f"the folder {name} holds a model and a PEFT adapter beside it (adapter_config.json{of}): which of the two "
            "is meant cannot be told. Merge the adapter (peft: merge_and_unload(), then save_pretrained() into a new "
            "folder), or move its files away."
        )
    give = f"give that model ({base}) itself" if of else "give that model itself"
    return (
        f"the folder {name} holds a PEFT adapter{of}, and no model of its own: {give}, or merge the adapter into it "
        "(peft: AutoPeftModel.from_pretrained(...).merge_and_unload(), then save_pretrained() with the tokenizer) and "
        "give the folder that comes of it."
    )
