"""The number of tokens that a backbone accepts, from its configuration alone: no library is imported to check it."""

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
from tunefront.bench.models.positions import position_of_first_token
from tunefront.methods.sites import SITES, Sites

_POSITIONS = ("max_position_embeddings", "n_positions")
_DEFAULT = {
    **dict.fromkeys(("bert", "roberta", "distilbert", "deberta-v2"), 512),
    **dict.fromkeys(("xlm-roberta", "camembert", "electra", "albert", "mpnet"), 512),
    "xlm-roberta-xl": 514,
    "modernbert": 8192,
    "nomic_bert": 2048,
    "gte": 8192,
    **dict.fromkeys(("gpt2", "bart", "pegasus", "mbart"), 1024),
    **dict.fromkeys(("gpt_neox", "opt", "llama", "granite", "olmo2", "phi", "gptj", "falcon"), 2048),
    "phi3": 4096,
    **dict.fromkeys(("gemma", "gemma2", "cohere", "cohere2"), 8192),
    **dict.fromkeys(("qwen2", "qwen3", "qwen3_moe", "smollm3"), 32_768),
    **dict.fromkeys(("mistral", "mixtral", "gemma3_text"), 131_072),
}
"""Positions of a configuration without the field: transformers' defaults. T5's are relative and set no limit."""
_WINDOWS = {**dict.fromkeys(("mistral", "gemma2", "gemma3_text", "cohere2"), 4096), "mixtral": None, "phi3": None}
"""The window of a configuration without the field, by architectures that need no other field to have one."""
MOST_TOKENS = 50_000_000
"""Most tokens of all synthetic rows together: they are tokenised and batched like real ones."""


class TooLong(UserError):
    """Synthetic rows of `tokens` tokens are too long for the model."""

    def __init__(self, text: str, tokens: int):
        super().__init__(text, tokens)  # both: exceptions are pickled as their arguments
        self.tokens = tokens

    def __str__(self) -> str:
        return str(self.args[0])


def check(backbone: str, lengths: SyntheticRows, context_length: int | None = None) -> None:
    """TooLong if synthetic rows do not fit into the backbone, according to its configuration."""
    model_type, fields = configuration(backbone)
    sites = SITES.get(model_type or "")
    if model_type is not None and sites is not None:
        _check_positions(backbone, lengths, sites, most_tokens(model_type, fields), context_length)
    rows = lengths.train_rows + lengths.test_rows
    if rows * lengths.tokens > MOST_TOKENS:
        raise TooLong(
            f"{rows:,} rows of {lengths.tokens:,} tokens are {rows * lengths.tokens:,} tokens, but a plan takes at "
            f"most {MOST_TOKENS:,} in total; give a smaller --length, or fewer --shots or --queries.",
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
    """The error for rows that are longer than `most` tokens, None if the limit is unknown."""
    encoder = family == "encoder"
    answers = "" if encoder else f" and answers of {lengths.answer_tokens}"
    limit = f"{most:,} positions" if encoder and most else f"room for {most:,} tokens" if most else "less room"
    return TooLong(
        f"rows of {lengths.tokens:,} tokens{answers} do not fit into {backbone}, which has {limit}; give a smaller "
        "--length or a model for longer texts.",
        lengths.tokens,
    )


def configuration(backbone: str) -> tuple[str | None, Mapping[str, Any]]:  # Any: as in a config.json
    """The model_type and the raw fields of a backbone's configuration, (None, {}) if they are not available or invalid:
    loading it will raise the error."""
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
    """The most tokens of a text, or of a prompt with its answer; None if positions set no limit."""
    positions = [fields[name] for name in _POSITIONS if name in fields] or [_DEFAULT.get(model_type)]
    window = fields.get("sliding_window", _WINDOWS.get(model_type))
    if model_type not in _WINDOWS and fields.get("use_sliding_window") is not True:
        window = None
    known = [limit for limit in (*positions, window) if type(limit) is int and limit > 0]
    if model_type not in _DEFAULT or not known:
        return None
    return min(known) - position_of_first_token(model_type, fields.get("pad_token_id", 1))
