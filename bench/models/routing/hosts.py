"""Leaves of a backbone that send each row of a batch through the modules of its own member."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from tunefront.methods.inject import Tap, Where

NAME = "routed"
"""The name of the child module of a leaf that routes its rows."""

Acts = Where | Literal["tap", "instead"]
"""Where a module acts: as in `inject.plug`, a `tap` only holds its leaf's input, and `instead` of the leaf's output
comes that of the module for the same input."""
Step = tuple[Acts, nn.Module]


@dataclass(frozen=True)
class Span:
    """Consecutive units of one member, from `start` to before `end`."""

    member: int
    start: int
    end: int


class Routing:
    """The member to which every unit of the current pass belongs: a unit is a row, or a token of a packed row.

    All leaves of a backbone share one. Outside `units` and `only` they act as the published ones.
    """

    def __init__(self) -> None:
        self.now = Now()

    @contextmanager
    def units(
        self, members: Sequence[int], columns: Mapping[str, Tensor] | None = None, virtual: int = 0
    ) -> Iterator[None]:
        """Within, the inputs of the leaves have one unit per entry of `members`, which says whose it is.

        Args: columns, the position of the first column of each row (rows, 1) by stack; virtual, the columns before the
        real tokens of an encoder's rows.
        """
        with self._during(Now(_spans(members), len(members), None, columns or {}, virtual)):
            yield

    @contextmanager
    def only(self, member: int | None) -> Iterator[None]:
        """Within, whatever goes through the backbone belongs to one member, None for no one."""
        with self._during(Now(alone=member)):
            yield

    @contextmanager
    def _during(self, now: Now) -> Iterator[None]:
        before, self.now = self.now, now
        try:
            yield
        finally:
            self.now = before


@dataclass(frozen=True)
class Now:
    """The pass that is running: `spans` over `count` units, or the member to which all of it belongs (`alone`)."""

    spans: tuple[Span, ...] = ()
    count: int = 0
    alone: int | None = None
    columns: Mapping[str, Tensor] = field(default_factory=dict)
    virtual: int = 0
    shared: dict[int, tuple[Tensor, Mapping[int, Tensor]]] = field(default_factory=dict)
    """The outputs of leaves for inputs without units, by identity, and the members' own ones."""


def _spans(members: Sequence[int]) -> tuple[Span, ...]:
    starts = [place for place, member in enumerate(members) if place == 0 or members[place - 1] != member]
    ends = [*starts[1:], len(members)]
    return tuple(Span(members[start], start, end) for start, end in zip(starts, ends, strict=True))


class Routed(nn.Module):
    """What each member does at one leaf, in its own order.

    Args: routing, of the backbone; steps by member; a member without steps leaves the leaf as published.
    """

    def __init__(self, routing: Routing, steps: Mapping[int, Sequence[Step]]):
        super().__init__()
        self.routing = routing
        self.modules_of = nn.ModuleDict(
            {str(member): nn.ModuleList(module for _, module in own) for member, own in steps.items()}
        )
        self._before = {member: [step for step in own if step[0] in ("before", "tap")] for member, own in steps.items()}
        self._after = {
            member: [step for step in own if step[0] not in ("before", "tap")] for member, own in steps.items()
        }

    def before(self, x: Tensor) -> Tensor:
        """The input of the leaf."""
        return self._by_member(self._before, _entering, x)

    def after(self, x: Tensor, output: Tensor) -> Tensor:
        """The output of the leaf, for its input x."""
        return self._by_member(self._after, _leaving, output, x)

    def _by_member(
        self, steps: Mapping[int, Sequence[Step]], act: Callable[..., Tensor], changed: Tensor, *others: Tensor
    ) -> Tensor:
        """`changed` after each member's steps for its own units."""
        now = self.routing.now
        if not now.spans:
            own = () if now.alone is None else steps.get(now.alone, ())
            return act(own, changed, *others) if own else changed
        present = {span.member for span in now.spans if steps.get(span.member)}
        if not present:
            return changed
        if others and isinstance(others[0], nn.Parameter):  # a weight has no units (DeBERTa's relative positions)
            now.shared[id(changed)] = changed, {m: act(steps[m], changed, *others) for m in present}
            return changed
        grouped = [_by_unit(tensor, now.count) for tensor in (changed, *others)]
        parts = [
            act(steps.get(span.member, ()), *(tensor[span.start : span.end] for tensor in grouped))
            for span in now.spans
        ]
        return torch.cat(parts).reshape(changed.shape)


