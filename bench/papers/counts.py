"""How many parameters a method trains on a model of a given configuration."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
from dataclasses import asdict
from typing import cast

from tunefront.bench.data import cache
from tunefront.bench.execution.identity import harness_fingerprint
from tunefront.bench.files import writing
from tunefront.bench.forecast.presets import presets
from tunefront.bench.records.environment import versions
from tunefront.methods.base import Examples, Harness, Method
from tunefront.methods.registry import source_fingerprint
from tunefront.methods.sites import sites_for
from tunefront.methods.spelling import spell

log = logging.getLogger("tunefront")


@functools.cache
def trained_count(method: Method, preset: str) -> int:
    """Parameters that require gradients once the method is attached to a preset's shape, its head left out.

    Kept in the cache folder by all that decides about it: attaching to a large shape takes some tenths of a second.
    Errors: Unsupported, as the method says.
    """
    path = cache.folder("counts") / f"{_digest(method, preset)}.json"
    try:
        kept = json.loads(path.read_text("utf-8"))
        if type(kept) is int:
            return kept
    except (OSError, ValueError):  # none yet, or one that cannot be read: it is made again
        pass
    count = attached_count(method, preset)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with writing(path) as file:
            file.write(str(count).encode())
    except OSError as error:
        log.debug("the count of %s cannot be kept: %s", spell(method), error)
    return count


def attached_count(method: Method, preset: str) -> int:
    """The same, counted now."""
    from tunefront.bench.forecast.fake_models import attached
    from tunefront.bench.meters.parameters import trained_beside_head

    backbone = attached(method, preset)
    return trained_beside_head(backbone.model, backbone.head)


def kept_count(method: Method, preset: str) -> int:
    """Parameters that still require gradients once the method has fitted, without a step of training, its head left
    out."""
    from tunefront.bench.forecast.fake_models import attached, outline_of
    from tunefront.bench.meters.parameters import trained_beside_head

    backbone = attached(method, preset)
    with outline_of(preset).making():
        method.fit(backbone, cast(Examples, ()), cast(Harness, _Untrained()))
    return trained_beside_head(backbone.model, backbone.head)


class _Untrained:
    """A harness that trains nothing."""

    def train(self, *_: object) -> None:
        """Takes no step."""


def _digest(method: Method, preset: str) -> str:
    """Of the method, the shape, the sites, the harness and the libraries."""
    shape = presets()[preset]
    sites = {
        name: value if not isinstance(value, frozenset) else sorted(value)
        for name, value in asdict(sites_for(shape.model_type)).items()
    }
    parts = [spell(method), source_fingerprint(method), shape.model_type, dict(shape.config), sites]
    return hashlib.sha256(json.dumps([*parts, harness_fingerprint(), versions()], sort_keys=True).encode()).hexdigest()
