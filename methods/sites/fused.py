"""Where a fused projection has its queries, keys and values."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Fused:
    """The output of a fused projection: `groups` parts one after another, each with `query` queries, then `key` keys,
    then as many values.

    One group has all queries, keys and values (GPT-2, Phi-3); otherwise a group is a head of keys with the heads of
    queries that read it (GPT-NeoX, Bloom, every Falcon).
    """

    groups: int
    query: int
    key: int

    @classmethod
    def of(cls, outputs: int, queries: int, heads: int, by_head: bool) -> Fused:
        """The layout of `outputs` numbers of which `queries` are those of all `heads`: the rest is half keys and half
        values, so fewer heads of keys are found by themselves. ValueError if there is no such layout."""
        keys, left = divmod(outputs - queries, 2)
        head = queries // heads
        groups = keys // head if by_head and head else 1
        if left or keys < 1 or queries % heads or keys % head or groups < 1 or heads % groups:
            raise ValueError(
                f"{outputs} outputs of a fused projection are not {queries} queries of {heads} heads with keys and "
                "values"
            )
        return cls(groups, queries // groups, keys // groups)

    @property
    def queries(self) -> int:
        """The width of the queries of all heads."""
        return self.groups * self.query

    @property
    def keys(self) -> int:
        """The width of the keys of all heads, and that of the values."""
        return self.groups * self.key

    def join(self, query: Tensor, key: Tensor, value: Tensor, dim: int = -1) -> Tensor:
        """The output with these queries, keys and values of all heads, along `dim`."""
        parts = [torch.unflatten(part, dim, (self.groups, -1)) for part in (query, key, value)]
        inner = dim if dim < 0 else dim + 1
        return torch.cat(parts, inner).flatten(inner - 1, inner)

    def split(self, output: Tensor, dim: int = -1) -> tuple[Tensor, Tensor, Tensor]:
        """The queries, keys and values of all heads, along `dim` of an output."""
        inner = dim if dim < 0 else dim + 1
        by_group = torch.unflatten(output, dim, (self.groups, -1))
        parts = torch.split_with_sizes(by_group, [self.query, self.key, self.key], inner)
        query, key, value = (part.flatten(inner - 1, inner) for part in parts)
        return query, key, value
