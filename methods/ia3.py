"""(IA)^3: learned rescaling of inner activations (Liu et al., 2022, arXiv:2205.05638)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from tunefront.methods.base import Backbone, Exported, Library, Method, Recipe, Search
from tunefront.methods.counterparts import any_of, plugs_of
from tunefront.methods.inject import matching, plug


class Rescale(nn.Module):
    """Elementwise x * l, with l (width,) starting at one, so the model starts unchanged."""

    merges: ClassVar[bool] = True

    def __init__(self, width: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


@dataclass(frozen=True)
class IA3(Method):
    """Rescales keys, values and the inner feed-forward activation of every block: L (2d + d_ff) + head parameters.

    Blocks with cross-attention have 4d + d_ff each; d is the width of the keys of all heads. In a gated feed-forward
    (T5 v1.1, Llama) the product is rescaled, which equals rescaling the projection without the activation.
    `start` is a safetensors file with initial vectors, as written by `tunefront pretrain` (T-Few's section 3.4: vectors
    first trained on a mixture of other tasks); without it they start at one.
    Differs: AdamW instead of Adafactor, batches of 32 instead of 8; DeBERTa's relative-position keys are rescaled with
    the others; keys of Llama and its relatives before the rotation (Qwen3's before their norm).
    """

    name: ClassVar[str] = "ia3"
    recipe: ClassVar[Recipe | None] = Recipe(learning_rate=3e-3, weight_decay=0.0, warmup=0.06)
    search: ClassVar[Search | None] = Search(learning_rates=(1e-3, 3e-3, 1e-2, 3e-2, 1e-1))
    files: ClassVar[tuple[str, ...]] = ("start",)
    start: str | None = None

    def attach(self, backbone: Backbone) -> None:
        sites = backbone.sites
        backbone.freeze(keep=backbone.head)
        for site in (sites.key, sites.value):
            plug(backbone.model, site, "ia3", lambda host, width: Rescale(width), where="after")
        plug(backbone.model, sites.ffn_down, "ia3", lambda host, width: Rescale(width), where="before")
        if self.start is not None:
            backbone.load(self.start)

    def exported(self, library: Library, backbone: Backbone) -> Exported:
        """peft's, with every place named: its defaults rescale others (queries on Qwen; attention's output on BERT)."""
        if library != "peft":
            return super().exported(library, backbone)  # AdapterHub rescales before the activation
        model, sites = backbone.model, backbone.sites
        before = matching(model, sites.ffn_down)
        tensors = {
            f"{path}.ia3_l": rescale.scale.reshape((1, -1) if path in before else (-1, 1))  # type: ignore[operator]
            for path, rescale in plugs_of(model, "ia3").items()
        }
        config = {
            "peft_type": "IA3",
            "target_modules": any_of(sites.key, sites.value, sites.ffn_down),
            "feedforward_modules": sites.ffn_down,
        }
        return Exported(config, tensors)
