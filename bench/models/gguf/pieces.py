"""Builds sentencepiece's BPE tokenizer from a GGUF file, as in Llama 2 and Mistral: pieces with scores, no merges.

Of all neighbours that join to a piece, sentencepiece merges those whose piece has the best score, so that the scores
give the order of merges.
Source: sentencepiece, src/bpe_model.cc; llama.cpp, src/llama-vocab.cpp (`llm_tokenizer_spm`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tunefront.bench.models.gguf.reading import GGUF, metadata_error

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_SPACE = "\u2581"
"""Represents a space in a piece."""


def sentencepiece(file: GGUF, tokens: list[str]) -> Tokenizer:
    """Builds the tokenizer of a file's pieces. Errors: UserError for missing scores."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    scores = file.metadata.get("tokenizer.ggml.scores")
    if not isinstance(scores, np.ndarray) or len(scores) != len(tokens) or not np.isfinite(scores).all():
        raise metadata_error(file, "tokenizer.ggml.scores", "a score for each token")
    vocabulary = {token: place for place, token in enumerate(tokens)}
    unknown = file.metadata.get("tokenizer.ggml.unknown_token_id", 0)
    unknown_token = tokens[unknown] if type(unknown) is int and 0 <= unknown < len(tokens) else None
    model = models.BPE(
        vocabulary,
        merges_of(vocabulary, scores.tolist()),
        unk_token=unknown_token,
        fuse_unk=True,
        byte_fallback="<0x00>" in vocabulary,
    )
    tokenizer = Tokenizer(model)
    before = file.metadata.get("tokenizer.ggml.add_space_prefix", True) is True
    replaced = normalizers.Replace(" ", _SPACE)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(_SPACE), replaced]) if before else replaced
    steps = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*steps, *([decoders.Strip(" ", 1, 0)] if before else [])])
    return tokenizer


def merges_of(vocabulary: dict[str, int], scores: Sequence[float]) -> list[tuple[str, str]]:
    """All pairs of pieces that join to a piece, sorted by that piece's score, the best first.

    >>> merges_of({"a": 0, "b": 1, "ab": 2, "aba": 3}, [0.0, 0.0, -2.0, -1.0])
    [('ab', 'a'), ('a', 'b')]
    """
    merges = []
    for piece, place in vocabulary.items():
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in vocabulary and right in vocabulary:
                merges.append((-scores[place], vocabulary[left], vocabulary[right], left, right))
    return [(left, right) for *_, left, right in sorted(merges)]
