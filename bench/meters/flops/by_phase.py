"""What the phases of a cell cost in FLOPs, from every source: counted, analytic, and the papers' rule of thumb."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, cast

from tunefront.bench.meters.flops.analytic import Analytic, Flops, elementwise
from tunefront.bench.meters.flops.analytic.passes import PASSES, Kind
from tunefront.bench.meters.flops.rule import backward_rule, forward_rule
from tunefront.bench.models.families.family import Family
from tunefront.bench.models.shapes import Shape
from tunefront.bench.records import PhaseFlops
from tunefront.methods.base import Unsupported

if TYPE_CHECKING:
    from tunefront.bench.models.families import Backbone

Times = Mapping[Shape, int]
"""How often each shape ran."""


NOTHING = PhaseFlops(counted=0, analytic=0, elementwise=0, rule=0)
"""Of a forward phase in which nothing ran."""


class FlopLedger:
    """Makes the entries of what ran. Only a backbone's own loss, scores and features can be told from shapes.

    Args: backbone, on which a method's own scorers are watched, None where there is none; params, of the pretrained
    model, for the rule of thumb.
    """

    def __init__(self, backbone: Backbone | None = None, params: int | None = None):
        self.backbone, self._params = backbone, params

    def count_calls(self) -> AbstractContextManager[Counter[str]]:
        """Counts the calls of the backbone's scores and features that come from outside it."""
        return nullcontext(Counter[str]()) if self.backbone is None else self.backbone.counting_calls()

    def training(self, loss: object, times: Times, forward: int, whole: int) -> dict[str, PhaseFlops]:
        """The phases of training steps: of `whole` counted FLOPs `forward` are those of the forward pass."""
        own = _owner(loss, "loss")
        flops, tokens = _analysed(own, "loss", times), _fed(own, "loss", times)
        return {
            "forward": self._entry(forward, flops, own, tokens),
            "backward": PhaseFlops(
                counted=whole - forward,
                analytic=None if flops is None else flops.backward,
                rule=backward_rule(self._params, tokens, _sided(own)) if own and self._params and tokens else None,
                activation_gradients=None if flops is None else flops.activation_gradients,
                weight_gradients=None if flops is None else flops.weight_gradients,
            ),
        }

    def rows(self, call: object, times: Times, counted: int, calls: Mapping[str, int] | None = None) -> PhaseFlops:
        """Of one row of `call` for each row: the backbone's own scores or features, or a scorer that was seen to make
        as many `calls` of one of them as its shapes have passes, and none of anything else. A scorer on features is
        told only where it says itself what it computes of them: `products(rows)` of what it is a method of."""
        kind: Kind = "features" if _owner(call, "features") else "score"
        own, beside = _owner(call, kind), Flops()
        if own is None and self.backbone is not None:
            size = PASSES[self.backbone.sites.family].size
            passes = sum(max(1, len(shape) // size) * number for shape, number in times.items())
            made, declared = dict(calls or {}), _declared(call, times)
            if made == {"score": passes}:
                own = self.backbone
            elif made == {"features": passes} and declared is not None:
                own, kind, beside = self.backbone, "features", declared
        flops = _analysed(own, kind, times)
        return self._entry(counted, None if flops is None else flops + beside, own, _fed(own, kind, times))

    def prefix(self, tokens: int, counted: int) -> PhaseFlops:
        """Of demonstrations that were read once; nothing where every query reads them anew."""
        if not counted:
            return NOTHING
        if self.backbone is None:
            return PhaseFlops(counted=counted)
        try:
            flops = Analytic(self.backbone).prefix(tokens)
        except Unsupported:
            flops = None
        return self._entry(counted, flops, self.backbone, tokens)

    def lead(self, counted: int) -> PhaseFlops:
        """Of making what leads in the backbone once."""
        if not counted or self.backbone is None:
            return PhaseFlops(counted=counted) if counted else NOTHING
        try:
            flops = Analytic(self.backbone).lead()
        except Unsupported:
            flops = None
        lengths = self.backbone.lead_lengths
        read = sum(lengths.prompts.values()) if self.backbone.sites.family == "decoder" else 0
        return self._entry(counted, flops, self.backbone, read)

    def _entry(self, counted: int, flops: Flops | None, own: Backbone | None, tokens: int) -> PhaseFlops:
        return PhaseFlops(
            counted=counted,
            analytic=None if flops is None else flops.forward,
            elementwise=None if flops is None else flops.elementwise,
            rule=forward_rule(self._params, tokens, _sided(own)) if own and self._params and tokens else None,
        )


def _owner(call: object, name: str) -> Backbone | None:
    """The backbone whose method of that name a call is."""
    owner = getattr(call, "__self__", None)
    return cast("Backbone", owner) if isinstance(owner, Family) and getattr(call, "__name__", "") == name else None


def _declared(call: object, times: Times) -> Flops | None:
    """What a scorer says that it computes beside the backbone's features; None where it says nothing."""
    products = getattr(getattr(call, "__self__", None), "products", None)
    if products is None:
        return None
    found = [(product, number) for shape, number in times.items() for product in products(shape[0])]
    forward = sum(product.flops * number for product, number in found)
    given = sum(product.rows * product.outer * number for product, number in found)
    return Flops(forward=forward, elementwise=elementwise.PLUGGED * given)


def _analysed(own: Backbone | None, kind: Kind, times: Times) -> Flops | None:
    if own is None:
        return None
    try:
        count = getattr(Analytic(own), kind)
        return sum((count(shape) * number for shape, number in times.items()), Flops())
    except Unsupported:
        return None


def _fed(own: Backbone | None, kind: Kind, times: Times) -> int:
    if own is None:
        return 0
    read: Kind = kind if own.head is None or kind == "features" else "features"
    led = own.lead_lengths.prompts
    return sum(PASSES[own.sites.family].fed(read, shape, led) * number for shape, number in times.items())


def _sided(own: Backbone) -> bool:
    """Whether each token passes through one of two sides."""
    return own.sites.family == "seq2seq"
