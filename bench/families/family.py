"""What all families share: a model whose parameters are frozen but for what is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn

from methods.base import trained
from methods.inject import matching

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from methods.base import Keep


class Family:
    """A pretrained model in which gradients are turned off and on."""

    model: PreTrainedModel
    dropout: float | None = None
    """The rate that was asked for everywhere, None for the checkpoint's own."""

    def freeze(self, keep: Keep | Sequence[Keep] = None) -> None:
        """Turns gradients off everywhere but in `keep`: modules, or sites matched in full on module paths."""
        kept = keep if isinstance(keep, Sequence) and not isinstance(keep, str) else [keep]
        self.model.requires_grad_(False)
        for part in kept:
            modules = matching(self.model, part).values() if isinstance(part, str) else [part]
            for module in modules:
                if module is not None:
                    module.requires_grad_(True)

    def trainable(self) -> dict[str, nn.Parameter]:
        """The parameters that require gradients, by name."""
        return trained(self.model)