def _by_unit(x: Tensor, units: int) -> Tensor:
    """A leaf's input or output as (units, ...): the units may be its first dimension, the outer part of it, or the
    second one after a first of 1."""
    if len(x) % units == 0:
        return x.reshape(units, -1, *x.shape[1:])
    if len(x) == 1 and x.dim() > 1 and x.shape[1] == units:
        return x[0]
    raise RuntimeError(f"a leaf of the backbone was called on {tuple(x.shape)}, which are no {units} rows or tokens")


def _entering(steps: Sequence[Step], x: Tensor) -> Tensor:
    for acts, module in steps:
        if acts == "tap":
            cast(Tap, module).input = x
        else:
            x = module(x)
    return x


def _leaving(steps: Sequence[Step], output: Tensor, x: Tensor) -> Tensor:
    for acts, module in steps:
        made = module(output if acts == "after" else x)
        output = output + made if acts == "parallel" else made
    return output


def skip_virtual(pooler: nn.Module, routing: Routing) -> None:
    """Lets a pooler read the first real token of each row."""
    pooler.register_forward_pre_hook(partial(_skip, routing))


def _skip(routing: Routing, pooler: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (args[0][:, routing.now.virtual :], *args[1:])


def renumber(table: nn.Module, routing: Routing, stack: str) -> None:
    """Lets a table of learned positions that counts from the left give each row of a stack its own positions."""
    table.register_forward_hook(partial(_renumbered, routing, stack), with_kwargs=True)


def _renumbered(
    routing: Routing,
    stack: str,
    table: nn.Embedding,
    args: tuple[Tensor | int, ...],
    others: Mapping[str, Tensor | int | None],
    output: Tensor,
) -> Tensor:
    first = routing.now.columns.get(stack)
    if first is None:
        return output
    given = others.get("position_ids")
    if isinstance(given, Tensor):
        columns = given.reshape(1, -1)
    else:
        past = int(args[1] if len(args) > 1 else others.get("past_key_values_length") or 0)
        columns = torch.arange(past, past + output.shape[-2], device=output.device)[None]
    return nn.functional.embedding((columns + first).clamp(min=0) + cast(int, table.offset), table.weight)


def split(module: nn.Module, routing: Routing, special: frozenset[int]) -> None:
    """Lets a module that maps rows to rows, and calls a leaf on an input without rows, run once per special member:
    one whose steps at that leaf change what all rows of others share."""
    module.forward = partial(_split, routing, special, module)


def _split(routing: Routing, special: frozenset[int], module: nn.Module, *args: object, **others: object) -> object:
    now, whole = routing.now, type(module).forward
    alone = special.union(*(own for _, own in now.shared.values()))
    if not alone.intersection(span.member for span in now.spans):
        return whole(module, *args, **others)
    outputs = []
    for group in _groups(now.spans, alone):
        start, end = group[0].start, group[-1].end
        own = {key: parts.get(group[0].member, shared) for key, (shared, parts) in now.shared.items()}

        def cut(value: object) -> object:
            if not isinstance(value, Tensor):
                return value
            value = own.get(id(value), value)  # noqa: B023
            return value[start:end] if value.dim() > 2 and len(value) == now.count else value  # noqa: B023

        given, named = [cut(value) for value in args], {name: cut(value) for name, value in others.items()}
        members = [span.member for span in group for _ in range(span.end - span.start)]
        with routing.only(members[0]) if members[0] in alone else routing.units(members):
            outputs.append(whole(module, *given, **named))
    return _together(outputs)


def _groups(spans: Sequence[Span], alone: Collection[int]) -> list[list[Span]]:
    """Consecutive spans, with those of each member in `alone` apart."""
    groups: list[list[Span]] = []
    for span in spans:
        if groups and span.member not in alone and groups[-1][-1].member not in alone:
            groups[-1].append(span)
        else:
            groups.append([span])
    return groups


def _together(outputs: Sequence[Any]) -> Any:  # Any: what the module returns
    first = outputs[0]
    if isinstance(first, Tensor):
        return torch.cat([*outputs])
    return None if first is None else tuple(_together(parts) for parts in zip(*outputs, strict=True))


def route(host: nn.Module, routing: Routing, steps: Mapping[int, Sequence[Step]]) -> None:
    """Gives a leaf the steps of each member, as a child module and two hooks."""
    if hasattr(host, NAME):
        raise ValueError(f"{type(host).__name__} has an attribute {NAME!r} already")
    host.add_module(NAME, Routed(routing, steps).eval())
    host.register_forward_pre_hook(partial(_before, NAME))
    host.register_forward_hook(partial(_after, NAME))


# As in `inject`, the hooks find their module on the host that they are called with, so that a deep copy has its own.


def _before(name: str, host: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (getattr(host, name).before(args[0]), *args[1:])


def _after(name: str, host: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return cast(Tensor, getattr(host, name).after(args[0], output))
