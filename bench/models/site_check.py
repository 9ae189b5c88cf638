"""Checks a record of sites against the modules of a model, before a method acts on the wrong ones or on none."""

from __future__ import annotations

import logging
import re
from dataclasses import fields
from typing import TYPE_CHECKING

from tunefront.bench.errors import ErrorCollector
from tunefront.bench.models.families.norms import missed_norms, trained_norms
from tunefront.methods.inject import matching
from tunefront.methods.sites import Sites

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger("tunefront")

_NO_REGEX = ("pooling", "head_activation", "repeated", "family", "fused", "fused_by_head", "absent")
_OPTIONAL = ("ffn_gate", "final_norm")
"""Sites that only some checkpoints of an architecture have."""


def check_sites(model: PreTrainedModel, sites: Sites, architecture: str, warns: bool = True) -> None:
    """Verifies that every site matches a module, and that a pooler is there if a head is to read one; `warns` of norms
    that no site names.

    Errors: UserError with each wrong field, the nearest paths and what to write.
    """
    wrong = ErrorCollector()
    names = [field.name for field in fields(Sites) if field.name not in (*_NO_REGEX, *_OPTIONAL)]
    for name in (*names, "fused_projection"):
        regex = getattr(sites, name)
        if regex is None:
            continue
        try:
            matching(model, regex)
        except ValueError as error:
            field = "fused" if name == "fused_projection" else name
            known = f" Norms of the model: {', '.join(_norm_paths(model))}." if name == "norms" else ""
            wrong.messages.append(f"the sites of {architecture} have a wrong {field}: {error}{known}")
    if sites.pooling == "pooler" and getattr(model, "pooler", None) is None:
        wrong.messages.append(
            f"the sites of {architecture} have pooling='pooler', but {type(model).__name__} has no pooler; write "
            "pooling='first' (the first token's state), with head_activation='tanh' for a dense layer in its place."
        )
    wrong.raise_if_any()
    advice = missed_norms(model, sites) if warns else None
    if advice is not None:
        log.warning("%s", advice)


def _norm_paths(model: PreTrainedModel) -> list[str]:
    """The paths of the norms, with N for the numbers in them."""
    return list(dict.fromkeys(re.sub(r"\d+", "N", path) for path in trained_norms(model)))
