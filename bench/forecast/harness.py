"""The harness of a plan: takes down what a method would do, and does a little of it on tensors without values."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import islice

import torch
from torch import Tensor, nn

from tunefront.bench.forecast.machine import Machine
from tunefront.bench.forecast.operator_times import Operations, Phases
from tunefront.bench.meters.batches import BatchLog
from tunefront.bench.meters.memory.peak import PeakMemory
from tunefront.bench.meters.memory.phases import BatchReplay, PhaseMemory, requiring_grad
from tunefront.bench.meters.time import Clock
from tunefront.bench.models.examples import EncodedExamples, training_order
from tunefront.bench.models.shapes import Shape
from tunefront.bench.records import PhaseFlops, Spread
from tunefront.bench.training.feature_cache import Rowwise
from tunefront.bench.training.gradients import RowGradients
from tunefront.bench.training.harness import row_values
from tunefront.bench.training.instruments import Instruments, Subject, encoded
from tunefront.bench.training.step import Step
from tunefront.methods.base import Backbone, Batch, Examples, Prefilled, Prefix, Scorer

SIMULATED = 3
"""So many of the shapes that occur are gone through, from smallest to largest; what others take lies between."""
NEARLY_ALL = 0.9
"""Where batches of the largest shape are so much of the work, others are not gone through."""
_TIMED_AS = {"features": "evaluation", "query": "evaluation", "prefill": "evaluation"}
"""Phases of memory that are forward passes without gradients, as evaluation is."""


class PredictingHarness:
    """A harness that does not train: `fit` goes through the motions, and every cost is predicted.

    FLOPs are analytic where the family has an anatomy, else counted on tensors without values. Batches of a few of the
    shapes that occur, the largest among them, are gone through once under the memory ledger, which also tells the
    operators; their seconds follow from how fast `machine` runs these, None for no seconds. Scores mean nothing.
    """

    def __init__(self, subject: Subject, machine: Machine | None = None):
        self.subject, self.model, self.recipe, self.device = subject, subject.model, subject.recipe, subject.device
        self._machine, self._operations = machine, Operations()
        observer = None if machine is None else self._operations
        self.tools = tools = Instruments(subject, observer, self._reading_seconds)
        self.generator, self.cost, self.memory = tools.generator, tools.cost, tools.memory
        self.prompts, self.counting, self.flop_ledger = tools.prompts, tools.counting, subject.flop_ledger

    def train(
        self, parameters: Mapping[str, nn.Parameter], loss: Callable[[Batch], Tensor], examples: Examples
    ) -> None:
        """Takes down the batches of the whole recipe, and goes through a step."""
        rows, total, shapes = self.tools.begin(parameters, examples)
        order = training_order(rows, self.recipe.batch_size, self.generator, self.recipe.balanced)
        data = Clock(self.device, self.subject.now)
        for places in islice(order, total):
            with data.running():
                batch = rows.batch(places)
            shapes.add(batch)
            self.cost.examples += len(places)
        self.cost.steps += total
        step = Step(parameters, loss, self.recipe, self.subject.autocast)
        laps = self._simulate(shapes, lambda work: self.memory.step(step, work))
        if self._machine is not None:
            laps["data"] = data.laps  # batches are made as they would be
        self.cost.clock.seconds += sum(map(sum, laps.values()))
        for phase, seconds in laps.items():
            self.cost.clocks[phase].laps += seconds
        self._enter_training(loss, shapes)

    def gradients(
        self,
        parameters: Mapping[str, nn.Parameter],
        loss: Callable[[Batch], Tensor],
        examples: Examples,
        each: Callable[[Tensor], Tensor],
    ) -> dict[str, Tensor]:
        """Takes down the rows, and goes through a few of them; the sums have no values."""
        shapes = self.tools.single_rows(parameters, examples)
        wanted = set(map(id, parameters.values()))

        def start() -> RowGradients:
            return RowGradients(parameters, loss, each, self.subject.autocast)

        with requiring_grad([(parameter, id(parameter) in wanted) for parameter in self.model.parameters()]):
            gradients = start()
            laps = self._simulate(shapes, lambda work: self.memory.gradients(start, work))
            self.cost.clock.seconds += sum(map(sum, laps.values()))
            self._enter_training(loss, shapes, "gradients")
        self.cost.examples += len(shapes.examples)
        return gradients.sums

    def cached(self, name: str, compute: Callable[[Batch], Tensor], examples: Examples) -> EncodedExamples:
        """`examples` with zeros in place of tokens; what earlier cells computed has no part in a forecast."""
        rows = encoded(examples)
        self.cost.cut_rows |= rows.cut_rows
        features, entry = self._rowwise("features", compute, rows)
        return self.tools.charge_features(features, entry, rows, name)

    def prefill(self, backbone: Backbone, demonstrations: Examples) -> Prefix:
        """Demonstrations in tokens, read without values."""
        return self.tools.prefill(backbone, demonstrations)

    def start_from(self, backbone: Backbone, demonstrations: Examples) -> Prefilled:
        """Demonstrations that are read as part of training, without values."""
        return self.tools.start_from(backbone, demonstrations)

    def scores(self, scorer: Scorer, examples: Examples) -> Tensor:
        """Zeros for rows that are part of getting ready; what they would cost joins the prefixes'."""
        return self.tools.calibrate(self.score(scorer, encoded(examples)), examples)

    def score(self, scorer: Scorer, examples: EncodedExamples) -> Rowwise:
        """Zeros for every row, and what computing them would cost."""
        return self._rowwise("evaluate", scorer, self.tools.following(examples))[0]

    def step_seconds(self, scored: Rowwise) -> dict[str, Spread]:
        """What each phase of a training step would take, and a batch of `scored`."""
        return self.cost.step_seconds(scored.batch_seconds)

    def peak(self) -> AbstractContextManager[PeakMemory]:
        """Nothing: what the process takes meanwhile is that of a plan, not of a run."""
        return nullcontext(PeakMemory())

    def _rowwise(
        self, phase: str, call: Callable[[Batch], Tensor], examples: EncodedExamples
    ) -> tuple[Rowwise, PhaseFlops]:
        shapes, widths = self.tools.scored_shapes(examples), [1]
        name = "features" if phase == "features" else "query" if self.prompts.prefixes else "evaluation"

        def noting(batch: Batch) -> Tensor:
            found = row_values(call(batch), len(batch.labels), phase)
            widths.append(found.shape[1])
            return found

        with self.flop_ledger.count_calls() as calls:
            laps = self._simulate(shapes, lambda work: self.memory.batch(name, noting, work))
        each = {kind: number * shapes.times.total() // (len(widths) - 1) for kind, number in calls.items()}
        entry = self._entry(call, shapes, each)
        seconds = [lap for of_phase in laps.values() for lap in of_phase]
        values = torch.zeros(len(examples), max(widths))
        rowwise = Rowwise(values, sum(seconds), entry.counted or 0, batch_seconds=tuple(seconds), entry=entry)
        return rowwise, entry

    def _simulate(self, shapes: BatchLog, run: Callable[[BatchReplay], PhaseMemory]) -> dict[str, list[float]]:
        """Enters the memory of a few batches; the seconds of each phase, one for every batch that would run, nothing
        without a machine."""
        sizes = {shape: shapes.examples.elements(shapes.batch(shape, self.device)) for shape in shapes.times}
        known: list[tuple[int, dict[str, float]]] = []

        def go_through(work: BatchReplay) -> None:
            self._operations.taken()  # of a batch that was measured for its memory alone
            self.memory.add(run(work))
            known.append((sizes[work.shape], self._seconds(self._operations.taken())))

        largest = self.tools.largest(shapes)
        for work in largest:
            go_through(work)
        if self._machine is None:
            return {}
        most = max(size for size, _ in known)
        everything = sum(sizes[shape] * times for shape, times in shapes.times.items())
        of_the_most = sum(sizes[shape] * times for shape, times in shapes.times.items() if sizes[shape] == most)
        others = [] if of_the_most > NEARLY_ALL * everything else _sample_shapes(sizes, most)
        for shape in others:
            batch = partial(shapes.batch, shape, self.device)
            go_through(replace(largest[0], batch=batch, shape=shape))
        if not others and len(largest) == 1:
            known.append((0, dict.fromkeys(known[0][1], 0.0)))  # the few smaller ones in proportion
        known = _mean_by_size(known)
        found: dict[str, list[float]] = {phase: [] for phase in known[0][1]}
        for shape, times in shapes.times.items():
            for phase, seconds in _interpolate(known, sizes[shape]).items():
                found[phase] += [seconds] * times
        return found

    def _reading_seconds(self, _: float) -> float:
        """What reading, which was just noted, would take, whatever it took without values."""
        self.memory.measure()
        return sum(self._seconds(self._operations.taken()).values())

    def _seconds(self, phases: Phases) -> dict[str, float]:
        if self._machine is None:
            return {}
        return {
            phase: self._machine.seconds(_TIMED_AS.get(phase, phase), operations)
            for phase, operations in phases.items()
        }

    def _enter_training(self, loss: Callable[[Batch], Tensor], shapes: BatchLog, kind: str = "step") -> None:
        """Enters the analytic FLOPs of all steps, in the totals too; counted ones where there are no analytic."""
        phases = self.flop_ledger.training(loss, shapes.times, 0, 0)
        if any(entry.analytic is None for entry in phases.values()):
            whole, half = self.counting.steps(loss, shapes, kind), self.counting.forward_half(loss, shapes, kind)
            phases = self.flop_ledger.training(loss, shapes.times, half, whole)
        else:
            phases = {phase: entry.model_copy(update={"counted": entry.analytic}) for phase, entry in phases.items()}
        self.cost.flops += sum(entry.counted or 0 for entry in phases.values())
        self.cost.enter(phases)

    def _entry(self, call: Callable[[Batch], Tensor], shapes: BatchLog, calls: Mapping[str, int]) -> PhaseFlops:
        """The same of rows that are scored or made features of."""
        entry = self.flop_ledger.rows(call, shapes.times, 0, calls)
        if entry.analytic is None:
            return self.flop_ledger.rows(call, shapes.times, self.counting.rows(call, shapes), calls)
        return entry.model_copy(update={"counted": entry.analytic})


def _sample_shapes(sizes: Mapping[Shape, int], largest: int) -> list[Shape]:
    """A few shapes from the smallest towards the largest, which itself is not among them."""
    ordered = sorted((shape for shape in sizes if sizes[shape] < largest), key=lambda shape: (sizes[shape], shape))
    places = {round(place * len(ordered) / (SIMULATED - 1)) for place in range(SIMULATED - 1)}
    return [ordered[place] for place in sorted(places) if place < len(ordered)]


def _mean_by_size(known: list[tuple[int, dict[str, float]]]) -> list[tuple[int, dict[str, float]]]:
    """In order of sizes, of which shapes may have the same: their mean."""
    found: dict[int, list[dict[str, float]]] = {}
    for size, seconds in known:
        found.setdefault(size, []).append(seconds)
    return [
        (size, {phase: sum(one[phase] for one in alike) / len(alike) for phase in alike[0]})
        for size, alike in sorted(found.items())
    ]


def _interpolate(known: list[tuple[int, dict[str, float]]], size: int) -> dict[str, float]:
    """Seconds of a shape by the straight line between those that were gone through, in order of their sizes."""
    place = min(max(1, bisect.bisect_left([at for at, _ in known], size)), len(known) - 1)
    if len(known) == 1 or known[place][0] == known[place - 1][0]:
        return known[place][1]
    (low, below), (high, above) = known[place - 1], known[place]
    share = (size - low) / (high - low)
    return {phase: below[phase] + share * (above[phase] - below[phase]) for phase in below}
