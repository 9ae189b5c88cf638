"""Specifications of encoders, with the module paths of `AutoModel`."""

from __future__ import annotations

from dataclasses import replace

from tunefront.bench.meters.flops.analytic.spec import (
    ArchitectureSpec,
    Attention,
    Config,
    Disentangled,
    FeedForward,
    Stack,
    after,
    attention_at,
    before,
)


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
_BERT = ArchitectureSpec(
    order=after,
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
_DISTILBERT = ArchitectureSpec(
    order=after,
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
_ELECTRA = replace(_BERT, stack=replace(_BERT.stack, start=(*_BERT.stack.start, "embeddings_project")))


def _albert_calls(config: Config) -> list[str]:
    """Each layer runs all the blocks of its group; the layers are divided evenly among the groups."""
    layers, groups = config.num_hidden_layers, config.num_hidden_groups
    return [
        f"encoder.albert_layer_groups.{int(layer / (layers / groups))}.albert_layers.{inner}"
        for layer in range(layers)
        for inner in range(config.inner_group_num)
    ]


_ALBERT = ArchitectureSpec(
    order=after,
    activation="hidden_act",
    stack=Stack(
        embeddings=_BERT.stack.embeddings,
        start=(*_BERT.stack.start, "encoder.embedding_hidden_mapping_in"),
        blocks="encoder.albert_layer_groups",
        calls=_albert_calls,
        attention=Attention(
            norm="attention.LayerNorm",
            query="attention.query",
            key="attention.key",
            value="attention.value",
            output="attention.dense",
            dropout="attention.output_dropout",
            rate="attention.attention_dropout",
        ),
        feed_forward=FeedForward("full_layer_layer_norm", ("ffn",), "ffn_output"),
    ),
    pooler="pooler",
)
_MPNET = replace(
    _BERT,
    stack=replace(
        _BERT.stack,
        embeddings=_embeddings("word", "position"),
        attention=Attention(
            norm="attention.LayerNorm",
            query="attention.attn.q",
            key="attention.attn.k",
            value="attention.attn.v",
            output="attention.attn.o",
            dropout="attention.dropout",
            rate="attention.attn.dropout",
        ),
        bias="encoder.relative_attention_bias",
    ),
)
_MODERNBERT = ArchitectureSpec(
    order=before,
    activation="hidden_activation",
    stack=Stack(
        embeddings=(("embeddings.tok_embeddings",),),
        start=("embeddings.norm", "embeddings.drop"),
        blocks="layers",
        attention=Attention(
            norm="attn_norm",
            fused="attn.Wqkv",
            output="attn.Wo",
            dropout="attn.out_drop",
            rate="attn.attention_dropout",
            rotary=True,
        ),
        # A local window is a mask: the products with the hidden tokens are computed too.
        feed_forward=FeedForward("mlp_norm", ("mlp.Wi",), "mlp.Wo", halves=True),
        end=("final_norm",),
    ),
)
_NOMIC_BERT = ArchitectureSpec(
    order=after,
    activation="hidden_act",
    stack=Stack(
        embeddings=_embeddings("word", "token_type"),
        start=("embeddings.LayerNorm", "embeddings.dropout"),
        blocks="layers",
        attention=replace(
            attention_at("self_attn", "post_attention_layernorm", "o_proj"),
            rate="self_attn.attention_dropout",
            dropout="post_attention_dropout",
            rotary=True,
        ),
        feed_forward=FeedForward(
            "post_mlp_layernorm", ("mlp.gate_proj", "mlp.up_proj"), "mlp.down_proj", "post_mlp_dropout"
        ),
    ),
)
_XLM_ROBERTA_XL = replace(
    _BERT,
    order=before,
    stack=replace(
        _BERT.stack,
        start=("embeddings.dropout",),
        attention=replace(_BERT_ATTENTION, norm="attention.self_attn_layer_norm"),
        feed_forward=FeedForward("LayerNorm", ("intermediate.dense",), "output.dense"),
        end=("encoder.LayerNorm",),
    ),
)

ENCODERS = {
    "bert": _BERT,
    "roberta": _BERT,
    "distilbert": _DISTILBERT,
    "deberta-v2": _DEBERTA_V2,
    "xlm-roberta": _BERT,
    "xlm-roberta-xl": _XLM_ROBERTA_XL,
    "camembert": _BERT,
    "electra": _ELECTRA,
    "albert": _ALBERT,
    "mpnet": _MPNET,
    "modernbert": _MODERNBERT,
    "nomic_bert": _NOMIC_BERT,
    "gte": _NOMIC_BERT,
}
