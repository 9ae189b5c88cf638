"""The measuring harness: it trains and scores, and records the costs."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor, nn

from tunefront.bench.meters.batches import BatchLog
from tunefront.bench.meters.fake_weights import current
from tunefront.bench.meters.flops.by_phase import FlopLedger
from tunefront.bench.meters.memory.peak import Growth, PeakMemory, peak_memory
from tunefront.bench.meters.memory.phases import BatchReplay, MemoryMeter, PhaseMemory, requiring_grad
from tunefront.bench.meters.time import Clock
from tunefront.bench.models.examples import EncodedExamples, stacked
from tunefront.bench.models.restorable import make_writable
from tunefront.bench.records import Spread
from tunefront.bench.records.environment import versions
from tunefront.bench.training.cost import CostLog
from tunefront.bench.training.demonstrations import Prompts
from tunefront.bench.training.feature_cache import FORMAT, FeatureStore, RowValues
from tunefront.bench.training.gradients import RowGradients
from tunefront.bench.training.instruments import Instruments, Subject, advice, encoded
from tunefront.bench.training.step import NotFinite, Step
from tunefront.methods.base import AfterStep, Backbone, Batch, Examples, Harness, Prefilled, Prefix, Scorer

Report = Callable[[str, int, int], None]
"""Receives the progress of a cell: (phase, steps done, total steps)."""


class CellHarness(Harness, Protocol):
    """A harness that also scores rows, and has the costs for a cell's record."""

    tools: Instruments
    cost: CostLog
    memory: MemoryMeter
    prompts: Prompts
    flop_ledger: FlopLedger

    def score(self, scorer: Scorer, examples: EncodedExamples) -> RowValues:
        """(rows, choices) scores of every row and their costs; nothing goes on the training clock."""

    def peak(self) -> AbstractContextManager[PeakMemory]:
        """The peak memory of a block, by the process and by the allocator."""

    def step_seconds(self, scored: RowValues) -> dict[str, Spread]:
        """Seconds of each phase of a training step and of a batch of `scored`; phases that never ran are omitted."""


