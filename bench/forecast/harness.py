"""The harness of a forecast: records the batches of a method and simulates a few of them on fake tensors."""

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
from tunefront.bench.training.feature_cache import RowValues
from tunefront.bench.training.gradients import RowGradients
from tunefront.bench.training.harness import row_values
from tunefront.bench.training.instruments import Instruments, Subject, encoded
from tunefront.bench.training.step import Step
from tunefront.methods.base import AfterStep, Backbone, Batch, Examples, Prefilled, Prefix, Scorer

SIMULATED = 3
"""Number of batch shapes to simulate; costs of the others are interpolated."""
NEARLY_ALL = 0.9
"""If batches of the largest shape are more than this fraction of the work, no other shape is simulated."""
_TIMED_AS = {"features": "evaluation", "query": "evaluation", "prefill": "evaluation"}
"""Phases of memory that are timed as evaluation: forward passes without gradients."""


class PredictingHarness:
    """A harness that predicts every cost instead of training.

    FLOPs are analytic for known architectures, else counted on fake tensors. Batches of a few shapes, including the
    largest, run once on fake tensors under the memory ledger, which also counts the operators. Their seconds follow
    from the speed of `machine`; None predicts no seconds. Scores have no meaning.
    """

    def __init__(self, subject: Subject, machine: Machine | None = None):
        self.subject, self.model, self.recipe, self.device = subject, subject.model, subject.recipe, subject.device
        self._machine, self._operations = machine, Operations()
        observer = None if machine is None else self._operations
        self.tools = tools = Instruments(subject, observer, self._reading_seconds)
        self.generator, self.cost, self.memory = tools.generator, tools.cost, tools.memory
        self.prompts, self.counting, self.flop_ledger = tools.prompts, tools.counting, subject.flop_ledger

    def train(
        self,
        parameters: Mapping[str, nn.Parameter],
        loss: Callable[[Batch], Tensor],
        examples: Examples,
        after_step: AfterStep | None = None,
    ) -> None:
        """Records the batches of the whole recipe and simulates a few steps, without what comes after each."""
        rows, total, shapes = self.tools.begin(parameters, examples)
        order = training_order(rows, self.recipe.batch_size, self.generator, self.recipe.balanced)
        data = Clock(self.device, self.subject.now)
        for indices in islice(order, total):
            with data.running():
                batch = rows.batch(indices)
            shapes.add(batch)
            self.cost.examples += len(indices)
        self.cost.steps += total
        step = Step(parameters, loss, self.recipe, self.subject.autocast)
        laps = self._simulate(shapes, lambda replay: self.memory.step(step, replay))
        if self._machine is not None:
            laps["data"] = data.laps  # measured: batches are really made
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
        """Records the rows and simulates a few of them; the sums have no values."""
        shapes = self.tools.single_rows(parameters, examples)
        wanted = set(map(id, parameters.values()))

        def start() -> RowGradients:
            return RowGradients(parameters, loss, each, self.subject.autocast)

        with requiring_grad([(parameter, id(parameter) in wanted) for parameter in self.model.parameters()]):
            gradients = start()
            laps = self._simulate(shapes, lambda replay: self.memory.gradients(start, replay))
            self.cost.clock.seconds += sum(map(sum, laps.values()))
            self._enter_training(loss, shapes, "gradients")
        self.cost.examples += len(shapes.examples)
        return gradients.sums

    def cached(self, name: str, compute: Callable[[Batch], Tensor], examples: Examples) -> EncodedExamples:
        """`examples` with zeros in place of tokens; a forecast ignores features that earlier cells computed."""
        rows = encoded(examples)
        self.cost.cut_rows |= rows.cut_rows
        features, entry = self._rowwise("features", compute, rows)
        return self.tools.charge_features(features, entry, rows, name)

    def prefill(self, backbone: Backbone, demonstrations: Examples) -> Prefix:
        """The prefix of demonstrations, read on fake tensors."""
        return self.tools.prefill(backbone, demonstrations)

    def start_from(self, backbone: Backbone, demonstrations: Examples) -> Prefilled:
        """The prefix of demonstrations that are read as part of training, on fake tensors."""
        return self.tools.start_from(backbone, demonstrations)

    def scores(self, scorer: Scorer, examples: Examples) -> Tensor:
        """Zeros for calibration rows; their predicted cost is added to that of the prefixes."""
        return self.tools.calibrate(self.score(scorer, encoded(examples)), examples)

    def score(self, scorer: Scorer, examples: EncodedExamples) -> RowValues:
        """Zeros for every row, and the predicted cost of scoring."""
        return self._rowwise("evaluate", scorer, self.tools.prepend_to(examples))[0]

    def step_seconds(self, scored: RowValues) -> dict[str, Spread]:
        """Predicted seconds of each phase of a training step, and of a batch of `scored`."""
        return self.cost.step_seconds(scored.batch_seconds)

    def peak(self) -> AbstractContextManager[PeakMemory]:
        """Empty: the process now has the peak of a forecast, not of a run."""
        return nullcontext(PeakMemory())

    def _rowwise(
        self, phase: str, call: Callable[[Batch], Tensor], examples: EncodedExamples
    ) -> tuple[RowValues, PhaseFlops]:
        shapes, widths = self.tools.scored_shapes(examples), [1]
        name = "features" if phase == "features" else "query" if self.prompts.prefixes else "evaluation"

        def scored(batch: Batch) -> Tensor:
            values = row_values(call(batch), len(batch.labels), phase)
            widths.append(values.shape[1])
            return values

        with self.flop_ledger.count_calls() as calls:
            laps = self._simulate(shapes, lambda replay: self.memory.batch(name, scored, replay))
        total_calls = {kind: number * shapes.times.total() // (len(widths) - 1) for kind, number in calls.items()}
        entry = self._entry(call, shapes, total_calls)
        seconds = [lap for phase_laps in laps.values() for lap in phase_laps]
        values = torch.zeros(len(examples), max(widths))
        rowwise = RowValues(
            values,
            sum(seconds),
            entry.counted or 0,
            batch_seconds=tuple(seconds),
            entry=entry,
            reads_choices=self.flop_ledger.reads_choices(calls),
        )
        return rowwise, entry

    def _simulate(self, shapes: BatchLog, run: Callable[[BatchReplay], PhaseMemory]) -> dict[str, list[float]]:
        """Simulates a few batches and adds their memory. Returns the seconds of each phase, one entry per batch of the
        run, or {} without a machine."""
        sizes = {shape: shapes.examples.elements(shapes.batch(shape, self.device)) for shape in shapes.times}
        known: list[tuple[int, dict[str, float]]] = []

        def simulate(replay: BatchReplay) -> None:
            self._operations.drain()  # of an earlier batch, replayed only for its memory
            self.memory.add(run(replay))
            known.append((sizes[replay.shape], self._seconds(self._operations.drain())))

        largest = self.tools.largest(shapes)
        for replay in largest:
            simulate(replay)
        if self._machine is None:
            return {}
        most = max(size for size, _ in known)
        total = sum(sizes[shape] * times for shape, times in shapes.times.items())
        largest_total = sum(sizes[shape] * times for shape, times in shapes.times.items() if sizes[shape] == most)
        others = [] if largest_total > NEARLY_ALL * total else _sample_shapes(sizes, most)
        for shape in others:
            batch = partial(shapes.batch, shape, self.device)
            simulate(replace(largest[0], batch=batch, shape=shape))
        if not others and len(largest) == 1:
            known.append((0, dict.fromkeys(known[0][1], 0.0)))  # the few smaller batches scale in proportion
        known = _mean_by_size(known)
        laps: dict[str, list[float]] = {phase: [] for phase in known[0][1]}
        for shape, times in shapes.times.items():
            for phase, seconds in _interpolate(known, sizes[shape]).items():
                laps[phase] += [seconds] * times
        return laps

    def _reading_seconds(self, _: float) -> float:
        """Predicted seconds of the reading that was just scheduled; ignores its time on fake tensors."""
        self.memory.measure()
        return sum(self._seconds(self._operations.drain()).values())

    def _seconds(self, phases: Phases) -> dict[str, float]:
        if self._machine is None:
            return {}
        return {
            phase: self._machine.seconds(_TIMED_AS.get(phase, phase), operations)
            for phase, operations in phases.items()
        }

    def _enter_training(self, loss: Callable[[Batch], Tensor], shapes: BatchLog, kind: str = "step") -> None:
        """Adds the analytic FLOPs of all steps, to the totals too; counted ones if there are none."""
        phases = self.flop_ledger.training(loss, shapes.times, 0, 0)
        if any(entry.analytic is None for entry in phases.values()):
            whole, half = self.counting.steps(loss, shapes, kind), self.counting.forward_half(loss, shapes, kind)
            phases = self.flop_ledger.training(loss, shapes.times, half, whole)
        else:
            phases = {phase: entry.model_copy(update={"counted": entry.analytic}) for phase, entry in phases.items()}
        self.cost.flops += sum(entry.counted or 0 for entry in phases.values())
        self.tools.count_tokens(shapes)
        self.cost.enter(phases)

    def _entry(self, call: Callable[[Batch], Tensor], shapes: BatchLog, calls: Mapping[str, int]) -> PhaseFlops:
        """The entry of scoring rows or computing their features, likewise."""
        entry = self.flop_ledger.rows(call, shapes.times, 0, calls)
        if entry.analytic is None:
            return self.flop_ledger.rows(call, shapes.times, self.counting.rows(call, shapes), calls)
        return entry.model_copy(update={"counted": entry.analytic})


def _sample_shapes(sizes: Mapping[Shape, int], largest: int) -> list[Shape]:
    """A few shapes between the smallest and the largest, without the largest."""
    ordered = sorted((shape for shape in sizes if sizes[shape] < largest), key=lambda shape: (sizes[shape], shape))
    indices = {round(step * len(ordered) / (SIMULATED - 1)) for step in range(SIMULATED - 1)}
    return [ordered[index] for index in sorted(indices) if index < len(ordered)]


def _mean_by_size(known: list[tuple[int, dict[str, float]]]) -> list[tuple[int, dict[str, float]]]:
    """The seconds by size, in order; the mean of shapes with equal sizes."""
    by_size: dict[int, list[dict[str, float]]] = {}
    for size, seconds in known:
        by_size.setdefault(size, []).append(seconds)
    return [
        (size, {phase: sum(seconds[phase] for seconds in group) / len(group) for phase in group[0]})
        for size, group in sorted(by_size.items())
    ]


def _interpolate(known: list[tuple[int, dict[str, float]]], size: int) -> dict[str, float]:
    """Seconds of a shape, linearly interpolated between the simulated shapes, which are in order of size."""
    index = min(max(1, bisect.bisect_left([known_size for known_size, _ in known], size)), len(known) - 1)
    if len(known) == 1 or known[index][0] == known[index - 1][0]:
        return known[index][1]
    (low, below), (high, above) = known[index - 1], known[index]
    fraction = (size - low) / (high - low)
    return {phase: below[phase] + fraction * (above[phase] - below[phase]) for phase in below}
