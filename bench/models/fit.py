"""Whether a folder's weights are those of the model that its configuration describes: told of by transformers' own
loading, of tensors that hold nothing, before any weights are read."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from tunefront.bench.errors import UserError
from tunefront.bench.models.config_files import unusable
from tunefront.bench.models.weights import Stored
from tunefront.bench.quiet import quiet
from tunefront.methods.sites import Sites

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FEWEST = 2**26
"""Parameters that may be lacking before it is not even tried which."""
_NO_WEIGHTS = re.compile(r"(^|\.)(masked_bias|inv_freq|position_ids|token_type_ids|freqs_c(is|os)|version)$")
"""What older versions of transformers saved beside weights, as constants."""
_INTEGERS = ("I8", "U8", "I4", "U4", "F8_", "FLOAT8", "QINT", "F4")


def auto_class(family: str) -> Any:  # Any: transformers' auto classes have no common type
    """What loads a family's models."""
    from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    return {"encoder": AutoModel, "decoder": AutoModelForCausalLM, "seq2seq": AutoModelForSeq2SeqLM}[family]


def check_fit(name: str, config: Any, sites: Sites, stored: Mapping[str, Stored]) -> None:  # Any: as in config_files
    """UserError where tensors are lacking, left over or of another shape, or where the weights are quantised."""
    packed = [key for key, one in stored.items() if key.endswith("weight") and one.dtype.startswith(_INTEGERS)]
    if packed:
        raise UserError(
            f"the weights of {name} are quantised ({packed[0]} is of type {stored[packed[0]].dtype}), and weights are "
            "trained in float32: give the model as it was before it was quantised."
        )
    model = _described(name, config, sites.family)
    needed = sum(tensor.numel() for tensor in model.parameters())
    held = sum(math.prod(tensor.shape) for tensor in stored.values())
    if needed - held > max(FEWEST, held // 2):
        raise UserError(
            f"config.json of {name} describes a model of {needed:,} parameters, and its weights hold {held:,}: they "
            "are not those of this model. Is config.json the right one, and are all files of weights there?"
        )
    # Tensors of one stored number each, as large as they say and as small as that.
    empty = {key: torch.zeros(()).expand(tensor.shape) for key, tensor in stored.items()}
    try:
        with quiet():
            _, report = type(model).from_pretrained(
                None,
                config=config,
                state_dict=empty,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                dtype=torch.float32,
            )
    except Exception as error:  # its kind depends on the architecture and on transformers' version
        other = _of_other_shapes(model, stored)  # which it may stumble over where one of them is tied
        if not other:
            raise unusable(f"the weights of {name} cannot be loaded", error, {}) from error
        report = {"missing_keys": [], "unexpected_keys": [], "mismatched_keys": other}
    said = misfits(model, report, sites.family)
    if said:
        raise UserError(misfit_message(name, said))


def _of_other_shapes(
    model: PreTrainedModel, stored: Mapping[str, Stored]
) -> list[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    """The tensors that the model has under the same name with another shape: (name, stored, the model's)."""
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    return [(name, one.shape, own[name]) for name, one in stored.items() if own.get(name, one.shape) != one.shape]


def misfits(model: PreTrainedModel, report: Mapping[str, Any], family: str) -> list[str]:  # Any: of transformers
    """What is wrong with weights, by transformers' report of having loaded them; a pooler may be lacking, and heads of
    other tasks left over."""
    lacking = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))
    over = sorted(key for key in report["unexpected_keys"] if _belongs(model, key, family))
    other = sorted(report["mismatched_keys"])
    said = []
    if lacking:
        said.append(f"they lack {len(lacking)} tensors of {type(model).__name__}, {lacking[0]} first")
    if other:
        key, found, described = other[0]
        said.append(
            f"they have {len(other)} tensors of another shape, {key} first: {tuple(found)}, and by config.json "
            f"{tuple(described)}"
        )
    if over:
        said.append(f"they hold {len(over)} tensors for which config.json has no place, {over[0]} first")
    return said


def misfit_message(name: str, said: list[str]) -> str:
    """The whole message about weights that do not fit."""
    return (
        f"the weights of {name} and its config.json do not go together: {'; '.join(said)}. What would be run "
        "is not the model that was trained. Is the folder complete, and its config.json the right one?"
    )


def _belongs(model: PreTrainedModel, key: str, family: str) -> bool:
    """Whether a tensor is of the pretrained model itself, not of a head, nor a constant."""
    if _NO_WEIGHTS.search(key):
        return False
    base = model.base_model
    parts = key.removeprefix(f"{model.base_model_prefix}.").split(".")
    own = {name for name, _ in base.named_children()} | {name for name, _ in model.named_children()}
    return parts[0] in own - {"pooler"}


def _described(name: str, config: Any, family: str) -> PreTrainedModel:  # Any: as above
    try:
        with torch.device("meta"), quiet():
            return auto_class(family).from_config(config, dtype=torch.float32, trust_remote_code=False)
    except Exception as error:  # as above
        raise unusable(f"no model can be made of the configuration of {name}", error, config.to_dict()) from error
