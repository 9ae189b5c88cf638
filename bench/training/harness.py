"""The harness that measures: it trains, scores, and keeps what all of it took."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor, nn

from tunefront.bench.meters.batches import BatchLog
from tunefront.bench.meters.flops.by_phase import FlopLedger
from tunefront.bench.meters.memory.peak import Growth, PeakMemory, peak_memory
from tunefront.bench.meters.memory.phases import BatchReplay, MemoryMeter, PhaseMemory, requiring_grad
from tunefront.bench.meters.time import Clock
from tunefront.bench.models.examples import EncodedExamples
from tunefront.bench.models.restorable import make_writable
from tunefront.bench.records import Spread
from tunefront.bench.records.environment import versions
from tunefront.bench.training.cost import CostLog
from tunefront.bench.training.demonstrations import Prompts
from tunefront.bench.training.feature_cache import FeatureStore, Rowwise
from tunefront.bench.training.gradients import RowGradients
from tunefront.bench.training.instruments import Instruments, Subject, advice, encoded
from tunefront.bench.training.step import NotFinite, Step
from tunefront.methods.base import Backbone, Batch, Examples, Harness, Prefilled, Prefix, Scorer

Report = Callable[[str, int, int], None]
"""(phase, steps done, steps in all) of a cell under way."""


class CellHarness(Harness, Protocol):
    """A harness that also scores rows, and has what a record says of a cell's costs."""

    tools: Instruments
    cost: CostLog
    memory: MemoryMeter
    prompts: Prompts
    flop_ledger: FlopLedger

    def score(self, scorer: Scorer, examples: EncodedExamples) -> Rowwise:
        """(rows, choices) scores of every row, and what they cost; nothing of it is on the training clock."""

    def peak(self) -> AbstractContextManager[PeakMemory]:
        """The peak of a block's memory, as the process and the allocator see it."""

    def step_seconds(self, scored: Rowwise) -> dict[str, Spread]:
        """What each phase of a training step took, and a batch of `scored`; phases that never ran are left out."""


