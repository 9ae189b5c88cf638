"""The one training loop, and what else the harness does for a method while it fits."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from itertools import islice

import torch
from torch import Tensor, nn

from bench.batching import EncodedExamples, scoring_order, shape_of, training_order
from bench.feature_store import FeatureStore, Rowwise
from bench.meters.flops import FlopMeter, Shape, counted_flops, undisturbed
from bench.meters.memory import NONE, Growth
from bench.meters.time import Clock
from bench.optimizers import make_optimizer
from bench.provenance import versions
from methods.base import Batch, Examples, Recipe, Scorer

Report = Callable[[str, int, int], None]
"""(phase, steps done, steps in all) of a cell under way."""


class NotFinite(ArithmeticError):
    """The training loss is not a number any more."""


@dataclass
class TrainingCost:
    """What fitting took: seconds on the clock, counted FLOPs, optimiser steps, rows through the model, losses, and by
    how much computing features grew memory, whether it was done now or earlier."""

    clock: Clock
    flops: int = 0
    steps: int = 0
    examples: int = 0
    losses: list[float] = field(default_factory=list)
    grown: Growth = NONE

    @property
    def final_loss(self) -> float | None:
        """Mean loss of the last tenth of the steps, None where nothing was trained."""
        last = self.losses[-max(1, len(self.losses) // 10) :]
        return sum(last) / len(last) if last else None


class Trainer:
    """The harness that `Method.fit` sees: it owns clocks, seeds, recipe and caches.

    Args: model, put into training mode while steps run; identity, names method, backbone and task shape, under which
    counted FLOPs and cached features may be shared; features, where precomputed states are kept; report, told of steps;
    conditions, what changes seconds and no score (processor, cells side by side): features are shared within them.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        seed: int,
        identity: tuple[str, ...],
        features: FeatureStore | None = None,
        report: Report | None = None,
        eval_batch_size: int = 64,
        conditions: tuple[str, ...] = (),
    ):
        self.model, self.recipe, self.identity = model, recipe, identity
        self.device = next(model.parameters()).device
        self.generator = torch.Generator().manual_seed(seed)
        self.cost = TrainingCost(Clock(self.device))
        self._features, self._eval_batch_size, self._conditions = features, eval_batch_size, conditions
        self._report: Report = report or (lambda phase, done, total: None)

    def train(
        self, parameters: Mapping[str, nn.Parameter], loss: Callable[[Batch], Tensor], examples: Examples
    ) -> None:
        """Runs the recipe over `examples` on the clock; NotFinite as soon as the loss is not a finite number."""
        if not parameters:
            raise ValueError("nothing to train: attach() left no parameter that requires gradients")
        examples = encoded(examples)
        total = total_steps(self.recipe, len(examples))
        shapes: Counter[Shape] = Counter()
        with self.cost.clock.running():
            for done, batch, value in islice(self.steps(parameters, loss, examples, total), total):
                shapes[shape_of(batch)] += 1
                self.cost.losses.append(value)
                self.cost.examples += len(batch.labels)
                self._report("train", done, total)
        if not all(parameter.isfinite().all() for parameter in parameters.values()):  # no later loss would show it
            raise NotFinite(f"a gradient overflowed in the last of {total} steps; {self._advice()}")
        self.cost.steps += total
        self.model.eval()
        self.cost.flops += self._step_flops(loss, examples, shapes)

    def steps(
        self,
        parameters: Mapping[str, nn.Parameter],
        loss: Callable[[Batch], Tensor],
        examples: EncodedExamples,
        total: int,
    ) -> Iterator[tuple[int, Batch, float]]:
        """Optimiser steps without end, the schedule spanning `total`; yields (steps done, batch, its loss)."""
        recipe = self.recipe
        optimizer = make_optimizer(parameters, recipe)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(recipe, step, total))
        trained = list(parameters.values())
        order = training_order(examples, recipe.batch_size, self.generator, recipe.balanced)
        self.model.train()
        for done, rows in enumerate(order, 1):
            batch = examples.batch(rows, self.device)
            with self.autocast():
                value = loss(batch)
            number = value.item()
            if not math.isfinite(number):
                raise NotFinite(f"the loss is {number} at step {done} of {total}; {self._advice()}")
            value.backward()  # type: ignore[no-untyped-call]
            if recipe.clip_norm:
                nn.utils.clip_grad_norm_(trained, recipe.clip_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if done <= total:
                schedule.step()
            yield done, batch, number

    def cached(self, name: str, compute: Callable[[Batch], Tensor], examples: Examples) -> EncodedExamples:
        """`examples` with one row of `compute` each in place of tokens; what they cost is charged here even when an
        earlier cell computed them, so that a record does not depend on what the cache holds."""
        examples = encoded(examples)
        key = self._features_key(name, examples) if self._features else ""
        stored = self._features.read(key) if self._features else None
        if stored is None:
            start = Growth.in_use(self.device)
            stored = self._rowwise("features", compute, examples)
            stored = replace(stored, grown=Growth.since(start, self.device))
            if self._features:
                self._features.write(key, stored)
        self.cost.grown |= stored.grown
        self.cost.clock.seconds += stored.seconds
        self.cost.flops += stored.flops
        self.cost.examples += len(examples)
        return examples.with_features(stored.values.to(self.device), name)

    def score(self, scorer: Scorer, examples: EncodedExamples) -> Rowwise:
        """(rows, choices) scores of every row, and what they cost; nothing of it is on the training clock."""
        return self._rowwise("evaluate", scorer, examples)

    def autocast(self) -> AbstractContextManager[object]:
        """bf16 autocast where the recipe asks for it."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.dtype == "bfloat16")

    def _advice(self) -> str:
        recipe = self.recipe
        return f"lower the learning rate (now {recipe.learning_rate:g}), or take a wider dtype (now {recipe.dtype})"

    def _features_key(self, name: str, examples: EncodedExamples) -> str:
        """Of everything that can change a bit of the features or what they cost: the weights as they are now, the rows,
        the code, and the conditions under which seconds compare."""
        weights = hashlib.sha256()
        for path, tensor in self.model.state_dict().items():
            if not path.startswith("head."):
                weights.update(path.encode() + tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        sums = {"device": self.device.type, "threads": torch.get_num_threads(), "dtype": self.recipe.dtype}
        parts = [name, self.identity, self._conditions, sums, self._eval_batch_size, versions()]
        return hashlib.sha256(json.dumps([*parts, weights.hexdigest(), examples.fingerprint]).encode()).hexdigest()

    def _rowwise(self, phase: str, call: Callable[[Batch], Tensor], examples: EncodedExamples) -> Rowwise:
        """One row of `call` for each row, batch by batch in evaluation mode, the longest rows first."""
        clock, shapes = Clock(self.device), Counter[Shape]()
        found: dict[int, Tensor] = {}
        order = scoring_order(examples, self._eval_batch_size)
        self.model.eval()
        for done, rows in enumerate(order, 1):
            with clock.running(), torch.inference_mode(), self.autocast():
                batch = examples.batch(rows, self.device)
                values = call(batch).float().cpu()
            shapes[shape_of(batch)] += 1
            found.update(zip(rows, values, strict=True))
            self._report(phase, done, len(order))
        flops = self._forward_flops(call, examples, shapes)
        return Rowwise(torch.stack([found[row] for row in range(len(examples))]), clock.seconds, flops)

    def _step_flops(self, loss: Callable[[Batch], Tensor], examples: EncodedExamples, shapes: Counter[Shape]) -> int:
        def count(shape: Shape) -> int:
            with undisturbed(self.model):
                self.model.train()
                batch = examples.shaped(*shape, self.device)

                def step() -> None:
                    with self.autocast():
                        value = loss(batch)
                    value.backward()  # type: ignore[no-untyped-call]

                return counted_flops(step)

        return FlopMeter(("step", *self._flops_identity(examples)), count, self._longest(examples)).total(shapes)

    def _forward_flops(self, call: Callable[[Batch], Tensor], examples: EncodedExamples, shapes: Counter[Shape]) -> int:
        def count(shape: Shape) -> int:
            with undisturbed(self.model), torch.no_grad(), self.autocast():
                self.model.eval()
                return counted_flops(lambda: call(examples.shaped(*shape, self.device)))

        name = getattr(call, "__qualname__", repr(call))
        identity = ("forward", name, *self._flops_identity(examples))
        return FlopMeter(identity, count, self._longest(examples)).total(shapes)

    def _longest(self, examples: EncodedExamples) -> int:
        """The longest row that the model takes for sure (some architectures keep a few positions to themselves)."""
        positions = getattr(getattr(self.model, "config", None), "max_position_embeddings", None) or 0
        return max(int(positions) - 8, *examples.lengths)

    def _flops_identity(self, examples: EncodedExamples) -> tuple[str, ...]:
        """Dropout counts: with it, attention takes the composite path on CPU, whose backward recomputes no scores."""
        kind = "features" if examples.features is not None else "tokens"
        return (*self.identity, self.recipe.dtype, str(self.recipe.dropout), kind)


def encoded(examples: Examples) -> EncodedExamples:
    """The examples as this harness makes them; TypeError for any others."""
    if not isinstance(examples, EncodedExamples):
        raise TypeError(f"train on the examples that fit() was given, or on harness.cached(...), not {type(examples)}")
    return examples


def total_steps(recipe: Recipe, rows: int) -> int:
    """Optimiser steps of a run: `steps`, else `epochs` over the rows in batches, the last one short."""
    return recipe.steps or max(1, math.ceil(recipe.epochs * math.ceil(rows / recipe.batch_size)))


def rate(recipe: Recipe, step: int, total: int) -> float:
    """The learning rate's factor before step `step` (from 0): a linear rise, then a linear fall or none."""
    warm = round(recipe.warmup * total)
    if step < warm:
        return (step + 1) / (warm + 1)
    return 1.0 if recipe.schedule == "constant" else max(0.0, (total - step) / max(1, total - warm))
