"""Scores of choices. `NORMALIZATIONS` names the length that divides a choice's log-probability:

- `none`: 1.
- `token`: the number of scored tokens, including those that an encoder-decoder's tokenizer adds to a text
  (T5: the end-of-sequence token; BART: its start token too, the same for every choice).
- `char`: the number of Unicode code points of the choice's text.
- `byte`: the number of bytes of that text in UTF-8.

The text excludes the space that joins the choice to the prompt and the end-of-sequence token, although that token is
scored.

Shapes, everywhere: `logprobs` (batch, choices, tokens), the log-probability of each token of each choice; `mask` of the
same shape, True where there is a token. Rows may have fewer choices than others: a choice without tokens does not
exist. Values outside the mask are never read, and their gradient is zero. Sums are in float32 at least.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tunefront.bench.errors import unknown
from tunefront.bench.settings import NORMALIZATIONS


def choice_scores(logprobs: Tensor, mask: Tensor, normalization: str = "none", lengths: Tensor | None = None) -> Tensor:
    """(batch, choices) scores, higher is better, -inf where a choice does not exist.

    Args: normalization, one of `NORMALIZATIONS`; lengths (batch, choices), the `text_length` of each choice, needed by
    `char` and `byte` only.
    """
    _check(normalization)
    if normalization == "none":
        return scores_over(logprobs, mask, logprobs.new_ones(()))
    if normalization == "token":
        return scores_over(logprobs, mask, mask.sum(-1))
    if lengths is None:
        raise ValueError(f"normalization {normalization!r} needs the lengths of the choices' texts")
    return scores_over(logprobs, mask, lengths)


def text_length(choice: str, normalization: str) -> int:
    """The divisor of this choice's score under `char` and `byte`; 1 for normalizations that do not read the text.

    >>> [text_length("naïve", name) for name in NORMALIZATIONS]
    [1, 1, 5, 6]
    """
    _check(normalization)
    return {"char": len(choice), "byte": len(choice.encode())}.get(normalization, 1)


def scores_over(logprobs: Tensor, mask: Tensor, lengths: Tensor) -> Tensor:
    """The log-probability of each choice divided by its length (at least 1); -inf where there is no choice."""
    scores = token_sums(logprobs, mask) / lengths.clamp(min=1)
    return scores.masked_fill(~mask.any(-1), -torch.inf)


def token_sums(values: Tensor, mask: Tensor) -> Tensor:
    """The sum over the tokens under the mask, (batch, choices), in float32 at least."""
    return torch.where(mask, at_least_float32(values), 0.0).sum(-1)


def at_least_float32(values: Tensor) -> Tensor:
    """The values in float32; float64 stays float64."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _check(normalization: str) -> None:
    if normalization not in NORMALIZATIONS:
        raise ValueError(unknown("normalization", normalization, NORMALIZATIONS))
