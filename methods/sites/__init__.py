"""Sites, where methods act, per architecture: regexes matched in full on module paths of the pretrained model."""

from __future__ import annotations

from tunefront.methods.sites.decoders import DECODERS
from tunefront.methods.sites.encoders import ENCODERS
from tunefront.methods.sites.patterns import check_pattern
from tunefront.methods.sites.record import Sites
from tunefront.methods.sites.seq2seq import SEQ2SEQ

__all__ = ["SITES", "Sites", "check_pattern", "sites_for"]

SITES: dict[str, Sites] = ENCODERS | DECODERS | SEQ2SEQ
"""Sites by the configuration's `model_type`. `SITES["mine"] = Sites(...)` adds an architecture."""


def sites_for(model_type: str) -> Sites:
    """The record of an architecture; KeyError if it has none."""
    if model_type in SITES:
        return SITES[model_type]
    raise KeyError(
        f"no sites record for the architecture {model_type!r}; known: {', '.join(sorted(SITES))}. `tunefront probe` "
        "proposes one for a model."
    )
