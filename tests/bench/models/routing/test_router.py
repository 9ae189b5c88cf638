"""Mixed batches give every row the scores of its own member alone."""

from __future__ import annotations

import random

import pytest
import torch

from tests.bench.models.routing.members import Fitted, assert_as_alone, fit, fit_once, mixed
from tests.conftest import FAMILIES, LANGUAGE_MODELS
from tests.toys import fresh_copy, language_pairs, pair_id, pairs
from tunefront.methods.base import Method, Unsupported
from tunefront.methods.houlsby import Houlsby

OF_THE_BACKBONE = ("full", "top_layers", "fish", "said")
"""The methods that change matrices which all rows share."""

every_method = pytest.mark.parametrize(("method", "family"), pairs() + language_pairs(), ids=pair_id)
every_family = pytest.mark.parametrize("family", [*FAMILIES, *LANGUAGE_MODELS])


def shuffled(tags: list, seed: int = 0) -> list:
    return random.Random(seed).sample(tags, len(tags))


def fit_or_skip(method: Method, folder: str, seed: int) -> Fitted:
    """A member, or the reason of its method against the backbone itself."""
    try:
        method.attach(fresh_copy(folder))
    except Unsupported as reason:
        pytest.skip(str(reason))
    return fit_once(method, folder, None, seed)


@every_method
def test_a_mixed_batch_scores_as_each_member_alone(method: Method, family: str, folders: dict[str, str]) -> None:
    """Two members of the method, on different tasks, among rows of another method, in any order."""
    folder = folders[family]
    if method.name in OF_THE_BACKBONE:
        with pytest.raises(Unsupported, match="backbone"):
            fit(method, folder)
        return
    fitted = [fit_or_skip(method, folder, seed) for seed in (0, 1)] + [fit_once(Houlsby(), folder, None, 2)]
    router, rows = mixed(fitted, folder)
    tags = shuffled(rows.tags)
    scored = dict(zip(tags, router.score_rows(rows, tags), strict=True))
    assert_as_alone(
        fitted, [torch.stack([scored[m, row] for row in range(len(each.rows))]) for m, each in enumerate(fitted)]
    )
