"""SAID: training in a random subspace of all weights (Aghajanyan et al., 2020, arXiv:2012.13255; Li et al., 2018,
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
    """H x of a vector of 2^k numbers, H the Walsh-Hadamard matrix of ones and minus ones, by k rounds of sums and
    differences. H is symmetric, so that its gradient is the same transform."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # Any: autograd's context, here and below
        x, step = x.clone(memory_format=torch.contiguous_format), 1
        while step < len(x):
            first, second = x.view(-1, 2, step).unbind(1)
            difference = first - second
            first.add_(second)  # in place: new tensors for every round take several times as long
            second.copy_(difference)
            step *= 2
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return hadamard(gradients[0])


def hadamard(x: Tensor) -> Tensor:
    """The Walsh-Hadamard transform of a vector of 2^k numbers, not normalised."""
    return cast(Tensor, _Hadamard.apply(x))  # type: ignore[no-untyped-call]


class Fastfood(nn.Module):
    """A random projection of a vector to `size` numbers that keeps its length on average, H G P H B x, scaled: B are
    random signs, P is a permutation, G are normal numbers and H is the Walsh-Hadamard transform (Le et al., 2013).

    x is padded with zeros to 2^k numbers, the least that hold both it and the result. The buffers are made again from
    the generator's seed, and never stored.
    Source: Li et al. 2018, section S7; Aghajanyan et al. 2020, section 3.1, and their code for the scale.
    """

    def __init__(self, inputs: int, size: int, generator: torch.Generator):
        super().__init__()
        self.size, self.padded = size, 1 << (max(inputs, size) - 1).bit_length()
        signs = torch.randint(0, 2, (self.padded,), generator=generator, device="cpu")
        order = torch.randperm(self.padded, generator=generator, device="cpu")
        # In float64, rounded: processors differ in last bits of what they draw.
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
    """Adds to every weight what a few trained numbers are projected to: of `values` (dimension,) the last, one for each
    weight, scale what all the others give it (the structure-aware intrinsic dimension). They start at one, the others
    at zero, so that the model starts unchanged.

    Args: shapes, of the weights; outer, whether a matrix (rows, columns) gets the outer product of two parts of one
    projection to rows + columns numbers in place of a number for each entry; seed, of all projections.
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
    """Trains `dimension` numbers, which fixed random projections take to all weights of the backbone.

    Fields: dimension, the trained numbers, one of them for each weight tensor; variant, `fastfood` for a projection to
    every entry of a weight (the paper), `outer` for rank-1 outer products, as in T-Few's code.
    Trained: dimension, and the head. The projections follow from the run's seed, which is all that ships of them.
    Recipe: T-Few's steps and batches (3000 of 8), but 1e-3 for its rate of 3e-2, at which a step of AdamW moves every
    weight of the model by a vector of length 4.
    Differs: AdamW for T-Few's Adafactor, which scales the rate by each tensor's root mean square: there the projected
    numbers, which start at zero, are a tensor of their own and move by 3e-5 at first, a thousandth of the rate; here
    they share it with the scales. The paper scales the weights of a layer by one number, the code that T-Few took from
    its author each tensor, as here. For weights of fewer entries that code cuts numbers off; it scales the gradients
    that pass through H, and trains one number less than it is asked for.
    Errors: Unsupported where the dimension leaves no number beside those that scale a weight each, or is above the
    backbone's numbers.
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
                    f"said needs a dimension above the {len(weights)} weights that a number each scales; "
                    f"it is {self.dimension}"
                )
            entries = sum(weight.numel() for weight in weights)
            if self.dimension > entries:
                raise Unsupported(
                    f"said needs a dimension of at most the {entries:,} numbers in the backbone's weights, of which it "
                    f"trains a subspace; it is {self.dimension:,}"
                )
            seed = torch.initial_seed()  # which the run has set
            return Subspace([weight.shape for weight in weights], self.dimension, self.variant == "outer", seed)

        backbone.freeze(keep=backbone.head)
        rebuild(backbone.model, "said", make, without=backbone.head)
