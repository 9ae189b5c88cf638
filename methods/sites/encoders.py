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
_ELECTRA = Sites(**{**vars(_BERT), "pooling": "first", "head_activation": "gelu"})  # its discriminator has no pooler
_ALBERT_LAYER = r"encoder\.albert_layer_groups\.\d+\.albert_layers\.\d+"
_ALBERT = Sites(
    # A block is one set of weights: every layer of a group calls the same ones.
    block=r"encoder\.albert_layer_groups\.(\d+)\.albert_layers\.\d+",
    query=rf"{_ALBERT_LAYER}\.attention\.query",
    key=rf"{_ALBERT_LAYER}\.attention\.key",
    value=rf"{_ALBERT_LAYER}\.attention\.value",
    attention_output=rf"{_ALBERT_LAYER}\.attention\.dense",
    ffn_up=rf"{_ALBERT_LAYER}\.ffn",
    ffn_down=rf"{_ALBERT_LAYER}\.ffn_output",
    # The module `dropout` of a layer is never called.
    sublayer_output=rf"{_ALBERT_LAYER}\.(attention\.output_dropout|ffn_output)",
    ffn_output=rf"{_ALBERT_LAYER}\.ffn_output",
    norms=rf"embeddings\.LayerNorm|{_ALBERT_LAYER}\.(full_layer_layer_norm|attention\.LayerNorm)",
    pooling="pooler",
    repeated=frozenset(
        {"block", "query", "key", "value", "attention_output", "ffn_up", "ffn_down", "sublayer_output", "ffn_output"}
    ),
)
_MPNET = Sites(
    **{
        **vars(_ROBERTA),
        "query": r"encoder\.layer\.\d+\.attention\.attn\.q",
        "key": r"encoder\.layer\.\d+\.attention\.attn\.k",
        "value": r"encoder\.layer\.\d+\.attention\.attn\.v",
        "attention_output": r"encoder\.layer\.\d+\.attention\.attn\.o",
        "sublayer_output": r"encoder\.layer\.\d+\.(attention|output)\.dropout",
        "norms": r"(embeddings|encoder\.layer\.\d+\.(attention|output))\.LayerNorm",
    }
)
_MODERNBERT = Sites(
    block=r"layers\.(\d+)",
    query=None,
    key=None,
    value=None,
    fused="attn.Wqkv",
    attention_output=r"layers\.\d+\.attn\.Wo",
    ffn_up=r"layers\.\d+\.mlp\.Wi",  # its output is the input of the activation, then the gate
    ffn_down=r"layers\.\d+\.mlp\.Wo",
    sublayer_output=r"layers\.\d+\.(attn\.out_drop|mlp\.Wo)",
    ffn_output=r"layers\.\d+\.mlp\.Wo",
    norms=r"embeddings\.norm|layers\.(\d+\.mlp|[1-9]\d*\.attn)_norm|final_norm",  # the first attention has none
    final_norm=r"final_norm",
    # The configuration says whether its head reads the first token or the mean. The published head has a norm after
    # this activation too, which a fresh head here leaves out.
    head_activation="gelu",
)
_NOMIC_BERT = Sites(
    block=r"layers\.(\d+)",
    query=r"layers\.\d+\.self_attn\.q_proj",
    key=r"layers\.\d+\.self_attn\.k_proj",
    value=r"layers\.\d+\.self_attn\.v_proj",
    attention_output=r"layers\.\d+\.self_attn\.o_proj",
    ffn_up=r"layers\.\d+\.mlp\.up_proj",
    ffn_down=r"layers\.\d+\.mlp\.down_proj",
    ffn_gate=r"layers\.\d+\.mlp\.gate_proj",
    sublayer_output=r"layers\.\d+\.post_(attention|mlp)_dropout",
    ffn_output=r"layers\.\d+\.post_mlp_dropout",
    norms=r"embeddings\.LayerNorm|layers\.\d+\.post_(attention|mlp)_layernorm",
    head_activation="tanh",  # the pooler of its published classifier, which `AutoModel` does not load
)
_XLM_ROBERTA_XL = Sites(
    **{
        **vars(_ROBERTA),
        "sublayer_output": r"encoder\.layer\.\d+\.(attention\.output\.dropout|output\.dense)",
        "ffn_output": r"encoder\.layer\.\d+\.output\.dense",  # no dropout there
        "norms": r"encoder\.(LayerNorm|layer\.\d+\.(attention\.self_attn_layer_norm|LayerNorm))",
        "final_norm": r"encoder\.LayerNorm",
    }
)

ENCODERS: dict[str, Sites] = {
    "bert": _BERT,
    "roberta": _ROBERTA,
    "distilbert": _DISTILBERT,
    "deberta-v2": _DEBERTA_V2,
    "xlm-roberta": _ROBERTA,
    "xlm-roberta-xl": _XLM_ROBERTA_XL,
    "camembert": _ROBERTA,
    "electra": _ELECTRA,
    "albert": _ALBERT,
    "mpnet": _MPNET,
    "modernbert": _MODERNBERT,
    "nomic_bert": _NOMIC_BERT,
    "gte": _NOMIC_BERT,
}
