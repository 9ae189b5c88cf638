"""Checks that a folder's weights match its configuration: transformers' own loading reports it, given empty tensors,
before any weights are read."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from tunefront.bench.errors import UserError
from tunefront.bench.models.architectures import is_recorded
from tunefront.bench.models.config_files import config_error
from tunefront.bench.models.site_check import check_sites
from tunefront.bench.models.weights import Stored
from tunefront.bench.quiet import quiet
from tunefront.methods.sites import Sites

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MOST_MISSING = 2**26
"""If more parameters than this are missing, the tensors are not compared one by one."""
_NO_WEIGHTS = re.compile(r"(^|\.)(masked_bias|inv_freq|position_ids|token_type_ids|freqs_c(is|os)|version)$")
"""Constants that older versions of transformers saved with the weights."""
_EXPERT = re.compile(r"(.*\.experts)\.(\d{1,4})\.(.+)")
"""(layer, number, kind) of a tensor of one expert."""
_INTEGERS = ("I8", "U8", "I4", "U4", "F8_", "FLOAT8", "QINT", "F4")


def auto_class(family: str) -> Any:  # Any: transformers' auto classes have no common type
    """The transformers class that loads a family's models."""
    from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    return {"encoder": AutoModel, "decoder": AutoModelForCausalLM, "seq2seq": AutoModelForSeq2SeqLM}[family]


def check_fit(name: str, config: Any, sites: Sites, stored: Mapping[str, Stored]) -> None:  # Any: as in config_files
    """UserError if tensors are missing, unexpected or of another shape, if the weights are quantised, or if the sites
    are not those of the model."""
    quantised = [key for key, tensor in stored.items() if key.endswith("weight") and tensor.dtype.startswith(_INTEGERS)]
    if quantised:
        raise UserError(
            f"the weights of {name} are quantised ({quantised[0]} has type {stored[quantised[0]].dtype}), but weights "
            "are trained in float32: give the model before quantisation."
        )
    experts = missing_experts(stored)
    if experts:
        lacking = f"they lack {len(experts)} tensors of experts ({experts[0]} first)"
        raise UserError(misfit_message(name, [lacking]))
    model = _empty_model(name, config, sites.family)
    if is_recorded(sites):
        check_sites(model, sites, config.model_type, warns=False)
    needed = sum(tensor.numel() for tensor in model.parameters())
    present = sum(math.prod(tensor.shape) for tensor in stored.values())
    if needed - present > max(MOST_MISSING, present // 2):
        raise UserError(
            f"config.json of {name} describes a model of {needed:,} parameters, but its weights have {present:,}: they "
            "belong to another model. Is config.json the right one, and are all weight files there?"
        )
    # Tensors of the right shape that store a single number each.
    empty = {key: torch.zeros(()).expand(tensor.shape) for key, tensor in stored.items()}
    try:
        with quiet(), _without_threads():
            _, report = type(model).from_pretrained(
                None,
                config=config,
                state_dict=empty,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                dtype=torch.float32,
            )
    except Exception as error:  # its kind depends on the architecture and on transformers' version
        mismatched = _mismatched_shapes(model, stored)  # loading may fail on one of them if it is tied
        if not mismatched:
            raise config_error(f"the weights of {name} cannot be loaded", error, {}) from error
        report = {"missing_keys": [], "unexpected_keys": [], "mismatched_keys": mismatched}
    problems = misfits(model, report, sites.family)
    if problems:
        raise UserError(misfit_message(name, problems))


@contextmanager
def _without_threads() -> Iterator[None]:
    """Within the block, transformers loads tensor after tensor: threads gain nothing where tensors are empty, and
    Python waits for ever for a thread that gets no memory."""
    name = "HF_DEACTIVATE_ASYNC_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def missing_experts(names: Iterable[str]) -> list[str]:
    """The names of tensors that a mixture of experts lacks: transformers joins those of all experts when it loads them,
    and does not say which one is missing.

    >>> missing_experts(["0.experts.0.up", "0.experts.1.up", "0.experts.0.down", "1.experts.1.up", "1.experts.1.down"])
    ['0.experts.1.down', '1.experts.0.down', '1.experts.0.up']
    """
    found: dict[tuple[str, str], set[int]] = {}
    for match in filter(None, map(_EXPERT.fullmatch, names)):
        found.setdefault((match[1], match[3]), set()).add(int(match[2]))
    most = max((max(numbers) + 1 for numbers in found.values()), default=0)
    kinds = {kind for _, kind in found}
    return sorted(
        f"{layer}.{number}.{kind}"
        for layer in {layer for layer, _ in found}
        for kind in kinds
        for number in range(most)
        if number not in found.get((layer, kind), set())
    )


def _mismatched_shapes(
    model: PreTrainedModel, stored: Mapping[str, Stored]
) -> list[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    """The tensors whose shape differs from the model's: (name, stored shape, the model's shape)."""
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    return [
        (name, tensor.shape, own[name])
        for name, tensor in stored.items()
        if own.get(name, tensor.shape) != tensor.shape
    ]


def misfits(model: PreTrainedModel, report: Mapping[str, Any], family: str) -> list[str]:  # Any: from transformers
    """Problems with weights, by transformers' loading report. A missing pooler and unexpected heads are no problem."""
    missing = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))
    unexpected = sorted(key for key in report["unexpected_keys"] if _is_backbone_tensor(model, key, family))
    mismatched = sorted(report["mismatched_keys"])
    problems = []
    if missing:
        problems.append(f"they lack {len(missing)} tensors of {type(model).__name__}, {missing[0]} first")
    if mismatched:
        key, stored, expected = mismatched[0]
        problems.append(
            f"they have {len(mismatched)} tensors of another shape, {key} first: {tuple(stored)}, but by config.json "
            f"{tuple(expected)}"
        )
    if unexpected:
        problems.append(f"they have {len(unexpected)} tensors that config.json has no place for, {unexpected[0]} first")
    return problems


def misfit_message(name: str, problems: list[str]) -> str:
    """The whole message about weights that do not match the configuration."""
    return (
        f"the weights of {name} do not match its config.json: {'; '.join(problems)}. The model that would run is not "
        "the one that was trained. Is the folder complete, and its config.json the right one?"
    )


def _is_backbone_tensor(model: PreTrainedModel, key: str, family: str) -> bool:
    """Whether a tensor belongs to the pretrained model itself: not to a head, and not a constant."""
    if _NO_WEIGHTS.search(key):
        return False
    base = model.base_model
    parts = key.removeprefix(f"{model.base_model_prefix}.").split(".")
    own = {name for name, _ in base.named_children()} | {name for name, _ in model.named_children()}
    return parts[0] in own - {"pooler"}


def _empty_model(name: str, config: Any, family: str) -> PreTrainedModel:  # Any: as above
    try:
        with torch.device("meta"), quiet():
            return auto_class(family).from_config(config, dtype=torch.float32, trust_remote_code=False)
    except Exception as error:  # as above
        raise config_error(
            f"no model can be built from the configuration of {name}", error, config.to_dict()
        ) from error
