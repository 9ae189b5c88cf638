"""The harness of a plan: takes down what a method would do, and does a little of it on tensors without values."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from bench.batching import EncodedExamples, training_order
from bench.feature_store import Rowwise
from bench.forecast.operations import Operation, Operations
from bench.forecast.timing import Machine
from bench.meters.flops import Shape
from bench.meters.memory_phases import Work
from bench.meters.phase_flops import Entry
from bench.meters.time import spread
from bench.records import Spread
from bench.steps import Step, total_steps
from bench.trainer import Shapes, Trainer, encoded
from methods.base import Backbone, Batch, Examples, Prefix, Scorer

SIMULATED = 3
"""So many of the shapes that occur are gone through, from smallest to largest; what others take lies between."""

Phases = dict[str, Counter[Operation]]


class Forecaster(Trainer):
    """`Trainer` without training: `fit` goes through the motions, and every cost is foretold.

    Counts are analytic where the family has an anatomy, else counted on tensors without values; memory is that of the
    largest work of each phase, gone through once by `Trainer.memory`; seconds are what the operators take on `machine`,
    None for no seconds. Scores mean nothing.
    """

    def __init__(self, *args: Any, machine: Machine | None = None, **kwargs: Any):  # Any: those of Trainer
        super().__init__(*args, **kwargs)
        self._machine = machine
        self._features = None  # what earlier cells computed has no part in a forecast
        self._step_seconds: dict[str, list[float]] = {}

    def train(
        self, parameters: Mapping[str, nn.Parameter], loss: Callable[[Batch], Tensor], examples: Examples
    ) -> None:
        """Takes down the batches of the whole recipe."""
        if not parameters:
            raise ValueError("nothing to train: attach() left no parameter that requires gradients")
        examples = encoded(examples)
        total = total_steps(self.recipe, len(examples))
        shapes = Shapes(examples, training=True)
        order = training_order(examples, self.recipe.batch_size, self.generator, self.recipe.balanced)
        for rows in islice(order, total):
            shapes.add(examples.batch(rows))
            self.cost.examples += len(rows)
        self.cost.steps += total

        def step() -> Step:
            return Step(parameters, loss, self.recipe, self.autocast)

        seconds = self._foretold(shapes, lambda batch, operations: _one_step(step(), batch, operations))
        self.cost.clock.seconds += sum(map(sum, seconds.values()))
        for phase, each in seconds.items():
            self._step_seconds.setdefault(phase, []).extend(each)
        self._enter_training(loss, shapes)
        self.memory.note_step(step, self._largest(shapes))

    def prefill(self, backbone: Backbone, demonstrations: Examples) -> Prefix:
        """Demonstrations in tokens, read without values; the clock gets what reading them would take."""
        before = self.prompts.clock.seconds
        prefix = super().prefill(backbone, demonstrations)
        self.prompts.clock.seconds = before
        if self._machine is not None:
            operations = Operations()
            with torch.no_grad(), self.autocast(), operations, operations.phase("evaluation"):
                backbone.read(prefix)
            self.prompts.clock.seconds += self._seconds(operations.of_phase)["evaluation"]
        return prefix

    def step_seconds(self, scored: Rowwise) -> dict[str, Spread]:
        """The seconds of each phase, without spread: every step of a shape is foretold to take the same."""
        laps = {**self._step_seconds, "evaluation": list(scored.batch_seconds)}
        return {name: found for name, seconds in laps.items() if (found := spread(seconds))}

    def _rowwise(self, phase: str, call: Callable[[Batch], Tensor], examples: EncodedExamples) -> tuple[Rowwise, Work]:
        """Zeros for every row, and what computing them would cost."""
        shapes = Shapes(examples)
        for rows in examples.scoring_order(self._eval_batch_size):
            shapes.add(examples.batch(rows))
        self.model.eval()
        largest = self._largest(shapes)
        with self.flop_ledger.watching() as calls, torch.no_grad(), self.autocast():
            width = int(call(largest.batch()).shape[1])
        seconds = self._foretold(shapes, lambda batch, operations: self._one_batch(call, batch, operations))
        each = seconds.get("evaluation", [])
        entry = self._entry(call, shapes, calls)
        values = torch.zeros(len(examples), width)
        return Rowwise(values, sum(each), entry.analytic or 0, batch_seconds=tuple(each), entry=entry), largest

    def _enter_training(self, loss: Callable[[Batch], Tensor], shapes: Shapes) -> None:
        """Enters the analytic FLOPs of all steps, in the totals too; counted ones where there are no analytic."""
        phases = self.flop_ledger.training(loss, shapes.times, 0, 0)
        if any(entry.analytic is None for entry in phases.values()):
            whole = self._step_flops(loss, shapes)
            phases = self.flop_ledger.training(loss, shapes.times, self._forward_half(loss, shapes), whole)
            self.cost.flops += whole
        else:
            phases = {phase: replace(entry, counted=entry.analytic) for phase, entry in phases.items()}
            self.cost.flops += sum(entry.analytic or 0 for entry in phases.values())
        self.cost.enter(phases)

    def _entry(self, call: Callable[[Batch], Tensor], shapes: Shapes, calls: Mapping[str, int]) -> Entry:
        """The same of rows that are scored or made features of."""
        every = {name: number * shapes.times.total() for name, number in calls.items()}  # one batch was gone through
        entry = self.flop_ledger.rows(call, shapes.times, 0, every)
        if entry.analytic is None:
            return self.flop_ledger.rows(call, shapes.times, self._forward_flops(call, shapes), every)
        return replace(entry, counted=entry.analytic)

    def _one_batch(self, call: Scorer, batch: Batch, operations: Operations) -> None:
        with torch.no_grad(), self.autocast(), operations, operations.phase("evaluation"):
            call(batch).float().cpu()

    def _foretold(self, shapes: Shapes, run: Callable[[Batch, Operations], None]) -> dict[str, list[float]]:
        """Seconds of each phase, one for every batch that would run; nothing without a machine."""
        if self._machine is None:
            return {}
        known: list[tuple[int, dict[str, float]]] = []
        sizes = {shape: sum(shapes.examples.size(shapes.batch(shape, self.device))) for shape in shapes.times}
        for shape in _some(sizes):
            operations = Operations()
            run(shapes.batch(shape, self.device), operations)
            known.append((sizes[shape], self._seconds(operations.of_phase)))
        found: dict[str, list[float]] = {phase: [] for phase in known[0][1]}
        for shape, times in shapes.times.items():
            for phase, seconds in _between(known, sizes[shape]).items():
                found[phase] += [seconds] * times
        return found

    def _seconds(self, phases: Phases) -> dict[str, float]:
        assert self._machine is not None  # asked for only then
        return {phase: self._machine.seconds(phase, operations) for phase, operations in phases.items()}


def _one_step(step: Step, batch: Batch, operations: Operations) -> None:
    """A step whose optimiser has its state already, as in all but the first."""
    for parameter in step.parameters:
        parameter.grad = torch.zeros_like(parameter)
    with operations:
        step.update()
        with operations.phase("forward"):
            value = step.forward(batch)
        with operations.phase("backward"):
            value.backward()  # type: ignore[no-untyped-call]
        with operations.phase("optimizer"):
            step.update()


def _some(sizes: Mapping[Shape, int]) -> list[Shape]:
    """A few shapes from the smallest to the largest."""
    ordered = sorted(sizes, key=lambda shape: (sizes[shape], shape))
    last = len(ordered) - 1
    places = sorted({round(place * last / (SIMULATED - 1)) for place in range(SIMULATED)})
    return [ordered[place] for place in places]


def _between(known: list[tuple[int, dict[str, float]]], size: int) -> dict[str, float]:
    """Seconds of a shape by the straight line between those that were gone through."""
    place = min(max(1, bisect.bisect_left([at for at, _ in known], size)), len(known) - 1)
    if len(known) == 1 or known[place][0] == known[place - 1][0]:
        return known[place][1]
    (low, below), (high, above) = known[place - 1], known[place]
    share = (size - low) / (high - low)
    return {phase: below[phase] + share * (above[phase] - below[phase]) for phase in below}
