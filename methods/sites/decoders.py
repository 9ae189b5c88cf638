"""Sites of decoder-only language models, on the paths of `AutoModelForCausalLM`."""

from __future__ import annotations

from tunefront.methods.sites.record import Sites

_GPT2 = Sites(
    family="decoder",
    block=r"transformer\.h\.(\d+)",
    query=None,
    key=None,
    value=None,
    fused="attn.c_attn",
    attention_output=r"transformer\.h\.\d+\.attn\.c_proj",
    ffn_up=r"transformer\.h\.\d+\.mlp\.c_fc",
    ffn_down=r"transformer\.h\.\d+\.mlp\.c_proj",
    sublayer_output=r"transformer\.h\.\d+\.(attn\.resid_dropout|mlp\.dropout)",
    ffn_output=r"transformer\.h\.\d+\.mlp\.dropout",
    norms=r"transformer\.(ln_f|h\.\d+\.ln_[12])",
    final_norm=r"transformer\.ln_f",
)
_GPT_NEOX = Sites(
    family="decoder",
    block=r"gpt_neox\.layers\.(\d+)",
    query=None,
    key=None,
    value=None,
    fused="attention.query_key_value",
    fused_by_head=True,
    attention_output=r"gpt_neox\.layers\.\d+\.attention\.dense",
    ffn_up=r"gpt_neox\.layers\.\d+\.mlp\.dense_h_to_4h",
    ffn_down=r"gpt_neox\.layers\.\d+\.mlp\.dense_4h_to_h",
    sublayer_output=r"gpt_neox\.layers\.\d+\.post_(attention|mlp)_dropout",
    ffn_output=r"gpt_neox\.layers\.\d+\.post_mlp_dropout",
    norms=r"gpt_neox\.(final_layer_norm|layers\.\d+\.(input|post_attention)_layernorm)",
    final_norm=r"gpt_neox\.final_layer_norm",
)
_OPT = Sites(
    family="decoder",
    block=r"model\.decoder\.layers\.(\d+)",
    query=r"model\.decoder\.layers\.\d+\.self_attn\.q_proj",
    key=r"model\.decoder\.layers\.\d+\.self_attn\.k_proj",
    value=r"model\.decoder\.layers\.\d+\.self_attn\.v_proj",
    attention_output=r"model\.decoder\.layers\.\d+\.self_attn\.out_proj",
    ffn_up=r"model\.decoder\.layers\.\d+\.fc1",
    ffn_down=r"model\.decoder\.layers\.\d+\.fc2",
    sublayer_output=r"model\.decoder\.layers\.\d+\.(self_attn\.out_proj|fc2)",  # its dropout is a function
    ffn_output=r"model\.decoder\.layers\.\d+\.fc2",
    norms=r"model\.decoder\.(layers\.\d+\.(self_attn|final)|final)_layer_norm",
    final_norm=r"model\.decoder\.final_layer_norm",  # all but OPT-350m, whose norms follow the residual sums
)
_LLAMA = Sites(
    family="decoder",
    block=r"model\.layers\.(\d+)",
    query=r"model\.layers\.\d+\.self_attn\.q_proj",
    key=r"model\.layers\.\d+\.self_attn\.k_proj",
    value=r"model\.layers\.\d+\.self_attn\.v_proj",
    attention_output=r"model\.layers\.\d+\.self_attn\.o_proj",
    ffn_up=r"model\.layers\.\d+\.mlp\.up_proj",
    ffn_down=r"model\.layers\.\d+\.mlp\.down_proj",
    sublayer_output=r"model\.layers\.\d+\.(self_attn\.o_proj|mlp\.down_proj)",  # no dropout there
    ffn_output=r"model\.layers\.\d+\.mlp\.down_proj",
    ffn_gate=r"model\.layers\.\d+\.mlp\.gate_proj",
    norms=r"model\.(norm|layers\.\d+\.((input|post_attention)_layernorm|self_attn\.[qk]_norm))",  # Qwen3 has the last
    final_norm=r"model\.norm",
)

