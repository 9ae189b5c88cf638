"""The anatomies of known architectures, on the paths of the models that their families load."""

from __future__ import annotations

from dataclasses import replace

from bench.meters.analytic.anatomy import Anatomy, Attention, Config, Disentangled, FeedForward, Order, Stack


def _before(config: Config) -> Order:
    return "before"


def _after(config: Config) -> Order:
    return "after"


def _opt(config: Config) -> Order:
    return "before" if config.do_layer_norm_before else "after"  # after in OPT-350m alone


def _gpt_neox(config: Config) -> Order:
    return "parallel" if config.use_parallel_residual else "before"


def _embeddings(*names: str) -> tuple[tuple[str, ...], ...]:
    return tuple((f"embeddings.{name}_embeddings",) for name in names)


_BERT_ATTENTION = Attention(
    norm="attention.output.LayerNorm",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    output="attention.output.dense",
    dropout="attention.output.dropout",
    rate="attention.self.dropout",
)
_BERT = Anatomy(
    order=_after,
    activation="hidden_act",
    stack=Stack(
        embeddings=_embeddings("word", "token_type", "position"),
        start=("embeddings.LayerNorm", "embeddings.dropout"),
        blocks="encoder.layer",
        attention=_BERT_ATTENTION,
        feed_forward=FeedForward("output.LayerNorm", ("intermediate.dense",), "output.dense", "output.dropout"),
    ),
)
_DEBERTA_V2 = replace(
    _BERT,
    stack=replace(
        _BERT.stack,
        start=("embeddings.embed_proj", "embeddings.LayerNorm", "embeddings.dropout"),
        attention=Disentangled(
            **{
                **vars(_BERT_ATTENTION),
                "query": "attention.self.query_proj",
                "key": "attention.self.key_proj",
                "value": "attention.self.value_proj",
            },
            positions=("encoder.rel_embeddings", "encoder.LayerNorm"),
            position_query="attention.self.pos_query_proj",
            position_key="attention.self.pos_key_proj",
        ),
    ),
)
_DISTILBERT = Anatomy(
    order=_after,
    activation="activation",
    stack=Stack(
        embeddings=_embeddings("word", "position"),
        start=("embeddings.LayerNorm", "embeddings.dropout"),
        blocks="transformer.layer",
        attention=Attention(
            norm="sa_layer_norm",
            query="attention.q_lin",
            key="attention.k_lin",
            value="attention.v_lin",
            output="attention.out_lin",
            rate="attention.dropout",
        ),
        feed_forward=FeedForward("output_layer_norm", ("ffn.lin1",), "ffn.lin2", "ffn.dropout"),
    ),
)
_GPT2 = Anatomy(
    order=_before,
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
_GPT_NEOX = Anatomy(
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


def _projected(path: str, norm: str, output: str = "out_proj") -> Attention:
    """Attention of the fairseq kind, which OPT and BART share."""
    return Attention(
        norm=norm,
        query=f"{path}.q_proj",
        key=f"{path}.k_proj",
        value=f"{path}.v_proj",
        output=f"{path}.{output}",
        rate=f"{path}.dropout",
    )


_OPT = Anatomy(
    order=_opt,
    activation="activation_function",
    stack=Stack(
        embeddings=(("model.decoder.embed_tokens", "model.decoder.project_in"), ("model.decoder.embed_positions",)),
        blocks="model.decoder.layers",
        attention=_projected("self_attn", "self_attn_layer_norm"),
        feed_forward=FeedForward("final_layer_norm", ("fc1",), "fc2"),
        end=("model.decoder.final_layer_norm", "model.decoder.project_out"),
    ),
)
_LLAMA = Anatomy(
    order=_before,
    activation="hidden_act",
    stack=Stack(
        embeddings=(("model.embed_tokens",),),
        blocks="model.layers",
        attention=replace(
            _projected("self_attn", "input_layernorm", "o_proj"),
            rate="self_attn.attention_dropout",
            query_norm="self_attn.q_norm",  # Qwen3's
            key_norm="self_attn.k_norm",
            rotary=True,
        ),
        feed_forward=FeedForward("post_attention_layernorm", ("mlp.gate_proj", "mlp.up_proj"), "mlp.down_proj"),
        end=("model.norm",),
    ),
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
    up = tuple(f"{place}.DenseReluDense.{name}" for name in ("wi", "wi_0", "wi_1"))  # the first, or gated the others
    return Stack(
        embeddings=((f"{path}.embed_tokens",),),
        start=(f"{path}.dropout",),
        blocks=f"{path}.block",
        attention=_t5_attention(0, "SelfAttention"),
        feed_forward=FeedForward(f"{place}.layer_norm", up, f"{place}.DenseReluDense.wo", dropout=f"{place}.dropout"),
        end=(f"{path}.final_layer_norm", f"{path}.dropout"),
    )


_T5 = Anatomy(
    order=_before,
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
        attention=_projected("self_attn", "self_attn_layer_norm"),
        feed_forward=FeedForward("final_layer_norm", ("fc1",), "fc2"),
        heads=f"{side}_attention_heads",
    )


_BART = Anatomy(
    order=_after,
    activation="activation_function",
    stack=replace(_bart_stack("decoder"), cross_attention=_projected("encoder_attn", "encoder_attn_layer_norm")),
    below=_bart_stack("encoder"),
)

ANATOMIES: dict[str, Anatomy] = {
    "bert": _BERT,
    "roberta": _BERT,
    "distilbert": _DISTILBERT,
    "deberta-v2": _DEBERTA_V2,
    "gpt2": _GPT2,
    "gpt_neox": _GPT_NEOX,
    "opt": _OPT,
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "t5": _T5,
    "mt5": _T5,
    "bart": _BART,
}
"""Anatomies by the configuration's `model_type`. `ANATOMIES["mine"] = Anatomy(...)` adds an architecture."""
