"""Checks once whether the Hub is reachable; `datasets` would retry six times, for half a minute, and log each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tunefront.bench.quiet import quiet_hub

PATIENCE = 10
"""Timeout of a request to the Hub, in seconds."""


@contextmanager
def hub_reachability() -> Iterator[Exception | None]:
    """The error of a request to the Hub, None if it is reachable; otherwise `datasets` only uses its cache inside this
    block. The Hub's library logs nothing there."""
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
        get_session().head(constants.ENDPOINT, timeout=PATIENCE)  # any answer will do
    except Exception as error:  # an HTTP error, whose type depends on the version of huggingface_hub
        return error
    return None
