"""Specifications of decoder-only language models, with the module paths of `AutoModelForCausalLM`."""

from __future__ import annotations

from dataclasses import replace

from tunefront.bench.meters.flops.analytic.spec import (
    ArchitectureSpec,
    Attention,
    Config,
    FeedForward,
    Order,
    Stack,
    attention_at,
    before,
    shared,
)


def _opt(config: Config) -> Order:
    return "before" if config.do_layer_norm_before else "after"  # only OPT-350m has them after


def _gpt_neox(config: Config) -> Order:
    return "parallel" if config.use_parallel_residual else "before"


_GPT2 = ArchitectureSpec(
    order=before,
    activation="activation_function",
    stack=Stack(
        embeddings=(("transformer.wte",), ("transformer.wpe",)),
        start=("transformer.drop",),
        blocks="transformer.h",
        attention=Attention(
            "ln_1", "attn.c_proj", rate="attn.attn_dropout", fused="attn.c_attn", dropout="attn.resid_dropout"
        ),
        feed_forward=FeedForward("ln_2", ("mlp.c_fc",), "mlp.c_proj", "mlp.dropout"),
        end=("transformer.ln_f",),
    ),
)
_GPT_NEOX = ArchitectureSpec(
    order=_gpt_neox,
    activation="hidden_act",
    stack=Stack(
        embeddings=(("gpt_neox.embed_in",),),
        start=("gpt_neox.emb_dropout",),
        blocks="gpt_neox.layers",
        attention=Attention(
            norm="input_layernorm",
            output="attention.dense",
            rate="attention.attention_dropout",
            fused="attention.query_key_value",
            dropout="post_attention_dropout",
            rotary=True,
        ),
        feed_forward=FeedForward(
            "post_attention_layernorm", ("mlp.dense_h_to_4h",), "mlp.dense_4h_to_h", "post_mlp_dropout"
        ),
        end=("gpt_neox.final_layer_norm",),
    ),
)
_OPT = ArchitectureSpec(
    order=_opt,
    activation="activation_function",
    stack=Stack(
        embeddings=(("model.decoder.embed_tokens", "model.decoder.project_in"), ("model.decoder.embed_positions",)),
        blocks="model.decoder.layers",
        attention=attention_at("self_attn", "self_attn_layer_norm"),
        feed_forward=FeedForward("final_layer_norm", ("fc1",), "fc2"),
        end=("model.decoder.final_layer_norm", "model.decoder.project_out"),
    ),
)
_LLAMA = ArchitectureSpec(
    order=before,
    activation="hidden_act",
    stack=Stack(
        embeddings=(("model.embed_tokens",),),
        blocks="model.layers",
        attention=replace(
            attention_at("self_attn", "input_layernorm", "o_proj"),
            rate="self_attn.attention_dropout",
            query_norm="self_attn.q_norm",  # Qwen3's
            key_norm="self_attn.k_norm",
            rotary=True,
        ),
        feed_forward=FeedForward("post_attention_layernorm", ("mlp.gate_proj", "mlp.up_proj"), "mlp.down_proj"),
        end=("model.norm",),
    ),
)

_LLAMA_STACK = _LLAMA.stack
_GEMMA = replace(_LLAMA, activation="hidden_activation")
_GEMMA2 = replace(
    _GEMMA,
    stack=replace(
        _LLAMA_STACK,
        attention=replace(_LLAMA_STACK.attention, end_norm="post_attention_layernorm"),
        feed_forward=replace(
            _LLAMA_STACK.feed_forward, norm="pre_feedforward_layernorm", end_norm="post_feedforward_layernorm"
        ),
    ),
)
_OLMO2 = replace(
    _LLAMA,
    stack=replace(
        _LLAMA_STACK,
        attention=replace(_LLAMA_STACK.attention, norm="", end_norm="post_attention_layernorm"),
        feed_forward=replace(_LLAMA_STACK.feed_forward, norm="", end_norm="post_feedforward_layernorm"),
    ),
)
_COHERE = replace(_LLAMA, order=shared)
_COHERE2 = replace(
    _COHERE,
    stack=replace(_LLAMA_STACK, attention=replace(_LLAMA_STACK.attention, rotary_windows=True)),
)
_PHI3 = replace(
    _LLAMA,
    stack=replace(
        _LLAMA_STACK,
        attention=Attention(
            norm="input_layernorm",
            output="self_attn.o_proj",
            rate="self_attn.attention_dropout",
            fused="self_attn.qkv_proj",
            dropout="resid_attn_dropout",
            rotary=True,
        ),
        feed_forward=FeedForward(
            "post_attention_layernorm", ("mlp.gate_up_proj",), "mlp.down_proj", "resid_mlp_dropout", halves=True
        ),
    ),
)
_PHI = ArchitectureSpec(
    order=shared,
    activation="hidden_act",
    stack=replace(
        _LLAMA_STACK,
        attention=replace(
            _LLAMA_STACK.attention,
            output="self_attn.dense",
            query_norm="self_attn.q_layernorm",
            key_norm="self_attn.k_layernorm",
        ),
        feed_forward=FeedForward("input_layernorm", ("mlp.fc1",), "mlp.fc2"),
        end=("model.final_layernorm",),
    ),
)
_GPTJ = ArchitectureSpec(
    order=shared,
    activation="activation_function",
    stack=Stack(
        embeddings=(("transformer.wte",),),
        start=("transformer.drop",),
        blocks="transformer.h",
        attention=replace(
            attention_at("attn", "ln_1"), rate="attn.attn_dropout", dropout="attn.resid_dropout", rotary=True
        ),
        feed_forward=FeedForward("ln_1", ("mlp.fc_in",), "mlp.fc_out", "mlp.dropout"),
        end=("transformer.ln_f",),
    ),
)

DECODERS = {
    "gpt2": _GPT2,
    "gpt_neox": _GPT_NEOX,
    "opt": _OPT,
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "smollm3": _LLAMA,
    "granite": _LLAMA,
    "gemma": _GEMMA,
    "gemma2": _GEMMA2,
    "gemma3_text": _GEMMA2,
    "olmo2": _OLMO2,
    "cohere": _COHERE,
    "cohere2": _COHERE2,
    "phi": _PHI,
    "phi3": _PHI3,
    "gptj": _GPTJ,
}
"""Mixtures of experts have no closed form, nor have Bloom and Falcon, whose linear biases need a row for every choice:
their FLOPs are counted."""
