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
from tunefront.methods.torch_internals import bare_copy, own_buffers, own_parameters, own_parts

NAME = "routed"
"""The name of the child module of a leaf that routes its rows."""

Acts = Where | Literal["tap", "instead"]
"""Where a module acts: as in `inject.plug`, a `tap` only holds its leaf's input, and `instead` of the leaf's output
comes that of the module for the same input."""
Step = tuple[Acts, nn.Module]
FEWEST_JOINT = 8
"""Members whose vectors are gathered unit by unit; with fewer, one after another is faster."""


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
        spans = _spans(members)
        alone = spans[0].member if len(spans) == 1 else None
        with self._during(Now(() if len(spans) == 1 else spans, len(members), alone, columns or {}, virtual)):
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
    rows: dict[tuple[tuple[int, ...], int, int], Tensor] = field(default_factory=dict)
    """What `JointVectors.rows_of` computed, for the life of the pass."""
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
        self.entering = _Side(routing, _chosen(steps, ("before", "tap")), _enter)
        self.leaving = _Side(routing, _chosen(steps, ("instead", "after", "parallel")), _leave)

    def before(self, x: Tensor) -> Tensor:
        """The input of the leaf."""
        changed: Tensor = self.entering(x)
        return changed

    def after(self, x: Tensor, output: Tensor) -> Tensor:
        """The output of the leaf, for its input x."""
        changed: Tensor = self.leaving(output, x)
        return changed


def _chosen(steps: Mapping[int, Sequence[Step]], acts: Collection[str]) -> dict[int, list[Step]]:
    chosen = {member: [step for step in own if step[0] in acts] for member, own in steps.items()}
    return {member: own for member, own in chosen.items() if own}


class _Side(nn.Module):
    """The steps of each member before or after a leaf; `act` takes one member's through its own units."""

    def __init__(self, routing: Routing, steps: Mapping[int, list[Step]], act: Callable[..., Tensor]):
        super().__init__()
        self.routing, self.steps, self.act = routing, steps, act
        self.of_members = nn.ModuleList(nn.ModuleList(module for _, module in own) for own in steps.values())
        self.joined = {member: group for group in joint_vectors(steps) for member in group.members}
        self.groups = nn.ModuleList(dict.fromkeys(self.joined.values()))

    def forward(self, changed: Tensor, *others: Tensor) -> Tensor:
        """The input or the output of the leaf, after each member's steps for its own units."""
        steps, now = self.steps, self.routing.now
        if not now.spans:
            only = () if now.alone is None else steps.get(now.alone, ())
            return self.act(only, changed, *others) if only else changed
        present = {span.member for span in now.spans if span.member in steps}
        if not present:
            return changed
        if others and isinstance(others[0], nn.Parameter):  # a weight has no units (DeBERTa's relative positions)
            now.shared[id(changed)] = changed, {m: self.act(steps[m], changed, *others) for m in present}
            return changed
        grouped = [_by_unit(tensor, now.count) for tensor in (changed, *others)]
        parts = []
        for run in self._runs(now.spans):
            own = [tensor[run[0].start : run[-1].end] for tensor in grouped]
            member, group = run[0].member, self.joined.get(run[0].member)
            if group is not None and len(run) > 1:
                parts.append(group(own, group.rows_of(run, now)))
            else:
                parts.append(self.act(steps[member], *own) if member in steps else own[0])
        return (parts[0] if len(parts) == 1 else torch.cat(parts)).reshape(changed.shape)

    def _runs(self, spans: Sequence[Span]) -> Iterator[list[Span]]:
        """Consecutive spans whose members' steps can be taken at once."""
        run: list[Span] = []
        for span in spans:
            if run and not self._goes_with(span.member, run[-1].member):
                yield from self._at_once(run)
                run = []
            run.append(span)
        yield from self._at_once(run)

    def _at_once(self, run: list[Span]) -> list[list[Span]]:
        """The run, or each of its spans if they are so few that one after another is faster."""
        return [run] if len(run) >= FEWEST_JOINT or run[0].member not in self.steps else [[span] for span in run]

    def _goes_with(self, member: int, other: int) -> bool:
        if member not in self.steps or other not in self.steps:
            return member not in self.steps and other not in self.steps
        group = self.joined.get(member)
        return group is not None and group is self.joined.get(other)


