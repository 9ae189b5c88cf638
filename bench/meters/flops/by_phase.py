"""FLOPs of the phases of a cell from three sources: counted, analytic, and the papers' rule of thumb."""

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


NO_FLOPS = PhaseFlops(counted=0, analytic=0, elementwise=0, rule=0)
"""FLOPs of a forward phase in which nothing ran."""


class FlopLedger:
    """Makes the entries of the phases that ran. Analytic FLOPs follow from shapes only for a backbone's own loss,
    scores and features.

    Args: backbone, whose calls by a method's own scorers are counted, None if there is none; params of the pretrained
    model, for the rule of thumb.
    """

    def __init__(self, backbone: Backbone | None = None, params: int | None = None):
        self.backbone, self._params = backbone, params

    def count_calls(self) -> AbstractContextManager[Counter[str]]:
        """Counts the calls of the backbone's `score` and `features` from outside."""
        return nullcontext(Counter[str]()) if self.backbone is None else self.backbone.counting_calls()

    def reads_choices(self, calls: Mapping[str, int]) -> bool:
        """Whether a scorer that made these calls read the choices of rows, which a head does not."""
        return self.backbone is not None and self.backbone.head is None and calls.get("score", 0) > 0

    def training(self, loss: object, times: Times, forward: int, whole: int) -> dict[str, PhaseFlops]:
        """The phases of training steps, with counted FLOPs: `whole` of the steps, `forward` of their forward passes."""
        own = _owner(loss, "loss")
        flops, tokens = _analytic_flops(own, "loss", times), _input_tokens(own, "loss", times)
        return {
            "forward": self._entry(forward, flops, own, tokens),
            "backward": PhaseFlops(
                counted=whole - forward,
                analytic=None if flops is None else flops.backward,
                rule=backward_rule(self._params, tokens, _is_encoder_decoder(own))
                if own and self._params and tokens
                else None,
                activation_gradients=None if flops is None else flops.activation_gradients,
                weight_gradients=None if flops is None else flops.weight_gradients,
            ),
        }

    def rows(self, call: object, times: Times, counted: int, calls: Mapping[str, int] | None = None) -> PhaseFlops:
        """The entry of scoring rows, or computing their features, with `call`.

        Analytic FLOPs need the backbone's own `score` or `features`, or a scorer whose counted `calls` are exactly one
        of these per pass. A scorer that calls `features` must also declare its further products, as
        `products(rows)` of the object that it is a method of.
        """
        kind: Kind = "features" if _owner(call, "features") else "score"
        own, further = _owner(call, kind), Flops()
        if own is None and self.backbone is not None:
            size = PASSES[self.backbone.sites.family].size
            passes = sum(max(1, len(shape) // size) * number for shape, number in times.items())
            counted_calls, declared = dict(calls or {}), _declared(call, times)
            if counted_calls == {"score": passes}:
                own = self.backbone
            elif counted_calls == {"features": passes} and declared is not None:
                own, kind, further = self.backbone, "features", declared
        flops = _analytic_flops(own, kind, times)
        return self._entry(counted, None if flops is None else flops + further, own, _input_tokens(own, kind, times))

    def prefix(self, tokens: int, counted: int) -> PhaseFlops:
        """The entry of reading demonstrations once; zero if every query reads them again."""
        if not counted:
            return NO_FLOPS
        if self.backbone is None:
            return PhaseFlops(counted=counted)
        try:
            flops = Analytic(self.backbone).prefix(tokens)
        except Unsupported:
            flops = None
        return self._entry(counted, flops, self.backbone, tokens)

    def lead(self, counted: int) -> PhaseFlops:
        """The entry of computing the backbone's lead once."""
        if not counted or self.backbone is None:
            return PhaseFlops(counted=counted) if counted else NO_FLOPS
        try:
            flops = Analytic(self.backbone).lead()
        except Unsupported:
            flops = None
        lengths = self.backbone.lead_lengths
        tokens = sum(lengths.prompts.values()) if self.backbone.sites.family == "decoder" else 0
        return self._entry(counted, flops, self.backbone, tokens)

    def _entry(self, counted: int, flops: Flops | None, own: Backbone | None, tokens: int) -> PhaseFlops:
        return PhaseFlops(
            counted=counted,
            analytic=None if flops is None else flops.forward,
            elementwise=None if flops is None else flops.elementwise,
            rule=forward_rule(self._params, tokens, _is_encoder_decoder(own))
            if own and self._params and tokens
            else None,
        )


def _owner(call: object, name: str) -> Backbone | None:
    """The backbone if `call` is its method `name`, else None."""
    owner = getattr(call, "__self__", None)
    return cast("Backbone", owner) if isinstance(owner, Family) and getattr(call, "__name__", "") == name else None


def _declared(call: object, times: Times) -> Flops | None:
    """The FLOPs that a scorer declares in addition to the backbone's features; None if it declares none."""
    products = getattr(getattr(call, "__self__", None), "products", None)
    if products is None:
        return None
    counts = [(product, number) for shape, number in times.items() for product in products(shape[0])]
    forward = sum(product.flops * number for product, number in counts)
    outputs = sum(product.rows * product.outer * number for product, number in counts)
    return Flops(forward=forward, elementwise=elementwise.PLUGGED * outputs)


def _analytic_flops(own: Backbone | None, kind: Kind, times: Times) -> Flops | None:
    if own is None:
        return None
    try:
        count = getattr(Analytic(own), kind)
        return sum((count(shape) * number for shape, number in times.items()), Flops())
    except Unsupported:
        return None


def _input_tokens(own: Backbone | None, kind: Kind, times: Times) -> int:
    if own is None:
        return 0
    computed: Kind = kind if own.head is None or kind == "features" else "features"
    lead = own.lead_lengths.prompts
    return sum(PASSES[own.sites.family].input_tokens(computed, shape, lead) * number for shape, number in times.items())


def _is_encoder_decoder(own: Backbone) -> bool:
    """Whether each token passes through only one half of the model."""
    return own.sites.family == "seq2seq"
