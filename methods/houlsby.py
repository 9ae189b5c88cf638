"""Adapters: a bottleneck after each sublayer (Houlsby et al., 2019, arXiv:1902.00751)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from tunefront.methods.base import Backbone, Exported, Library, Method, Recipe, Search, at_least
from tunefront.methods.counterparts import bottlenecks, plugs_of
from tunefront.methods.inject import plug


class Bottleneck(nn.Module):
    """Residual bottleneck x + W_up gelu(W_down x), near the identity at the start.

    Args: width, the backbone's d; bottleneck, the inner m << d; std of the initial weights, truncated at 2 std.
    Shapes: x (..., width) -> (..., width), dtype kept. Size: 2 m d + d + m trainable parameters.
    Source: Houlsby et al. 2019, section 2.1 and figure 2; the GELU is the tanh approximation of the paper's code.
    """

    def __init__(self, width: int, bottleneck: int, std: float):
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(bottleneck, width)
        for layer in (self.down, self.up):
            nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.up(nn.functional.gelu(self.down(x), approximate="tanh"))


@dataclass(frozen=True)
class Houlsby(Method):
    """Two adapters per block, each after a sublayer's output projection and dropout and before the residual sum.

    Cross-attention is a sublayer too: a block with it has three adapters.
    Trained: adapters, every layer norm (the embedding's too) and the head; 2L(2md+m+d) + 2d(2L+1) + C(d+1) on BERT.
    With norms=false the layer norms stay frozen: 2d(2L+1) fewer. The paper recommends std 1e-2; its code's default,
    used here, is 1e-3. Differs: AdamW with bias correction, unlike BERT's; if no dropout module follows a projection,
    the adapter follows the projection itself, before the dropout (DistilBERT, OPT, BART, Phi, Bloom, Falcon) or without
    one (Llama and its relatives). A norm between a sublayer and its residual sum (Gemma 2, OLMo 2) follows the adapter.
    """

    name: ClassVar[str] = "houlsby"
    recipe: ClassVar[Recipe | None] = Recipe(learning_rate=3e-4)
    search: ClassVar[Search | None] = Search("bottleneck", (8, 64, 256), (1e-4, 3e-4, 1e-3, 3e-3, 1e-2))
    bottleneck: int = 64
    std: float = 1e-3
    norms: bool = True

    def __post_init__(self) -> None:
        at_least(1, 1_000_000, bottleneck=self.bottleneck)
        at_least(0, std=self.std)

    def attach(self, backbone: Backbone) -> None:
        backbone.freeze(keep=[backbone.head, backbone.sites.norms if self.norms else None])
        plug(
            backbone.model,
            backbone.sites.sublayer_output,
            "adapter",
            lambda host, width: Bottleneck(width, self.bottleneck, self.std),
            where="after",
        )

    def exported(self, library: Library, backbone: Backbone) -> Exported:
        """AdapterHub's `double_seq_bn` with our activation."""
        if library != "adapterhub":
            return super().exported(library, backbone)
        adapters = plugs_of(backbone.model, "adapter")
        return bottlenecks(backbone, adapters, "gelu_pytorch_tanh", attention=True, norms=self.norms)
