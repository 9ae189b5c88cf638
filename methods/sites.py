"""Where methods act, per architecture: regexes matched in full on the module paths of the pretrained model."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Sites:
    """One architecture's places, as regexes on the paths of its base model (`AutoModel`).

    `block` is one transformer layer, numbered by its first group. `sublayer_output` is what a Houlsby adapter follows:
    the output dropout where it is a module, else the output projection. `norms` are all layer norms, the embedding's
    included. `pooling` is what the head reads: `pooler` (the checkpoint's own pooler), `first` (the first token's
    state); the folder's pooling configuration (`mean`) goes before it. `head_activation` is the activation of the
    extra dense layer in the architecture's published classification head, None where the head is one linear layer.
    `repeated` names sites that are called more than once in a forward pass.
    None means that the architecture has no such leaf (a fused projection).
    """

    block: str
    query: str | None
    key: str | None
    value: str | None
    attention_output: str | None
    ffn_up: str | None
    ffn_down: str | None
    sublayer_output: str
    norms: str
    pooling: str = "first"
    head_activation: str | None = None
    repeated: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        unknown = self.repeated - {field.name for field in fields(self)}
        if unknown:
            raise ValueError(f"repeated names sites, got {sorted(unknown)}")
        if self.pooling not in ("pooler", "first"):
            raise ValueError(f"pooling must be pooler or first, got {self.pooling!r}")


_BERT = Sites(
    block=r"encoder\.layer\.(\d+)",
    query=r"encoder\.layer\.\d+\.attention\.self\.query",
    key=r"encoder\.layer\.\d+\.attention\.self\.key",
    value=r"encoder\.layer\.\d+\.attention\.self\.value",
    attention_output=r"encoder\.layer\.\d+\.attention\.output\.dense",
    ffn_up=r"encoder\.layer\.\d+\.intermediate\.dense",
    ffn_down=r"encoder\.layer\.\d+\.output\.dense",
    sublayer_output=r"encoder\.layer\.\d+\.(attention\.)?output\.dropout",
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

SITES: dict[str, Sites] = {
    "bert": _BERT,
    "roberta": _ROBERTA,
    "distilbert": _DISTILBERT,
    "deberta-v2": _DEBERTA_V2,
}
"""Sites by the configuration's `model_type`. `SITES["mine"] = Sites(...)` adds an architecture."""


def sites_for(model_type: str) -> Sites:
    """The sites of an architecture; KeyError saying how to add one."""
    if model_type in SITES:
        return SITES[model_type]
    raise KeyError(
        f"no sites record for the architecture {model_type!r}; known: {', '.join(sorted(SITES))}. Add one before the "
        "run, in the file you give with --method or in a conftest.py:\n"
        "    from methods.sites import SITES, Sites\n"
        f'    SITES["{model_type}"] = Sites(block=r"encoder\\.layer\\.(\\d+)", query=..., key=..., value=...,\n'
        "        attention_output=..., ffn_up=..., ffn_down=..., sublayer_output=..., norms=...)\n"
        "each a regex that matches a whole module path of the model (see methods/sites.py)."
    )