_GEMMA2 = Sites(
    **{
        **vars(_LLAMA),
        # Its norms after the sublayers precede the residual sums. Adapters act on the projections, before those norms:
        # directly after the projection, as in Houlsby et al., and what they add keeps the norm's scale in the sum.
        "norms": r"model\.(norm|layers\.\d+\.((input|post_attention|(pre|post)_feedforward)_layernorm"
        r"|self_attn\.[qk]_norm))",  # Gemma 3 has the last
    }
)
_OLMO2 = Sites(
    **{
        **vars(_LLAMA),
        # No norm before a sublayer, one between it and the residual sum; adapters precede it, as in Gemma 2.
        "norms": r"model\.(norm|layers\.\d+\.(post_(attention|feedforward)_layernorm|self_attn\.[qk]_norm))",
    }
)
_COHERE = Sites(
    **{
        **vars(_LLAMA),
        # Both sublayers read the same norm.
        "norms": r"model\.(norm|layers\.\d+\.(input_layernorm|self_attn\.[qk]_norm))",  # Command R+ has the last
    }
)
_MIXTURE = Sites(
    **{
        **vars(_LLAMA),
        **dict.fromkeys(("ffn_up", "ffn_gate", "ffn_down", "ffn_output", "sublayer_output")),
        "absent": "the experts of its feed-forward are stacked tensors, not layers that a plug could join",
    }
)
_PHI3 = Sites(
    **{
        **vars(_LLAMA),
        **dict.fromkeys(("query", "key", "value", "ffn_gate")),
        "fused": "self_attn.qkv_proj",
        "ffn_up": r"model\.layers\.\d+\.mlp\.gate_up_proj",
        "sublayer_output": r"model\.layers\.\d+\.resid_(attn|mlp)_dropout",
        "ffn_output": r"model\.layers\.\d+\.resid_mlp_dropout",
        "norms": r"model\.(norm|layers\.\d+\.(input|post_attention)_layernorm)",
    }
)
_PHI = Sites(
    family="decoder",
    block=r"model\.layers\.(\d+)",
    query=r"model\.layers\.\d+\.self_attn\.q_proj",
    key=r"model\.layers\.\d+\.self_attn\.k_proj",
    value=r"model\.layers\.\d+\.self_attn\.v_proj",
    attention_output=r"model\.layers\.\d+\.self_attn\.dense",
    ffn_up=r"model\.layers\.\d+\.mlp\.fc1",
    ffn_down=r"model\.layers\.\d+\.mlp\.fc2",
    # The two sublayers share one dropout module, so adapters follow the projections.
    sublayer_output=r"model\.layers\.\d+\.(self_attn\.dense|mlp\.fc2)",
    ffn_output=r"model\.layers\.\d+\.mlp\.fc2",
    norms=r"model\.(final_layernorm|layers\.\d+\.(input_layernorm|self_attn\.[qk]_layernorm))",
    final_norm=r"model\.final_layernorm",
)
_GPTJ = Sites(
    family="decoder",
    block=r"transformer\.h\.(\d+)",
    query=r"transformer\.h\.\d+\.attn\.q_proj",
    key=r"transformer\.h\.\d+\.attn\.k_proj",
    value=r"transformer\.h\.\d+\.attn\.v_proj",
    attention_output=r"transformer\.h\.\d+\.attn\.out_proj",
    ffn_up=r"transformer\.h\.\d+\.mlp\.fc_in",
    ffn_down=r"transformer\.h\.\d+\.mlp\.fc_out",
    sublayer_output=r"transformer\.h\.\d+\.(attn\.resid_dropout|mlp\.dropout)",
    ffn_output=r"transformer\.h\.\d+\.mlp\.dropout",
    norms=r"transformer\.(ln_f|h\.\d+\.ln_1)",
    final_norm=r"transformer\.ln_f",
)
_BLOOM = Sites(
    family="decoder",
    block=r"transformer\.h\.(\d+)",
    query=None,
    key=None,
    value=None,
    fused="self_attention.query_key_value",
    fused_by_head=True,
    attention_output=r"transformer\.h\.\d+\.self_attention\.dense",
    ffn_up=r"transformer\.h\.\d+\.mlp\.dense_h_to_4h",
    ffn_down=r"transformer\.h\.\d+\.mlp\.dense_4h_to_h",
    # Dropout and residual sum are one function of the projection's output, which adapters change before it.
    sublayer_output=r"transformer\.h\.\d+\.(self_attention\.dense|mlp\.dense_4h_to_h)",
    ffn_output=r"transformer\.h\.\d+\.mlp\.dense_4h_to_h",
    norms=r"transformer\.(word_embeddings_layernorm|ln_f|h\.\d+\.(input|post_attention)_layernorm)",
    final_norm=r"transformer\.ln_f",
)
_FALCON = Sites(
    **{
        **vars(_BLOOM),
        # One norm for both sublayers (7B), one for each (40B, 180B), or Bloom's (RW).
        "norms": r"transformer\.(ln_f|h\.\d+\.((input|post_attention)_layernorm|ln_(attn|mlp)))",
    }
)

DECODERS: dict[str, Sites] = {
    "gpt2": _GPT2,
    "gpt_neox": _GPT_NEOX,
    "opt": _OPT,
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "smollm3": _LLAMA,
    "granite": _LLAMA,
    "gemma": _LLAMA,
    "gemma2": _GEMMA2,
    "gemma3_text": _GEMMA2,
    "olmo2": _OLMO2,
    "cohere": _COHERE,
    "cohere2": _COHERE,
    "qwen3_moe": _MIXTURE,
    "mixtral": _MIXTURE,
    "phi": _PHI,
    "phi3": _PHI3,
    "gptj": _GPTJ,
    "bloom": _BLOOM,
    "falcon": _FALCON,
}
