"""Members of a router made of toys: fitted without a step, then changed, so that their modules have an effect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from tests.toys import Untrained, encode, fresh_copy, harness, shake, toy_task
from tunefront.bench.data.task import Task
from tunefront.bench.models.examples import EncodedExamples, stacked
from tunefront.bench.models.routing.member import Member
from tunefront.bench.models.routing.router import Router
from tunefront.bench.models.routing.rows import MixedRows
from tunefront.methods.base import Method
from tunefront.methods.spelling import spell

TOLERANCE = 1e-5
"""Scores of these tiny models are below 30; sums in another order change their last bits."""


@dataclass(frozen=True)
class Fitted:
    """A member, its encoded test rows, and its scores of them alone, one batch per row count."""

    member: Member
    rows: EncodedExamples
    alone: Tensor


def fit(method: Method, folder: str, task: Task | None = None, seed: int = 0, **prompting: Any) -> Fitted:
    """A member of the toy task or another one; the backbone is free for others afterwards."""
    task = task or toy_task(rows=(16, 5), words=(1 + seed, 9 + seed), seed=seed)
    backbone = fresh_copy(folder, task, seed=seed, **prompting)
    method.attach(backbone)
    trainer = harness(backbone, method, kind=Untrained, counted=False)
    scorer = method.fit(backbone, encode(backbone, task), trainer)
    shake(backbone.trainable(), 0.1 + 0.02 * seed)
    rows = trainer.tools.prepend_to(encode(backbone, task, "test"))
    member = Member.of(f"{spell(method)} {seed}", backbone, scorer)
    backbone.model.eval()
    with torch.inference_mode():
        alone = stacked([scorer(rows.batch([row]))[0] for row in range(len(rows))])
    return Fitted(member, rows, alone.clone())


fit_once = cache(fit)
"""`fit` for members that several tests share."""


def mixed(fitted: Sequence[Fitted], folder: str, task: Task | None = None) -> tuple[Router, MixedRows]:
    """A router of these members, and their rows. It becomes unusable with the next fresh backbone of the folder."""
    router = Router(fresh_copy(folder, task or toy_task()), [each.member for each in fitted])
    return router, MixedRows([each.rows for each in fitted])


def assert_as_alone(fitted: Sequence[Fitted], scores: Sequence[Tensor]) -> None:
    """Every member's scores (rows, choices) are those of the member alone, to rounding."""
    for each, own in zip(fitted, scores, strict=True):
        assert own.shape == each.alone.shape, each.member.name
        torch.testing.assert_close(own, each.alone, rtol=TOLERANCE, atol=TOLERANCE)
