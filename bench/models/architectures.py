"""Architectures: the sites of one that has a record, and the family of one that transformers knows without a record."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

from tunefront.bench.errors import UserError, nearest
from tunefront.methods.sites import SITES, Sites
from tunefront.methods.unrecorded import Unrecorded, unrecorded

_TEXT = "input_ids"
"""The main input of a model that reads text."""
_FAMILIES = (
    ("seq2seq", "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING"),
    ("encoder", "MODEL_FOR_MASKED_LM_MAPPING"),  # before decoders: transformers has many encoders as both
    ("decoder", "MODEL_FOR_CAUSAL_LM_MAPPING"),
    ("encoder", "MODEL_MAPPING"),
)
"""transformers' tables of architectures, by the family of those that they list; the first one counts."""
_NO_TEXT = re.compile(r"vision|image|video|audio|speech|acoustic|codec")
"""Parts of configurations that read or make something else."""
_CLASSIFIERS = ("ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering", "RewardModel")


MODELS = {
    "albert": "ALBERT",
    "bart": "BART",
    "bert": "BERT, MiniLM, BGE, E5, GTE of 2023",
    "bloom": "BLOOM, BLOOMZ",
    "camembert": "CamemBERT",
    "cohere": "Command R, Aya Expanse",
    "cohere2": "Command R7B",
    "deberta-v2": "DeBERTa v2 and v3",
    "distilbert": "DistilBERT",
    "electra": "ELECTRA",
    "falcon": "Falcon",
    "gemma": "Gemma",
    "gemma2": "Gemma 2",
    "gemma3_text": "Gemma 3, for text",
    "gpt2": "GPT-2",
    "gpt_neox": "GPT-NeoX, Pythia",
    "gptj": "GPT-J",
    "granite": "Granite 3",
    "gte": "GTE, long contexts",
    "llama": "Llama, SmolLM 1 and 2, TinyLlama",
    "mbart": "mBART",
    "mistral": "Mistral",
    "mixtral": "Mixtral",
    "modernbert": "ModernBERT",
    "mpnet": "MPNet, all-mpnet-base",
    "mt5": "mT5",
    "nomic_bert": "Nomic Embed",
    "olmo2": "OLMo 2",
    "opt": "OPT",
    "pegasus": "Pegasus",
    "phi": "Phi-1.5 and 2",
    "phi3": "Phi-3, Phi-4",
    "qwen2": "Qwen 1.5, 2 and 2.5",
    "qwen3": "Qwen 3",
    "qwen3_moe": "Qwen 3, mixtures of experts",
    "roberta": "RoBERTa",
    "smollm3": "SmolLM3",
    "t5": "T5, Flan-T5, T0",
    "umt5": "UMT5",
    "xlm-roberta": "XLM-R, BGE-M3, multilingual E5",
    "xlm-roberta-xl": "XLM-R XL and XXL",
}
"""Models that people know an architecture by."""


def known_sites(model_type: str, prefix: str = "") -> Sites:
    """The sites of an architecture; without a record those that only know its family.

    Errors: UserError, `prefix` first, for an architecture that transformers does not know or that reads no text.
    """
    return SITES[model_type] if model_type in SITES else unrecorded(model_type, _family(model_type, prefix))


def is_recorded(sites: Sites) -> bool:
    """Whether they are a record, which knows places in the model."""
    return not isinstance(sites, Unrecorded)


def check_predicts_tokens(fields: Mapping[str, Any], family: str, prefix: str) -> None:  # Any: as in a config.json
    """UserError if the weights of a language model are those of a classifier, by `architectures` of its config.json."""
    architectures = fields.get("architectures")
    names = [name for name in architectures if isinstance(name, str)] if isinstance(architectures, list) else []
    classifiers = [name for name in names if name.endswith(_CLASSIFIERS)]
    if family == "encoder" or not classifiers or len(classifiers) < len(names):
        return
    outputs = fields.get("num_labels") or len(fields.get("id2label") or {}) or 2
    reward = ", a reward model" if outputs == 1 else ""
    raise UserError(
        f"{prefix}its weights are those of {classifiers[0]}, a classifier with {outputs} "
        f"output{'' if outputs == 1 else 's'}{reward}: it was trained to classify texts, not to predict the tokens of "
        "answers, which scoring needs. Give the language model that it was made from."
    )


def own_code_is_ours(model_type: str, auto_map: object) -> bool:
    """Whether code that comes with a model is an earlier copy of what transformers now has, by the names of its
    classes: Phi-3's and Falcon's published folders have such code."""
    if not isinstance(auto_map, dict):
        return False
    from transformers.models.auto import configuration_auto, modeling_auto

    tables = [table for module in (configuration_auto, modeling_auto) for table in _tables(module)]
    known = {name for table in tables for name in _names(table.get(model_type))}
    named = [value for key, value in auto_map.items() if not str(key).startswith(("AutoTokenizer", "AutoProcessor"))]
    return bool(named) and all(isinstance(value, str) and value.rpartition(".")[2] in known for value in named)


@functools.lru_cache(maxsize=256)
def _family(model_type: str, prefix: str) -> str:
    import transformers
    from transformers.models.auto import modeling_auto
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if model_type not in CONFIG_MAPPING:
        near = nearest(model_type, {*SITES, *CONFIG_MAPPING})
        raise UserError(
            f"{prefix}transformers {transformers.__version__} has no architecture {model_type[:100]!r}."
            f"{f' Did you mean {near!r}?' if near else ''} It may need a newer version of transformers, or code of its "
            "own, which is never run here. Architectures with a record: `tunefront list architectures`."
        )
    config: Any = CONFIG_MAPPING[model_type]  # Any: a class of configurations
    for family, table in _FAMILIES:
        known: Any = getattr(modeling_auto, table)  # Any: untyped, one class of models for one of configurations
        if config in known:
            _check_reads_text(model_type, config, known, prefix)
            return family
    raise UserError(
        f"{prefix}the architecture {model_type!r} is no language model: transformers makes neither an encoder of texts "
        "nor a model that predicts tokens of it. Give a language model."
    )


def _check_reads_text(model_type: str, config: Any, known: Any, prefix: str) -> None:  # Any: as in `_family`
    """UserError if models of this class of configurations read images or sounds."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    try:
        model = known[config]
        model = model[0] if isinstance(model, tuple) else model
        name, main_input = model.__name__, getattr(model, "main_input_name", _TEXT)
    except Exception:  # a class that needs a package which is not installed; those of text need none
        name, main_input = "its model", "none that can be read here"
    if isinstance(main_input, str) and main_input != _TEXT:
        raise UserError(
            f"{prefix}the architecture {model_type!r} reads no text: the main input of {name} is {main_input}. Give a "
            "language model."
        )
    parts = [part for part in getattr(config, "sub_configs", {}) if _NO_TEXT.search(part)]
    if parts:
        text = f"{model_type}_text"
        alone = f", as an architecture {text!r}" if text in SITES or text in CONFIG_MAPPING else ""
        raise UserError(
            f"{prefix}the architecture {model_type!r} is made of several models, one of them for other data than "
            f"text ({parts[0]}). Give its language model alone{alone}."
        )


def _tables(module: object) -> list[Mapping[str, object]]:
    return [table for name, table in vars(module).items() if name.endswith("_MAPPING_NAMES")]


def _names(classes: object) -> tuple[str, ...]:
    """Names of classes as transformers' tables hold them: one, or several."""
    return (classes,) if isinstance(classes, str) else tuple(classes) if isinstance(classes, tuple | list) else ()
