"""Full fine-tuning: trains every weight (the baseline of Houlsby et al., 2019, arXiv:1902.00751, section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tunefront.methods.base import Backbone, Method, Recipe, Search


@dataclass(frozen=True)
class Full(Method):
    """Trains the whole backbone and the head; one copy of the model per task.

    Recipe: BERT's fine-tuning code (learning rate 5e-5, batch 32, 3 epochs, 10 % warm-up, linear decay).
    """

    name: ClassVar[str] = "full"
    recipe: ClassVar[Recipe | None] = Recipe(learning_rate=5e-5)
    search: ClassVar[Search | None] = Search(learning_rates=(1e-5, 3e-5, 1e-4, 3e-4, 1e-3))

    def attach(self, backbone: Backbone) -> None:
        backbone.freeze(keep=backbone.model)
