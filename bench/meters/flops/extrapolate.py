"""FLOPs of all batches of a cell, extrapolated from counts of a few."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import ClassVar

import torch
from torch import Tensor, nn

from tunefront.bench.meters.batches import BatchLog
from tunefront.bench.meters.fake_weights import measured
from tunefront.bench.meters.flops.counted import FlopMeter, counted_flops, counted_step, undisturbed
from tunefront.bench.models.examples import EncodedExamples
from tunefront.bench.models.shapes import Shape
from tunefront.methods.base import Batch, Recipe


class Counting:
    """Counts the FLOPs of batches that ran, while no clock runs; gradients and random state are restored.

    Args: model to run; recipe, whose dtype and dropout affect FLOPs; identity, the method, backbone and task shape, as
    the key of the counts, which are kept for the life of the process; autocast, the context in which the model runs;
    led, number of positions that the lead takes.
    """

    _forward_halves: ClassVar[dict[tuple[str, ...], dict[Shape, int]]] = {}
    """Forward FLOPs of training steps, which scoring shares in most methods; kept for the life of the process."""

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
        """FLOPs of training steps, forward and backward; steps of one `kind` need the same gradients."""
        return self._meter(kind, shapes, self._step(loss, shapes, kind)).total(shapes.times)

    def forward_half(self, loss: Callable[[Batch], Tensor], shapes: BatchLog, kind: str = "step") -> int:
        """FLOPs of the forward passes of training steps, found while the steps are counted."""
        known, step = self._known_halves(shapes, kind), self._step(loss, shapes, kind)

        def count(shape: Shape) -> int:
            if shape not in known:  # the FLOPs of steps and of their forward halves follow different laws
                step(shape)
            return known[shape]

        return self._meter(f"half of {kind}", shapes, count).total(shapes.times)

    def rows(self, call: Callable[[Batch], Tensor], shapes: BatchLog) -> int:
        """FLOPs of scoring rows or of computing their features."""

        def count(shape: Shape) -> int:
            with undisturbed(self._model), torch.no_grad(), self._autocast():
                self._model.eval()
                batch = shapes.batch(shape, self._device)
                return measured(self._model, lambda: counted_flops(lambda: call(batch)))

        laws = shapes.examples.laws(self._longest(shapes.examples))
        name = getattr(call, "__qualname__", repr(call))
        identity = "forward", name, *self._key(shapes)
        return FlopMeter(identity, count, laws, self._forward_halves.get(("step", *self._key(shapes)))).total(
            shapes.times
        )

    def _step(self, loss: Callable[[Batch], Tensor], shapes: BatchLog, kind: str) -> Callable[[Shape], int]:
        """Returns a function that counts a step of a shape and stores its forward half."""
        known = self._known_halves(shapes, kind)

        def count(shape: Shape) -> int:
            with undisturbed(self._model):
                self._model.train()
                batch = shapes.batch(shape, self._device)

                def forward() -> Tensor:
                    with self._autocast():
                        return loss(batch)

                known[shape], whole = measured(self._model, lambda: counted_step(forward))
                return whole

        return count

    def _meter(self, kind: str, shapes: BatchLog, count: Callable[[Shape], int]) -> FlopMeter:
        laws = shapes.examples.laws(self._longest(shapes.examples), training=True)
        return FlopMeter((kind, *self._key(shapes)), count, laws)

    def _known_halves(self, shapes: BatchLog, kind: str) -> dict[Shape, int]:
        return self._forward_halves.setdefault((kind, *self._key(shapes)), {})

    def _longest(self, examples: EncodedExamples) -> int:
        """A length that the model surely accepts (some architectures reserve a few positions)."""
        positions = getattr(getattr(self._model, "config", None), "max_position_embeddings", None) or 0
        return max(int(positions) - 8 - self._led, *examples.lengths)

    def _key(self, shapes: BatchLog) -> tuple[str, ...]:
        """All that FLOPs depend on. With dropout, attention takes the composite path on CPU, whose backward pass
        recomputes no scores. The number of elements in the model differs within one method and backbone if rows are
        stored in it. Gradient checkpointing recomputes activations in the backward pass."""
        kind = "features" if shapes.examples.features is not None else "tokens"
        elements = sum(tensor.numel() for tensor in (*self._model.parameters(), *self._model.buffers()))
        checkpointing = any(getattr(module, "gradient_checkpointing", False) for module in self._model.modules())
        return (*self._identity, self._recipe.dtype, str(self._recipe.dropout), kind, str(elements), str(checkpointing))
