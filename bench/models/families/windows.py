"""Attention windows of decoders, read from a configuration. Our own mask replaces a model's window, so choices that are
scored side by side must fit within the window, and within the length above which a row is rotated otherwise."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

WINDOWS = (
    *("sliding_window", "sliding_window_size", "window_size", "attention_window", "attention_window_size"),
    *("attention_chunk_size", "local_attention", "local_attention_window_len", "keep_window_size"),
)
"""Names that architectures give to the number of tokens that a token sees: the last ones, or those of its chunk."""
MOST_TRIED = 512
"""The largest number of tokens for which a trial is run, if a field may be a window by its name."""
_MAYBE_WINDOW = re.compile(r"window|chunk|local|radius|block_size|span")
_NOT_WINDOW = re.compile(r"layers?$|pattern$|experts?$|blocks?$|feed_forward$|heads?$|audio|vision|image")
"""Fields with such names that count something other than tokens."""
_LAYER_KINDS = ("layer_types", "attention_layers")
_LOCAL = re.compile(r"sliding|chunk|local|window")


def window(config: Any) -> int | None:  # Any: transformers' configurations have no common type with their fields
    """The most tokens that all see each other in every layer, by known windows and by possible ones that are too large
    to be tried, and that are rotated alike in a row of any length; None if there are none."""
    sizes = [size for name, size in _fields(config) if name in WINDOWS or size >= MOST_TRIED]
    return min([*sizes, *_rotations(config)], default=None)


def _rotations(config: Any) -> Iterator[int]:  # Any: as above
    """The lengths above which one token rotates all tokens of a row otherwise (Phi-3's long versions)."""
    rotary = getattr(config, "rope_parameters", None) or {}
    for parameters in (rotary, *rotary.values()):  # of the model, or of each kind of layer
        if isinstance(parameters, dict) and parameters.get("rope_type") == "longrope":
            length = parameters.get("original_max_position_embeddings")
            if isinstance(length, int):
                yield length


def possible_window(config: Any) -> int | None:  # Any: as above
    """The largest number of tokens that may be a window by its name alone; a trial on a longer row decides."""
    return max((size for name, size in _fields(config) if name not in WINDOWS and size < MOST_TRIED), default=None)


def _fields(config: Any) -> Iterator[tuple[str, int]]:  # Any: as above
    """The fields that are a window or may be one. A field that the architecture does not know has no effect."""
    if not _has_local_layer(config):
        return
    kind: Any = type(config)  # Any: to mypy a class of Any is not hashable
    known = _known_fields(kind)
    for name, value in vars(config).items():
        sizes = value if isinstance(value, list | tuple) else [value]
        if not _MAYBE_WINDOW.search(name) or _NOT_WINDOW.search(name) or (known and name not in known):
            continue
        if name == "sliding_window" and getattr(config, "use_sliding_window", True) is False:
            continue
        yield from ((name, size) for size in sizes if type(size) is int and size > 0)


def _has_local_layer(config: Any) -> bool:  # Any: as above
    """Whether some layer has a window; True if the configuration does not list the layers."""
    for name in _LAYER_KINDS:
        kinds = getattr(config, name, None)
        if isinstance(kinds, list | tuple) and kinds and not any(_LOCAL.search(str(kind)) for kind in kinds):
            return False
    return True


@functools.lru_cache(maxsize=256)
def _known_fields(kind: type) -> frozenset[str]:
    """The fields of an architecture's default configuration; none if it cannot be built."""
    try:
        return frozenset(vars(kind()))
    except Exception:  # the class needs arguments
        return frozenset()
