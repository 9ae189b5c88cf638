"""Encoded rows and the order in which they go through the model."""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from tunefront.bench.models.shapes import CostModel, Shape
from tunefront.methods.base import Batch

BUCKET_BATCHES = 64
"""Shuffled rows are sorted by length in groups of this many batches: enough to waste little padding, few enough that
batches differ from epoch to epoch."""

_LENGTHS = (8, 16, 24)
_CHECK_LENGTH = 20
"""The lengths at which FLOPs are counted and checked; short ones, because counting takes as long as the work."""


def _row_terms(shape: Shape) -> tuple[int, ...]:
    rows, length = shape
    return rows, rows * length, rows * length**2


def _row_and_batch_terms(shape: Shape) -> tuple[int, ...]:
    return *_row_terms(shape), *_row_terms((1, shape[1]))


_ONE_ROW = tuple((1, length) for length in _LENGTHS)
_TWO_ROWS = tuple((2, length) for length in _LENGTHS)
TOKEN_LAWS = (
    CostModel(_row_terms, _ONE_ROW, (2, _CHECK_LENGTH)),
    CostModel(_row_and_batch_terms, (*_ONE_ROW, *_TWO_ROWS), (3, _CHECK_LENGTH)),
)
FEATURE_LAWS = (
    CostModel(lambda shape: (shape[0],), ((1, 0),), (2, 0)),
    CostModel(lambda shape: (shape[0], 1), ((1, 0), (2, 0)), (3, 0)),
)
FEWEST_BATCHES = 8
"""A shorter epoch is not sorted: its batches would be the same in every epoch. Few-shot training (32 rows in batches of
8, as in T-Few) is only shuffled, as in T-Few's code."""


@dataclass(frozen=True)
class EncodedExamples:
    """Tokenised rows. `columns` maps each model input to one (tokens,) tensor per row and `padding` to its pad value;
    `features`, once precomputed, replace the tokens: (rows, width) under `features_name`. `cut` says for each row
    whether it was cut to the longest length allowed; it may be empty if no row was."""

    columns: Mapping[str, Sequence[Tensor]]
    padding: Mapping[str, int]
    labels: Tensor
    cut: tuple[bool, ...] = ()
    features: Tensor | None = None
    features_name: str = "features"

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def truncated(self) -> int:
        """How many rows were cut."""
        return sum(self.cut)

    @property
    def cut_rows(self) -> dict[int, Tensor]:
        """The tokens of the rows that were cut, by their identity, which subsets of the same rows share."""
        tokens = next(iter(self.columns.values()))
        return {id(row): row for row, cut in zip(tokens, self.cut, strict=True) if cut} if self.cut else {}

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Tokens per row; zeros once features are precomputed."""
        if self.features is not None:
            return (0,) * len(self)
        return tuple(len(row) for row in next(iter(self.columns.values())))

    def text_tokens(self, row: int) -> int:
        """Tokens of a row's text, special ones included; 0 once features are precomputed."""
        return self.lengths[row]

    def choice_tokens(self, row: int) -> int:
        """Tokens of all choices of a row; 0 without choices, and once features are precomputed."""
        return 0

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the tokens, in order; labels are not part of it."""
        digest = hashlib.sha256()
        for name in sorted(self.columns):
            digest.update(f"{name}:{self.padding[name]}:{len(self)};".encode())
            for row in self.columns[name]:
                digest.update(len(row).to_bytes(4, "little") + row.numpy().tobytes())
        return digest.hexdigest()

    def batch(self, rows: Sequence[int], device: torch.device | None = None) -> Batch:
        """The batch of these rows, padded on the right to the longest of them."""
        index = torch.tensor(rows)
        if self.features is not None:
            inputs = {self.features_name: self.features[index]}
        else:
            inputs = {
                name: pad_sequence([column[row] for row in rows], batch_first=True, padding_value=self.padding[name])
                for name, column in self.columns.items()
            }
        return to_device(Batch(inputs, self.labels[index], index), device)

    def shape(self, batch: Batch, training: bool = False) -> Shape:
        """(rows, tokens per row) with padding, the same in training and scoring; 0 tokens for features."""
        tokens = batch.inputs.get("input_ids")
        return (len(batch.labels), 0 if tokens is None else tokens.shape[1])

    def elements(self, batch: Batch) -> int:
        """Number of input elements of a batch with padding; its seconds are roughly proportional to it."""
        return sum(value.numel() for value in batch.inputs.values())

    def sizes(self, batch: Batch, shape: Shape, training: bool = False) -> tuple[int, ...]:
        """Sizes with which memory grows: the elements of the batch, and the terms of its FLOPs."""
        laws = self.laws(sys.maxsize, training)
        return (self.elements(batch), *(laws[0].terms(shape) if laws else ()))

    def shaped(self, *shape: int, device: torch.device | None = None) -> Batch:
        """A batch of the given shape built from this set's own tokens, to count the FLOPs of such a batch."""
        rows, length = shape
        index = torch.arange(rows) % len(self)
        if self.features is not None:
            inputs = {self.features_name: self.features[index]}
        else:
            inputs = {
                name: column[0].repeat(length // len(column[0]) + 1)[:length].repeat(rows, 1)
                for name, column in self.columns.items()
            }
        return to_device(Batch(inputs, self.labels[index], index), device)

    def laws(self, longest: int, training: bool = False) -> tuple[CostModel, ...]:
        """Cost models that may give FLOPs from shapes, the likeliest first: linear in the rows and quadratic in the
        tokens per row, then the same plus a fixed cost per batch. `longest` is the most tokens that the model takes."""
        if self.features is not None:
            return FEATURE_LAWS
        return TOKEN_LAWS if longest >= max(_LENGTHS) else ()

    def scoring_order(self, batch_size: int) -> list[list[int]]:
        """Every row once, longest first: padding is minimal, and a batch that does not fit in memory fails at once."""
        order = sorted(range(len(self)), key=lambda row: (-self.lengths[row], row))
        return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]

    def take(self, rows: Sequence[int]) -> EncodedExamples:
        """These rows, in this order."""
        return replace(
            self,
            columns={name: [column[row] for row in rows] for name, column in self.columns.items()},
            labels=self.labels[list(rows)],
            cut=tuple(self.cut[row] for row in rows) if self.cut else (),
            features=None if self.features is None else self.features[list(rows)],
        )

    @classmethod
    def joined(cls, parts: Sequence[EncodedExamples]) -> EncodedExamples:
        """Concatenates rows that one tokenizer encoded; their features may not be computed yet. Labels of classes and
        of regression together become real numbers."""
        check_joinable(parts)
        return replace(
            parts[0],
            columns={name: [ids for part in parts for ids in part.columns[name]] for name in parts[0].columns},
            labels=torch.cat([part.labels for part in parts]),
            cut=tuple(cut for part in parts for cut in part.cut or (False,) * len(part)),
        )

    def with_features(self, features: Tensor, name: str = "features") -> EncodedExamples:
        """The same rows and labels with precomputed (rows, width) features in place of tokens."""
        return replace(self, features=features, features_name=name)


