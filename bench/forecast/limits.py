"""How many tokens a backbone takes, from what its configuration says alone: no library is needed to refuse a length."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tunefront.bench.errors import UserError
from tunefront.bench.forecast.presets import presets
from tunefront.bench.forecast.synthetic import SyntheticRows
from tunefront.bench.models.gguf.names import is_gguf
from tunefront.bench.models.json_files import read_object
from tunefront.bench.models.locate import known_backbones, locate
from tunefront.methods.sites import SITES, Sites

_POSITIONS = ("max_position_embeddings", "n_positions")
_DEFAULT = {
    **dict.fromkeys(("bert", "roberta", "distilbert", "deberta-v2"), 512),
    **dict.fromkeys(("gpt2", "bart"), 1024),
    **dict.fromkeys(("gpt_neox", "opt", "llama"), 2048),
    **dict.fromkeys(("qwen2", "qwen3"), 32_768),
    "mistral": 131_072,
}
"""Positions where a configuration names none: transformers' own. T5's are relative and set no limit."""
_MISTRALS_WINDOW = 4096
MOST_TOKENS = 50_000_000
"""Of all made-up rows together: they are tokenised and laid out in batches as real ones are."""


class TooLong(UserError):
    """Made-up rows of so many `tokens` are more than the model takes."""

    def __init__(self, text: str, tokens: int):
        super().__init__(text, tokens)  # both: processes hand exceptions over by their arguments
        self.tokens = tokens

    def __str__(self) -> str:
        return str(self.args[0])


def check(backbone: str, lengths: SyntheticRows, context_length: int | None = None) -> None:
    """TooLong where made-up rows do not fit into the backbone, as far as its configuration says."""
    model_type, fields = configuration(backbone)
    sites = SITES.get(model_type or "")
    if model_type is not None and sites is not None:
        _check_positions(backbone, lengths, sites, most_tokens(model_type, fields), context_length)
    rows = lengths.train_rows + lengths.test_rows
    if rows * lengths.tokens > MOST_TOKENS:
        raise TooLong(
            f"{rows:,} rows of {lengths.tokens:,} tokens are {rows * lengths.tokens:,} tokens, and a plan goes through "
            f"at most {MOST_TOKENS:,}; give a smaller --length, or fewer --shots or --queries.",
            lengths.tokens,
        )


def _check_positions(
    backbone: str, lengths: SyntheticRows, sites: Sites, positions: int | None, context_length: int | None
) -> None:
    limits = [positions, None if sites.family == "encoder" else context_length]
    most = min((limit for limit in limits if limit is not None), default=None)
    answer = lengths.answer_tokens if sites.family == "decoder" else 0
    if most is not None and lengths.tokens + answer > most:
        raise too_long(backbone, sites.family, lengths, most)


def too_long(backbone: str, family: str, lengths: SyntheticRows, most: int | None) -> TooLong:
    """What is said of rows that are longer than `most`, None where that is not known."""
    encoder = family == "encoder"
    beside = "" if encoder else f" and answers of {lengths.answer_tokens}"
    has = f"has {most:,} positions" if encoder and most else f"takes {most:,} in all" if most else "takes fewer"
    return TooLong(
        f"rows of {lengths.tokens:,} tokens{beside} do not fit into {backbone}, which {has}; give a smaller --length, "
        "or a model that takes longer texts.",
        lengths.tokens,
    )


def configuration(backbone: str) -> tuple[str | None, Mapping[str, Any]]:  # Any: as in a config.json
    """The model_type and the fields of a backbone's configuration as they are written, (None, nothing) where they are
    not at hand or no model is made of them: whoever loads it says why."""
    preset = presets().get(backbone)
    if preset is not None:
        return preset.model_type, preset.config
    with suppress(UserError, OSError, RuntimeError, ValueError, RecursionError):
        path = Path(backbone).expanduser()
        if backbone in known_backbones() or is_gguf(backbone):
            path = locate(backbone)
        path = path / "config.json" if path.is_dir() else path
        fields = read_object(path, "configuration")
        if isinstance(fields.get("model_type"), str):
            return fields["model_type"], fields
    return None, {}


def most_tokens(model_type: str, fields: Mapping[str, Any]) -> int | None:  # Any: as above
    """The most tokens of a text, or of a prompt with its answer; None where positions set no limit."""
    named = [fields[name] for name in _POSITIONS if name in fields] or [_DEFAULT.get(model_type)]
    window = fields.get("sliding_window", _MISTRALS_WINDOW if model_type == "mistral" else None)
    if model_type != "mistral" and fields.get("use_sliding_window") is not True:
        window = None
    known = [limit for limit in (*named, window) if type(limit) is int and limit > 0]
    if model_type not in _DEFAULT or not known:
        return None
    pad = fields.get("pad_token_id", 1)
    spare = pad + 1 if model_type == "roberta" and type(pad) is int else 0  # its first position is behind the padding's
    return min(known) - spare
