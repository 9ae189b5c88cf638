"""Analytic FLOPs: closed-form counts from the architecture, the trained parameters and the plugs."""

from tunefront.bench.meters.flops.analytic.analytic import Analytic
from tunefront.bench.meters.flops.analytic.architectures import ARCHITECTURES
from tunefront.bench.meters.flops.analytic.spec import ArchitectureSpec, Attention, Disentangled, FeedForward, Stack
from tunefront.bench.meters.flops.analytic.tally import Flops

__all__ = [
    "ARCHITECTURES",
    "Analytic",
    "ArchitectureSpec",
    "Attention",
    "Disentangled",
    "FeedForward",
    "Flops",
    "Stack",
]
