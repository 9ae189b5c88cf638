"""Closed-form FLOPs of a backbone with a method attached, from shapes alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import nn

from tunefront.bench.meters.flops.analytic.architectures import ARCHITECTURES
from tunefront.bench.meters.flops.analytic.passes import PASSES, Passes
from tunefront.bench.meters.flops.analytic.spec import ArchitectureSpec
from tunefront.bench.meters.flops.analytic.tally import Flops, Tally
from tunefront.bench.models.shapes import Shape
from tunefront.methods.base import Unsupported

if TYPE_CHECKING:
    from tunefront.bench.models.families import Backbone


class Analytic:
    """FLOPs of the backbone's own loss, scores and features, with the plugs and trained parameters that it has now.

    Reads only shapes, flags, hooks and the configuration. Nothing runs, so parameters need no data. A shape is the
    result of `EncodedExamples.shape`: (rows, tokens) for encoders, the passes of the layout for language models,
    (rows, 0) for precomputed features.
    Errors: Unsupported with the reason: an unknown architecture, a parameter that no module in the specification reads,
    activations that are recomputed in the backward pass, choices that are scored one by one (their rows do not follow
    from shapes).
    Two more things do not follow from shapes. On CPU, a head on a decoder whose heads share keys uses unfused attention
    for unpadded batches, which has one product less in the backward pass. Blocks that LayerDrop skips are counted.
    """

    def __init__(self, backbone: Backbone):
        self._backbone, self._family = backbone, PASSES[backbone.sites.family]
        self._spec = _spec_of(str(backbone.model.config.model_type))
        self._places: dict[str, nn.Module | None] = {}
        if any(getattr(module, "gradient_checkpointing", False) for module in backbone.model.modules()):
            raise Unsupported("no analytic FLOPs: activations are recomputed in the backward pass")
        self._check()

    def loss(self, shape: Shape) -> Flops:
        """A training batch, forward and backward."""
        if self._backbone.head is not None:
            return self._walk(lambda passes: passes.classified(shape), training=True)
        return self._walk(lambda passes: passes.loss(shape), training=True)

    def score(self, shape: Shape) -> Flops:
        """Scoring a batch, forward pass only; after cached demonstrations if the shape includes them."""
        if self._backbone.head is not None:
            return self._walk(lambda passes: passes.classified(shape))
        return self._walk(lambda passes: passes.score(shape))

    def features(self, shape: Shape) -> Flops:
        """The states that a head reads, forward pass only."""
        return self._walk(lambda passes: passes.features(shape))

    def prefix(self, tokens: int) -> Flops:
        """A decoder reading `tokens` tokens of demonstrations once; zero if every query reads them again."""
        return self._walk(lambda passes: passes.prefix(tokens)) if tokens else Flops()

    def lead(self) -> Flops:
        """Computing the lead once, before rows are scored."""
        return self._walk(lambda passes: passes.lead())

    def _walk(self, run: Callable[[Passes], object], training: bool = False) -> Flops:
        tally = Tally()
        run(self._family(self._backbone, self._spec, tally, self._places, training))
        return tally.flops(training)

    def _check(self) -> None:
        """Raises Unsupported if no module in the specification reads a trained or plugged parameter."""
        passes = self._family(self._backbone, self._spec, Tally(), self._places)
        if self._backbone.head is not None:
            passes.classified((1, 1) * (passes.size // 2))
        if self._backbone.sites.family != "encoder":
            passes.score((1,) * passes.size)
        missed = [
            name
            for name, parameter in self._backbone.model.named_parameters()
            if id(parameter) not in passes.modules.covered
        ]
        if missed:
            raise Unsupported(
                f"no analytic FLOPs: no module in the specification of {self._backbone.model.config.model_type} reads "
                f"{missed[0]} ({len(missed)} such parameters)"
            )


def _spec_of(model_type: str) -> ArchitectureSpec:
    if model_type in ARCHITECTURES:
        return ARCHITECTURES[model_type]
    raise Unsupported(
        f"no analytic FLOPs: unknown architecture {model_type!r}; known: {', '.join(sorted(ARCHITECTURES))}. Add it: "
        f'ARCHITECTURES["{model_type}"] = ArchitectureSpec(...) from tunefront.bench.meters.flops.analytic'
    )
