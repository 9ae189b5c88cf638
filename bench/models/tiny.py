"""Tiny random models with tokenizers, one for each architecture: for probes of what works on it, and for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FAMILIES = ("bert", "roberta", "distilbert", "deberta-v2")
"""Architectures of encoders that `make_backbone` knows."""
_FAIRSEQ = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
_MARKS = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
MORE_FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "xlm-roberta": ("xlm-roberta", _FAIRSEQ),
    "xlm-roberta-xl": ("xlm-roberta-xl", _FAIRSEQ),
    "camembert": ("camembert", _FAIRSEQ),
    "electra": ("electra", {"embedding_size": 16}),
    "albert": ("albert", {"embedding_size": 16, "num_hidden_layers": 3, "hidden_dropout_prob": 0.1}),
    "albert-groups": (  # each group runs twice, and has two sets of weights
        "albert",
        {"embedding_size": 32, "num_hidden_layers": 4, "num_hidden_groups": 2, "inner_group_num": 2},
    ),
    "mpnet": ("mpnet", _FAIRSEQ),
    "modernbert": (  # the second block attends to two tokens on either side
        "modernbert",
        {**_MARKS, "num_hidden_layers": 3, "local_attention": 4, "global_attn_every_n_layers": 2},
    ),
    "nomic_bert": ("nomic_bert", {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}),
    "gte": ("gte", {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "type_vocab_size": 0}),
}
"""Further encoders by name: the architecture, and changes to the configuration that `make_backbone` gives others."""
LANGUAGE_MODELS = {
    "gpt2": "decoder",
    "opt": "decoder",
    "gpt_neox": "decoder",
    "llama": "decoder",
    "mistral": "decoder",
    "qwen2": "decoder",
    "t5": "seq2seq",
    "t5-gated": "seq2seq",  # v1.1, as T0 and Flan-T5 are: gated feed-forward, separate output embeddings
    "bart": "seq2seq",
}
"""Names that `make_language_model` knows, and their families."""
MORE_LANGUAGE_MODELS = {
    "mt5": "seq2seq",
    "umt5": "seq2seq",
    "pegasus": "seq2seq",
    "mbart": "seq2seq",
    "gemma": "decoder",
    "gemma2": "decoder",
    "gemma3_text": "decoder",
    "phi": "decoder",
    "phi3": "decoder",
    "granite": "decoder",
    "gptj": "decoder",
    "falcon": "decoder",  # 7B: one head of keys, one norm for both sublayers
    "falcon-grouped": "decoder",  # 40B: two heads of keys, a norm for each sublayer
    "falcon-rw": "decoder",  # linear biases instead of a rotation, sublayers one after the other
    "bloom": "decoder",
    "cohere": "decoder",
    "cohere2": "decoder",
    "smollm3": "decoder",
    "olmo2": "decoder",
    "qwen3": "decoder",
    "qwen3_moe": "decoder",
    "mixtral": "decoder",
}
"""Further names that `make_language_model` knows: architectures and variants that fewer tests run on."""
WORDS = ("good", "great", "fine", "bad", "awful", "poor", "the", "a", "film", "book", "was", "is", "very", "quite")
PROMPT_WORDS = (
    *("Review:", "Question:", "Answer:", "Text:", "Is", "this", "it", "positive", "negative", "or", "and", "of"),
    *("yes", "no", "true", "false", "movie", "review", "What", "sentiment", "does", "express", "Which", "one", "two"),
)
"""Words of the templates, for the tokenizers of language models."""

_SEGMENTS = ("bert", "deberta-v2", "electra", "albert", "nomic_bert")
"""Architectures whose tokenizers tell the two texts of a pair apart."""


def make_backbone(folder: Path, family: str, seed: int = 0, **config: Any) -> Path:  # Any: of transformers
    """Saves a random two-layer model of width 32, `config` apart, with a word-level tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

    architecture, changes = MORE_FAMILIES.get(family, (family, {}))
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    if changes.get("pad_token_id"):  # fairseq's order
        special = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"]
    vocabulary = {word: place for place, word in enumerate((*special, *WORDS))}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(mark, vocabulary[mark]) for mark in ("[CLS]", "[SEP]")],
    )
    inputs = ["input_ids", "attention_mask"] + (["token_type_ids"] if architecture in _SEGMENTS else [])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
        model_input_names=inputs,
    )
    size: dict[str, Any] = {
        "vocab_size": len(vocabulary),
        "pad_token_id": 0,
        "max_position_embeddings": 80,
        "initializer_range": 0.2,
    }
    if family == "distilbert":
        size |= {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
    else:
        size |= {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    if family == "deberta-v2":
        size |= {
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
            "position_buckets": 16,
            "position_biased_input": False,
            "type_vocab_size": 0,
        }
    torch.manual_seed(seed)
    AutoModel.from_config(AutoConfig.for_model(architecture, **(size | changes | config))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_language_model(folder: Path, name: str, seed: int = 0, **config: Any) -> Path:  # Any: of transformers
    """Saves a random language model of two layers a stack and width 32, `config` apart, with its kind of tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    tokenizer = unigram_tokenizer() if name in _UNIGRAM else byte_level_tokenizer(name)
    size: dict[str, Any] = {
        "vocab_size": len(tokenizer) + _UNUSED_WORDS.get(name, 0),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        **_SIZES[name],
    }
    family = (LANGUAGE_MODELS | MORE_LANGUAGE_MODELS)[name]
    auto = AutoModelForCausalLM if family == "decoder" else AutoModelForSeq2SeqLM
    torch.manual_seed(seed)
    model = auto.from_config(AutoConfig.for_model(name.partition("-")[0], **(size | config)))
    if name in ("t5-gated", "umt5", "mt5"):  # transformers ties every T5 that it builds from a configuration, v1.1 too
        model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight) * 0.2)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


_DEPTH = {"num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 256, "hidden_size": 32}
_ROTARY = {**_DEPTH, "intermediate_size": 64, "initializer_range": 0.2, "attention_dropout": 0.1}
_T5 = {"d_model": 32, "num_layers": 2, "num_heads": 2, "d_kv": 16, "d_ff": 64, "decoder_start_token_id": 0}
_BART = {
    "d_model": 32,
    "max_position_embeddings": 256,
    "init_std": 0.2,
    "decoder_start_token_id": 2,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_layers": 2,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 64,
    "attention_dropout": 0.1,
    "activation_dropout": 0.1,
}
_GROUPED = {**_ROTARY, "num_attention_heads": 4, "num_key_value_heads": 2}
_GEMMA = {**_ROTARY, "num_key_value_heads": 1, "head_dim": 12}  # heads wider than the model, as in Gemma 7B
_WINDOWED = {"sliding_window": 96, "layer_types": ["sliding_attention", "full_attention"]}
_FALCON = {**_DEPTH, "num_attention_heads": 4, "ffn_hidden_size": 64, "initializer_range": 0.2}
_SIZES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_inner": 64, "n_positions": 256, "initializer_range": 0.2},
    "opt": {**_DEPTH, "ffn_dim": 64, "word_embed_proj_dim": 32, "init_std": 0.2, "attention_dropout": 0.1},
    "gpt_neox": {**_ROTARY, "hidden_dropout": 0.1},
    "llama": _ROTARY,
    "mistral": {**_ROTARY, "num_key_value_heads": 2},
    "qwen2": {**_ROTARY, "num_key_value_heads": 1},
    "t5": _T5,
    "t5-gated": {**_T5, "d_kv": 12, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    "bart": _BART,
    "mt5": {**_T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    "umt5": _T5,
    "pegasus": {**_BART, "decoder_start_token_id": 0, "scale_embedding": True},
    "mbart": {**_BART, "scale_embedding": True},
    "gemma": _GEMMA,
    "gemma2": {
        **_GEMMA,
        **_WINDOWED,
        "query_pre_attn_scalar": 3,
        "attn_logit_softcapping": 2.0,
        "final_logit_softcapping": 3.0,
    },
    "gemma3_text": {**_GEMMA, **_WINDOWED, "query_pre_attn_scalar": 3},
    "phi": {**_ROTARY, "resid_pdrop": 0.1, "qk_layernorm": True},  # half of a head is rotated
    "phi3": {**_GROUPED, "resid_pdrop": 0.1},
    "granite": {
        **_GROUPED,
        "embedding_multiplier": 3.0,
        "residual_multiplier": 0.5,
        "attention_multiplier": 0.7,
        "logits_scaling": 4.0,
        "tie_word_embeddings": True,
    },
    "gptj": {
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "n_inner": 64,
        "n_positions": 256,
        "rotary_dim": 4,
        "initializer_range": 0.2,
    },
    "falcon": _FALCON,
    "falcon-grouped": {**_FALCON, "new_decoder_architecture": True, "num_kv_heads": 2},
    "falcon-rw": {**_FALCON, "multi_query": False, "parallel_attn": False, "alibi": True, "bias": True},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.2},
    "cohere": {**_GROUPED, "logit_scale": 0.25, "use_qk_norm": True},
    "cohere2": {**_GROUPED, **_WINDOWED, "logit_scale": 0.25},  # only layers with a window rotate
    "smollm3": {**_GROUPED, "no_rope_layers": [1, 0]},
    "olmo2": _GROUPED,
    "qwen3": {**_GROUPED, "head_dim": 12},
    "qwen3_moe": {
        **_GROUPED,
        "head_dim": 12,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
    },
    "mixtral": {**_GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2},
}
"""Changes to the default configurations, by name."""
_GEMMAS = ("gemma", "gemma2", "gemma3_text")
_SPECIAL = {
    **{name: {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>"} for name in _GEMMAS},
    "llama": {"pad_token": "<pad>", "eos_token": "</s>", "bos_token": "<s>"},
    "qwen2": {"pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"},
    "bart": {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"},
}
_SPECIAL["mbart"] = _SPECIAL["bart"]
"""Special tokens in the order of their ids, if they are not only <pad> and </s>."""
_AROUND = {
    "llama": "<s> $A",
    "bart": "<s> $A </s>",
    "mbart": "$A </s>",
    **dict.fromkeys(_GEMMAS, "<bos> $A"),
}
"""The special tokens that byte-level tokenizers put around a text."""
_UNIGRAM = ("t5", "t5-gated", "mt5", "umt5", "pegasus")
"""Models whose tokenizers are T5's kind."""
_UNUSED_WORDS = {"phi3": 11, "gemma3_text": 3}
"""Words of the embedding that the tokenizer does not have: many published embeddings are padded to a round number."""


def byte_level_tokenizer(name: str) -> Any:  # Any: transformers' fast tokenizers
    """GPT-2's kind of tokenizer, every word of `WORDS` and `PROMPT_WORDS` one token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    special = _SPECIAL.get(name, {"pad_token": "<pad>", "eos_token": "</s>"})
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        special_tokens=list(special.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        vocab_size=1000,  # more than the possible merges
        show_progress=False,
    )
    pieces.train_from_iterator((f"{word} {word}" for word in (*WORDS, *PROMPT_WORDS)), trainer)
    if name in _AROUND:
        ids = [(token, pieces.token_to_id(token)) for token in special.values()]
        pieces.post_processor = processors.TemplateProcessing(single=_AROUND[name], special_tokens=ids)
    return fast_tokenizer(pieces, special)


def unigram_tokenizer() -> Any:  # Any: as above
    """T5's kind of tokenizer: pieces that start with the space before them, and </s> after a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    words = dict.fromkeys(f"▁{word}" for word in (*WORDS, *PROMPT_WORDS))
    letters = [chr(code) for code in range(33, 127)]
    scores = dict.fromkeys(special.values(), 0.0) | dict.fromkeys(words, -4.0) | dict.fromkeys(["▁", *letters], -9.0)
    pieces = Tokenizer(models.Unigram(list(scores.items()), unk_id=2))
    pieces.pre_tokenizer = pre_tokenizers.Metaspace()
    pieces.decoder = decoders.Metaspace()
    pieces.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return fast_tokenizer(pieces, special)


def fast_tokenizer(pieces: Any, special: dict[str, str]) -> Any:  # Any: as above
    """transformers' tokenizer of these pieces, with its special tokens by name."""
    from transformers import PreTrainedTokenizerFast

    names = ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=pieces, model_max_length=256, model_input_names=names, **special)
