"""Backbones on the Hugging Face Hub: downloads only the files that are read, and one format of weights."""

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
"""All files other than weights that a run may read, and the one that identifies an adapter."""
_KINDS = (
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
"""Files of weights, the preferred format first: a single file, or the index of several."""


def download(name: str, known: dict[str, str], here: bool = False) -> Path:
    """The folder of a Hub id's files, downloaded into the cache if necessary; with `here`, from the cache only. The
    folder may lack files that the repository lacks.

    Errors: UserError with the answer of the Hub and what to do.
    """
    try:
        with quiet_hub():
            return _download(name, here)
    except UserError:
        raise
    except Exception as error:  # Hub, HTTP or disk: the types depend on huggingface_hub's version
        raise UserError(_message(name, error, known, here)) from error


def _download(name: str, here: bool) -> Path:
    from huggingface_hub import snapshot_download

    options: dict[str, Any] = {"local_files_only": True} if here else {}
    folder = Path(snapshot_download(name, allow_patterns=[*_SMALL, *_KINDS[0]], **options))
    if re.fullmatch("[0-9a-f]{40}", folder.name):
        options["revision"] = folder.name  # the commit: further files come from the same one
    for whole, index in _KINDS:
        if not (folder / whole).is_file() and not (folder / index).is_file():
            folder = Path(snapshot_download(name, allow_patterns=[whole, index], **options))
        if (folder / whole).is_file():
            break
        if (folder / index).is_file():
            files = shards(folder / index)
            if not all((folder / file).is_file() for file in files):
                snapshot_download(name, allow_patterns=files, **options)
            break
    return folder


def _message(name: str, error: Exception, known: dict[str, str], here: bool) -> str:
    from huggingface_hub import errors

    hint = unknown("backbone", name, known, "A local folder or a Hub id is a backbone too")
    answer = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    if isinstance(error, errors.HFValidationError):
        return f"{hint}; the Hub answered: {answer}"
    if here:
        return f"{hint}. If it is on the Hub, its files are not on this machine yet; only a run downloads them."
    if isinstance(error, errors.GatedRepoError):
        return (
            f"the backbone {name} is gated on the Hub: its owner gives access on request. Ask for it at "
            f"https://huggingface.co/{name}, log in with `hf auth login`, and run again; the Hub answered: {answer}"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"{hint}; the Hub answered: {answer} Is the id spelled correctly? If it is private, are you logged in "
            "(`hf auth login`)?"
        )
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return (
            f"the files of {name} cannot be written to the cache ({error.strerror}); free space there, or set HF_HOME."
        )
    return f"{hint}; the Hub answered: {answer}"
