"""Specifications of encoder-decoder language models, with the module paths of `AutoModelForSeq2SeqLM`."""

from __future__ import annotations

from dataclasses import replace

from tunefront.bench.meters.flops.analytic.spec import (
    ArchitectureSpec,
    Attention,
    FeedForward,
    Stack,
    after,
    attention_at,
    before,
)


def _t5_attention(place: int, name: str) -> Attention:
    path = f"layer.{place}.{name}"
    return Attention(
        norm=f"layer.{place}.layer_norm",
        query=f"{path}.q",
        key=f"{path}.k",
        value=f"{path}.v",
        output=f"{path}.o",
        rate=f"{path}.dropout",
        dropout=f"layer.{place}.dropout",
        bias=f"{path}.relative_attention_bias",
    )


def _t5_stack(path: str, feed_forward: int) -> Stack:
    place = f"layer.{feed_forward}"
    up = tuple(f"{place}.DenseReluDense.{name}" for name in ("wi", "wi_0", "wi_1"))  # wi, or if gated wi_0 and wi_1
    return Stack(
        embeddings=((f"{path}.embed_tokens",),),
        start=(f"{path}.dropout",),
        blocks=f"{path}.block",
        attention=_t5_attention(0, "SelfAttention"),
        feed_forward=FeedForward(f"{place}.layer_norm", up, f"{place}.DenseReluDense.wo", dropout=f"{place}.dropout"),
        end=(f"{path}.final_layer_norm", f"{path}.dropout"),
    )


_T5 = ArchitectureSpec(
    order=before,
    activation="dense_act_fn",
    stack=replace(_t5_stack("decoder", 2), cross_attention=_t5_attention(1, "EncDecAttention")),
    below=_t5_stack("encoder", 1),
)


def _bart_stack(side: str) -> Stack:
    path = f"model.{side}"
    return Stack(
        embeddings=((f"{path}.embed_tokens",), (f"{path}.embed_positions",)),
        start=(f"{path}.layernorm_embedding",),
        blocks=f"{path}.layers",
        attention=attention_at("self_attn", "self_attn_layer_norm"),
        feed_forward=FeedForward("final_layer_norm", ("fc1",), "fc2"),
        heads=f"{side}_attention_heads",
    )


_BART = ArchitectureSpec(
    order=after,
    activation="activation_function",
    stack=replace(_bart_stack("decoder"), cross_attention=attention_at("encoder_attn", "encoder_attn_layer_norm")),
    below=_bart_stack("encoder"),
)


def _pre_norm_stack(side: str, start: tuple[str, ...]) -> Stack:
    """BART's stack, with a norm after its last block."""
    path = f"model.{side}"
    stack = _BART.stack if side == "decoder" else _bart_stack(side)
    return replace(stack, start=tuple(f"{path}.{name}" for name in start), end=(f"{path}.layer_norm",))


def _pre_norm(*start: str) -> ArchitectureSpec:
    """As BART, with norms before the sublayers and after the last blocks; `start` follows the embeddings."""
    return replace(
        _BART, order=before, stack=_pre_norm_stack("decoder", start), below=_pre_norm_stack("encoder", start)
    )


SEQ2SEQ = {
    "t5": _T5,
    "mt5": _T5,
    "umt5": _T5,
    "bart": _BART,
    "pegasus": _pre_norm(),
    "mbart": _pre_norm("layernorm_embedding"),
}
