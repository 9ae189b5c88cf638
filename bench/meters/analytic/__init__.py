"""Analytic FLOPs: counts in closed form from an architecture's anatomy, what is trained and what is plugged in."""

from bench.meters.analytic.amounts import Flops
from bench.meters.analytic.analytic import Analytic
from bench.meters.analytic.anatomy import Anatomy, Attention, Disentangled, FeedForward, Stack
from bench.meters.analytic.architectures import ANATOMIES

__all__ = ["ANATOMIES", "Analytic", "Anatomy", "Attention", "Disentangled", "FeedForward", "Flops", "Stack"]
