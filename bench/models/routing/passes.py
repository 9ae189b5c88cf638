"""One pass of a backbone over rows of several members: what their scorers ask of the backbone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Literal, Protocol, cast

import torch
from torch import Tensor

from tunefront.bench.models.families.decoder import Decoder, choices_of, token_logprobs, unpadded
from tunefront.bench.models.families.encoder import Encoder
from tunefront.bench.models.families.language import prefixed_input
from tunefront.bench.models.families.leads import NO_LEAD, Led
from tunefront.bench.models.families.seq2seq import Seq2Seq
from tunefront.bench.models.routing.hosts import Routing
from tunefront.bench.models.routing.leads import PackedKeys, RowLeads, keys_by_module
from tunefront.bench.models.routing.member import Leading
from tunefront.bench.models.scoring.packing import Preceding, Tokens, pack
from tunefront.bench.models.scoring.prefix import CachedPrefix, KeysValues
from tunefront.methods.base import Batch, Prefix

Wants = Literal["states", "logprobs"]
"""What a pass returns for a row: the states that a head reads, or the log-probabilities of its choices' tokens."""


@dataclass(frozen=True)
class Request:
    """Rows of one member, and what its scorer wants of them."""

    member: int
    batch: Batch
    wants: Wants
    prefix: Prefix | None = None

    def __len__(self) -> int:
        return len(self.batch.rows)


class Passes(Protocol):
    """Runs requests of several members in one pass."""

    def run(self, requests: Sequence[Request]) -> list[Tensor]:
        """What each request wants: states (rows, width), or log-probabilities (rows, choices, tokens)."""


@dataclass(frozen=True)
class EncoderPasses:
    """Passes of an encoder: one padded batch.

    Args: backbone, whose leaves are routed; routing, theirs; leads by member.
    """

    backbone: Encoder
    routing: Routing
    leads: Mapping[int, Leading]

    def run(self, requests: Sequence[Request]) -> list[Tensor]:
        members = members_of(requests)
        batch = Batch(
            {
                name: joined([request.batch.inputs[name] for request in requests], self.backbone.padding(name))
                for name in requests[0].batch.inputs
            },
            torch.zeros(len(members)),
            torch.arange(len(members)),
        )
        led = RowLeads.of(self.backbone.model, self.leads, members)
        with self.routing.units(members, {stack: led.columns(stack) for stack in led.starts}, led.virtual("encoder")):
            states = self.backbone.pooled(batch, led if led.starts else NO_LEAD)
        return list(torch.split_with_sizes(states, [len(request) for request in requests]))


@dataclass(frozen=True)
class DecoderPasses:
    """Passes of a decoder: all rows and choices in one row, after the keys and values of all leads and demonstrations,
    of which each token sees its own member's. Arguments as in `EncoderPasses`."""

    backbone: Decoder
    routing: Routing
    leads: Mapping[int, Leading]

    def run(self, requests: Sequence[Request]) -> list[Tensor]:
        model, members = self.backbone.model, members_of(requests)
        queries = [query for request in requests for query in _queries(request)]
        choices = [
            row
            for request in requests
            for row in (choices_of(request.batch) if request.wants == "logprobs" else [[]] * len(request))
        ]
        layers, preceding = self._preceding(requests)
        packed = pack(queries, choices, preceding)
        tokens = [members[example] for example in packed.examples[0].tolist()]
        packed = packed.to(model.device)
        states = keys_by_module(model, {member: self.leads[member] for member in dict.fromkeys(members)})
        led = Led(keys=PackedKeys(states, tokens, model.device)) if states else NO_LEAD
        with self.routing.units(tokens):
            read = self.backbone.packed_states(packed, layers, led)
        ends = list(accumulate(map(len, requests), initial=0))
        if not any(request.wants == "logprobs" for request in requests):
            return [read[packed.last[start:end]] for start, end in pairwise(ends)]
        with self.routing.units([tokens[place] for _, place in packed.read.tolist()]):
            logits = self.backbone.logits_of(read)
        results = []
        for request, (start, end) in zip(requests, pairwise(ends), strict=True):
            if request.wants == "states":
                results.append(read[packed.last[start:end]])
                continue
            ids = request.batch.inputs["choice_ids"]
            predicts = packed.predicts[start:end, : ids.shape[1], : ids.shape[2]]
            results.append(token_logprobs(logits, predicts, ids))
        return results

    def _preceding(self, requests: Sequence[Request]) -> tuple[list[KeysValues], Preceding]:
        """The keys and values of all demonstrations side by side, by layer, and what precedes each row."""
        cached: list[list[KeysValues]] = []
        seen: list[range] = []
        starts: list[int] = []
        first = 0
        for request in requests:
            led = self.leads[request.member].positions.get("decoder", 0)
            prefix = cast(CachedPrefix | None, request.prefix)
            kept = [0] * len(request) if prefix is None else prefixed_input(request.batch, prefix, "kept").tolist()
            before = [prefix.demonstrations.ends[number] if prefix and number else 0 for number in kept]
            seen += [range(first, first + tokens) for tokens in before]
            starts += [led + tokens for tokens in before]
            if prefix is not None and any(kept):
                cached.append(prefix.head(max(kept)))
                first += max(before)
        layers = [
            cast(KeysValues, tuple(torch.cat(parts, dim=2) for parts in zip(*layer, strict=True)))
            for layer in zip(*cached, strict=True)
        ]
        return layers, Preceding(first, seen, starts)