class MeasuringHarness:
    """The harness that `Method.fit` sees when a cell runs: it owns clocks, seeds, recipe and caches.

    Args: features, the cache of precomputed states; report, called with every step; conditions that change seconds but
    no scores (processor, parallel cells): features are shared within the same conditions.
    """

    def __init__(
        self,
        subject: Subject,
        features: FeatureStore | None = None,
        report: Report | None = None,
        conditions: tuple[str, ...] = (),
    ):
        self.subject, self.model, self.recipe, self.device = subject, subject.model, subject.recipe, subject.device
        self.tools = tools = Instruments(subject)
        self.generator, self.cost, self.memory = tools.generator, tools.cost, tools.memory
        self.prompts, self.counting, self.flop_ledger = tools.prompts, tools.counting, subject.flop_ledger
        self._features, self._conditions = features, conditions
        self._report: Report = report or (lambda phase, done, total: None)

    def train(
        self,
        parameters: Mapping[str, nn.Parameter],
        loss: Callable[[Batch], Tensor],
        examples: Examples,
        after_step: AfterStep | None = None,
    ) -> None:
        """Runs the recipe over `examples` on the clock; NotFinite as soon as the loss is not a finite number."""
        rows, total, shapes = self.tools.begin(parameters, examples)
        make_writable(parameters.values())
        steps = self.tools.steps(parameters, loss, rows, total, after_step)
        with self.cost.clock.running():
            for done, batch, value in itertools.islice(steps, total):
                shapes.add(batch)
                self.cost.losses.append(value)
                self.cost.examples += len(batch.labels)
                self._report("train", done, total)
        if not all(parameter.isfinite().all() for parameter in parameters.values()):  # no later loss would show it
            raise NotFinite(f"a gradient overflowed in the last of {total} steps; {advice(self.recipe)}")
        self.cost.steps += total
        self.model.eval()
        self._enter_training(loss, shapes)
        now = current(self.model, parameters)
        self.memory.schedule_step(
            lambda: Step(now(), loss, self.recipe, self.subject.autocast), self.tools.largest(shapes)
        )

    def gradients(
        self,
        parameters: Mapping[str, nn.Parameter],
        loss: Callable[[Batch], Tensor],
        examples: Examples,
        each: Callable[[Tensor], Tensor],
    ) -> dict[str, Tensor]:
        """The sum of `each(gradient)` over all rows, by name.

        Errors: NotFinite if a sum is not finite; ValueError for other parameters than the model's.
        """
        shapes = self.tools.single_rows(parameters, examples)
        requested = set(map(id, parameters.values()))
        with requiring_grad([(parameter, id(parameter) in requested) for parameter in self.model.parameters()]):
            now = current(self.model, parameters)
            sums = self._add_gradients(lambda: RowGradients(now(), loss, each, self.subject.autocast), shapes)
        self.cost.examples += len(shapes.examples)
        return sums

    def _add_gradients(self, start: Callable[[], RowGradients], shapes: BatchLog) -> dict[str, Tensor]:
        for replay in self.tools.largest(shapes):  # before these sums exist: measuring has its own
            self.memory.add(self.memory.gradients(start, replay))
        gradients, rows = start(), shapes.examples
        self.model.train()
        for row in range(len(rows)):
            with self.cost.clock.running():
                gradients.forward(rows.batch([row], self.device)).backward()  # type: ignore[no-untyped-call]
                gradients.update()
            self._report("gradients", row + 1, len(rows))
        self.model.eval()
        if not all(tensor.isfinite().all() for tensor in gradients.sums.values()):
            raise NotFinite(f"the gradients of one of {len(rows)} rows overflowed; use a wider dtype")
        self._enter_training(gradients.loss, shapes, "gradients")
        return gradients.sums

    def _enter_training(self, loss: Callable[[Batch], Tensor], shapes: BatchLog, kind: str = "step") -> None:
        """Adds the FLOPs of forward and backward passes to totals and phases; `kind` as in `Counting.steps`."""
        flops = self.counting.steps(loss, shapes, kind)
        half = self.counting.forward_half(loss, shapes, kind)
        self.cost.flops += flops
        self.tools.count_tokens(shapes)
        self.cost.enter(self.flop_ledger.training(loss, shapes.times, half, flops))

    def cached(self, name: str, compute: Callable[[Batch], Tensor], examples: Examples) -> EncodedExamples:
        """`examples` with the output rows of `compute` in place of tokens."""
        rows = encoded(examples)
        self.cost.cut_rows |= rows.cut_rows
        key = self._features_key(name, rows) if self._features else ""
        stored = self._features.read(key) if self._features else None
        if stored is None:
            start = Growth.in_use(self.device)
            stored, replays = self._compute_rows("features", compute, rows)
            grown, memory = Growth.since(start, self.device), PhaseMemory()
            for replay in replays:
                memory |= self.memory.batch("features", compute, replay)
            stored = replace(stored, grown=grown, memory=memory)
            if self._features:
                self._features.write(key, stored)
        # Cached features have no entry; it follows from the shapes of the rows, as for new ones.
        entry = stored.entry or self.flop_ledger.rows(compute, self.tools.scored_shapes(rows).times, stored.flops)
        return self.tools.charge_features(stored, entry, rows, name)

    def prefill(self, backbone: Backbone, demonstrations: Examples) -> Prefix:
        """Tokenises demonstrations and reads them on a separate clock; every row scored later follows them."""
        return self.tools.prefill(backbone, demonstrations)

    def start_from(self, backbone: Backbone, demonstrations: Examples) -> Prefilled:
        """Reads demonstrations as part of training; see `tunefront.methods.base.Harness.start_from`."""
        return self.tools.start_from(backbone, demonstrations)

    def scores(self, scorer: Scorer, examples: Examples) -> Tensor:
        """(rows, choices) scores of rows for calibration; their costs are added to those of the prefixes."""
        return self.tools.calibrate(self.score(scorer, encoded(examples)), examples)

    def score(self, scorer: Scorer, examples: EncodedExamples) -> RowValues:
        """(rows, choices) scores of every row and their costs; nothing goes on the training clock."""
        scored, replays = self._compute_rows("evaluate", scorer, self.tools.prepend_to(examples))
        self.memory.schedule_batch("query" if self.prompts.prefixes else "evaluation", scorer, replays)
        return scored

    def score_again(self, scorer: Scorer, examples: EncodedExamples, part: int, parts: int) -> Tensor:
        """(rows, choices) scores of every row, for the `part`-th of `parts` times; no cost of the cell changes."""
        clock, shapes = Clock(self.device, self.subject.now), BatchLog(examples)
        return self._outputs("spans", scorer, examples, clock, shapes, (part, parts))

    def step_seconds(self, scored: RowValues) -> dict[str, Spread]:
        """Seconds of each phase of a training step and of a batch of `scored`; phases that never ran are omitted."""
        return self.cost.step_seconds(scored.batch_seconds)

    def peak(self) -> AbstractContextManager[PeakMemory]:
        """The peak memory of a block, by the process and by the allocator."""
        return peak_memory(self.device)

    def _features_key(self, name: str, examples: EncodedExamples) -> str:
        """A hash of everything that can change a bit of the features or their costs: the current weights, the rows, the
        code, and the conditions under which seconds are comparable."""
        weights = hashlib.sha256()
        for path, tensor in self.model.state_dict().items():
            if not path.startswith("head."):
                weights.update(path.encode() + tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        device = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        arithmetic = {"device": device, "threads": torch.get_num_threads(), "dtype": self.recipe.dtype}
        parts = [
            FORMAT,
            name,
            self.subject.identity,
            self._conditions,
            arithmetic,
            self.subject.eval_batch_size,
            versions(),
        ]
        return hashlib.sha256(json.dumps([*parts, weights.hexdigest(), examples.fingerprint]).encode()).hexdigest()

    def _compute_rows(
        self, phase: str, call: Callable[[Batch], Tensor], examples: EncodedExamples
    ) -> tuple[RowValues, list[BatchReplay]]:
        """Calls `call` on all rows, batch by batch in evaluation mode, the longest rows first; returns one output
        row per row, and the largest batches."""
        clock, shapes = Clock(self.device, self.subject.now), BatchLog(examples)
        with self.flop_ledger.count_calls() as calls:
            values = self._outputs(phase, call, examples, clock, shapes)
        flops = self.counting.rows(call, shapes)
        entry = self.flop_ledger.rows(call, shapes.times, flops, calls)
        read, laps = self.flop_ledger.reads_choices(calls), tuple(clock.laps)
        row_outputs = RowValues(
            values, clock.seconds, flops, clock.cpu_seconds, batch_seconds=laps, entry=entry, reads_choices=read
        )
        return row_outputs, self.tools.largest(shapes)

    def _outputs(
        self,
        phase: str,
        call: Callable[[Batch], Tensor],
        examples: EncodedExamples,
        clock: Clock,
        shapes: BatchLog,
        part: tuple[int, int] = (0, 1),
    ) -> Tensor:
        """One output row per row, with -inf where a row has fewer values than others; `part` is (which time, of how
        many) the rows are gone through."""
        outputs: dict[int, Tensor] = {}
        order = examples.scoring_order(self.subject.eval_batch_size)
        self.model.eval()
        for done, rows in enumerate(order, 1 + part[0] * len(order)):
            with clock.running(), torch.inference_mode(), self.subject.autocast():
                batch = examples.batch(rows, self.device)
                values = row_values(call(batch), len(rows), phase).float().cpu()
            shapes.add(batch)
            outputs.update(zip(rows, values, strict=True))
            self._report(phase, done, part[1] * len(order))
        return stacked([outputs[row] for row in range(len(examples))])


def row_values(values: object, rows: int, phase: str) -> Tensor:
    """The output (rows, n) of a scorer or of a computation of features; TypeError or ValueError for other outputs."""
    source = "the computation of features" if phase == "features" else "the scorer from fit()"
    if not isinstance(values, Tensor):
        raise TypeError(f"{source} returned {type(values).__name__}, not a tensor with one row per example")
    if values.ndim != 2 or len(values) != rows or not values.shape[1]:
        raise ValueError(f"{source} returned a tensor of shape {tuple(values.shape)} for {rows} rows, not ({rows}, n)")
    if values.is_complex():
        raise TypeError(f"{source} returned complex numbers ({values.dtype}), not real ones")
    return values
