"""Python's garbage collector, which looks through all objects again and again, has less to do."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collector() -> Iterator[None]:
    """Pauses the garbage collector inside the block. After it, the collector is as it was before."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def frozen() -> Iterator[None]:
    """Leaves the objects that exist now out of all searches for garbage inside the block: those of imported libraries
    are never garbage, and a search through all of them takes longer than a small cell. Inside such a block, or a
    process that has frozen its objects, nothing changes."""
    if gc.get_freeze_count():
        yield
        return
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