@dataclass(frozen=True)
class Seq2SeqPasses:
    """Passes of an encoder-decoder: the encoder reads the prompts of all rows in one padded batch, the decoder their
    choices. Arguments as in `EncoderPasses`."""

    backbone: Seq2Seq
    routing: Routing
    leads: Mapping[int, Leading]

    def run(self, requests: Sequence[Request]) -> list[Tensor]:
        members = members_of(requests)
        ids, mask = (
            joined([prefixed_input(request.batch, request.prefix, name) for request in requests])
            for name in ("input_ids", "attention_mask")
        )
        with self._rows(members) as led:
            states, mask = self.backbone.encoded(ids, mask, led)
        results: dict[int, Tensor] = {}
        for wants, finish in (("states", self._states), ("logprobs", self._logprobs)):
            own = {place: request for place, request in enumerate(requests) if request.wants == wants}
            if own:
                rows = torch.tensor([request.wants == wants for request in requests for _ in range(len(request))])
                rows = rows.to(mask.device)
                results |= zip(own, finish([*own.values()], states[rows], mask[rows]), strict=True)
        return [results[place] for place in range(len(requests))]

    def _states(self, requests: Sequence[Request], states: Tensor, mask: Tensor) -> list[Tensor]:
        start = mask.new_full((len(mask), 1), self.backbone.start)
        with self._rows(members_of(requests)) as led:
            read = self.backbone.decoded(states, mask, start, led)[:, -1]
        return list(torch.split_with_sizes(read, [*map(len, requests)]))

    def _logprobs(self, requests: Sequence[Request], states: Tensor, mask: Tensor) -> list[Tensor]:
        ids, kept = (
            joined([request.batch.inputs[name] for request in requests]) for name in ("choice_ids", "choice_mask")
        )
        members = members_of(requests)
        with self._rows(members) as led:
            first = led.decoded(ids[:, 0, :1])

            @contextmanager
            def following(row: Tensor) -> Iterator[Led]:
                with self._rows([members[place] for place in row.tolist()]) as rest:
                    yield replace(rest, rows={}, cached=None if first is None else first[row])

            logprobs = self.backbone.answer_logprobs(states, mask, ids, kept, led, following)
        shapes = [request.batch.inputs["choice_ids"].shape for request in requests]
        parts = torch.split_with_sizes(logprobs, [*map(len, requests)])
        return [part[:, : shape[1], : shape[2]] for part, shape in zip(parts, shapes, strict=True)]

    @contextmanager
    def _rows(self, members: Sequence[int]) -> Iterator[RowLeads]:
        """Within, the rows of encoder and decoder belong to these members; gives their leads."""
        led = RowLeads.of(self.backbone.model, self.leads, members)
        with self.routing.units(members, {stack: led.columns(stack) for stack in led.starts}):
            yield led


def _queries(request: Request) -> list[Tokens]:
    inputs = [prefixed_input(request.batch, request.prefix, name) for name in ("input_ids", "attention_mask")]
    return unpadded(*inputs)


def members_of(requests: Sequence[Request]) -> list[int]:
    """The member of each row of all requests."""
    return [request.member for request in requests for _ in range(len(request))]


def joined(tensors: Sequence[Tensor], fill: int = 0) -> Tensor:
    """Rows of several batches in one tensor, the shorter ones padded at their end with `fill`."""
    shape = [max(sizes) for sizes in zip(*(tensor.shape[1:] for tensor in tensors), strict=True)]
    made = tensors[0].new_full((sum(map(len, tensors)), *shape), fill)
    start = 0
    for tensor in tensors:
        made[(slice(start, start + len(tensor)), *map(slice, tensor.shape[1:]))] = tensor
        start += len(tensor)
    return made
