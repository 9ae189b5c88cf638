"""Specifications of encoders, with the module paths of `AutoModel`."""

from __future__ import annotations

from dataclasses import replace

from tunefront.bench.meters.flops.analytic.spec import (
    ArchitectureSpec,
    Attention,
    Disentangled,
    FeedForward,
    Stack,
    after,
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

ENCODERS = {"bert": _BERT, "roberta": _BERT, "distilbert": _DISTILBERT, "deberta-v2": _DEBERTA_V2}
