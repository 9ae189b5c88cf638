"""Counts the parameters that a method trains on a model of a configuration."""

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
    """Trainable parameters of the method attached to a preset's shape, without its head.

    Cached on disk under everything that decides it: attaching to a large shape takes tenths of a second.
    Errors: Unsupported, as raised by the method.
    """
    path = cache.folder("counts") / f"{_digest(method, preset)}.json"
    try:
        cached = json.loads(path.read_text("utf-8"))
        if type(cached) is int:
            return cached
    except (OSError, ValueError):  # missing or corrupted: counted again
        pass
    count = attached_count(method, preset)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with writing(path) as file:
            file.write(str(count).encode())
    except OSError as error:
        log.debug("the count of %s cannot be cached: %s", spell(method), error)
    return count


def attached_count(method: Method, preset: str) -> int:
    """Like `trained_count`, without the cache."""
    from tunefront.bench.forecast.fake_models import attached
    from tunefront.bench.meters.parameters import trained_params_without_head

    backbone = attached(method, preset)
    return trained_params_without_head(backbone.model, backbone.head)


def kept_count(method: Method, preset: str) -> int:
    """Parameters that still require gradients after `fit` without training steps, without the head."""
    from tunefront.bench.forecast.fake_models import attached, fake_for_counting
    from tunefront.bench.meters.parameters import trained_params_without_head

    backbone = attached(method, preset)
    with fake_for_counting(preset).init_context():
        method.fit(backbone, cast(Examples, ()), cast(Harness, _Untrained()))
    return trained_params_without_head(backbone.model, backbone.head)


class _Untrained:
    """A harness that trains nothing."""

    def train(self, *_: object) -> None:
        """Does nothing."""


def _digest(method: Method, preset: str) -> str:
    """sha256 over the method, the shape, the sites, the harness and the library versions."""
    shape = presets()[preset]
    sites = {
        name: value if not isinstance(value, frozenset) else sorted(value)
        for name, value in asdict(sites_for(shape.model_type)).items()
    }
    parts = [spell(method), source_fingerprint(method), shape.model_type, dict(shape.config), sites]
    parts += [harness_fingerprint(), versions(method.packages)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
