"""Closed FLOP counts of a backbone as a method left it, from shapes alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import nn

from tunefront.bench.meters.flops.analytic.anatomy import Anatomy
from tunefront.bench.meters.flops.analytic.architectures import ANATOMIES
from tunefront.bench.meters.flops.analytic.passes import PASSES, Passes
from tunefront.bench.meters.flops.analytic.tally import Flops, Tally
from tunefront.bench.models.shapes import Shape
from tunefront.methods.base import Unsupported

if TYPE_CHECKING:
    from tunefront.bench.models.families import Backbone


class Analytic:
    """Counts of a backbone's own loss, scores and features, by what is attached and trained at the time of asking.

    Only shapes, flags, hooks and the configuration are read; nothing runs, so that parameters may be without data. A
    shape is what `EncodedExamples.shape` gives: (rows, tokens) for encoders, passes as the layouts say for language
    models, (rows, 0) for features that are computed already.
    Errors: Unsupported with the reason: no anatomy, a parameter that none of its places reads, activations that are
    computed again in the backward pass, choices that are scored one by one (shapes do not tell their rows).
    What shapes do not tell either: on CPU, unpadded batches for a head on a decoder whose heads share keys take unfused
    attention, which has a product less backward; blocks that LayerDrop skips are counted.
    """

    def __init__(self, backbone: Backbone):
        self._backbone, self._family = backbone, PASSES[backbone.sites.family]
        self._anatomy = _anatomy(str(backbone.model.config.model_type))
        self._places: dict[str, nn.Module | None] = {}
        if any(getattr(module, "gradient_checkpointing", False) for module in backbone.model.modules()):
            raise Unsupported("no analytic FLOPs: activations are computed again in the backward pass")
        self._check()

    def loss(self, shape: Shape) -> Flops:
        """A training batch, forward and backward."""
        if self._backbone.head is not None:
            return self._walk(lambda passes: passes.classified(shape), training=True)
        return self._walk(lambda passes: passes.loss(shape), training=True)

    def score(self, shape: Shape) -> Flops:
        """Scoring a batch, forward alone; after kept demonstrations where the shape says so."""
        if self._backbone.head is not None:
            return self._walk(lambda passes: passes.classified(shape))
        return self._walk(lambda passes: passes.score(shape))

    def features(self, shape: Shape) -> Flops:
        """The states that a head reads, forward alone."""
        return self._walk(lambda passes: passes.features(shape))

    def prefix(self, tokens: int) -> Flops:
        """A decoder reading demonstrations of so many tokens once; nothing where every query reads them anew."""
        return self._walk(lambda passes: passes.prefix(tokens)) if tokens else Flops()

    def lead(self) -> Flops:
        """Making what leads once, as is done before rows are scored."""
        return self._walk(lambda passes: passes.lead())

    def _walk(self, run: Callable[[Passes], object], training: bool = False) -> Flops:
        tally = Tally()
        run(self._family(self._backbone, self._anatomy, tally, self._places, training))
        return tally.flops(training)

    def _check(self) -> None:
        """Unsupported where a trained or plugged parameter is read by nothing that the anatomy names."""
        passes = self._family(self._backbone, self._anatomy, Tally(), self._places)
        if self._backbone.head is not None:
            passes.classified((1, 1) * (passes.size // 2))
        if self._backbone.sites.family != "encoder":
            passes.score((1,) * passes.size)
        missed = [
            name
            for name, parameter in self._backbone.model.named_parameters()
            if id(parameter) not in passes.leaves.covered
        ]
        if missed:
            raise Unsupported(
                f"no analytic FLOPs: nothing in the anatomy of {self._backbone.model.config.model_type} reads "
                f"{missed[0]} ({len(missed)} such parameters)"
            )


def _anatomy(model_type: str) -> Anatomy:
    if model_type in ANATOMIES:
        return ANATOMIES[model_type]
    raise Unsupported(
        f"no analytic FLOPs: no anatomy for the architecture {model_type!r}; known: {', '.join(sorted(ANATOMIES))}. "
        f'ANATOMIES["{model_type}"] = Anatomy(...) of tunefront.bench.meters.flops.analytic adds one'
    )
