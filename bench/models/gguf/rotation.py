"""Translates the rotary position embeddings of a GGUF file's model to transformers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tunefront.bench.errors import UserError
from tunefront.bench.models.gguf.reading import GGUF, decimal, metadata_error

FREQUENCIES = "rope_freqs.weight"
"""The tensor of factors that divide the frequencies, in files of Llama 3.1 and later."""
_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
"""The values of all published Llama 3.1, 3.2 and 3.3 models; a file only has the factors computed from them."""


def rope_parameters(file: GGUF, name: str, head: int) -> dict[str, Any]:  # Any: as in a config.json
    """The `rope_parameters` of config.json; `name` is the architecture, `head` the width of a head.

    Errors: UserError for a scaling other than none, linear and Llama 3's.
    """
    base = decimal(file, f"{name}.rope.freq_base", 10000.0)
    if base <= 1:
        raise metadata_error(file, f"{name}.rope.freq_base", "a number above 1")
    scaling = file.metadata.get(f"{name}.rope.scaling.type", "none")
    linear = f"{name}.rope.scale_linear"  # before scaling had a type
    if FREQUENCIES in file.tensors:
        return _llama3(file, base, head)
    if scaling == "none" and decimal(file, linear, 1.0) == 1.0:
        return {"rope_type": "default", "rope_theta": base}
    if scaling == "linear" or linear in file.metadata:
        factor = decimal(file, f"{name}.rope.scaling.factor" if scaling == "linear" else linear)
        return {"rope_type": "linear", "rope_theta": base, "factor": factor}
    raise UserError(
        f"{file.what} scales position embeddings by {str(scaling)[:50]!r}; supported are none, linear and Llama 3's. "
        "Give the original model's folder with config.json and safetensors."
    )


def _llama3(file: GGUF, base: float, head: int) -> dict[str, Any]:  # Any: as above
    """The parameters that reproduce the file's factors; UserError if there are none."""
    factors = file.array(FREQUENCIES)
    factor = float(factors.max())
    expected = llama3_factors(base, head, factor) if math.isfinite(factor) and factor >= 1 else np.empty(0)
    if factors.shape != expected.shape or not np.allclose(factors, expected, rtol=1e-5, atol=0):
        raise UserError(
            f"{file.what} scales position embeddings in another way than Llama 3 ({FREQUENCIES}). Give the original "
            "model's folder with config.json and safetensors."
        )
    return {"rope_type": "llama3", "rope_theta": base, "factor": factor, **_LLAMA3}


def llama3_factors(base: float, head: int, factor: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The divisors of Llama 3's frequencies: 1 for short waves, `factor` for long ones, interpolated between.

    Shapes: (head / 2,). Source: llama.cpp's conversion of `rope_type` llama3.
    """
    low, high = _LLAMA3["low_freq_factor"], _LLAMA3["high_freq_factor"]
    original = _LLAMA3["original_max_position_embeddings"]
    factors = []
    for place in range(0, head, 2):
        waves = original / (2 * math.pi * base ** (place / head))
        share = min(max((waves - low) / (high - low), 0.0), 1.0)
        factors.append(1 / ((1 - share) / factor + share))
    return np.array(factors, np.float32)
