"""Tables of constants in a model: sinusoidal positions, which no training changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def keep_constants(model: nn.Module) -> None:
    """Turns the weights of sinusoidal position tables (Pegasus, Marian) into buffers of the same names.

    transformers holds such a table as a parameter that its code reads without gradients. As a parameter it would count
    as trained by every method that trains all weights.
    """
    from torch import nn

    for module in model.modules():
        if isinstance(module, nn.Embedding) and hasattr(module, "create_weight"):
            weight = module.weight.detach()
            del module.weight
            module.register_buffer("weight", weight)