def check_joinable(parts: Sequence[EncodedExamples]) -> None:
    """ValueError for parts with computed features."""
    if any(part.features is not None for part in parts):
        raise ValueError("rows whose features are computed cannot be joined")


def training_order(
    examples: EncodedExamples, batch_size: int, generator: torch.Generator, balanced: bool = False
) -> Iterator[list[int]]:
    """An endless stream of batches of row numbers: shuffled, length-bucketed epochs, every row once per epoch.

    With `balanced`, every batch has its labels in equal shares instead; rows of rare labels repeat more often.
    """
    while True:
        order = _balanced_order(examples, generator) if balanced else _permuted(range(len(examples)), generator)
        if balanced or examples.features is not None:
            batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        else:
            batches = [
                batch for chunk in _chunks(order, batch_size) for batch in _bucketed(examples, chunk, batch_size)
            ]
            batches = [batches[place] for place in _permuted(range(len(batches)), generator)]
        yield from batches


def sorts_by_length(rows: int, batch_size: int) -> bool:
    """Whether this number of rows is batched by length, not only shuffled."""
    return rows > batch_size * (FEWEST_BATCHES - 1)


def _chunks(order: list[int], batch_size: int) -> list[list[int]]:
    size = batch_size * (BUCKET_BATCHES if sorts_by_length(len(order), batch_size) else 1)
    return [order[start : start + size] for start in range(0, len(order), size)]


def _bucketed(examples: EncodedExamples, rows: list[int], batch_size: int) -> list[list[int]]:
    ordered = sorted(rows, key=lambda row: examples.lengths[row])  # stable: equal lengths stay shuffled
    return [ordered[start : start + batch_size] for start in range(0, len(ordered), batch_size)]


def _balanced_order(examples: EncodedExamples, generator: torch.Generator) -> list[int]:
    """Labels in turn; each label's rows are shuffled and repeated as often as the commonest label needs."""
    by_label: dict[float, list[int]] = {}
    for row, label in enumerate(examples.labels.tolist()):
        by_label.setdefault(label, []).append(row)
    most = max(len(rows) for rows in by_label.values())
    turns = [_repeated(rows, most, generator) for _, rows in sorted(by_label.items())]
    return [row for turn in zip(*turns, strict=True) for row in turn]


def _repeated(rows: list[int], count: int, generator: torch.Generator) -> list[int]:
    drawn: list[int] = []
    while len(drawn) < count:
        drawn += _permuted(rows, generator)
    return drawn[:count]


def _permuted(rows: Sequence[int], generator: torch.Generator) -> list[int]:
    return [rows[place] for place in torch.randperm(len(rows), generator=generator).tolist()]


def to_device(batch: Batch, device: torch.device | None) -> Batch:
    """The batch on a device; its row numbers stay."""
    if device is None or device.type == "cpu":
        return batch
    return Batch({name: value.to(device) for name, value in batch.inputs.items()}, batch.labels.to(device), batch.rows)


def stacked(rows: Sequence[Tensor]) -> Tensor:
    """The rows as one tensor, with -inf where a row has fewer values than others."""
    most = max(map(len, rows))
    return torch.stack([nn.functional.pad(row, (0, most - len(row)), value=-math.inf) for row in rows])
