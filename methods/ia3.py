"""(IA)^3: learned rescaling of inner activations (Liu et al., 2022, arXiv:2205.05638)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from tunefront.methods.base import Backbone, Exported, Library, Method, Recipe, Search, Unsupported
from tunefront.methods.counterparts import any_of, plugs_of
from tunefront.methods.inject import fused_layouts, matching, plug
from tunefront.methods.sites.fused import Fused


class Rescale(nn.Module):
    """Elementwise x * l, with l (width,) starting at one, so the model starts unchanged."""

    merges: ClassVar[bool] = True

    def __init__(self, width: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class RescaleKeysValues(nn.Module):
    """Rescales the keys and the values in the output of a fused projection, and leaves the queries as they are.

    Args: layout, where the output has queries, keys and values.
    Shapes: x (..., queries + 2 keys) -> the same. Size: 2 keys, the scales of the keys and then of the values, starting
    at one.
    """

    merges: ClassVar[bool] = True

    def __init__(self, layout: Fused):
        super().__init__()
        self.layout = layout
        self.scale = nn.Parameter(torch.ones(2 * layout.keys))

    def forward(self, x: Tensor) -> Tensor:
        key, value = self.scale.chunk(2)
        return x * self.layout.join(self.scale.new_ones(self.layout.queries), key, value)


@dataclass(frozen=True)
class IA3(Method):
    """Rescales keys, values and the inner feed-forward activation of every block: L (2d + d_ff) + head parameters.

    Blocks with cross-attention have 4d + d_ff each; d is the width of the keys of all heads. Where one projection makes
    queries, keys and values (GPT-2, GPT-NeoX, Phi-3), keys and values are rescaled in its output. In a gated
    feed-forward (T5 v1.1, Llama) the product is rescaled, which equals rescaling the projection without the activation.
    `start` is a safetensors file with initial vectors, as written by `tunefront pretrain` (T-Few's section 3.4: vectors
    first trained on a mixture of other tasks); without it they start at one.
    Differs: AdamW instead of Adafactor, batches of 32 instead of 8; DeBERTa's relative-position keys are rescaled with
    the others; keys are rescaled before the rotation (Llama and its relatives) and before their norm (Qwen3, Gemma 3,
    OLMo 2).
    """

    name: ClassVar[str] = "ia3"
    recipe: ClassVar[Recipe | None] = Recipe(learning_rate=3e-3, weight_decay=0.0, warmup=0.06)
    search: ClassVar[Search | None] = Search(learning_rates=(1e-3, 3e-3, 1e-2, 3e-2, 1e-1))
    files: ClassVar[tuple[str, ...]] = ("start",)
    start: str | None = None

    def attach(self, backbone: Backbone) -> None:
        sites = backbone.sites
        backbone.freeze(keep=backbone.head)
        if sites.fused_projection is None:
            for site in (sites.key, sites.value):
                plug(backbone.model, site, "ia3", lambda host, width: Rescale(width), where="after")
        else:
            layouts = fused_layouts(backbone.model, sites)
            keys_values = sites.fused_projection
            plug(backbone.model, keys_values, "ia3", lambda host, _: RescaleKeysValues(layouts[host]), where="after")
        plug(backbone.model, sites.ffn_down, "ia3", lambda host, width: Rescale(width), where="before")
        if self.start is not None:
            backbone.load(self.start)

    def exported(self, library: Library, backbone: Backbone) -> Exported:
        """peft's, with every place named: its defaults rescale others (queries on Qwen; attention's output on BERT)."""
        if library != "peft":
            return super().exported(library, backbone)  # AdapterHub rescales before the activation
        model, sites = backbone.model, backbone.sites
        if sites.fused_projection is not None:
            raise Unsupported(
                f"peft rescales a whole output, and {model.config.model_type} has keys and values in a part of one"  # type: ignore[union-attr]
            )
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
