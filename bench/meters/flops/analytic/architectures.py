"""All anatomies that are known."""

from __future__ import annotations

from tunefront.bench.meters.flops.analytic.anatomy import Anatomy
from tunefront.bench.meters.flops.analytic.decoders import DECODERS
from tunefront.bench.meters.flops.analytic.encoders import ENCODERS
from tunefront.bench.meters.flops.analytic.seq2seq import SEQ2SEQ

ANATOMIES: dict[str, Anatomy] = ENCODERS | DECODERS | SEQ2SEQ
"""Anatomies by the configuration's `model_type`. `ANATOMIES["mine"] = Anatomy(...)` adds an architecture."""
