"""Sites of encoders, on the paths of `AutoModel`."""

from __future__ import annotations

from tunefront.methods.sites.record import Sites

_BERT = Sites(
    block=r"encoder\.layer\.(\d+)",
    query=r"encoder\.layer\.\d+\.attention\.self\.query",
    key=r"encoder\.layer\.\d+\.attention\.self\.key",
    value=r"encoder\.layer\.\d+\.attention\.self\.value",
    attention_output=r"encoder\.layer\.\d+\.attention\.output\.dense",
    ffn_up=r"encoder\.layer\.\d+\.intermediate\.dense",
    ffn_down=r"encoder\.layer\.\d+\.output\.dense",
    sublayer_output=r"encoder\.layer\.\d+\.(attention\.)?output\.dropout",
    ffn_output=r"encoder\.layer\.\d+\.output\.dropout",
    norms=r"(embeddings|encoder\.layer\.\d+\.(attention\.)?output)\.LayerNorm",
    pooling="pooler",
)
_ROBERTA = Sites(**{**vars(_BERT), "pooling": "first", "head_activation": "tanh"})
_DISTILBERT = Sites(
    block=r"transformer\.layer\.(\d+)",
    query=r"transformer\.layer\.\d+\.attention\.q_lin",
    key=r"transformer\.layer\.\d+\.attention\.k_lin",
    value=r"transformer\.layer\.\d+\.attention\.v_lin",
    attention_output=r"transformer\.layer\.\d+\.attention\.out_lin",
    ffn_up=r"transformer\.layer\.\d+\.ffn\.lin1",
    ffn_down=r"transformer\.layer\.\d+\.ffn\.lin2",
    # DistilBERT has no dropout module after its attention projection, so adapters follow the projections themselves.
    sublayer_output=r"transformer\.layer\.\d+\.(attention\.out_lin|ffn\.lin2)",
    ffn_output=r"transformer\.layer\.\d+\.ffn\.lin2",
    norms=r"embeddings\.LayerNorm|transformer\.layer\.\d+\.(sa|output)_layer_norm",
    head_activation="relu",
)
_DEBERTA_V2 = Sites(
    **{
        **vars(_BERT),
        "query": r"encoder\.layer\.\d+\.attention\.self\.query_proj",
        "key": r"encoder\.layer\.\d+\.attention\.self\.key_proj",
        "value": r"encoder\.layer\.\d+\.attention\.self\.value_proj",
        "norms": r"(embeddings|encoder|encoder\.layer\.\d+\.(attention\.)?output)\.LayerNorm",
        "pooling": "first",
        "head_activation": "gelu",
        # With share_att_key the same projections also read the relative-position embeddings.
        "repeated": frozenset({"query", "key"}),
    }
)

ENCODERS: dict[str, Sites] = {
    "bert": _BERT,
    "roberta": _ROBERTA,
    "distilbert": _DISTILBERT,
    "deberta-v2": _DEBERTA_V2,
}
