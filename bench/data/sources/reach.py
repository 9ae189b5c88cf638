"""The Hub, asked once whether it is there: by itself `datasets` tries six times, for half a minute, and prints each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tunefront.bench.quiet import quiet_hub

PATIENCE = 10
"""Seconds for an answer of the Hub."""


@contextmanager
def reached() -> Iterator[Exception | None]:
    """What keeps the Hub from being reached, None for nothing; where there is something, `datasets` looks only into its
    cache inside this block. The Hub's library prints nothing there."""
    import datasets
    from huggingface_hub import constants

    unreachable = None if constants.HF_HUB_OFFLINE or datasets.config.HF_HUB_OFFLINE else _obstacle()
    places: tuple[Any, ...] = (constants, datasets.config)  # Any: modules, whose fields are set
    before = [place.HF_HUB_OFFLINE for place in places]
    try:
        for place in places:
            place.HF_HUB_OFFLINE = place.HF_HUB_OFFLINE or unreachable is not None
        with quiet_hub():
            yield unreachable
    finally:
        for place, offline in zip(places, before, strict=True):
            place.HF_HUB_OFFLINE = offline


def _obstacle() -> Exception | None:
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=PATIENCE)  # whatever it answers, it is there
    except Exception as error:  # of HTTP: its kind depends on huggingface_hub's version
        return error
    return None
