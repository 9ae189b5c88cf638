"""Tokenised prompts with their choices, alone or after demonstrations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tunefront.bench.models.examples import FEATURE_LAWS, EncodedExamples, to_device
from tunefront.bench.models.shapes import CostModel, Shape
from tunefront.methods.base import Batch

if TYPE_CHECKING:
    from tunefront.bench.templates import Prompt


@dataclass(frozen=True)
class PrefixedRows:
    """Rows after a prefix of `total` demonstrations: `tokens` of each row after the demonstrations that it keeps, their
    number (`kept`) and their tokens (`before`)."""

    total: int
    tokens: tuple[Tensor, ...]
    kept: tuple[int, ...]
    before: tuple[int, ...]

    def take(self, rows: Sequence[int]) -> PrefixedRows:
        """These rows, in this order."""
        return PrefixedRows(
            self.total,
            tuple(self.tokens[row] for row in rows),
            tuple(self.kept[row] for row in rows),
            tuple(self.before[row] for row in rows),
        )


class Layout(Protocol):
    """How a family lays out a batch in passes through the model, which decides its FLOPs; `budget` is the most query
    and choice tokens scored at once, None for no limit."""

    @property
    def budget(self) -> int | None: ...

    def longest_probe(self, before: Sequence[int]) -> int:
        """Tokens per row that the laws' probe batches need, the longest prefix included; 0 where they always fit."""

    def one_pass(self, queries: Tensor, choices: Tensor, before: int, training: bool) -> Shape:
        """The shape of the pass over rows with these numbers of query tokens (rows,) and choice tokens (rows, choices),
        after a prefix of `before` tokens."""

    def laws(self, before: Sequence[int], training: bool) -> tuple[CostModel, ...]:
        """The laws that give FLOPs from the shapes of passes; `before` holds the tokens of each prefix, if any."""

    def probe(self, shape: Shape) -> tuple[int, int, int, int]:
        """(rows, query tokens per row, choices per row, tokens per choice) of a batch with the shape of a probe."""

    def before(self, shape: Shape) -> tuple[int, ...]:
        """Prefix tokens of each pass of a shape."""


