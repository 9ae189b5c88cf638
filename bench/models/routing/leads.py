"""Leads of several members in one pass: each row, or each token of a packed row, sees its own member's only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from tunefront.bench.models.families.leads import Led, LedKeys
from tunefront.bench.models.routing.member import Leading
from tunefront.bench.models.scoring.prefix import KeysValues

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ByModule = Mapping[nn.Module, Mapping[int, KeysValues]]
"""The leading keys and values by attention module and member."""


def keys_by_module(model: nn.Module, leads: Mapping[int, Leading]) -> ByModule:
    """The keys and values of several members, by the module of `model` that reads them."""
    paths = dict.fromkeys(path for lead in leads.values() for path in lead.keys)
    return {
        model.get_submodule(path): {member: lead.keys[path] for member, lead in leads.items() if path in lead.keys}
        for path in paths
    }


class PackedKeys(LedKeys):
    """The keys and values of several members side by side, for one packed row.

    Args: states; members, the member of each token of the row.
    """

    def __init__(self, states: ByModule, members: Sequence[int], device: torch.device):
        super().__init__(
            {
                module: cast(KeysValues, tuple(torch.cat(parts, dim=2) for parts in zip(*own.values(), strict=True)))
                for module, own in states.items()
            }
        )
        tokens = torch.tensor(members, device=device)
        owners = {
            module: tuple((member, int(key.shape[2])) for member, (key, _) in own.items())
            for module, own in states.items()
        }
        known = {
            columns: torch.tensor([member for member, n in columns for _ in range(n)], device=device)
            for columns in set(owners.values())
        }
        self._visible = {
            module: (tokens[:, None] == known[columns][None])[None, None] for module, columns in owners.items()
        }

    def visible(self, module: nn.Module) -> Tensor | None:
        return self._visible.get(module)


class RowKeys(LedKeys):
    """Keys and values of several members, one per row, padded at their start to the longest.

    Args: states; members, the member of each row.
    """

    def __init__(self, states: ByModule, members: Sequence[int], device: torch.device):
        padded: dict[nn.Module, KeysValues] = {}
        self._visible: dict[nn.Module, Tensor] = {}
        for module, own in states.items():
            rows = torch.tensor([[*own].index(member) if member in own else len(own) for member in members])
            lengths = [key.shape[2] for key, _ in own.values()]
            longest = max(lengths)
            seen = torch.arange(longest)[None] >= longest - torch.tensor([*lengths, 0])[:, None]
            padded[module] = cast(
                KeysValues,
                tuple(_padded([*parts], longest)[rows.to(device)] for parts in zip(*own.values(), strict=True)),
            )
            self._visible[module] = seen[rows].to(device)[:, None, None]
        super().__init__(padded)

    def visible(self, module: nn.Module) -> Tensor | None:
        return self._visible.get(module)


def _padded(states: list[Tensor], longest: int) -> Tensor:
    """States (1, heads, n, width) of unequal n as (states + 1, heads, longest, width); the last has none."""
    made = states[0].new_zeros(len(states) + 1, states[0].shape[1], longest, states[0].shape[3])
    for place, state in enumerate(states):
        made[place, :, longest - state.shape[2] :] = state[0]
    return made


@dataclass(frozen=True)
class RowLeads(Led):
    """The leads of several members, one per row. `rows` are the prompts (rows, n, width) by stack, padded at their
    start to the longest, and `lengths` (rows,) their numbers of tokens; `cached` is the mask of what the decoder has
    read before this pass, if prompts are part of it."""

    rows: Mapping[str, Tensor] = field(default_factory=dict)
    lengths: Mapping[str, Tensor] = field(default_factory=dict)
    cached: Tensor | None = None

    @classmethod
    def of(cls, model: nn.Module, leads: Mapping[int, Leading], members: Sequence[int]) -> RowLeads:
        """The leads of rows that belong to these members; `model` has the attention modules."""
        device = next(model.parameters()).device
        present = {member: leads[member] for member in dict.fromkeys(members)}
        states = keys_by_module(model, present)
        rows, lengths = {}, {}
        for name in dict.fromkeys(name for lead in present.values() for name in lead.prompts):
            prompts = [lead.prompts.get(name) for lead in present.values()]
            place = torch.tensor([[*present].index(member) for member in members])
            rows[name] = _padded_prompts(prompts)[place.to(device)]
            lengths[name] = torch.tensor([0 if prompt is None else len(prompt) for prompt in prompts])[place].to(device)
        stacks = dict.fromkeys(name for lead in present.values() for name in lead.positions)
        return cls(
            keys=RowKeys(states, members, device) if states else None,
            starts={
                name: torch.tensor([[present[member].positions.get(name, 0)] for member in members], device=device)
                for name in stacks
            },
            rows=rows,
            lengths=lengths,
        )

    def tokens(self, stack: str, module: PreTrainedModel, ids: Tensor) -> tuple[dict[str, Tensor], int]:
        if stack not in self.rows:
            return super().tokens(stack, module, ids)
        words: Tensor = cast(nn.Module, module.get_input_embeddings())(ids)
        prompts = self.rows[stack].to(words.dtype)
        return {"inputs_embeds": torch.cat([prompts, words], dim=1)}, prompts.shape[1]

    def real(self, stack: str, mask: Tensor, virtual: int) -> Tensor:
        if stack not in self.rows:
            return super().real(stack, mask, virtual)
        columns = torch.arange(virtual, device=mask.device)[None]
        return torch.cat([(columns >= virtual - self.lengths[stack][:, None]).to(mask.dtype), mask], dim=1)

    def decoded(self, ids: Tensor) -> Tensor | None:
        own = torch.ones_like(ids)
        if "decoder" in self.rows:
            return self.real("decoder", own, self.rows["decoder"].shape[1])
        return None if self.cached is None else torch.cat([self.cached, own], dim=1)

    def columns(self, stack: str) -> Tensor:
        """The position of a stack's first column, (rows, 1): below zero if it is padding."""
        return cast(Tensor, self.starts[stack]) - self.virtual(stack)

    def virtual(self, stack: str) -> int:
        """The columns of a stack before the real tokens."""
        return self.rows[stack].shape[1] if stack in self.rows else 0


def _padded_prompts(prompts: Sequence[Tensor | None]) -> Tensor:
    """Prompts (n, width) of unequal n as (prompts, longest, width), padded at their start; zeros for None."""
    given = [prompt for prompt in prompts if prompt is not None]
    made = given[0].new_zeros(len(prompts), max(map(len, given)), given[0].shape[1])
    for place, prompt in enumerate(prompts):
        if prompt is not None and len(prompt):
            made[place, -len(prompt) :] = prompt
    return made
