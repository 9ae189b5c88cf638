"""Stacks of blocks: embeddings, sublayers with their norms and residual sums, and what follows the last block."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from torch import nn

from tunefront.bench.meters.flops.analytic import elementwise
from tunefront.bench.meters.flops.analytic.anatomy import Anatomy, Config, Disentangled, FeedForward, Stack
from tunefront.bench.meters.flops.analytic.attention import Attender, LedKeys
from tunefront.bench.meters.flops.analytic.leaves import Leaves
from tunefront.bench.meters.flops.analytic.tally import State
from tunefront.methods.base import Unsupported


@dataclass(frozen=True)
class Led:
    """What leads in a stack: `prompt`, so many embeddings before each row's own, which need gradients or do not
    (`grad`); `keys` in attentions, by their paths."""

    prompt: int = 0
    grad: bool = False
    keys: Mapping[str, LedKeys] = field(default_factory=dict)


NOTHING = Led()
"""Of a stack in which nothing leads."""


class Stacks:
    """The stacks of one model, told by its architecture's anatomy."""

    def __init__(self, leaves: Leaves, anatomy: Anatomy, config: Config):
        self._leaves, self._anatomy, self._config = leaves, anatomy, config
        self._order = anatomy.order(config)

    def through(
        self,
        stack: Stack,
        rows: int,
        seq: int,
        before: int = 0,
        memory: State | None = None,
        cached: bool = False,
        led: Led = NOTHING,
    ) -> State:
        """The states of (rows, seq) tokens: after `before` others whose keys and values are kept, and looking at
        `memory` where the blocks have cross attention (`cached` if its keys and values are kept too). A prompt's states
        stand before theirs."""
        attender = self._attender(stack, led.keys)
        return self._walk(stack, attender, self._embedded(stack, rows, seq, led), before, memory, cached)

    def read(self, stack: Stack, led: Led) -> dict[str, LedKeys]:
        """A stack over a prompt alone: the keys and values that are left of it, by attention."""
        attender = self._attender(stack, {})
        self._walk(stack, attender, self._embedded(stack, 1, 0, led), keys_only=True)
        return {path: LedKeys(led.prompt, grad) for path, grad in attender.seen.items()}

    def _walk(
        self,
        stack: Stack,
        attender: Attender,
        x: State,
        before: int = 0,
        memory: State | None = None,
        cached: bool = False,
        keys_only: bool = False,
    ) -> State:
        """Through all blocks; with `keys_only` nothing depends on what comes out of the last one."""
        last = len(self._blocks(stack)) - 1
        for number in range(last + 1):
            block, unused = f"{stack.blocks}.{number}", keys_only and number == last
            own, cross = stack.attention, stack.cross_attention
            sublayers: list[tuple[str, Callable[[State], State]]] = [
                (own.norm, partial(attender.attend, block, own, before=before, keys_only=unused)),
                (stack.feed_forward.norm, partial(self._feed_forward, block, stack.feed_forward)),
            ]
            if cross is not None and memory is not None:
                looking = partial(attender.attend, block, cross, memory=memory, cached=cached)
                sublayers.insert(1, (cross.norm, looking))
            with self._leaves.tally.unused(unused):
                x = self._block(block, sublayers, x)
        with self._leaves.tally.unused(keys_only):
            return self._leaves.chain(stack.end, x, "embedding")

    def _blocks(self, stack: Stack) -> nn.ModuleList:
        blocks = self._leaves.find(stack.blocks)
        if not isinstance(blocks, nn.ModuleList):
            raise Unsupported(f"no analytic FLOPs: this model has no list of blocks at {stack.blocks}")
        return blocks

    def _block(self, block: str, sublayers: list[tuple[str, Callable[[State], State]]], x: State) -> State:
        first = x
        for norm, sublayer in sublayers:
            source = first if self._order == "parallel" else x
            if self._order != "after":
                source = self._leaves.through(f"{block}.{norm}", source, "")
            found = sublayer(source)
            x = replace(x, grad=x.grad or found.grad)
            self._leaves.tally.elementwise(elementwise.RESIDUAL * x.size)
            if self._order == "after":
                x = self._leaves.through(f"{block}.{norm}", x, "")
        return x

    def _feed_forward(self, block: str, anatomy: FeedForward, x: State) -> State:
        leaves, part = self._leaves, "feed_forward"
        paths = [f"{block}.{path}" for path in anatomy.up if leaves.find(f"{block}.{path}") is not None]
        if not paths:
            raise Unsupported(f"no analytic FLOPs: {block} has none of {', '.join(anatomy.up)}")
        read = [leaves.through(path, x, part) for path in paths]
        y = replace(read[0], grad=any(one.grad for one in read))
        each = elementwise.activation(getattr(self._config, self._anatomy.activation, None))
        leaves.tally.elementwise(y.size * (each + elementwise.GATE * (len(read) - 1)))
        return leaves.chain([f"{block}.{path}" for path in (anatomy.down, anatomy.dropout) if path], y, part)

    def _embedded(self, stack: Stack, rows: int, seq: int, led: Led) -> State:
        """The words first; a prompt's embeddings stand where theirs are looked up."""
        there = [chain for chain in stack.embeddings if self._leaves.find(chain[0]) is not None]
        words = self._leaves.through(there[0][0], State(rows, seq, 0), "embedding")
        words = replace(words, seq=led.prompt + seq, grad=words.grad or led.grad)
        summed = [self._leaves.chain(there[0][1:], words, "embedding")]
        others = State(rows, led.prompt + seq, 0)
        summed += [self._leaves.chain(chain, others, "embedding") for chain in there[1:]]
        x = replace(summed[0], grad=any(one.grad for one in summed))
        self._leaves.tally.elementwise(elementwise.RESIDUAL * x.size * (len(summed) - 1))
        return self._leaves.chain(stack.start, x, "embedding")

    def _attender(self, stack: Stack, led: Mapping[str, LedKeys]) -> Attender:
        """With what all blocks share: relative positions, as a bias or as embeddings."""
        attention, leaves = stack.attention, self._leaves
        heads = int(getattr(self._config, stack.heads))
        biased, positions = False, None
        if attention.bias:
            biased = leaves.through(f"{stack.blocks}.0.{attention.bias}", State(1, 1, 0), "").grad
        if isinstance(attention, Disentangled) and attention.positions:
            table = leaves.find(attention.positions[0])
            if isinstance(table, nn.Embedding):
                positions = leaves.chain(attention.positions, State(1, table.num_embeddings, 0), "")
        return Attender(leaves, self._config, heads, biased, positions, led)
