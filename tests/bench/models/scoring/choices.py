"""Log-probabilities of choices, as lists that loops can read and as padded tensors."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import torch
from torch import Tensor

Ragged = Sequence[Sequence[Sequence[float]]]
"""Rows of choices of tokens' log-probabilities."""


def ragged(seed: int = 0) -> Ragged:
    """Rows of four, two and one choices, of one to five tokens."""
    generator = random.Random(seed)
    return [
        [[math.log(generator.uniform(0.02, 0.98)) for _ in range(tokens)] for tokens in row]
        for row in ((3, 2, 5, 1), (1, 4), (2,))
    ]


def padded(
    rows: Ragged, choices: int = 0, tokens: int = 0, fill: float = math.nan, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """(logprobs, mask), at least that wide; `fill` lies where there is no token."""
    choices = max(choices, *map(len, rows), 0)
    tokens = max(tokens, *(len(choice) for row in rows for choice in row), 0)
    logprobs = torch.full((len(rows), choices, tokens), fill, dtype=dtype)
    mask = torch.zeros(logprobs.shape, dtype=torch.bool)
    for place, row in enumerate(rows):
        for number, choice in enumerate(row):
            logprobs[place, number, : len(choice)] = torch.tensor(choice, dtype=dtype)
            mask[place, number, : len(choice)] = True
    return logprobs, mask
