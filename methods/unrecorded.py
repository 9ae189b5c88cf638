"""Architectures without a record of sites: a model is loaded, run and trained, but no method knows places in it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from tunefront.methods.base import Unsupported
from tunefront.methods.sites import Sites

KNOWN = ("family", "pooling", "head_activation", "repeated")
"""The fields that hold without a record; reading any other is Unsupported."""
_PLACES = frozenset(
    (*(field.name for field in fields(Sites) if field.name not in KNOWN), "fused_projection", "linears")
)


_SAID = {"fused_projection": "projections of attention", "linears": "linear layers"}
"""What derived places are called."""


@dataclass(frozen=True, eq=False, repr=False)
class Unrecorded(Sites):
    """The sites of an architecture that has no record.

    `full`, `features`, `knn`, `icl` and others that name no place in the model run without one. A method that reads a
    site gets Unsupported, with the way to a record.
    """

    model_type: str = ""

    def __getattribute__(self, name: str) -> Any:  # Any: as the fields
        if name in _PLACES:
            place = _SAID.get(name, name)
            raise Unsupported(
                f"the architecture {self.model_type} has no record of sites, which this needs ({place}); "
                "`tunefront probe MODEL` proposes one, and --sites FILE.toml uses it"
            )
        return super().__getattribute__(name)

    def __post_init__(self) -> None:
        return  # a record's own checks would read its places

    def __repr__(self) -> str:
        return f"Unrecorded({self.model_type!r}, {self.family})"


def unrecorded(model_type: str, family: str) -> Unrecorded:
    """The sites of an architecture of a family (encoder, decoder or seq2seq) that has no record."""
    nothing: dict[str, Any] = {field.name: None for field in fields(Sites) if field.name not in KNOWN}
    return Unrecorded(**nothing, family=family, model_type=model_type)
