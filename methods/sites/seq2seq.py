"""Sites of encoder-decoder language models, on the paths of `AutoModelForSeq2SeqLM`."""

from __future__ import annotations

from tunefront.methods.sites.record import Sites

_T5 = Sites(
    family="seq2seq",
    block=r"(?:encoder|decoder)\.block\.(\d+)",
    query=r"(encoder|decoder)\.block\.\d+\.layer\.\d\.(SelfAttention|EncDecAttention)\.q",
    key=r"(encoder|decoder)\.block\.\d+\.layer\.\d\.(SelfAttention|EncDecAttention)\.k",
    value=r"(encoder|decoder)\.block\.\d+\.layer\.\d\.(SelfAttention|EncDecAttention)\.v",
    attention_output=r"(encoder|decoder)\.block\.\d+\.layer\.\d\.(SelfAttention|EncDecAttention)\.o",
    ffn_up=r"(encoder|decoder)\.block\.\d+\.layer\.\d\.DenseReluDense\.wi(_1)?",  # gated (v1.1, T0, Flan): wi_1
    ffn_down=r"(encoder|decoder)\.block\.\d+\.layer\.\d\.DenseReluDense\.wo",
    sublayer_output=r"(encoder|decoder)\.block\.\d+\.layer\.\d\.dropout",
    ffn_output=r"encoder\.block\.\d+\.layer\.1\.dropout|decoder\.block\.\d+\.layer\.2\.dropout",
    ffn_gate=r"(encoder|decoder)\.block\.\d+\.layer\.\d\.DenseReluDense\.wi_0",
    norms=r"(encoder|decoder)\.(final_layer_norm|block\.\d+\.layer\.\d\.layer_norm)",
    final_norm=r"decoder\.final_layer_norm",
)
_BART = Sites(
    family="seq2seq",
    block=r"model\.(?:encoder|decoder)\.layers\.(\d+)",
    query=r"model\.(encoder|decoder)\.layers\.\d+\.(self|encoder)_attn\.q_proj",
    key=r"model\.(encoder|decoder)\.layers\.\d+\.(self|encoder)_attn\.k_proj",
    value=r"model\.(encoder|decoder)\.layers\.\d+\.(self|encoder)_attn\.v_proj",
    attention_output=r"model\.(encoder|decoder)\.layers\.\d+\.(self|encoder)_attn\.out_proj",
    ffn_up=r"model\.(encoder|decoder)\.layers\.\d+\.fc1",
    ffn_down=r"model\.(encoder|decoder)\.layers\.\d+\.fc2",
    # Its dropout is a function.
    sublayer_output=r"model\.(encoder|decoder)\.layers\.\d+\.((self|encoder)_attn\.out_proj|fc2)",
    ffn_output=r"model\.(encoder|decoder)\.layers\.\d+\.fc2",
    norms=r"model\.(encoder|decoder)\.(layernorm_embedding|layers\.\d+\.(self_attn|encoder_attn|final)_layer_norm)",
)
_PEGASUS = Sites(
    **{
        **vars(_BART),
        "norms": r"model\.(encoder|decoder)\.(layer_norm|layers\.\d+\.(self_attn|encoder_attn|final)_layer_norm)",
        "final_norm": r"model\.decoder\.layer_norm",
    }
)
_MBART = Sites(**{**vars(_PEGASUS), "norms": rf"{_BART.norms}|{_PEGASUS.final_norm}|model\.encoder\.layer_norm"})

SEQ2SEQ: dict[str, Sites] = {
    "t5": _T5,
    "mt5": _T5,
    "umt5": _T5,
    "bart": _BART,
    "pegasus": _PEGASUS,
    "mbart": _MBART,
}
