"""Analytic FLOPs: counts in closed form from an architecture's anatomy, what is trained and what is plugged in."""

from tunefront.bench.meters.flops.analytic.analytic import Analytic
from tunefront.bench.meters.flops.analytic.anatomy import Anatomy, Attention, Disentangled, FeedForward, Stack
from tunefront.bench.meters.flops.analytic.architectures import ANATOMIES
from tunefront.bench.meters.flops.analytic.tally import Flops

__all__ = ["ANATOMIES", "Analytic", "Anatomy", "Attention", "Disentangled", "FeedForward", "Flops", "Stack"]
