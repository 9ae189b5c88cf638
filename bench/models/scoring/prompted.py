"""Tokenised prompts with the choices that answer them, alone or after demonstrations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tunefront.bench.models.examples import FEATURE_LAWS, EncodedExamples, moved
from tunefront.bench.models.shapes import Law, Shape
from tunefront.methods.base import Batch

if TYPE_CHECKING:
    from tunefront.bench.templates import Prompt


@dataclass(frozen=True)
class Followed:
    """Rows as they follow a prefix of `given` demonstrations: `tokens` of each row after those it keeps, how many it
    keeps (`kept`) and how many tokens these have (`before`)."""

    given: int
    tokens: tuple[Tensor, ...]
    kept: tuple[int, ...]
    before: tuple[int, ...]

    def take(self, rows: Sequence[int]) -> Followed:
        """These rows, in this order."""
        return Followed(
            self.given,
            tuple(self.tokens[row] for row in rows),
            tuple(self.kept[row] for row in rows),
            tuple(self.before[row] for row in rows),
        )


class Layout(Protocol):
    """How a family lays a batch out in passes through the model, which is what its FLOPs depend on; `budget` is the
    most tokens of queries and choices that are scored at once, None for no limit."""

    @property
    def budget(self) -> int | None: ...

    @property
    def longest_probe(self) -> int:
        """The tokens of a row that the laws' batches need room for, 0 where that is never short."""

    def one_pass(self, queries: Tensor, choices: Tensor, before: int, training: bool) -> Shape:
        """The shape of the pass over rows with so many query tokens (rows,) and choice tokens (rows, choices), after
        a prefix of `before` tokens."""

    def laws(self, before: Sequence[int], training: bool) -> tuple[Law, ...]:
        """How FLOPs follow from the shapes of passes; `before` has the tokens of each prefix, none where there is
        none."""

    def probe(self, shape: Shape) -> tuple[int, int, int, int]:
        """(rows, query tokens a row, choices a row, tokens a choice) of a batch that has a probe's shape."""

    def before(self, shape: Shape) -> tuple[int, ...]:
        """Prefix tokens of each pass of a shape."""


