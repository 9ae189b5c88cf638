"""How far back a decoder's tokens look, as far as a configuration says: a mask of our own takes a model's window away,
so that what is scored side by side must lie within it."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

WINDOWS = (
    *("sliding_window", "sliding_window_size", "window_size", "attention_window", "attention_window_size"),
    *("attention_chunk_size", "local_attention", "local_attention_window_len", "keep_window_size"),
)
"""What architectures call the number of tokens that a token sees: the last ones, or those of its chunk."""
MOST_TRIED = 512
"""Tokens of the largest window that a trial is made for, of one that a field may be by its name."""
_LIKE_ONE = re.compile(r"window|chunk|local|radius|block_size|span")
_NONE = re.compile(r"layers?$|pattern$|experts?$|blocks?$|feed_forward$|heads?$|audio|vision|image")
"""What such fields count in the place of tokens."""
_KINDS = ("layer_types", "attention_layers")
_LOCAL = re.compile(r"sliding|chunk|local|window")


def window(config: Any) -> int | None:  # Any: transformers' configurations have no common type with their fields
    """The most tokens that all see each other in every layer; None where no window is known, or it is too large to
    try whether there is one."""
    named = [size for name, size in _fields(config) if name in WINDOWS or size >= MOST_TRIED]
    return min(named, default=None)


def unsure(config: Any) -> int | None:  # Any: as above
    """The largest number of tokens that may be a window by its name alone: a longer row tells."""
    return max((size for name, size in _fields(config) if name not in WINDOWS and size < MOST_TRIED), default=None)


def _fields(config: Any) -> Iterator[tuple[str, int]]:  # Any: as above
    """The fields that are a window or may be one. One that the architecture does not know changes nothing."""
    if not _looks_back(config):
        return
    kind: Any = type(config)  # Any: to mypy a class of Any is not hashable
    known = _known(kind)
    for name, value in vars(config).items():
        sizes = value if isinstance(value, list | tuple) else [value]
        if not _LIKE_ONE.search(name) or _NONE.search(name) or (known and name not in known):
            continue
        if name == "sliding_window" and getattr(config, "use_sliding_window", True) is False:
            continue
        yield from ((name, size) for size in sizes if type(size) is int and size > 0)


def _looks_back(config: Any) -> bool:  # Any: as above
    """Whether a layer has a window, where the configuration tells of each layer."""
    for name in _KINDS:
        kinds = getattr(config, name, None)
        if isinstance(kinds, list | tuple) and kinds and not any(_LOCAL.search(str(kind)) for kind in kinds):
            return False
    return True


@functools.lru_cache(maxsize=256)
def _known(kind: type) -> frozenset[str]:
    """The fields that an architecture has by itself; none where that cannot be told."""
    try:
        return frozenset(vars(kind()))
    except Exception:  # of a class that needs arguments
        return frozenset()