@dataclass(frozen=True)
class PromptedExamples(EncodedExamples):
    """Rows of a language model: `columns["input_ids"]` are prompts, `ids` the rows' ids, `choices` each row's answers
    as token ids, `choice_lengths` the divisors of the choices' log-probabilities, `prompts` the rendered texts,
    `boundary_tokens` the tokens of each prompt that its choices hold, `by_prefix` the rows after each prefix."""

    ids: tuple[str, ...] = ()
    prompts: tuple[Prompt, ...] = ()
    choices: tuple[tuple[Tensor, ...], ...] = ()
    choice_lengths: tuple[tuple[float, ...], ...] = ()
    boundary_tokens: tuple[int, ...] = ()
    layout: Layout | None = None
    by_prefix: Mapping[str, PrefixedRows] = field(default_factory=dict)

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each row, choices included; zeros once features are precomputed."""
        if self.features is not None:
            return (0,) * len(self)
        queries = next((followed.tokens for followed in self.by_prefix.values()), self.columns["input_ids"])
        return tuple(
            len(query) + sum(len(choice) for choice in row_choices)
            for query, row_choices in zip(queries, self.choices, strict=True)
        )

    def text_tokens(self, row: int) -> int:
        """As in the base class: of the prompt alone, whatever demonstrations it follows."""
        return 0 if self.features is not None else len(self.columns["input_ids"][row])

    def choice_tokens(self, row: int) -> int:
        """As in the base class."""
        return 0 if self.features is not None else sum(map(len, self.choices[row]))

    @cached_property
    def shortened(self) -> int:
        """Rows that lost demonstrations because the whole prompt did not fit."""
        return sum(any(rows.kept[row] < rows.total for rows in self.by_prefix.values()) for row in range(len(self)))

    @cached_property
    def demonstrations_per_row(self) -> float | None:
        """Mean number of demonstrations that a prompt keeps, None without demonstrations."""
        kept = [number for rows in self.by_prefix.values() for number in rows.kept]
        return sum(kept) / len(kept) if kept else None

    def take(self, rows: Sequence[int]) -> PromptedExamples:
        """These rows, in this order."""
        return replace(
            cast(PromptedExamples, super().take(rows)),
            ids=tuple(self.ids[row] for row in rows),
            prompts=tuple(self.prompts[row] for row in rows),
            choices=tuple(self.choices[row] for row in rows),
            choice_lengths=tuple(self.choice_lengths[row] for row in rows),
            boundary_tokens=tuple(self.boundary_tokens[row] for row in rows),
            by_prefix={name: followed.take(rows) for name, followed in self.by_prefix.items()},
        )

    @classmethod
    def joined(cls, parts: Sequence[EncodedExamples]) -> PromptedExamples:
        """Concatenates parts that one model encoded; their rows may not follow demonstrations."""
        own = [cast(PromptedExamples, part) for part in parts]
        if any(part.by_prefix for part in own):
            raise ValueError("rows that follow demonstrations cannot be joined")
        return replace(
            cast(PromptedExamples, super().joined(parts)),
            ids=tuple(name for part in own for name in part.ids),
            prompts=tuple(prompt for part in own for prompt in part.prompts),
            choices=tuple(choices for part in own for choices in part.choices),
            choice_lengths=tuple(lengths for part in own for lengths in part.choice_lengths),
            boundary_tokens=tuple(count for part in own for count in part.boundary_tokens),
        )

    def right_answers(self) -> PromptedExamples:
        """The rows with only their right choice: all that the likelihood loss reads."""
        right = self.labels.tolist()
        return replace(
            self,
            labels=torch.zeros_like(self.labels),
            choices=tuple((row_choices[place],) for row_choices, place in zip(self.choices, right, strict=True)),
            choice_lengths=tuple((lengths[place],) for lengths, place in zip(self.choice_lengths, right, strict=True)),
        )

    def batch(self, rows: Sequence[int], device: torch.device | None = None) -> Batch:
        """The batch of these rows: prompts padded on the right, choices to the longest and to the most per row."""
        if self.features is not None:
            return super().batch(rows, device)
        inputs = self._inputs([self.columns["input_ids"][row] for row in rows], [self.choices[row] for row in rows])
        most = inputs["choice_ids"].shape[1]
        lengths = [[*self.choice_lengths[row], *[1.0] * (most - len(self.choice_lengths[row]))] for row in rows]
        inputs["choice_lengths"] = torch.tensor(lengths)
        for name, followed in self.by_prefix.items():
            inputs |= _named(name, [followed.tokens[row] for row in rows], [followed.kept[row] for row in rows])
        return to_device(Batch(inputs, self.labels[list(rows)], torch.tensor(rows)), device)

    def shape(self, batch: Batch, training: bool = False) -> Shape:
        """The shapes of all passes, one per prefix, concatenated; (rows, 0) for precomputed features."""
        if self.features is not None or self.layout is None:
            return super().shape(batch, training)
        inputs, first = batch.inputs, int(batch.rows[0])
        choices = inputs["choice_mask"].sum(2)
        passes = [("attention_mask", 0)] if training or not self.by_prefix else []
        if not training:
            passes += [
                (prefix_key("attention_mask", name), rows.before[first]) for name, rows in self.by_prefix.items()
            ]
        return tuple(
            number
            for mask, before in passes
            for number in self.layout.one_pass(inputs[mask].sum(1), choices, before, training)
        )

    def elements(self, batch: Batch) -> int:
        """As in the base class, and the tokens of the demonstrations before the rows."""
        first = int(batch.rows[0])
        return sum(rows.before[first] for rows in self.by_prefix.values()) + super().elements(batch)

    def sizes(self, batch: Batch, shape: Shape, training: bool = False) -> tuple[int, ...]:
        """As in the base class, after the tokens of each prefix, whose keys and values are read with the batch's."""
        first = int(batch.rows[0])
        return (*(rows.before[first] for rows in self.by_prefix.values()), *super().sizes(batch, shape, training))

    def laws(self, longest: int, training: bool = False) -> tuple[CostModel, ...]:
        """The layout's laws; none where a lead or demonstrations leave no room for their probe batches."""
        if self.features is not None:
            return FEATURE_LAWS
        before = [max(rows.before) for rows in self.by_prefix.values() if not training]
        if self.layout is None or longest < self.layout.longest_probe(before):
            return ()
        return self.layout.laws(before, training)

    def shaped(self, *shape: int, device: torch.device | None = None) -> Batch:
        """A batch with the shape of a probe, built from this set's own tokens."""
        if self.features is not None or self.layout is None:
            return super().shaped(*shape, device=device)
        rows, query, count, tokens = self.layout.probe(shape)
        pool = torch.cat([self.columns["input_ids"][0], *self.choices[0]])

        def some(length: int) -> Tensor:
            return pool.repeat(length // len(pool) + 1)[:length]

        # Padded with empty choices to the number of a real row, which a scorer may rely on.
        most = max(count, *map(len, self.choices))
        empty = (some(0),) * (most - count)
        inputs = self._inputs([some(query)] * rows, [(*(some(tokens),) * count, *empty)] * rows)
        inputs["choice_lengths"] = torch.ones(rows, most)
        for (name, prefixed), before in zip(self.by_prefix.items(), self.layout.before(shape), strict=False):
            kept = prefixed.kept[prefixed.before.index(before)] if before in prefixed.before else 0
            inputs |= _named(name, [some(query)] * rows, [kept] * rows)
        right = torch.zeros(rows, dtype=torch.long)
        return to_device(Batch(inputs, right, torch.arange(rows) % len(self)), device)

    def scoring_order(self, batch_size: int) -> list[list[int]]:
        """Every row once: rows that keep the same number of demonstrations together, longest first, at most
        `batch_size` rows and the layout's budget of tokens per batch."""
        if self.features is not None or self.layout is None:
            return super().scoring_order(batch_size)
        budget = self.layout.budget or math.inf
        kept = [tuple(followed.kept[row] for followed in self.by_prefix.values()) for row in range(len(self))]
        batches: list[list[int]] = []
        tokens, current = 0, None  # None: no batch yet
        for row in sorted(range(len(self)), key=lambda row: (kept[row], -self.lengths[row], row)):
            tokens += self.lengths[row]
            if kept[row] != current or len(batches[-1]) == batch_size or tokens > budget:
                batches.append([])
                tokens, current = self.lengths[row], kept[row]
            batches[-1].append(row)
        return batches

    @staticmethod
    def _inputs(queries: Sequence[Tensor], choices: Sequence[Sequence[Tensor]]) -> dict[str, Tensor]:
        most, longest = max(map(len, choices)), max(len(choice) for row_choices in choices for choice in row_choices)
        ids = torch.zeros(len(choices), most, longest, dtype=torch.long)
        mask = torch.zeros(len(choices), most, longest, dtype=torch.bool)
        for row, row_choices in enumerate(choices):
            for place, choice in enumerate(row_choices):
                ids[row, place, : len(choice)] = choice
                mask[row, place, : len(choice)] = True
        return {**_padded(queries), "choice_ids": ids, "choice_mask": mask}


def prefix_key(name: str, prefix: str) -> str:
    """The key of a batch input for rows after a prefix."""
    return f"{name}@{prefix}"


def _named(prefix: str, queries: Sequence[Tensor], kept: Sequence[int]) -> dict[str, Tensor]:
    named = {prefix_key(name, prefix): value for name, value in _padded(queries).items()}
    return {**named, prefix_key("kept", prefix): torch.tensor(kept)}


def _padded(queries: Sequence[Tensor]) -> dict[str, Tensor]:
    return {
        "input_ids": pad_sequence(list(queries), batch_first=True),
        "attention_mask": pad_sequence([torch.ones_like(query) for query in queries], batch_first=True),
    }