@dataclass(frozen=True)
class PromptedExamples(EncodedExamples):
    """Rows of a language model: `columns["input_ids"]` are prompts, `ids` the rows' own, `choices` each row's answers
    as token ids, `choice_lengths` what a choice's log-probability is divided by, `prompts` the rendered texts,
    `lent` how many tokens of each belong to its choices, and `after` how the rows follow each prefix, by its name."""

    ids: tuple[str, ...] = ()
    prompts: tuple[Prompt, ...] = ()
    choices: tuple[tuple[Tensor, ...], ...] = ()
    choice_lengths: tuple[tuple[float, ...], ...] = ()
    lent: tuple[int, ...] = ()
    layout: Layout | None = None
    after: Mapping[str, Followed] = field(default_factory=dict)

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each row, its choices' included; zeros once features are precomputed."""
        if self.features is not None:
            return (0,) * len(self)
        queries = next((followed.tokens for followed in self.after.values()), self.columns["input_ids"])
        return tuple(
            len(query) + sum(len(choice) for choice in of_one)
            for query, of_one in zip(queries, self.choices, strict=True)
        )

    @cached_property
    def shortened(self) -> int:
        """Rows that lost demonstrations because the whole would not have fitted."""
        return sum(any(one.kept[row] < one.given for one in self.after.values()) for row in range(len(self)))

    @cached_property
    def demonstrations_per_row(self) -> float | None:
        """How many demonstrations a prompt keeps on average, None where there are none."""
        kept = [number for one in self.after.values() for number in one.kept]
        return sum(kept) / len(kept) if kept else None

    def take(self, rows: Sequence[int]) -> PromptedExamples:
        """These rows, in this order."""
        return replace(
            cast(PromptedExamples, super().take(rows)),
            ids=tuple(self.ids[row] for row in rows),
            prompts=tuple(self.prompts[row] for row in rows),
            choices=tuple(self.choices[row] for row in rows),
            choice_lengths=tuple(self.choice_lengths[row] for row in rows),
            lent=tuple(self.lent[row] for row in rows),
            after={name: followed.take(rows) for name, followed in self.after.items()},
        )

    @classmethod
    def joined(cls, parts: Sequence[PromptedExamples]) -> PromptedExamples:
        """The rows of all parts, which one model encoded, one part after another; no demonstrations go before them."""
        if any(part.after or part.features is not None for part in parts):
            raise ValueError("rows that follow demonstrations, or whose features are computed, cannot be joined")
        return replace(
            parts[0],
            columns={"input_ids": [ids for part in parts for ids in part.columns["input_ids"]]},
            labels=torch.cat([part.labels for part in parts]),
            cut=tuple(cut for part in parts for cut in part.cut or (False,) * len(part)),
            ids=tuple(name for part in parts for name in part.ids),
            prompts=tuple(prompt for part in parts for prompt in part.prompts),
            choices=tuple(choices for part in parts for choices in part.choices),
            choice_lengths=tuple(lengths for part in parts for lengths in part.choice_lengths),
        )

    def right_answers(self) -> PromptedExamples:
        """The rows with their right choice alone: all that the likelihood loss reads."""
        right = self.labels.tolist()
        return replace(
            self,
            labels=torch.zeros_like(self.labels),
            choices=tuple((of_one[place],) for of_one, place in zip(self.choices, right, strict=True)),
            choice_lengths=tuple((of_one[place],) for of_one, place in zip(self.choice_lengths, right, strict=True)),
        )

    def batch(self, rows: Sequence[int], device: torch.device | None = None) -> Batch:
        """The batch of these rows: prompts padded on the right, choices to the longest and to the most of a row."""
        if self.features is not None:
            return super().batch(rows, device)
        inputs = self._inputs([self.columns["input_ids"][row] for row in rows], [self.choices[row] for row in rows])
        most = inputs["choice_ids"].shape[1]
        lengths = [[*self.choice_lengths[row], *[1.0] * (most - len(self.choice_lengths[row]))] for row in rows]
        inputs["choice_lengths"] = torch.tensor(lengths)
        for name, followed in self.after.items():
            inputs |= _named(name, [followed.tokens[row] for row in rows], [followed.kept[row] for row in rows])
        return moved(Batch(inputs, self.labels[list(rows)], torch.tensor(rows)), device)

    def shape(self, batch: Batch, training: bool = False) -> Shape:
        """The shapes of all passes, one for each prefix, in a row; (rows, 0) for precomputed features."""
        if self.features is not None or self.layout is None:
            return super().shape(batch, training)
        inputs, first = batch.inputs, int(batch.rows[0])
        choices = inputs["choice_mask"].sum(2)
        passes = [("attention_mask", 0)] if training or not self.after else []
        if not training:
            passes += [(after_key("attention_mask", name), one.before[first]) for name, one in self.after.items()]
        return tuple(
            number
            for mask, before in passes
            for number in self.layout.one_pass(inputs[mask].sum(1), choices, before, training)
        )

    def elements(self, batch: Batch) -> int:
        """The tokens of the demonstrations that its rows follow too."""
        first = int(batch.rows[0])
        return sum(one.before[first] for one in self.after.values()) + super().elements(batch)

    def sizes(self, batch: Batch, shape: Shape, training: bool = False) -> tuple[int, ...]:
        """The tokens of the demonstrations by themselves too: their keys and values are read beside the batch's."""
        first = int(batch.rows[0])
        return (*(one.before[first] for one in self.after.values()), *super().sizes(batch, shape, training))

    def laws(self, longest: int, training: bool = False) -> tuple[Law, ...]:
        """The layout's laws; none where what leads leaves no room for the batches that they are made of."""
        if self.features is not None:
            return FEATURE_LAWS
        if self.layout is None or longest < self.layout.longest_probe:
            return ()
        return self.layout.laws([max(one.before) for one in self.after.values() if not training], training)

    def shaped(self, *shape: int, device: torch.device | None = None) -> Batch:
        """A batch of a probe's shape made of this set's own tokens."""
        if self.features is not None or self.layout is None:
            return super().shaped(*shape, device=device)
        rows, query, count, tokens = self.layout.probe(shape)
        pool = torch.cat([self.columns["input_ids"][0], *self.choices[0]])

        def some(length: int) -> Tensor:
            return pool.repeat(length // len(pool) + 1)[:length]

        # As many choices as a row has, the others empty: a scorer may know how many there are.
        most = max(count, *map(len, self.choices))
        beside = (some(0),) * (most - count)
        inputs = self._inputs([some(query)] * rows, [(*(some(tokens),) * count, *beside)] * rows)
        inputs["choice_lengths"] = torch.ones(rows, most)
        for (name, one), before in zip(self.after.items(), self.layout.before(shape), strict=False):
            kept = one.kept[one.before.index(before)] if before in one.before else 0
            inputs |= _named(name, [some(query)] * rows, [kept] * rows)
        right = torch.zeros(rows, dtype=torch.long)
        return moved(Batch(inputs, right, torch.arange(rows) % len(self)), device)

    def scoring_order(self, batch_size: int) -> list[list[int]]:
        """Every row once: rows that keep equally many demonstrations together, the longest first, no more than
        `batch_size` rows and the layout's budget of tokens at once."""
        if self.features is not None or self.layout is None:
            return super().scoring_order(batch_size)
        budget = self.layout.budget or math.inf
        kept = [tuple(followed.kept[row] for followed in self.after.values()) for row in range(len(self))]
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
        most, longest = max(map(len, choices)), max(len(choice) for of_one in choices for choice in of_one)
        ids = torch.zeros(len(choices), most, longest, dtype=torch.long)
        mask = torch.zeros(len(choices), most, longest, dtype=torch.bool)
        for row, of_one in enumerate(choices):
            for place, choice in enumerate(of_one):
                ids[row, place, : len(choice)] = choice
                mask[row, place, : len(choice)] = True
        return {**_padded(queries), "choice_ids": ids, "choice_mask": mask}


def after_key(name: str, prefix: str) -> str:
    """Where a batch keeps an input of rows that follow a prefix."""
    return f"{name}@{prefix}"


def _named(prefix: str, queries: Sequence[Tensor], kept: Sequence[int]) -> dict[str, Tensor]:
    named = {after_key(name, prefix): value for name, value in _padded(queries).items()}
    return {**named, after_key("kept", prefix): torch.tensor(kept)}


def _padded(queries: Sequence[Tensor]) -> dict[str, Tensor]:
    return {
        "input_ids": pad_sequence(list(queries), batch_first=True),
        "attention_mask": pad_sequence([torch.ones_like(query) for query in queries], batch_first=True),
    }
