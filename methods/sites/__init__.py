"""Sites, where methods act, per architecture: regexes matched in full on module paths of the pretrained model."""

from __future__ import annotations

from tunefront.methods.sites.decoders import DECODERS
from tunefront.methods.sites.encoders import ENCODERS
from tunefront.methods.sites.record import Sites
from tunefront.methods.sites.seq2seq import SEQ2SEQ

__all__ = ["SITES", "Sites", "sites_for"]

SITES: dict[str, Sites] = ENCODERS | DECODERS | SEQ2SEQ
"""Sites by the configuration's `model_type`. `SITES["mine"] = Sites(...)` adds an architecture."""


def sites_for(model_type: str) -> Sites:
    """The sites of an architecture; KeyError with instructions to add one."""
    if model_type in SITES:
        return SITES[model_type]
    raise KeyError(
        f"no sites record for the architecture {model_type!r}; known: {', '.join(sorted(SITES))}. Add one before the "
        "run, in the file you give with --method or in a conftest.py:\n"
        "    from tunefront.methods.sites import SITES, Sites\n"
        f'    SITES["{model_type}"] = Sites(block=r"encoder\\.layer\\.(\\d+)", query=..., key=..., value=...,\n'
        "        attention_output=..., ffn_up=..., ffn_down=..., sublayer_output=..., norms=...)\n"
        "each a regex that matches a whole module path of the model (see methods/sites), a language model's with "
        'family="decoder" or "seq2seq" in addition.'
    )
