"""What a backbone's folder says of it: configuration, sites, tokens; and whether it can be used."""

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
from typing import Any

from tunefront.bench.data.task import Row, Task
from tunefront.bench.errors import UserError
from tunefront.bench.models.config_files import configuration, set_aside
from tunefront.bench.models.contradictions import of_another
from tunefront.bench.models.families import LANGUAGE_MODELS, Prompting
from tunefront.bench.models.families.encoder import check_room, check_takes_words, limit_of, row_lengths
from tunefront.bench.models.fit import check_fit
from tunefront.bench.models.json_files import read_object
from tunefront.bench.models.locate import known_backbones, locate
from tunefront.bench.models.pooling import folder_pooling, left_out
from tunefront.bench.models.tokenizer_files import check_tokenizer, read_otherwise, tokenizer_of
from tunefront.bench.models.weights import blank, check_there, headers, size, wild
from tunefront.bench.settings import RunConfig
from tunefront.bench.templates import Template, find_template
from tunefront.methods.sites import Sites, sites_for

log = logging.getLogger("tunefront")

MOST_SPECIAL_TOKENS = 16
"""More than any tokenizer is known to add to a pair of texts (RoBERTa's: 4)."""


MOST_BYTES_TRIED = 4 * 2**30
"""Of weights whose values are looked at before a run, in about the time that their fingerprint takes."""


@functools.lru_cache(maxsize=256)
def check_backbone(name: str) -> None:
    """Finds the backbone, its configuration, and its weights and tokenizer, which have to go with it; UserError if it
    cannot be used. Of weights the headers are read, and each value once where that is soon done."""
    folder = locate(name)
    config = config_at(name)
    sites = sites_of(config, name)
    if sites.family == "encoder":
        folder_pooling(folder)
    if name in known_backbones():  # what is shipped goes together; tests and a hash see to it
        return
    check_there(folder, name)
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
    """UserError where a weight is no finite number."""
    found = wild(locate(name))
    if found is not None:
        tensor, bad, of = found
        raise UserError(
            f"the weights of {name} are not all finite numbers: {tensor} has {bad:,} of {of:,} that are NaN or "
            "infinite, and so would be every score. Give a checkpoint from before its training went wrong, or download "
            "it again."
        )


def check_not_blank(name: str) -> None:
    """UserError where every weight is the same, so that no token changes anything."""
    if blank(locate(name)):
        raise UserError(
            f"the weights of {name} are all zero, or the same in every place: no token changes anything in such a "
            "model, and nothing can be learned on it. Its files were made and not filled: save or download them again."
        )


def warnings_of(name: str) -> list[str]:
    """What a backbone's folder asks for that is not done, or says against itself."""
    if name in known_backbones():
        return []
    folder = locate(name)
    found = (set_aside(folder), of_another(folder), left_out(folder), read_otherwise(name))
    return [said for said in found if said is not None]


def start_token(folder: Path, config: Any) -> int:  # Any: as `config_at`
    """The token that an encoder-decoder's answers start after; UserError where neither configuration names it."""
    path = folder / "generation_config.json"
    beside = read_object(path, "generation configuration") if path.exists() else {}
    for start in (getattr(config, "decoder_start_token_id", None), beside.get("decoder_start_token_id")):
        if type(start) is int and 0 <= start < config.vocab_size:
            return start
    raise UserError(
        f"the configuration {folder / 'config.json'} names no decoder_start_token_id of its vocabulary; set it "
        "there (T5: the id of the padding token)."
    )


def check_length(name: str, task: Task, max_length: int | None) -> None:
    """UserError where max_length leaves no room for a word; only a length that may be too short has the tokenizer read,
    which takes 50 ms."""
    if max_length is None or max_length > MOST_SPECIAL_TOKENS:
        return
    try:
        tokenizer = tokenizer_of(name)
    except UserError:  # check_backbone() tells of it
        return
    check_room(tokenizer, task, max_length, max_length)


def check_encoding(name: str, task: Task, template: Template, rows: Sequence[Row], config: RunConfig) -> None:
    """Encodes rows of a task as a language model's cells will, without its weights; UserError as theirs."""
    prompting = Prompting(template, config.normalization, context_length=config.context_length)
    model = config_at(name)
    sites = sites_of(model, name)
    try:
        outline = LANGUAGE_MODELS[sites.family](_Outline(model), tokenizer_of(name), sites, task, prompting)
        outline.check(rows, config.max_length)
    except UserError:
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


def config_at(name: str) -> Any:  # Any: transformers' configurations have no common type with their fields
    """The backbone's configuration, the caller's own to change."""
    return configuration(locate(name))


def sites_of(config: Any, name: str) -> Sites:
    try:
        return replace(sites_for(config.model_type))
    except KeyError as error:
        raise UserError(f"backbone {name}: {error.args[0]}") from error
