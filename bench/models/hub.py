"""Backbones of the Hugging Face Hub: only the files that are read are downloaded, and of weights only one kind."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tunefront.bench.errors import UserError, unknown
from tunefront.bench.models.weights import shards
from tunefront.bench.quiet import quiet_hub

_SMALL = (
    *("config.json", "generation_config.json", "adapter_config.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "vocab.txt", "merges.txt"),
    *("spiece.model", "spm.model", "sentencepiece.bpe.model", "tokenizer.model"),
    *("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "*_Pooling/config.json"),
)
"""All but weights that a run may read, and what tells of an adapter."""
_KINDS = (
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
"""Where weights may be, the better kind first: the whole file, or an index of several."""


def download(name: str, known: dict[str, str], here: bool = False) -> Path:
    """The folder of a Hub id's files, downloaded into the cache where they are not in it yet; with `here` from the
    cache alone. The folder may lack what the repository lacks.

    Errors: UserError that says what the Hub answered, and what to do.
    """
    try:
        with quiet_hub():
            return _download(name, here)
    except UserError:
        raise
    except Exception as error:  # of the Hub, of HTTP, of the disk: their kinds depend on huggingface_hub's version
        raise UserError(_message(name, error, known, here)) from error


def _download(name: str, here: bool) -> Path:
    from huggingface_hub import snapshot_download

    options: dict[str, Any] = {"local_files_only": True} if here else {}
    folder = Path(snapshot_download(name, allow_patterns=[*_SMALL, *_KINDS[0]], **options))
    if re.fullmatch("[0-9a-f]{40}", folder.name):
        options["revision"] = folder.name  # the commit: what follows goes with what was found
    for whole, index in _KINDS:
        if not (folder / whole).is_file() and not (folder / index).is_file():
            folder = Path(snapshot_download(name, allow_patterns=[whole, index], **options))
        if (folder / whole).is_file():
            break
        if (folder / index).is_file():
            named = shards(folder / index)
            if not all((folder / shard).is_file() for shard in named):
                snapshot_download(name, allow_patterns=named, **options)
            break
    return folder


def _message(name: str, error: Exception, known: dict[str, str], here: bool) -> str:
    from huggingface_hub import errors

    hint = unknown("backbone", name, known, "A local folder or a Hub id is a backbone too")
    said = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    if isinstance(error, errors.HFValidationError):
        return f"{hint}; the Hub answered: {said}"
    if here:
        return f"{hint}. If it is on the Hub: its files are not on this machine yet, and only a run downloads them."
    if isinstance(error, errors.GatedRepoError):
        return (
            f"the backbone {name} is gated on the Hub: its owner gives access on request. Ask for it at "
            f"https://huggingface.co/{name}, log in with `hf auth login`, and run again; the Hub answered: {said}"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"{hint}; the Hub answered: {said} Is the id spelled right, and, if it is private, are you logged in "
            "(`hf auth login`)?"
        )
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return f"the files of {name} cannot be kept in the cache ({error.strerror}); free room there, or set HF_HOME."
    return f"{hint}; the Hub answered: {said}"
