"""All known architectures."""

from __future__ import annotations

from tunefront.bench.meters.flops.analytic.decoders import DECODERS
from tunefront.bench.meters.flops.analytic.encoders import ENCODERS
from tunefront.bench.meters.flops.analytic.seq2seq import SEQ2SEQ
from tunefront.bench.meters.flops.analytic.spec import ArchitectureSpec

ARCHITECTURES: dict[str, ArchitectureSpec] = ENCODERS | DECODERS | SEQ2SEQ
"""Specifications by the configuration's `model_type`. `ARCHITECTURES["mine"] = ArchitectureSpec(...)` adds one."""
