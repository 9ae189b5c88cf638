"""SAID: trains in a random subspace of all weights (Aghajanyan et al., 2020, arXiv:2012.13255; Li et al., 2018,
arXiv:1804.08838)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from tunefront.methods.base import SEED, Backbone, Method, Recipe, Search, Unsupported, at_least
from tunefront.methods.inject import rebuild


class _Hadamard(torch.autograd.Function):
    """H x for a vector of 2^k numbers, with the Walsh-Hadamard matrix H of ones and minus ones, in k rounds of sums and
    differences. H is symmetric, so the gradient is the same transform."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # Any: autograd's context, here and below
        x, step = x.clone(memory_format=torch.contiguous_format), 1
        while step < len(x):
            first, second = x.view(-1, 2, step).unbind(1)
            difference = first - second
            first.add_(second)  # in place: new tensors in every round are several times slower
            second.copy_(difference)
            step *= 2
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return hadamard(gradients[0])


def hadamard(x: Tensor) -> Tensor:
    """The unnormalised Walsh-Hadamard transform of a vector of 2^k numbers."""
    return cast(Tensor, _Hadamard.apply(x))  # type: ignore[no-untyped-call]


class Fastfood(nn.Module):
    """A random projection of a vector to `size` numbers that preserves its norm on average, H G P H B x, scaled: B are
    random signs, P is a permutation, G are normal numbers and H is the Walsh-Hadamard transform (Le et al., 2013).

    x is zero-padded to 2^k numbers, the fewest that hold both it and the result. The buffers are regenerated from the
    generator's seed and never stored.
    Source: Li et al. 2018, section S7; Aghajanyan et al. 2020, section 3.1, and their code for the scale.
    """

    def __init__(self, inputs: int, size: int, generator: torch.Generator):
        super().__init__()
        self.size, self.padded = size, 1 << (max(inputs, size) - 1).bit_length()
        signs = torch.randint(0, 2, (self.padded,), generator=generator, device="cpu")
        order = torch.randperm(self.padded, generator=generator, device="cpu")
        # In float64, then rounded: processors differ in the last bits of drawn numbers.
        normal = torch.randn(self.padded, generator=generator, dtype=torch.float64, device="cpu")
        scale = (normal.square().sum() * size).rsqrt()
        self.register_buffer("signs", (2 * signs - 1).to(torch.int8), persistent=False)
        self.register_buffer("order", order.int(), persistent=False)
        self.register_buffer("normal", (normal * scale).float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        padded = nn.functional.pad(x, (0, self.padded - len(x))) * cast(Tensor, self.signs)
        mixed = hadamard(padded).index_select(0, cast(Tensor, self.order))
        return hadamard(mixed * cast(Tensor, self.normal))[: self.size]


class Subspace(nn.Module):
    """Adds a projection of a few trained numbers to every weight: of `values` (dimension,), the last ones, one per
    weight, scale the projection of all the others (the structure-aware intrinsic dimension). Scales start at one, the
    others at zero, so the model starts unchanged.

    Args: shapes of the weights; outer, whether a matrix (rows, columns) gets the outer product of the two parts of one
    projection to rows + columns numbers instead of one number per entry; seed of all projections.
    """

    def __init__(self, shapes: Sequence[torch.Size], dimension: int, outer: bool, seed: int):
        super().__init__()
        self.free, self.outer = dimension - len(shapes), outer
        self.values = nn.Parameter(torch.cat((torch.zeros(self.free), torch.ones(len(shapes)))))
        setattr(self, SEED, seed)
        generator = torch.Generator().manual_seed(seed)
        sizes = [sum(shape) if outer and len(shape) == 2 else shape.numel() for shape in shapes]
        self.projections = nn.ModuleList(Fastfood(self.free, size, generator) for size in sizes)

    def forward(self, original: Tensor, place: int) -> Tensor:
        update = self.projections[place](self.values[: self.free])
        scale = self.values[self.free + place]
        if not self.outer or original.dim() != 2:
            return original + (scale * update).view_as(original).to(original.dtype)
        rows, columns = update.split([original.shape[0], original.shape[1]])
        return torch.addcmul(original, (scale * rows)[:, None], columns)


@dataclass(frozen=True)
class Said(Method):
    """Trains `dimension` numbers, which fixed random projections map to all weights of the backbone.

    Fields: dimension, the trained numbers, including one scale per weight tensor; variant, `fastfood` for a projection
    to every entry of a weight (the paper), `outer` for rank-1 outer products, as in T-Few's code.
    Trained: dimension, and the head. The projections follow from the run's seed, which alone is stored for them.
    Recipe: T-Few's steps and batches (3000 of 8), but 1e-3 instead of its rate of 3e-2, at which a step of AdamW moves
    every weight of the model by a vector of norm 4.
    Differs: AdamW instead of T-Few's Adafactor, which scales the rate by each tensor's root mean square: there the
    projected numbers, which start at zero, are a separate tensor and move by 3e-5 at first, a thousandth of the rate;
    here they share a tensor with the scales. The paper scales the weights of a layer by one number; the code that T-Few
    took from its author scales each tensor, as here. That code truncates numbers for smaller weights, scales the
    gradients that pass through H, and trains one number fewer than requested.
    Errors: Unsupported if the dimension leaves no number besides the scales, or exceeds the number of the backbone's
    weights.
    """

    name: ClassVar[str] = "said"
    recipe: ClassVar[Recipe | None] = Recipe(learning_rate=1e-3, batch_size=8, steps=3000)
    search: ClassVar[Search | None] = Search("dimension", (500, 2_000, 20_000))
    dimension: int = 20_000
    variant: str = "fastfood"

    def __post_init__(self) -> None:
        at_least(1, 10**9, dimension=self.dimension)
        if self.variant not in ("fastfood", "outer"):
            raise ValueError(f"variant must be fastfood or outer, got {self.variant!r}")

    def attach(self, backbone: Backbone) -> None:
        def make(weights: list[nn.Parameter]) -> Subspace:
            if self.dimension <= len(weights):
                raise Unsupported(
                    f"said needs a dimension above {len(weights)}, the number of weights, which have one scale each; "
                    f"got {self.dimension}"
                )
            entries = sum(weight.numel() for weight in weights)
            if self.dimension > entries:
                raise Unsupported(
                    f"said needs a dimension of at most {entries:,}, the number of entries in the backbone's weights; "
                    f"got {self.dimension:,}"
                )
            seed = torch.initial_seed()  # set by the run
            return Subspace([weight.shape for weight in weights], self.dimension, self.variant == "outer", seed)

        backbone.freeze(keep=backbone.head)
        rebuild(backbone.model, "said", make, without=backbone.head)
