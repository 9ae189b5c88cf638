"""Batch layouts of decoders and encoder-decoders, and the FLOPs that follow from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from tunefront.bench.models.shapes import CostModel, Shape

CPU_BUDGET, CUDA_BUDGET = 384, 4096
"""Query and choice tokens per row: enough to keep the device busy, few enough to keep attention between examples, which
is computed and masked, small."""


@dataclass(frozen=True)
class DecoderLayout:
    """Queries with their choices: one example per row in training, all in one row after the prefix in scoring.

    A pass is (examples, longest query, rows, tokens per row, preceding tokens, states read): its cost is linear in the
    tokens and the states read, and quadratic in the attended positions. The tokens follow the model's own lead
    (`led` tokens in every pass) and then the prefix.
    """

    budget: int | None = CPU_BUDGET
    led: int = 0
    _SIZE: ClassVar[int] = 6

    def longest_probe(self, before: Sequence[int]) -> int:
        """A query of 24 tokens and five more, after the longest prefix; see `laws`."""
        return 29 + max(before, default=0) if self.led or any(before) else 0

    def one_pass(self, queries: Tensor, choices: Tensor, before: int, training: bool) -> Shape:
        """See the class; the last token of a choice is not an input."""
        fed = (choices - 1).clamp(min=0).sum(1)
        tokens, read = queries + fed, len(queries) + int(fed.sum())
        rows, seq = (len(queries), int(tokens.max())) if training else (1, int(tokens.sum()))
        return (len(queries), int(queries.max()), rows, seq, self.led + before, read)

    def laws(self, before: Sequence[int], training: bool) -> tuple[CostModel, ...]:
        """One law for scored choices and one for prompts read row by row, as features are. Each pass may recompute the
        lead, at a cost that does not depend on the rows."""
        none = [self.led] * max(1, len(before))
        full = [self.led + tokens for tokens in before] or none
        probes = [_decoder(1, 8, 2, full), _decoder(1, 16, 2, full), _decoder(1, 24, 5, full)]
        with_prefix = [_decoder(1, 8, 2, none)] if any(before) else []
        check = _decoder(2, 10, 3, full, training)
        terms = self._with_prefix if any(before) else self._alone
        laws = CostModel(terms, (*probes, *with_prefix), check), CostModel(self._prompts, tuple(probes), check)
        if not self.led:
            return laws
        two = _decoder(2, 8, 2, full, training)
        return tuple(CostModel(self._and_passes(law.terms), (*law.probes, two), check) for law in laws)

    def probe(self, shape: Shape) -> tuple[int, int, int, int]:
        """One choice per row; its length follows from the states read."""
        examples, query, read = shape[0], shape[1], shape[5]
        return examples, query, 1, read // examples

    def before(self, shape: Shape) -> tuple[int, ...]:
        """Prefix tokens of each pass."""
        return tuple(before - self.led for before in shape[4 :: self._SIZE])

    def _and_passes(self, terms: Callable[[Shape], tuple[int, ...]]) -> Callable[[Shape], tuple[int, ...]]:
        return lambda shape: (*terms(shape), len(shape) // self._SIZE)

    def _alone(self, shape: Shape) -> tuple[int, ...]:
        return self._with_prefix(shape)[:3]

    def _with_prefix(self, shape: Shape) -> tuple[int, ...]:
        passes = [shape[start : start + self._SIZE] for start in range(0, len(shape), self._SIZE)]
        return (
            sum(rows * seq for _, _, rows, seq, _, _ in passes),
            sum(rows * seq * seq for _, _, rows, seq, _, _ in passes),
            sum(read for *_, read in passes),
            sum(rows * seq * before for _, _, rows, seq, before, _ in passes),
        )

    def _prompts(self, shape: Shape) -> tuple[int, ...]:
        examples, query = shape[:2]
        return examples, examples * query, examples * query * query


def _decoder(examples: int, query: int, fed: int, before: Sequence[int], training: bool = False) -> Shape:
    """A shape with one choice of `fed` + 1 tokens per row, the same after every prefix."""
    rows = examples if training else 1
    seq = examples * (query + fed) // rows
    return tuple(n for length in before for n in (examples, query, rows, seq, length, examples * (1 + fed)))


@dataclass(frozen=True)
class EncoderDecoderLayout:
    """The encoder reads each prompt once; the decoder reads every choice in a separate row.

    A pass is (examples, longest prompt, choices, longest choice): its cost is linear in each stack's tokens, quadratic
    in the positions of its self-attention, and has a product of both for cross-attention. The lead is the same in every
    row; where there is one (`led`), each pass may recompute it.
    """

    budget: int | None = None
    led: bool = False
    _SIZE: ClassVar[int] = 4
    _PROBES: ClassVar[tuple[Shape, ...]] = (
        (4, 1, 2),
        (8, 1, 2),
        (12, 1, 2),
        (4, 1, 3),
        (4, 1, 4),
        (8, 1, 3),
        (4, 2, 2),
        (8, 2, 2),
    )

    def longest_probe(self, before: Sequence[int]) -> int:
        """0: relative positions and short probes always fit."""
        return 0

    def one_pass(self, queries: Tensor, choices: Tensor, before: int, training: bool) -> Shape:
        """See the class; demonstrations are part of the prompt, so `before` is 0."""
        return (len(queries), int(queries.max()), int((choices > 0).sum()), int(choices.max()))

    def laws(self, before: Sequence[int], training: bool) -> tuple[CostModel, ...]:
        """One law for training, scoring and features."""
        passes, check = max(1, len(before)), (2, 10, 4, 5)
        probes = [(1, prompt, count, tokens) * passes for prompt, count, tokens in self._PROBES]
        if not self.led:
            return (CostModel(self._terms, tuple(probes), check * passes),)
        return (CostModel(self._terms_and_passes, (*probes, (2, 4, 2, 2) * passes), check * passes),)

    def probe(self, shape: Shape) -> tuple[int, int, int, int]:
        """The pass itself, with the same number of choices in every row."""
        examples, prompt, choices, tokens = shape[: self._SIZE]
        return examples, prompt, choices // examples, tokens

    def before(self, shape: Shape) -> tuple[int, ...]:
        """No tokens before any pass."""
        return (0,) * (len(shape) // self._SIZE)

    def _terms(self, shape: Shape) -> tuple[int, ...]:
        passes = [shape[start : start + self._SIZE] for start in range(0, len(shape), self._SIZE)]
        terms = [(b, b * s, b * s * s, r, r * u, r * u * u, r * u * s, r * s) for b, s, r, u in passes]
        return tuple(map(sum, zip(*terms, strict=True)))

    def _terms_and_passes(self, shape: Shape) -> tuple[int, ...]:
        return (*self._terms(shape), len(shape) // self._SIZE)
