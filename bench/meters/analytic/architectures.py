"""All anatomies that are known."""

from __future__ import annotations

from bench.meters.analytic.anatomy import Anatomy
from bench.meters.analytic.decoders import DECODERS
from bench.meters.analytic.encoders import ENCODERS
from bench.meters.analytic.seq2seq import SEQ2SEQ

ANATOMIES: dict[str, Anatomy] = ENCODERS | DECODERS | SEQ2SEQ
"""Anatomies by the configuration's `model_type`. `ANATOMIES["mine"] = Anatomy(...)` adds an architecture."""
