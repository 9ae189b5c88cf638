"""Attention: its projections, scores and weighted values, and the products of its backward pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import nn

from tunefront.bench.meters.flops.analytic import elementwise
from tunefront.bench.meters.flops.analytic.modules import Modules
from tunefront.bench.meters.flops.analytic.spec import Attention, Config, Disentangled
from tunefront.bench.meters.flops.analytic.tally import State
from tunefront.methods.base import Unsupported
from tunefront.methods.inject import width

_FUSED_BACKWARD = 5
"""Products of a fused kernel's backward pass: the scores again, then gradients of weights, values, queries and keys."""


@dataclass(frozen=True)
class LeadKeys:
    """Number of keys and values that precede an attention's own, and whether they need gradients."""

    tokens: int
    grad: bool


@dataclass(frozen=True)
class AttentionCost:
    """Adds the cost of attention in one stack of one model to the tally.

    Args: config, the model's configuration; heads, number of attention heads; biased, whether the bias that blocks
    without their own add to the scores needs a gradient; positions, the relative position embeddings of disentangled
    attention, (1, positions, width); lead, keys and values that precede an attention's own, by its path; key_grads,
    filled in: whether the keys or values of each attention need gradients, by its path.
    """

    modules: Modules
    config: Config
    heads: int
    biased: bool = False
    positions: State | None = None
    lead: Mapping[str, LeadKeys] = field(default_factory=dict)
    key_grads: dict[str, bool] = field(default_factory=dict)

    def forward(
        self,
        block: str,
        attention: Attention,
        x: State,
        memory: State | None = None,
        before: int = 0,
        cached: bool = False,
        keys_only: bool = False,
    ) -> State:
        """The output of the sublayer, without its norm. `x` attends to itself after `before` tokens, or to `memory`,
        whose keys and values may be `cached`. With `keys_only`, the loss depends only on the keys and values."""
        with self.modules.tally.unused(keys_only):
            return self._forward(block, attention, x, memory, before, cached)

    def _forward(
        self, block: str, attention: Attention, x: State, memory: State | None, before: int, cached: bool
    ) -> State:
        modules, source = self.modules, memory or x
        path = f"{block}.{(attention.fused or attention.query).rpartition('.')[0]}"
        lead = self.lead.get(path, LeadKeys(0, False))
        keys = lead.tokens + source.seq + before
        tally = modules.tally
        if attention.fused:
            with tally.unused(False):
                mixed = modules.forward(f"{block}.{attention.fused}", x, "projections")
            back = modules.find(f"{block}.{attention.output}")
            if back is None:
                raise Unsupported(f"no analytic FLOPs: this model has no module at {block}.{attention.output}")
            query = replace(mixed, width=width(modules.model, back, "in"))
            key = value = replace(mixed, width=(mixed.width - query.width) // 2)
        else:
            query = modules.forward(f"{block}.{attention.query}", x, "projections")
            key = value = replace(source, grad=False)
            if not cached:
                with tally.unused(False):
                    key = modules.forward(f"{block}.{attention.key}", source, "projections")
                    value = modules.forward(f"{block}.{attention.value}", source, "projections")
        query = self._head_norm(block, attention.query_norm, query)
        key = self._head_norm(block, attention.key_norm, key)
        self.key_grads[path] = key.grad or value.grad
        if lead.grad:
            key, value = replace(key, grad=True), replace(value, grad=True)
        if attention.rotary and self._rotates(block, attention):
            tally.elementwise(round(elementwise.ROTARY * self._rotated * (query.size + key.size)))
        capped = getattr(self.config, "attn_logit_softcapping", None) is not None
        per_score = elementwise.SCORE + elementwise.CAP * capped
        tally.elementwise(per_score * x.rows * self.heads * x.seq * keys)
        if isinstance(attention, Disentangled):
            weighted = self._disentangled(block, attention, query, key, value)
        else:
            biased = self._biased(block, attention)
            fused = self._fused(block, attention, biased and memory is None)
            weighted = self._plain(query, key, value, keys, fused, biased)
        output = modules.forward(f"{block}.{attention.output}", weighted, "projections")
        return modules.forward(f"{block}.{attention.dropout}", output, "projections") if attention.dropout else output

    def _biased(self, block: str, attention: Attention) -> bool:
        """Whether the bias that is added to the scores needs a gradient."""
        own = f"{block}.{attention.bias}"
        if not attention.bias or self.modules.find(own) is None:
            return self.biased
        return self.modules.forward(own, State(1, 1, 0), "").grad

    def _plain(self, query: State, key: State, value: State, keys: int, fused: bool, biased: bool) -> State:
        """Scores and weighted values; each query head reads its own key head, or one that it shares."""
        product = 2 * query.tokens * keys * query.width
        scores = query.grad or key.grad or biased
        grad = scores or value.grad
        score_products, value_products = int(query.grad) + int(key.grad), int(scores) + int(value.grad)
        if fused and grad:
            score_products, value_products = _FUSED_BACKWARD, 0
        self.modules.tally.product("attention", product, activations=score_products)
        self.modules.tally.product("attention", product, activations=value_products)
        return replace(query, grad=grad)

    def _disentangled(self, block: str, attention: Disentangled, query: State, key: State, value: State) -> State:
        """Plain products, including those with every relative position."""
        tally, kinds = self.modules.tally, getattr(self.config, "pos_att_type", None) or []
        content = 2 * query.tokens * query.seq * query.width
        tally.product("attention", content, activations=int(query.grad) + int(key.grad))
        scores = query.grad or key.grad
        if self.positions is not None:
            position_product = 2 * query.tokens * self.positions.seq * query.width
            for kind, projection, own, other in (
                ("c2p", attention.position_key, attention.key, query),
                ("p2c", attention.position_query, attention.query, key),
            ):
                shared = bool(getattr(self.config, "share_att_key", False))
                if kind not in kinds and not shared:
                    continue
                position = self.modules.forward(
                    f"{block}.{own if shared else projection}", self.positions, "projections"
                )
                if kind in kinds:
                    tally.product("attention", position_product, activations=int(other.grad) + int(position.grad))
                    # Each score is picked by distance, divided by the width and added.
                    tally.elementwise(2 * query.rows * self.heads * query.seq**2)
                    scores = scores or position.grad
        tally.product("attention", content, activations=int(scores) + int(value.grad))
        return replace(query, grad=scores or value.grad)

    def _head_norm(self, block: str, path: str, x: State) -> State:
        return self.modules.forward(f"{block}.{path}", x, "projections") if path else x

    def _rotates(self, block: str, attention: Attention) -> bool:
        """Whether this block rotates its queries and keys: some architectures do so in a part of their blocks."""
        number = int(block.rpartition(".")[2])
        if attention.rotary_windows:
            return bool(self.config.layer_types[number] == "sliding_attention")
        rotating = getattr(self.config, "no_rope_layers", None)  # 1 where a layer does rotate
        return not rotating or bool(rotating[number])

    @property
    def _rotated(self) -> float:
        """The fraction of each head that is rotated: GPT-NeoX rotates only a part."""
        if getattr(self.config, "rotary_dim", None):  # GPT-J's
            return float(self.config.rotary_dim * self.heads / self.config.hidden_size)
        parameters = getattr(self.config, "rope_parameters", None) or {}
        return float(parameters.get("partial_rotary_factor", 1.0))

    def _fused(self, block: str, attention: Attention, biased: bool) -> bool:
        """Whether fused kernels run both passes: always on CUDA; on CPU without dropout and without a trained bias."""
        if getattr(self.config, "_attn_implementation", None) == "eager":
            return False
        if next(self.modules.model.parameters()).device.type == "cuda":
            return True
        return not biased and self._rate(f"{block}.{attention.rate}") == 0

    def _rate(self, path: str) -> float:
        """The dropout rate of the attention weights, stored in a module or as a number."""
        parent, _, name = path.rpartition(".")
        rate = getattr(self.modules.find(parent), name, 0.0)
        return float(rate.p) if isinstance(rate, nn.Dropout) else float(rate)
