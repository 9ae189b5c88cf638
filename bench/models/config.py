"""A backbone's configuration, sites and token limits, read from its folder; and checks that it can be used."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tunefront.bench.data.task import Row, Task
from tunefront.bench.errors import UserError
from tunefront.bench.models.architectures import is_recorded, known_sites
from tunefront.bench.models.config_files import configuration, decoder_flags_warning, own_code_warning
from tunefront.bench.models.contradictions import architecture_warning
from tunefront.bench.models.families import LANGUAGE_MODELS, Prompting
from tunefront.bench.models.families.encoder import check_room, check_takes_words, limit_of, row_lengths
from tunefront.bench.models.fit import check_fit
from tunefront.bench.models.json_files import read_object
from tunefront.bench.models.locate import known_backbones, locate
from tunefront.bench.models.pooling import folder_pooling, ignored_modules_warning
from tunefront.bench.models.tokenizer_files import check_tokenizer, tokenization_warning, tokenizer_of
from tunefront.bench.models.weights import check_has_weights, find_nonfinite, headers, is_blank, size
from tunefront.bench.settings import RunConfig
from tunefront.bench.templates import Template, find_template
from tunefront.methods.sites import Sites

log = logging.getLogger("tunefront")

MOST_SPECIAL_TOKENS = 16
"""More than any known tokenizer adds to a pair of texts (RoBERTa's adds 4)."""

MOST_BYTES_TRIED = 4 * 2**30
"""Values of weights up to this size are checked before a run, in about the time that their fingerprint takes."""


@functools.lru_cache(maxsize=256)
def check_backbone(name: str) -> None:
    """Finds the backbone and checks that its configuration, weights and tokenizer match; UserError if it cannot be
    used. Reads the headers of the weights, and their values too unless the files are large."""
    folder = locate(name)
    config = config_at(name)
    sites = sites_of(config, name)
    if sites.family == "encoder":
        folder_pooling(folder)
    if name in known_backbones():  # tests and a hash check the embedded ones
        return
    check_has_weights(folder, name)
    check_fit(name, config, sites, headers(folder))
    check_tokenizer(name, config)
    if sites.family == "encoder":
        check_takes_words(name, config, tokenizer_of(name))
    if sites.family == "seq2seq":
        start_token(folder, config)
    if size(folder) <= MOST_BYTES_TRIED:
        check_finite(name)
        check_not_blank(name)


def check_finite(name: str) -> None:
    """UserError if a weight is not a finite number."""
    nonfinite = find_nonfinite(locate(name))
    if nonfinite is not None:
        tensor, count, total = nonfinite
        raise UserError(
            f"the weights of {name} are not all finite: {count:,} of {total:,} values of {tensor} are NaN or infinite, "
            "so every score would be too. Give a checkpoint from before its training diverged, or download it again."
        )


def check_not_blank(name: str) -> None:
    """UserError if every matrix is constant, so that no token changes the output."""
    if is_blank(locate(name)):
        raise UserError(
            f"the weights of {name} are all zero, or constant within each matrix: no token changes the output of such "
            "a model, so nothing can be learned on it. Its files were never filled: save or download them again."
        )


def warnings_of(name: str) -> list[str]:
    """Warnings about a backbone's folder: requests that are ignored, and files that contradict each other."""
    if name in known_backbones():
        return []
    folder = locate(name)
    warnings = (
        decoder_flags_warning(folder),
        own_code_warning(folder),
        architecture_warning(folder),
        ignored_modules_warning(folder),
        tokenization_warning(name),
    )
    return [warning for warning in warnings if warning is not None]


def start_token(folder: Path, config: Any) -> int:  # Any: as `config_at`
    """The first decoder token of an encoder-decoder; UserError if neither configuration names it."""
    path = folder / "generation_config.json"
    generation = read_object(path, "generation configuration") if path.exists() else {}
    for start in (getattr(config, "decoder_start_token_id", None), generation.get("decoder_start_token_id")):
        if type(start) is int and 0 <= start < config.vocab_size:
            return start
    raise UserError(
        f"the configuration {folder / 'config.json'} has no decoder_start_token_id in its vocabulary; set it there "
        "(T5: the id of the padding token)."
    )


def check_length(name: str, task: Task, max_length: int | None) -> None:
    """UserError if max_length leaves no room for a word. Loads the tokenizer, which takes 50 ms, only for a max_length
    that may be too short."""
    if max_length is None or max_length > MOST_SPECIAL_TOKENS:
        return
    try:
        tokenizer = tokenizer_of(name)
    except UserError:  # check_backbone() reports it
        return
    check_room(tokenizer, task, max_length, max_length)


def check_encoding(name: str, task: Task, template: Template, rows: Sequence[Row], config: RunConfig) -> None:
    """Encodes rows of a task as the cells of a language model do, without its weights; raises the same UserErrors."""
    prompting = Prompting(template, config.normalization, context_length=config.context_length)
    model = config_at(name)
    sites = sites_of(model, name)
    try:
        language_model = LANGUAGE_MODELS[sites.family](_ConfigOnly(model), tokenizer_of(name), sites, task, prompting)
        language_model.check(rows, config.max_length)
    except UserError:
        raise
    except Exception:  # for example a broken tokenizer, or Unsupported: the cell reports it
        log.debug("%s cannot be encoded for %s before a cell runs", task.name, name, exc_info=True)


@dataclass(frozen=True)
class Cut:
    """Truncation of rows: rows that are cut, rows that were looked at, tokens of the longest row before the cut, and
    the most tokens that a row keeps."""

    rows: int
    looked_at: int
    longest: int
    limit: int


def cut_rows(name: str, task: Task, template: str | None, rows: Sequence[Row], config: RunConfig) -> Cut | None:
    """How many of the rows a cell would cut, without loading weights; None for a task that the model cannot do."""
    lengths = row_tokens(name, task, template, rows, config)
    if lengths is None:
        return None
    cut = [kept for whole, kept in lengths if kept < whole]
    model = config_at(name)
    if sites_of(model, name).family not in LANGUAGE_MODELS:
        limit = limit_of(model, tokenizer_of(name), config.max_length)
    else:
        limit = config.max_length or max(cut, default=0)
    return Cut(len(cut), len(lengths), max((whole for whole, _ in lengths), default=0), limit)


def row_tokens(
    name: str, task: Task, template: str | None, rows: Sequence[Row], config: RunConfig
) -> list[tuple[int, int]] | None:
    """(tokens of the row, or of its prompt; tokens that a cell keeps) per row, without loading weights; None for a task
    that the model cannot do."""
    language_model = _prompted(name, task, template, config)
    if language_model is not None:
        return language_model.query_lengths(rows, config.max_length)
    if family_of(name) in LANGUAGE_MODELS:
        return None
    tokenizer = tokenizer_of(name)
    limit = limit_of(config_at(name), tokenizer, config.max_length)
    return [(length, min(length, limit)) for length in row_lengths(tokenizer, task, rows)]


def room_of(name: str, task: Task, template: str | None, config: RunConfig) -> int | None:
    """The most tokens that the backbone takes of a row, of a language model of a prompt with an answer; None without a
    limit."""
    language_model = _prompted(name, task, template, config)
    if language_model is not None:
        return language_model.room
    return limit_of(config_at(name), tokenizer_of(name), config.max_length)


def _prompted(name: str, task: Task, template: str | None, config: RunConfig) -> Any:  # Any: a family without weights
    """The language model without weights, with the task's prompts; None for an encoder, or without a template."""
    model = config_at(name)
    sites = sites_of(model, name)
    if sites.family not in LANGUAGE_MODELS or template is None:
        return None
    prompting = Prompting(find_template(task, template), config.normalization, context_length=config.context_length)
    return LANGUAGE_MODELS[sites.family](_ConfigOnly(model), tokenizer_of(name), sites, task, prompting)


def import_code(name: str) -> None:
    """Imports the code of the architecture, which takes seconds, so that workers forked later have it."""
    module = config_at(name).model_type.replace("-", "_")
    with contextlib.suppress(ImportError):  # another module name: the worker imports it with the weights
        importlib.import_module(f"transformers.models.{module}.modeling_{module}")


def family_of(name: str) -> str:
    """encoder, decoder or seq2seq."""
    return sites_of(config_at(name), name).family


def block_count(name: str) -> int:
    """The number of blocks; of an encoder-decoder those of both stacks."""
    config = config_at(name)
    if family_of(name) != "seq2seq":
        groups = getattr(config, "num_hidden_groups", None)  # ALBERT's layers of a group share their blocks
        return int(config.num_hidden_layers if groups is None else groups * config.inner_group_num)
    decoder = ("decoder_layers", "num_decoder_layers", "num_hidden_layers")  # BART's name, T5's, and a guess
    return int(config.num_hidden_layers) + next(int(getattr(config, key)) for key in decoder if hasattr(config, key))


def sites_fingerprint(name: str) -> str:
    """sha256 of the sites that methods use; a user may change those of an architecture."""
    known = sites_of(config_at(name), name)
    sites = asdict(known) if is_recorded(known) else {"family": known.family, "recorded": False}
    ordered = {field: sorted(value) if isinstance(value, frozenset) else value for field, value in sites.items()}
    return hashlib.sha256(json.dumps(ordered, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class _ConfigOnly:
    """The part of a model that encoding rows needs."""

    config: Any  # Any: as `config_at`


def config_at(name: str) -> Any:  # Any: transformers' configurations have no common type with their fields
    """The backbone's configuration, a new object that the caller may change."""
    return configuration(locate(name))


def sites_of(config: Any, name: str) -> Sites:
    """The sites of a backbone's architecture; errors as in `known_sites`."""
    return known_sites(config.model_type, f"backbone {name}: ")
