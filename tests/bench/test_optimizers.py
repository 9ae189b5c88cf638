"""The optimisers: which tensors decay."""

from __future__ import annotations

from bench.optimizers import adamw
from methods.base import Recipe
from methods.registry import parse
from tests.toys import pristine


def test_biases_norms_and_scales_are_not_decayed(backbones: dict[str, str]) -> None:
    for spelled in ("full", "houlsby:bottleneck=4", "ia3"):
        backbone = pristine(backbones["bert"])
        parse(spelled).attach(backbone)
        parameters = backbone.trainable()
        groups = adamw(parameters, Recipe(weight_decay=0.1)).param_groups
        decayed = {id(p) for group in groups if group["weight_decay"] == 0.1 for p in group["params"]}
        kept = {id(p) for group in groups if group["weight_decay"] == 0 for p in group["params"]}
        assert decayed | kept == {id(p) for p in parameters.values()}
        assert not decayed & kept
        vectors = ("bias", "LayerNorm.weight", "scale")
        assert kept == {id(p) for name, p in parameters.items() if name.endswith(vectors)}, spelled
