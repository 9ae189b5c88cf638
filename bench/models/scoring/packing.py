"""Packs many queries with their choices into one decoder row: a token attends only to its own query and choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Tokens = Sequence[int]


@dataclass(frozen=True)
class Packed:
    """Queries and the input tokens of their choices (all but each choice's last, whose state predicts nothing).

    Shapes: `input_ids` and `position_ids` (rows, seq); `mask` (rows, 1, seq, prefix + seq), True where a token may
    attend; `read` (m, 2), row and position of every state whose prediction is needed; `predicts` (batch, choices,
    tokens), for each token of a choice the index in `read` of the state before it, 0 where there is no such token;
    `last` (batch,), the index in `read` of each query's last token; `examples` (rows, seq), the query to which a token
    belongs, -1 for padding.
    """

    input_ids: Tensor
    position_ids: Tensor
    mask: Tensor
    read: Tensor
    predicts: Tensor
    last: Tensor
    examples: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """(rows, seq, states read): what the cost depends on, apart from the prefix."""
        return (*self.input_ids.shape, len(self.read))

    def to(self, device: torch.device) -> Packed:
        """A copy on another device."""
        if device.type == "cpu":
            return self
        return Packed(**{name: value.to(device) for name, value in vars(self).items()})


@dataclass(frozen=True)
class Preceding:
    """What precedes each query: `keys`, the number of keys before the packed row; `seen`, those that each query and its
    choices attend to; `starts`, the position of each query's first token."""

    keys: int
    seen: Sequence[range]
    starts: Sequence[int]

    @classmethod
    def same(cls, tokens: int, queries: int) -> Preceding:
        """The same tokens before every query."""
        return cls(tokens, [range(tokens)] * queries, [tokens] * queries)


def pack(
    queries: Sequence[Tokens],
    choices: Sequence[Sequence[Tokens]],
    prefix: int | Preceding = 0,
    together: bool = True,
) -> Packed:
    """Packs all examples into one row, or one example per row with padding on the right.

    Args: queries, at least one token each; choices of each query, at least one token each; prefix, what stands before
    the queries, or the number of tokens before the row that every token attends to. A choice's positions follow its
    query's, whatever stands between them.
    """
    rows = [list(range(len(queries)))] if together else [[place] for place in range(len(queries))]
    preceding = Preceding.same(prefix, len(queries)) if isinstance(prefix, int) else prefix
    most_choices = max(map(len, choices))
    most_tokens = max((len(choice) for row_choices in choices for choice in row_choices), default=0)
    lasts: list[int] = []
    read: list[tuple[int, int]] = []
    predicts = [[[0] * most_tokens for _ in range(most_choices)] for _ in queries]
    laid = []
    for row, members in enumerate(rows):
        ids: list[int] = []
        positions: list[int] = []
        example: list[int] = []
        branch: list[int] = []
        for member in members:
            query, start = queries[member], preceding.starts[member]
            follows = start + len(query)
            ids += query
            positions += range(start, follows)
            example += [member] * len(query)
            branch += [0] * len(query)
            last = len(read)
            lasts.append(last)
            read.append((row, len(ids) - 1))
            for number, choice in enumerate(choices[member], 1):
                fed, place = choice[:-1], len(ids)
                ids += fed
                positions += range(follows, follows + len(fed))
                example += [member] * len(fed)
                branch += [number] * len(fed)
                first = len(read)
                read += [(row, place + token) for token in range(len(fed))]
                predicts[member][number - 1][: len(choice)] = [last, *range(first, first + len(fed))]
        laid.append((ids, positions, example, branch))
    example_of, branch_of = _padded([part[2] for part in laid], -1), _padded([part[3] for part in laid], 0)
    return Packed(
        input_ids=_padded([part[0] for part in laid], 0),
        position_ids=_padded([part[1] for part in laid], 0),
        mask=_mask(example_of, branch_of, preceding),
        read=torch.tensor(read),
        predicts=torch.tensor(predicts, dtype=torch.long),
        last=torch.tensor(lasts),
        examples=example_of,
    )


def _mask(example: Tensor, branch: Tensor, preceding: Preceding) -> Tensor:
    """A token attends to the keys that its query sees, and to the preceding tokens of its own query and choice."""
    seq = example.shape[1]
    same = example[:, :, None] == example[:, None, :]
    own = (branch[:, None, :] == 0) | (branch[:, :, None] == branch[:, None, :])
    before = torch.ones(seq, seq, dtype=torch.bool).tril_()
    inside = same & own & before
    return torch.cat([_seen(example, preceding), inside], dim=2)[:, None]


def _seen(example: Tensor, preceding: Preceding) -> Tensor:
    """(rows, seq, keys): the keys before the row that each token attends to."""
    if all(len(seen) == preceding.keys for seen in preceding.seen):
        return torch.ones(*example.shape, preceding.keys, dtype=torch.bool)
    keys = torch.arange(preceding.keys)
    bounds = torch.tensor([(seen.start, seen.stop) for seen in preceding.seen])[example]  # padding: any
    return (keys >= bounds[..., :1]) & (keys < bounds[..., 1:])


def _padded(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows])
