"""Pfeiffer adapters: one bottleneck per block, after the feed-forward (Pfeiffer et al., 2020, arXiv:2005.00247)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from tunefront.methods.base import Backbone, Exported, Library, Method, Recipe, Search, Unsupported, above, at_least
from tunefront.methods.counterparts import bottlenecks, plugs_of
from tunefront.methods.inject import plug


class Adapter(nn.Module):
    """Residual bottleneck x + W_up relu(W_down x).

    Args: width, the backbone's d; bottleneck, the inner m << d; std of the normal initial weights; biases start at 0.
    Shapes: x (..., width) -> (..., width). Size: 2 m d + d + m trainable parameters.
    Source: Pfeiffer et al. 2020; activation and initial values from AdapterHub's code (`seq_bn`) and T-Few's.
    """

    def __init__(self, width: int, bottleneck: int, std: float):
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(bottleneck, width)
        for layer in (self.down, self.up):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.up(nn.functional.relu(self.down(x)))


def reduced_width(width: int, reduction: int) -> int:
    """width // reduction; Unsupported if that is zero."""
    if reduction > width:
        raise Unsupported(f"reduction above the width: a width of {width} over {reduction} leaves no bottleneck")
    return width // reduction


@dataclass(frozen=True)
class Pfeiffer(Method):
    """One adapter per block, after the feed-forward sublayer: L(2md+m+d) parameters, m = d / reduction, and the head.

    `std` is that of the initial weights; `norms` also trains every layer norm, which the paper leaves frozen.
    T-Few's adapters (Liu et al. 2022) are `pfeiffer:reduction=32,norms=true` with a rate of 3e-3 for 500 steps.
    Recipe: the learning rate of AdapterHub's documentation, which its authors recommend.
    Differs: the adapter reads the sublayer's output, as Houlsby's and T-Few's do; AdapterHub's (`seq_bn`) reads the
    layer norm of that output's sum with the residual, or the sum itself in pre-norm models, and adds to the output as
    here. The output is taken after dropout (in T5 too, where T-Few has the adapter before it), or before it if the
    dropout is no module (DistilBERT, OPT, BART).
    Errors: Unsupported if the reduction is above the width.
    """

    name: ClassVar[str] = "pfeiffer"
    recipe: ClassVar[Recipe | None] = Recipe(learning_rate=1e-4)
    search: ClassVar[Search | None] = Search("reduction", (128, 64, 32, 16, 8, 4), (1e-4, 3e-4, 1e-3, 3e-3, 1e-2))
    reduction: int = 16
    std: float = 0.02
    norms: bool = False

    def __post_init__(self) -> None:
        at_least(1, 1_000_000, reduction=self.reduction)
        above(0, std=self.std)  # at 0 both matrices would stay at zero

    def attach(self, backbone: Backbone) -> None:
        backbone.freeze(keep=[backbone.head, backbone.sites.norms if self.norms else None])
        plug(
            backbone.model,
            backbone.sites.ffn_output,
            "adapter",
            lambda host, width: Adapter(width, reduced_width(width, self.reduction), self.std),
            where="after",
        )

    def exported(self, library: Library, backbone: Backbone) -> Exported:
        """AdapterHub's `seq_bn`, reading what precedes the residual sum."""
        if library != "adapterhub":
            return super().exported(library, backbone)
        adapters = plugs_of(backbone.model, "adapter")
        return bottlenecks(backbone, adapters, "relu", attention=False, norms=self.norms)
