"""Scores batches that mix rows of several members on one backbone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from tunefront.bench.errors import UserError
from tunefront.bench.models.examples import stacked
from tunefront.bench.models.families import Backbone, Decoder, Encoder
from tunefront.bench.models.families.encoder import change_pooler_input
from tunefront.bench.models.families.leads import use_lead_attention
from tunefront.bench.models.routing.hosts import Routing, Step, renumber, route, skip_virtual, split
from tunefront.bench.models.routing.member import Leading, Member, Shift
from tunefront.bench.models.routing.passes import DecoderPasses, EncoderPasses, Passes, Request, Seq2SeqPasses
from tunefront.bench.models.routing.rows import MixedRows, Tag
from tunefront.methods.base import Batch, Prefix
from tunefront.methods.inject import matching
from tunefront.methods.torch_internals import own_parameters


class Router:
    """Members on one backbone: each row of a batch goes through the small modules of its own member.

    Args: backbone, as published, of which the router takes possession; members, made with `Member.of`, whose backbones
    are not needed any more, apart from their heads and prompts.
    Errors: UserError without members, and for those of another backbone or with another pooling.
    """

    def __init__(self, backbone: Backbone, members: Sequence[Member]):
        if not members:
            raise UserError("there is no member to route rows to; give at least one.")
        for member in members:
            _check_alike(backbone, member)
        self.backbone, self.members = backbone, tuple(members)
        self.routing = Routing()
        if any(member.parts.lead.positions for member in members):
            use_lead_attention(backbone.model)
        for path, steps in _steps(backbone, self.members).items():
            route(backbone.model.get_submodule(path), self.routing, steps)
        _split_repeated(backbone, self.routing, self.members)
        backbone.model.eval().requires_grad_(False)
        self._rank = _rank(self.members)
        leads = {place: member.parts.lead for place, member in enumerate(self.members)}
        self._passes = _passes(backbone, self.routing, leads)

    def scores(self, batches: Sequence[tuple[int, Batch]]) -> list[Tensor]:
        """The scores (rows, choices) of batches, given with the index of their member, all in one pass.

        A scorer that makes several passes (over several prompts) gets each of them together with those of the others.
        Errors: ValueError if a member has two batches.
        """
        rows = dict(sorted(batches, key=lambda pair: self._rank[pair[0]]))
        if len(rows) < len(batches):
            raise ValueError("a member has two batches; give its rows in one")
        answers: dict[int, list[Tensor]] = {member: [] for member in rows}
        scores: dict[int, Tensor] = {}
        with torch.no_grad():
            while waiting := [member for member in rows if member not in scores]:
                requests = []
                for member in waiting:
                    outcome = self._continue(member, rows[member], answers[member])
                    if isinstance(outcome, Request):
                        requests.append(outcome)
                    else:
                        scores[member] = outcome
                for request, answer in zip(requests, self._passes.run(requests) if requests else [], strict=True):
                    answers[request.member].append(answer)
        return [scores[member] for member, _ in batches]

    def score_rows(self, rows: MixedRows, tags: Sequence[Tag]) -> list[Tensor]:
        """The scores (choices,) of each of these rows, in their order, all in one pass."""
        batches = rows.batches(tags, self.backbone.model.device)
        scored = {member: iter(scores) for (member, _), scores in zip(batches, self.scores(batches), strict=True)}
        return [next(scored[member]) for member, _ in tags]

    def score_all(self, rows: MixedRows, batch_size: int) -> list[Tensor]:
        """The scores (rows, choices) of every row of each member, in mixed batches of at most `batch_size` rows."""
        scored = {
            tag: scores
            for tags in rows.order(batch_size)
            for tag, scores in zip(tags, self.score_rows(rows, tags), strict=True)
        }
        return [stacked([scored[member, row] for row in range(len(own))]) for member, own in enumerate(rows.examples)]

    def _continue(self, member: int, batch: Batch, answers: Sequence[Tensor]) -> Tensor | Request:
        """The scores of a member's rows, or the next pass that its scorer needs, given the results of those before."""
        try:
            with self._in_place_of(member, answers):
                return self.members[member].scorer(batch)
        except _Asks as asks:
            return asks.request

    @contextmanager
    def as_member(self, member: int) -> Iterator[Backbone]:
        """Within, a member's backbone has the router's model, all of which is the member's: it encodes rows and reads
        demonstrations."""
        own = self.members[member].backbone
        before, own.model = own.model, self.backbone.model
        try:
            with self.routing.only(member):
                yield own
        finally:
            own.model = before

    @contextmanager
    def _in_place_of(self, member: int, answers: Sequence[Tensor]) -> Iterator[None]:
        """The same, and passes get their results from `answers`."""
        with self.as_member(member) as own:
            before, own.elsewhere = own.elsewhere, _Answers(member, answers)
            try:
                yield
            finally:
                own.elsewhere = before


