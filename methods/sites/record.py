"""The record that an architecture has: where methods act in it."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Sites:
    """One architecture's places, as regexes on the paths of its base model (`AutoModel`).

    `block` is one transformer layer, numbered by its first group. `sublayer_output` is what a Houlsby adapter follows:
    the output dropout where it is a module, else the output projection. `norms` are all layer norms, the embedding's
    included. `pooling` is what the head reads: `pooler` (the checkpoint's own pooler), `first` (the first token's
    state); the folder's pooling configuration (`mean`) goes before it. `head_activation` is the activation of the
    extra dense layer in the architecture's published classification head, None where the head is one linear layer.
    `repeated` names sites that are called more than once in a forward pass.
    None means that the architecture has no such leaf (a fused projection).
    """

    block: str
    query: str | None
    key: str | None
    value: str | None
    attention_output: str | None
    ffn_up: str | None
    ffn_down: str | None
    sublayer_output: str
    norms: str
    pooling: str = "first"
    head_activation: str | None = None
    repeated: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        unknown = self.repeated - {field.name for field in fields(self)}
        if unknown:
            raise ValueError(f"repeated names sites, got {sorted(unknown)}")
        if self.pooling not in ("pooler", "first"):
            raise ValueError(f"pooling must be pooler or first, got {self.pooling!r}")
