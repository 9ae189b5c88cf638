"""FLOPs of all batches of a cell, counted on a few of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import ClassVar

import torch
from torch import Tensor, nn

from tunefront.bench.meters.batches import BatchLog
from tunefront.bench.meters.flops.counted import FlopMeter, counted_flops, counted_step, undisturbed
from tunefront.bench.models.examples import EncodedExamples
from tunefront.bench.models.shapes import Shape
from tunefront.methods.base import Batch, Recipe


class Counting:
    """Counts what ran, when no clock runs; gradients and random state stay as they were.

    Args: model, which computes; recipe, whose dtype and dropout FLOPs depend on; identity, names method, backbone and
    task shape, under which counts are kept for the life of the process; autocast, under which the model runs; led, how
    many positions are taken by what leads in it.
    """

    _forward_halves: ClassVar[dict[tuple[str, ...], dict[Shape, int]]] = {}
    """Forward FLOPs of training steps, which most methods' scoring shares; kept for the life of the process."""

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        identity: tuple[str, ...],
        autocast: Callable[[], AbstractContextManager[object]],
        led: int = 0,
    ):
        self._model, self._recipe, self._identity, self._autocast = model, recipe, identity, autocast
        self._led = led
        self._device = next(model.parameters()).device

    def steps(self, loss: Callable[[Batch], Tensor], shapes: BatchLog, kind: str = "step") -> int:
        """FLOPs of training steps, forward and backward; `kind` names the steps that need the same gradients."""
        return self._meter(kind, shapes, self._step(loss, shapes, kind)).total(shapes.times)

    def forward_half(self, loss: Callable[[Batch], Tensor], shapes: BatchLog, kind: str = "step") -> int:
        """FLOPs of the steps' forward passes, from what counting the steps came by."""
        lent, step = self._lent(shapes, kind), self._step(loss, shapes, kind)

        def count(shape: Shape) -> int:
            if shape not in lent:  # a step's FLOPs follow another law than its forward half's
                step(shape)
            return lent[shape]

        return self._meter(f"half of {kind}", shapes, count).total(shapes.times)

    def rows(self, call: Callable[[Batch], Tensor], shapes: BatchLog) -> int:
        """FLOPs of rows that were scored, or made features of."""

        def count(shape: Shape) -> int:
            with undisturbed(self._model), torch.no_grad(), self._autocast():
                self._model.eval()
                return counted_flops(lambda: call(shapes.batch(shape, self._device)))

        laws = shapes.examples.laws(self._longest(shapes.examples))
        name = getattr(call, "__qualname__", repr(call))
        identity = "forward", name, *self._named(shapes)
        return FlopMeter(identity, count, laws, self._forward_halves.get(("step", *self._named(shapes)))).total(
            shapes.times
        )

    def _step(self, loss: Callable[[Batch], Tensor], shapes: BatchLog, kind: str) -> Callable[[Shape], int]:
        """Counts a step of a shape, and lends its forward half."""
        lent = self._lent(shapes, kind)

        def count(shape: Shape) -> int:
            with undisturbed(self._model):
                self._model.train()
                batch = shapes.batch(shape, self._device)

                def forward() -> Tensor:
                    with self._autocast():
                        return loss(batch)

                lent[shape], whole = counted_step(forward)
                return whole

        return count

    def _meter(self, kind: str, shapes: BatchLog, count: Callable[[Shape], int]) -> FlopMeter:
        laws = shapes.examples.laws(self._longest(shapes.examples), training=True)
        return FlopMeter((kind, *self._named(shapes)), count, laws)

    def _lent(self, shapes: BatchLog, kind: str) -> dict[Shape, int]:
        return self._forward_halves.setdefault((kind, *self._named(shapes)), {})

    def _longest(self, examples: EncodedExamples) -> int:
        """The longest row that the model takes for sure (some architectures keep a few positions to themselves)."""
        positions = getattr(getattr(self._model, "config", None), "max_position_embeddings", None) or 0
        return max(int(positions) - 8 - self._led, *examples.lengths)

    def _named(self, shapes: BatchLog) -> tuple[str, ...]:
        """Dropout counts: with it, attention takes the composite path on CPU, whose backward recomputes no scores. So
        do what the model holds, which differs for one method and backbone where rows are kept, and whether activations
        are computed again in the backward pass."""
        kind = "features" if shapes.examples.features is not None else "tokens"
        held = sum(tensor.numel() for tensor in (*self._model.parameters(), *self._model.buffers()))
        again = any(getattr(module, "gradient_checkpointing", False) for module in self._model.modules())
        return (*self._identity, self._recipe.dtype, str(self._recipe.dropout), kind, str(held), str(again))