class _Asks(BaseException):
    """Leaves a scorer that needs a pass; no `except Exception` of a method may stop it."""

    def __init__(self, request: Request):
        self.request = request


class _Answers:
    """The results of a scorer's passes, in order; `_Asks` for the first one that is not known yet."""

    def __init__(self, member: int, answers: Sequence[Tensor]):
        self._member, self._answers, self._read = member, answers, 0

    def states(self, batch: Batch) -> Tensor:
        """See `Elsewhere`."""
        return self._next(Request(self._member, batch, "states"))

    def logprobs(self, batch: Batch, prefix: Prefix | None) -> Tensor:
        """See `Elsewhere`."""
        return self._next(Request(self._member, batch, "logprobs", prefix))

    def _next(self, request: Request) -> Tensor:
        if self._read == len(self._answers):
            raise _Asks(request)
        self._read += 1
        return self._answers[self._read - 1]


def _steps(backbone: Backbone, members: Sequence[Member]) -> dict[str, dict[int, list[Step]]]:
    """What each member does at each leaf of the published backbone."""
    steps: dict[str, dict[int, list[Step]]] = {}
    for place, member in enumerate(members):
        for path, own in member.parts.steps.items():
            steps.setdefault(path, {})[place] = [*own]
        for path, bias in member.parts.biases.items():
            published = own_parameters(backbone.model.get_submodule(path))["bias"]
            assert published is not None  # the same leaf, of the same backbone
            own_steps = steps.setdefault(path, {}).setdefault(place, [])
            own_steps.insert(0, ("after", Shift(bias - published.detach())))
    return steps


def _split_repeated(backbone: Backbone, routing: Routing, members: Sequence[Member]) -> None:
    """Lets the modules that call a leaf on rows and again on what has none (DeBERTa's attention) keep members apart."""
    repeated: dict[str, set[int]] = {}
    if "block" in backbone.sites.repeated:  # every call of such a leaf is on rows
        return
    for name in backbone.sites.repeated:
        for path in matching(backbone.model, getattr(backbone.sites, name)):
            special = {m for m, member in enumerate(members) if {path} & {*member.parts.steps, *member.parts.biases}}
            repeated.setdefault(path.rpartition(".")[0], set()).update(special)
    for path, special in repeated.items():
        split(backbone.model.get_submodule(path), routing, frozenset(special))


def _rank(members: Sequence[Member]) -> dict[int, int]:
    """The place of each member in a pass: those with the same kinds of modules stand together."""
    kinds = [
        [(path, [(a, type(m).__name__) for a, m in own]) for path, own in member.parts.steps.items()]
        for member in members
    ]
    ordered = sorted(range(len(members)), key=lambda member: (str(kinds[member]), member))
    return {member: place for place, member in enumerate(ordered)}


def _passes(backbone: Backbone, routing: Routing, leads: Mapping[int, Leading]) -> Passes:
    if isinstance(backbone, Encoder):
        if backbone.pooling == "pooler":
            change_pooler_input(backbone.model, partial(skip_virtual, routing))
        return EncoderPasses(backbone, routing, leads)
    if isinstance(backbone, Decoder):
        return DecoderPasses(backbone, routing, leads)
    for stack, table in zip(("encoder", "decoder"), backbone.position_tables(), strict=False):
        if isinstance(table, nn.Module):
            renumber(table, routing, stack)
    return Seq2SeqPasses(backbone, routing, leads)


def _check_alike(backbone: Backbone, member: Member) -> None:
    """UserError if a member was not fitted to this backbone."""
    own = member.backbone
    if own.fingerprint != backbone.fingerprint:
        raise UserError(
            f"{member.name} was fitted to another backbone than the router's; give members of one backbone."
        )
    pooling, others = (getattr(part, "pooling", None) for part in (backbone, own))
    if pooling != others:
        raise UserError(
            f"{member.name} pools by {others}, the router's backbone by {pooling}; give members that agree."
        )
