"""What a backbone's folder says of it: configuration, sites, pooling, tokenizer; and whether it can be used."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunefront.bench.data.task import Row, Task
from tunefront.bench.errors import Mistake
from tunefront.bench.models.families import LANGUAGE_MODELS, Prompting
from tunefront.bench.models.families.encoder import check_room, limit_of, row_lengths
from tunefront.bench.models.locate import WEIGHTS, locate
from tunefront.bench.settings import RunConfig
from tunefront.bench.templates import Template, find_template
from tunefront.methods.sites import Sites, sites_for

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger("tunefront")

_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "spm.model", "spiece.model", "sentencepiece.bpe.model")


MOST_SPECIAL_TOKENS = 16
"""More than any tokenizer is known to add to a pair of texts (RoBERTa's: 4)."""


def check_backbone(name: str) -> None:
    """Finds the backbone, its files and its configuration, no weights; Mistake where it cannot be used."""
    sites_of(config_at(name), name)
    folder = locate(name)
    folder_pooling(folder)
    for what, names, saved_by in (("weights", WEIGHTS, "model"), ("tokenizer", _TOKENIZERS, "tokenizer")):
        if not any((folder / file).is_file() for file in names):
            raise Mistake(
                f"{name} has no {what}: none of {', '.join(names)} is in {folder}; "
                f"save it there with {saved_by}.save_pretrained()."
            )


def check_length(name: str, task: Task, max_length: int | None) -> None:
    """Mistake where max_length leaves no room for a word; only a length that may be too short has the tokenizer read,
    which takes 50 ms."""
    if max_length is None or max_length > MOST_SPECIAL_TOKENS:
        return
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(locate(name), trust_remote_code=False)
    except Exception:  # whatever a broken file leads to: check_backbone() or the cell tells of it
        return
    check_room(tokenizer, task, max_length)


def check_encoding(name: str, task: Task, template: Template, rows: Sequence[Row], config: RunConfig) -> None:
    """Encodes rows of a task as a language model's cells will, without its weights; Mistake as theirs."""
    prompting = Prompting(template, config.normalization, context_length=config.context_length)
    model = config_at(name)
    sites = sites_of(model, name)
    try:
        outline = LANGUAGE_MODELS[sites.family](_Outline(model), tokenizer_of(name), sites, task, prompting)
        outline.check(rows, config.max_length)
    except Mistake:
        raise
    except Exception:  # of a broken tokenizer, say, or Unsupported: the cell tells of it
        log.debug("%s cannot be encoded for %s before a cell runs", task.name, name, exc_info=True)


@dataclass(frozen=True)
class Cut:
    """Of rows as a model reads them: how many are cut, of how many that were looked at, tokens of the longest before
    that, the most that are kept."""

    rows: int
    looked_at: int
    longest: int
    limit: int


def cut_rows(name: str, task: Task, template: str | None, rows: Sequence[Row], config: RunConfig) -> Cut | None:
    """How many of the rows a cell would cut, without its weights; None for a task that the model cannot do."""
    model = config_at(name)
    sites, tokenizer = sites_of(model, name), tokenizer_of(name)
    if sites.family not in LANGUAGE_MODELS:
        limit = limit_of(model, tokenizer, config.max_length)
        lengths = [(length, min(length, limit)) for length in row_lengths(tokenizer, task, rows)]
    elif template is None:
        return None
    else:
        prompting = Prompting(find_template(task, template), config.normalization, context_length=config.context_length)
        outline = LANGUAGE_MODELS[sites.family](_Outline(model), tokenizer, sites, task, prompting)
        lengths = outline.query_lengths(rows, config.max_length)
        limit = config.max_length or max((kept for whole, kept in lengths if kept < whole), default=0)
    cut = sum(kept < whole for whole, kept in lengths)
    return Cut(cut, len(lengths), max((whole for whole, _ in lengths), default=0), limit)


def import_code(name: str) -> None:
    """Imports the architecture's code, which takes seconds, and nothing else; a worker forked after it has it."""
    module = config_at(name).model_type.replace("-", "_")
    with contextlib.suppress(ImportError):  # named otherwise: the worker finds it when it loads the weights
        importlib.import_module(f"transformers.models.{module}.modeling_{module}")


def family_of(name: str) -> str:
    """encoder, decoder or seq2seq."""
    return sites_of(config_at(name), name).family


def sites_fingerprint(name: str) -> str:
    """sha256 of the sites that methods act on; a user may change an architecture's record."""
    sites = asdict(sites_of(config_at(name), name))
    ordered = {field: sorted(value) if isinstance(value, frozenset) else value for field, value in sites.items()}
    return hashlib.sha256(json.dumps(ordered, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class _Outline:
    """What encoding rows needs of a model."""

    config: Any  # Any: as `config_at`


@functools.cache
def tokenizer_of(name: str) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(locate(name), trust_remote_code=False)


def config_at(name: str) -> Any:  # Any: transformers' configurations have no common type with their fields
    from transformers import AutoConfig

    folder = locate(name)
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise Mistake(f"the configuration of {name} cannot be read: {str(error).splitlines()[0]}") from error


def sites_of(config: Any, name: str) -> Sites:
    try:
        return replace(sites_for(config.model_type))
    except KeyError as error:
        raise Mistake(f"backbone {name}: {error.args[0]}") from error


def folder_pooling(folder: Path) -> str | None:
    """`mean` where a sentence-transformers pooling configuration says so, None where there is none."""
    path = folder / "1_Pooling" / "config.json"
    if not path.is_file():
        return None
    try:
        config = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise Mistake(f"the pooling configuration {path} cannot be read: {error}") from error
    modes = [mode for mode, on in config.items() if mode.startswith("pooling_mode_") and on is True]
    known = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "first"}
    if len(modes) != 1 or modes[0] not in known:
        raise Mistake(f"{path} asks for the pooling {modes}; only one of {', '.join(known)} can be used.")
    return known[modes[0]]