class MeasuringHarness:
    """The harness that `Method.fit` sees when a cell runs: it owns clocks, seeds, recipe and caches.

    Args: features, where precomputed states are kept; report, called with every step; conditions, what changes seconds
    and no score (processor, cells side by side): features are shared within them.
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
        self, parameters: Mapping[str, nn.Parameter], loss: Callable[[Batch], Tensor], examples: Examples
    ) -> None:
        """Runs the recipe over `examples` on the clock; NotFinite as soon as the loss is not a finite number."""
        rows, total, shapes = self.tools.begin(parameters, examples)
        make_writable(parameters.values())
        with self.cost.clock.running():
            for done, batch, value in itertools.islice(self.tools.steps(parameters, loss, rows, total), total):
                shapes.add(batch)
                self.cost.losses.append(value)
                self.cost.examples += len(batch.labels)
                self._report("train", done, total)
        if not all(parameter.isfinite().all() for parameter in parameters.values()):  # no later loss would show it
            raise NotFinite(f"a gradient overflowed in the last of {total} steps; {advice(self.recipe)}")
        self.cost.steps += total
        self.model.eval()
        self._enter_training(loss, shapes)
        self.memory.schedule_step(
            lambda: Step(parameters, loss, self.recipe, self.subject.autocast), self.tools.largest(shapes)
        )

    def gradients(
        self,
        parameters: Mapping[str, nn.Parameter],
        loss: Callable[[Batch], Tensor],
        examples: Examples,
        each: Callable[[Tensor], Tensor],
    ) -> dict[str, Tensor]:
        """The sum over all rows of `each` of a row's gradient, by name.

        Errors: NotFinite where one is not finite; ValueError for what are no parameters of the model.
        """
        shapes = self.tools.single_rows(parameters, examples)
        wanted = set(map(id, parameters.values()))
        with requiring_grad([(parameter, id(parameter) in wanted) for parameter in self.model.parameters()]):
            sums = self._add_gradients(lambda: RowGradients(parameters, loss, each, self.subject.autocast), shapes)
        self.cost.examples += len(shapes.examples)
        return sums

    def _add_gradients(self, start: Callable[[], RowGradients], shapes: BatchLog) -> dict[str, Tensor]:
        for work in self.tools.largest(shapes):  # before there are sums, beside which those of measuring would lie
            self.memory.add(self.memory.gradients(start, work))
        gradients, rows = start(), shapes.examples
        self.model.train()
        for row in range(len(rows)):
            with self.cost.clock.running():
                gradients.forward(rows.batch([row], self.device)).backward()  # type: ignore[no-untyped-call]
                gradients.update()
            self._report("gradients", row + 1, len(rows))
        self.model.eval()
        if not all(tensor.isfinite().all() for tensor in gradients.sums.values()):
            raise NotFinite(f"the gradients of one of {len(rows)} rows overflowed; take a wider dtype")
        self._enter_training(gradients.loss, shapes, "gradients")
        return gradients.sums

    def _enter_training(self, loss: Callable[[Batch], Tensor], shapes: BatchLog, kind: str = "step") -> None:
        """Enters the FLOPs of forward and backward passes, in the totals too; `kind` as `Counting.steps` has it."""
        flops = self.counting.steps(loss, shapes, kind)
        half = self.counting.forward_half(loss, shapes, kind)
        self.cost.flops += flops
        self.cost.enter(self.flop_ledger.training(loss, shapes.times, half, flops))

    def cached(self, name: str, compute: Callable[[Batch], Tensor], examples: Examples) -> EncodedExamples:
        """`examples` with one row of `compute` each in place of tokens."""
        rows = encoded(examples)
        self.cost.cut_rows |= rows.cut_rows
        key = self._features_key(name, rows) if self._features else ""
        stored = self._features.read(key) if self._features else None
        if stored is None:
            start = Growth.in_use(self.device)
            stored, works = self._rowwise("features", compute, rows)
            grown, memory = Growth.since(start, self.device), PhaseMemory()
            for work in works:
                memory |= self.memory.batch("features", compute, work)
            stored = replace(stored, grown=grown, memory=memory)
            if self._features:
                self._features.write(key, stored)
        # What was kept has no entry: it follows from the shapes of the rows, as what was computed now has it.
        entry = stored.entry or self.flop_ledger.rows(compute, self.tools.scored_shapes(rows).times, stored.flops)
        return self.tools.charge_features(stored, entry, rows, name)

    def prefill(self, backbone: Backbone, demonstrations: Examples) -> Prefix:
        """Demonstrations in tokens, read on a clock of its own; every row scored later is made to follow them."""
        return self.tools.prefill(backbone, demonstrations)

    def start_from(self, backbone: Backbone, demonstrations: Examples) -> Prefilled:
        """Demonstrations read as part of training; see `tunefront.methods.base.Harness.start_from`."""
        return self.tools.start_from(backbone, demonstrations)

    def scores(self, scorer: Scorer, examples: Examples) -> Tensor:
        """(rows, choices) scores of rows that are part of getting ready; what they cost joins the prefixes'."""
        return self.tools.calibrate(self.score(scorer, encoded(examples)), examples)

    def score(self, scorer: Scorer, examples: EncodedExamples) -> Rowwise:
        """(rows, choices) scores of every row, and what they cost; nothing of it is on the training clock."""
        scored, works = self._rowwise("evaluate", scorer, self.tools.following(examples))
        self.memory.schedule_batch("query" if self.prompts.prefixes else "evaluation", scorer, works)
        return scored

    def step_seconds(self, scored: Rowwise) -> dict[str, Spread]:
        """What each phase of a training step took, and a batch of `scored`; phases that never ran are left out."""
        return self.cost.step_seconds(scored.batch_seconds)

    def peak(self) -> AbstractContextManager[PeakMemory]:
        """The peak of a block's memory, as the process and the allocator see it."""
        return peak_memory(self.device)

    def _features_key(self, name: str, examples: EncodedExamples) -> str:
        """Of everything that can change a bit of the features or what they cost: the weights as they are now, the rows,
        the code, and the conditions under which seconds compare."""
        weights = hashlib.sha256()
        for path, tensor in self.model.state_dict().items():
            if not path.startswith("head."):
                weights.update(path.encode() + tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        sums = {"device": self.device.type, "threads": torch.get_num_threads(), "dtype": self.recipe.dtype}
        parts = [name, self.subject.identity, self._conditions, sums, self.subject.eval_batch_size, versions()]
        return hashlib.sha256(json.dumps([*parts, weights.hexdigest(), examples.fingerprint]).encode()).hexdigest()

    def _rowwise(
        self, phase: str, call: Callable[[Batch], Tensor], examples: EncodedExamples
    ) -> tuple[Rowwise, list[BatchReplay]]:
        """One row of `call` for each row, batch by batch in evaluation mode, the longest rows first; and the largest
        batches."""
        clock, shapes = Clock(self.device, self.subject.now), BatchLog(examples)
        found: dict[int, Tensor] = {}
        order = examples.scoring_order(self.subject.eval_batch_size)
        self.model.eval()
        with self.flop_ledger.count_calls() as calls:
            for done, rows in enumerate(order, 1):
                with clock.running(), torch.inference_mode(), self.subject.autocast():
                    batch = examples.batch(rows, self.device)
                    values = row_values(call(batch), len(rows), phase).float().cpu()
                shapes.add(batch)
                found.update(zip(rows, values, strict=True))
                self._report(phase, done, len(order))
        flops = self.counting.rows(call, shapes)
        entry = self.flop_ledger.rows(call, shapes.times, flops, calls)
        values = _stacked([found[row] for row in range(len(examples))])
        rowwise = Rowwise(values, clock.seconds, flops, batch_seconds=tuple(clock.laps), entry=entry)
        return rowwise, self.tools.largest(shapes)


def row_values(values: object, rows: int, phase: str) -> Tensor:
    """What a scorer or a computation of features gave, (rows, n); TypeError or ValueError saying what it is instead."""
    what = "the scorer that fit() returned" if phase == "evaluate" else "what computes features"
    if not isinstance(values, Tensor):
        raise TypeError(f"{what} gave {type(values).__name__}, not a tensor of one row an example")
    if values.ndim != 2 or len(values) != rows or not values.shape[1]:
        raise ValueError(f"{what} gave a tensor of shape {tuple(values.shape)} for {rows} rows, not ({rows}, n)")
    if values.is_complex():
        raise TypeError(f"{what} gave complex numbers ({values.dtype}), not real ones")
    return values


def _stacked(rows: Sequence[Tensor]) -> Tensor:
    """One tensor of rows, -inf where a row has fewer values than others."""
    most = max(map(len, rows))
    return torch.stack([nn.functional.pad(row, (0, most - len(row)), value=-math.inf) for row in rows])
