"""Stacks of blocks: embeddings, sublayers with norms and residual sums, and the modules after the last block."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from torch import nn

from tunefront.bench.meters.flops.analytic import elementwise
from tunefront.bench.meters.flops.analytic.attention import AttentionCost, LeadKeys
from tunefront.bench.meters.flops.analytic.modules import Modules
from tunefront.bench.meters.flops.analytic.spec import ArchitectureSpec, Config, Disentangled, FeedForward, Stack
from tunefront.bench.meters.flops.analytic.tally import State
from tunefront.methods.base import Unsupported

Sublayer = Callable[[State], State]
"""The output of a sublayer for its normed input."""


@dataclass(frozen=True)
class StackLead:
    """The lead of a stack: `prompt`, the number of embeddings before each row's own, `grad`, whether these need
    gradients, and `keys`, the leads of attentions by path."""

    prompt: int = 0
    grad: bool = False
    keys: Mapping[str, LeadKeys] = field(default_factory=dict)


NO_LEAD = StackLead()
"""The lead of a stack without one."""


class Stacks:
    """The stacks of one model, from the specification of its architecture."""

    def __init__(self, modules: Modules, spec: ArchitectureSpec, config: Config):
        self._costs, self._spec, self._config = modules, spec, config
        self._order = spec.order(config)

    def forward(
        self,
        stack: Stack,
        rows: int,
        seq: int,
        before: int = 0,
        memory: State | None = None,
        cached: bool = False,
        lead: StackLead = NO_LEAD,
    ) -> State:
        """The output states of (rows, seq) tokens, preceded by those of the prompt in `lead`.

        Args: before, earlier tokens whose keys and values are cached; memory, the states that cross-attention reads;
        cached, whether the keys and values of `memory` are cached too.
        """
        attention_cost = self._attention_cost(stack, lead.keys)
        return self._walk(stack, attention_cost, self._embedded(stack, rows, seq, lead), before, memory, cached)

    def read(self, stack: Stack, lead: StackLead) -> dict[str, LeadKeys]:
        """Reads a prompt alone; returns its keys and values, by attention."""
        attention_cost = self._attention_cost(stack, {})
        self._walk(stack, attention_cost, self._embedded(stack, 1, 0, lead), keys_only=True)
        return {path: LeadKeys(lead.prompt, grad) for path, grad in attention_cost.key_grads.items()}

    def _walk(
        self,
        stack: Stack,
        attention_cost: AttentionCost,
        x: State,
        before: int = 0,
        memory: State | None = None,
        cached: bool = False,
        keys_only: bool = False,
    ) -> State:
        """The output of all blocks; with `keys_only`, nothing depends on the output of the last one."""
        blocks = self._blocks(stack)
        for number, block in enumerate(blocks):
            unused = keys_only and number == len(blocks) - 1
            own, cross = stack.attention, stack.cross_attention
            feed_forward = stack.feed_forward
            sublayers: list[tuple[str, Sublayer, str]] = [
                (own.norm, partial(attention_cost.forward, block, own, before=before, keys_only=unused), own.end_norm),
                (feed_forward.norm, partial(self._feed_forward, block, feed_forward), feed_forward.end_norm),
            ]
            if cross is not None and memory is not None:
                cross_attention = partial(attention_cost.forward, block, cross, memory=memory, cached=cached)
                sublayers.insert(1, (cross.norm, cross_attention, cross.end_norm))
            with self._costs.tally.unused(unused):
                x = self._block(block, sublayers, x)
        with self._costs.tally.unused(keys_only):
            return self._costs.chain(stack.end, x, "embedding")

    def _blocks(self, stack: Stack) -> list[str]:
        """The paths of the blocks in the order in which they run."""
        blocks = self._costs.find(stack.blocks)
        if not isinstance(blocks, nn.ModuleList):
            raise Unsupported(f"no analytic FLOPs: this model has no list of blocks at {stack.blocks}")
        if stack.calls is not None:
            return stack.calls(self._config)
        return [f"{stack.blocks}.{number}" for number in range(len(blocks))]

    def _block(self, block: str, sublayers: list[tuple[str, Sublayer, str]], x: State) -> State:
        first, shared = x, None
        scaled = getattr(self._config, "residual_multiplier", 1.0) != 1.0  # Granite's
        for norm, sublayer, end_norm in sublayers:
            source = first if self._order == "parallel" else x
            if self._order == "shared":
                source = shared = shared or self._costs.forward(f"{block}.{norm}", first, "")
            elif self._order != "after":
                source = self._costs.forward(f"{block}.{norm}", source, "")
            y = self._costs.forward(f"{block}.{end_norm}", sublayer(source), "")
            self._costs.tally.elementwise(elementwise.FACTOR * y.size * scaled)
            x = replace(x, grad=x.grad or y.grad)
            self._costs.tally.elementwise(elementwise.RESIDUAL * x.size)
            if self._order == "after":
                x = self._costs.forward(f"{block}.{norm}", x, "")
        return x

    def _feed_forward(self, block: str, spec: FeedForward, x: State) -> State:
        modules, part = self._costs, "feed_forward"
        paths = [f"{block}.{path}" for path in spec.up if modules.find(f"{block}.{path}") is not None]
        if not paths:
            raise Unsupported(f"no analytic FLOPs: {block} has none of {', '.join(spec.up)}")
        projected = [modules.forward(path, x, part) for path in paths]
        gated = len(projected) > 1 or spec.halves
        y = replace(projected[0], grad=any(state.grad for state in projected))
        y = replace(y, width=y.width // 2) if spec.halves else y
        activation_flops = elementwise.activation(getattr(self._config, self._spec.activation, None))
        modules.tally.elementwise(y.size * (activation_flops + elementwise.GATE * gated))
        return modules.chain([f"{block}.{path}" for path in (spec.down, spec.dropout) if path], y, part)

    def _embedded(self, stack: Stack, rows: int, seq: int, lead: StackLead) -> State:
        """Embeds words first; the embeddings of a prompt join where words are looked up."""
        chains = [chain for chain in stack.embeddings if self._costs.find(chain[0]) is not None]
        words = self._costs.forward(chains[0][0], State(rows, seq, 0), "embedding")
        words = replace(words, seq=lead.prompt + seq, grad=words.grad or lead.grad)
        summed = [self._costs.chain(chains[0][1:], words, "embedding")]
        others = State(rows, lead.prompt + seq, 0)
        summed += [self._costs.chain(chain, others, "embedding") for chain in chains[1:]]
        x = replace(summed[0], grad=any(state.grad for state in summed))
        self._costs.tally.elementwise(elementwise.RESIDUAL * x.size * (len(summed) - 1))
        return self._costs.chain(stack.start, x, "embedding")

    def _attention_cost(self, stack: Stack, lead: Mapping[str, LeadKeys]) -> AttentionCost:
        """Computes what all blocks share: relative positions, as a bias or as embeddings."""
        attention, modules = stack.attention, self._costs
        heads = int(getattr(self._config, stack.heads))
        biased, positions = False, None
        if bias := stack.bias or (attention.bias and f"{stack.blocks}.0.{attention.bias}"):
            biased = modules.forward(bias, State(1, 1, 0), "").grad
        if isinstance(attention, Disentangled) and attention.positions:
            table = modules.find(attention.positions[0])
            if isinstance(table, nn.Embedding):
                positions = modules.chain(attention.positions, State(1, table.num_embeddings, 0), "")
        return AttentionCost(modules, self._config, heads, biased, positions, lead)
