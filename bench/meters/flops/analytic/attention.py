"""Attention: its projections, its scores and weighted values, and which products its backward pass takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import nn

from tunefront.bench.meters.flops.analytic import elementwise
from tunefront.bench.meters.flops.analytic.anatomy import Attention, Config, Disentangled
from tunefront.bench.meters.flops.analytic.leaves import Leaves
from tunefront.bench.meters.flops.analytic.tally import State

_FUSED_BACKWARD = 5
"""Products of a fused kernel's backward pass: the scores again, and the gradients of weights, values, queries, keys."""


@dataclass(frozen=True)
class LedKeys:
    """So many keys and values before an attention's own, and whether they need gradients."""

    tokens: int
    grad: bool


@dataclass(frozen=True)
class Attender:
    """Attention in one stack of one model.

    Args: config, the model's; heads, its attention heads; biased, whether the bias that is added to the scores needs a
    gradient; positions, the relative positions' embeddings of disentangled attention, (1, positions, width); led, what
    leads in attentions, by their paths; seen, where it is noted of each attention whether its own keys or values need
    gradients.
    """

    leaves: Leaves
    config: Config
    heads: int
    biased: bool = False
    positions: State | None = None
    led: Mapping[str, LedKeys] = field(default_factory=dict)
    seen: dict[str, bool] = field(default_factory=dict)

    def attend(
        self,
        block: str,
        attention: Attention,
        x: State,
        memory: State | None = None,
        before: int = 0,
        cached: bool = False,
        keys_only: bool = False,
    ) -> State:
        """Of `x` on itself after `before` tokens, or on `memory`, whose keys and values may be `cached`; to the end of
        the sublayer, its norm apart. With `keys_only` the loss depends on nothing but the keys and values."""
        with self.leaves.tally.unused(keys_only):
            return self._attend(block, attention, x, memory, before, cached)

    def _attend(
        self, block: str, attention: Attention, x: State, memory: State | None, before: int, cached: bool
    ) -> State:
        leaves, source = self.leaves, memory or x
        path = f"{block}.{(attention.fused or attention.query).rpartition('.')[0]}"
        led = self.led.get(path, LedKeys(0, False))
        keys = led.tokens + source.seq + before
        tally = leaves.tally
        if attention.fused:
            with tally.unused(False):
                mixed = leaves.through(f"{block}.{attention.fused}", x, "projections")
            query = key = value = replace(mixed, width=mixed.width // 3)
        else:
            query = leaves.through(f"{block}.{attention.query}", x, "projections")
            key = value = replace(source, grad=False)
            if not cached:
                with tally.unused(False):
                    key = leaves.through(f"{block}.{attention.key}", source, "projections")
                    value = leaves.through(f"{block}.{attention.value}", source, "projections")
        query = self._head_norm(block, attention.query_norm, query)
        key = self._head_norm(block, attention.key_norm, key)
        self.seen[path] = key.grad or value.grad
        if led.grad:
            key, value = replace(key, grad=True), replace(value, grad=True)
        if attention.rotary:
            tally.elementwise(round(elementwise.ROTARY * self._rotated * (query.size + key.size)))
        tally.elementwise(elementwise.SCORE * x.rows * self.heads * x.seq * keys)
        if isinstance(attention, Disentangled):
            found = self._disentangled(block, attention, query, key, value)
        else:
            found = self._plain(query, key, value, keys, self._fused(block, attention, memory is None))
        output = leaves.through(f"{block}.{attention.output}", found, "projections")
        return leaves.through(f"{block}.{attention.dropout}", output, "projections") if attention.dropout else output

    def _plain(self, query: State, key: State, value: State, keys: int, fused: bool) -> State:
        """Scores and weighted values, every head of the queries with a key head, its own or shared."""
        product = 2 * query.tokens * keys * query.width
        scores = query.grad or key.grad or self.biased
        grad = scores or value.grad
        of_scores, of_values = int(query.grad) + int(key.grad), int(scores) + int(value.grad)
        if fused and grad:
            of_scores, of_values = _FUSED_BACKWARD, 0
        self.leaves.tally.product("attention", product, activations=of_scores)
        self.leaves.tally.product("attention", product, activations=of_values)
        return replace(query, grad=grad)

    def _disentangled(self, block: str, attention: Disentangled, query: State, key: State, value: State) -> State:
        """Plain products, those with every relative position among them."""
        tally, kinds = self.leaves.tally, getattr(self.config, "pos_att_type", None) or []
        content = 2 * query.tokens * query.seq * query.width
        tally.product("attention", content, activations=int(query.grad) + int(key.grad))
        scores = query.grad or key.grad
        if self.positions is not None:
            placed = 2 * query.tokens * self.positions.seq * query.width
            for kind, projection, own, other in (
                ("c2p", attention.position_key, attention.key, query),
                ("p2c", attention.position_query, attention.query, key),
            ):
                shared = bool(getattr(self.config, "share_att_key", False))
                if kind not in kinds and not shared:
                    continue
                position = self.leaves.through(
                    f"{block}.{own if shared else projection}", self.positions, "projections"
                )
                if kind in kinds:
                    tally.product("attention", placed, activations=int(other.grad) + int(position.grad))
                    # Picked by distance, divided by the width and added: for each score.
                    tally.elementwise(2 * query.rows * self.heads * query.seq**2)
                    scores = scores or position.grad
        tally.product("attention", content, activations=int(scores) + int(value.grad))
        return replace(query, grad=scores or value.grad)

    def _head_norm(self, block: str, path: str, x: State) -> State:
        return self.leaves.through(f"{block}.{path}", x, "projections") if path else x

    @property
    def _rotated(self) -> float:
        """The share of each head that is rotated: GPT-NeoX leaves some as it is."""
        parameters = getattr(self.config, "rope_parameters", None) or {}
        return float(parameters.get("partial_rotary_factor", 1.0))

    def _fused(self, block: str, attention: Attention, on_itself: bool) -> bool:
        """Whether one kernel runs forward and backward: on CUDA; on CPU but for dropout or a bias that is trained."""
        if getattr(self.config, "_attn_implementation", None) == "eager":
            return False
        if next(self.leaves.model.parameters()).device.type == "cuda":
            return True
        return not (on_itself and self.biased) and self._rate(f"{block}.{attention.rate}") == 0

    def _rate(self, path: str) -> float:
        """The dropout of attention weights, which a module has or the attention's own number."""
        parent, _, name = path.rpartition(".")
        rate = getattr(self.leaves.find(parent), name, 0.0)
        return float(rate.p) if isinstance(rate, nn.Dropout) else float(rate)
