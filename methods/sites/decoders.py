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

DECODERS: dict[str, Sites] = {
    "gpt2": _GPT2,
    "gpt_neox": _GPT_NEOX,
    "opt": _OPT,
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
}