class JointVectors(nn.Module):
    """One step of several members at once: each has one vector, which acts on every unit alike.

    Args: acts, module, as in a step; name of the vector in the module; vectors (members, width); members, in order.
    """

    vectors: Tensor

    def __init__(self, acts: Acts, module: nn.Module, name: str, vectors: Tensor, members: Sequence[int]):
        super().__init__()
        self.acts, self.name, self.members = acts, name, tuple(members)
        self.module = bare_copy(module)
        delattr(self.module, name)
        self.register_buffer("vectors", vectors)
        self._rows = {member: row for row, member in enumerate(members)}

    def rows_of(self, run: Sequence[Span], now: Now) -> Tensor:
        """The vector of each unit of these spans, (units,): the same for all leaves of a pass with these members."""
        key = self.members, run[0].start, run[-1].end
        if key not in now.rows:
            rows = [self._rows[span.member] for span in run for _ in range(span.end - span.start)]
            now.rows[key] = torch.tensor(rows, device=self.vectors.device)
        return now.rows[key]

    def forward(self, own: Sequence[Tensor], rows: Tensor) -> Tensor:
        """What the step makes of units of several members, given the vector of each, (units,)."""
        vectors = self.vectors[rows]
        setattr(self.module, self.name, vectors.reshape(len(rows), *(1,) * (own[0].dim() - 2), -1))
        act = _leave if len(own) > 1 else _enter
        return act([(self.acts, self.module)], *own)


def joint_vectors(steps: Mapping[int, Sequence[Step]]) -> list[JointVectors]:
    """The groups of members whose only step has one vector, and whose modules do the same with a vector per unit as one
    after another; each is tried."""
    kinds: dict[tuple[Acts, type, str, int], list[int]] = {}
    for member, own in steps.items():
        acts, module = own[0]
        name, vector = _only_vector(module)
        if len(own) == 1 and acts != "tap" and vector is not None:
            kinds.setdefault((acts, type(module), name, len(vector)), []).append(member)
    groups = []
    for (acts, _, name, _), members in kinds.items():
        modules = [steps[member][0][1] for member in members]
        stacked = torch.stack([cast(Tensor, getattr(module, name)).detach() for module in modules])
        joint = JointVectors(acts, modules[0], name, stacked, members)
        if len(members) > 1 and _agrees(joint, modules):
            groups.append(joint)
    return groups


def _only_vector(module: nn.Module) -> tuple[str, Tensor | None]:
    """The name and the value of a module's vector; None if it has other tensors or parts too."""
    tensors = {**own_parameters(module), **own_buffers(module)}
    ((name, tensor),) = tensors.items() if len(tensors) == 1 else [("", None)]
    alone = tensor is not None and tensor.dim() == 1 and tensor.is_floating_point() and not own_parts(module).modules
    return name, tensor if alone else None


def _agrees(joint: JointVectors, modules: Sequence[nn.Module]) -> bool:
    """Whether modules at once do on a few numbers what each does alone."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(len(modules), 2, joint.vectors.shape[1], generator=generator).to(joint.vectors)
    own = [x, x] if joint.acts != "before" else [x]
    act = _leave if len(own) > 1 else _enter
    with torch.no_grad():
        try:
            alone = [
                act([(joint.acts, module)], *(part[place] for part in own)) for place, module in enumerate(modules)
            ]
            together = joint(own, torch.arange(len(modules), device=x.device))
        except (RuntimeError, ValueError, TypeError):
            return False
    return together.shape == x.shape and torch.allclose(together, torch.stack(alone), rtol=1e-5, atol=1e-5)


def _by_unit(x: Tensor, units: int) -> Tensor:
    """A leaf's input or output as (units, ...): the units may be its first dimension, the outer part of it, or the
    second one after a first of 1."""
    if len(x) % units == 0:
        return x.reshape(units, -1, *x.shape[1:])
    if len(x) == 1 and x.dim() > 1 and x.shape[1] == units:
        return x[0]
    raise RuntimeError(f"a leaf of the backbone was called on {tuple(x.shape)}, which are no {units} rows or tokens")


def _enter(steps: Sequence[Step], x: Tensor) -> Tensor:
    for acts, module in steps:
        if acts == "tap":
            cast(Tap, module).input = x
        else:
            x = module(x)
    return x


def _leave(steps: Sequence[Step], output: Tensor, x: Tensor) -> Tensor:
    for acts, module in steps:
        made = module(output if acts == "after" else x)
        output = output + made if acts == "parallel" else made
    return output


def skip_virtual(routing: Routing, states: Tensor) -> Tensor:
    """The states (rows, seq, width) from the first real token of each row on."""
    return states[:, routing.now.virtual :]


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
