"""What every harness works with, whether it measures, predicts or times: a cost log, meters, and what is read once."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tunefront.bench.meters.batches import BatchLog
from tunefront.bench.meters.flops.by_phase import FlopLedger
from tunefront.bench.meters.flops.extrapolate import Counting
from tunefront.bench.meters.memory.phases import BatchReplay, MemoryMeter, keys_and_values
from tunefront.bench.meters.memory.tracker import Observer
from tunefront.bench.models.examples import EncodedExamples, training_order
from tunefront.bench.models.scoring.prefix import KeysValues
from tunefront.bench.records import PhaseFlops
from tunefront.bench.training.cost import CostLog
from tunefront.bench.training.demonstrations import Prompts
from tunefront.bench.training.feature_cache import Rowwise
from tunefront.bench.training.gradients import check_own
from tunefront.bench.training.step import NotFinite, Step, rate, total_steps
from tunefront.methods.base import Backbone, Batch, Examples, Prefilled, Prefix, Recipe, Unsupported

Seconds = Callable[[float], float]
"""The seconds that are entered for what a clock says was read in so many: these, or predicted ones."""


@dataclass(frozen=True)
class Subject:
    """What a method is fitted to, and how.

    Args: identity, names method, backbone and task shape, under which counted FLOPs and cached features may be shared;
    flop_ledger, which has FLOPs from every source; queries, all rows that are to be scored once the method has fitted,
    where they are known: they decide how many demonstrations are read; now, what clocks read.
    """

    model: nn.Module
    recipe: Recipe
    seed: int
    identity: tuple[str, ...]
    eval_batch_size: int = 64
    flop_ledger: FlopLedger = field(default_factory=FlopLedger)
    queries: Sequence[EncodedExamples] = ()
    now: Callable[[], float] = time.perf_counter

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def autocast(self) -> AbstractContextManager[object]:
        """bf16 autocast where the recipe asks for it."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.dtype == "bfloat16")


class Instruments:
    """The cost log, the meters and the prompts of a subject, and what a harness does with them that takes no decision.

    Args: observer, which hears of every operator that measuring memory runs; seconds, what is entered for reading.
    """

    def __init__(self, subject: Subject, observer: Observer | None = None, seconds: Seconds = float):
        self.subject, self.device = subject, subject.device
        self.generator = torch.Generator().manual_seed(subject.seed)
        self.cost, ledger = CostLog.on(self.device, subject.now), subject.flop_ledger
        self.memory = MemoryMeter(subject.model, subject.autocast, observer)
        led = 0 if ledger.backbone is None else ledger.backbone.led
        self.counting = Counting(subject.model, subject.recipe, subject.identity, subject.autocast, led)
        identity = (*subject.identity, subject.recipe.dtype)
        self.prompts = Prompts(subject.model, identity, subject.autocast, subject.queries, subject.now)
        self._seconds = seconds
        self._backbones: dict[int, Backbone] = {}
        self._kept_lead: list[Tensor] = []

    def begin(
        self, parameters: Mapping[str, nn.Parameter], examples: Examples
    ) -> tuple[EncodedExamples, int, BatchLog]:
        """The rows to train on, how many steps the recipe takes over them, and where to note their shapes; ValueError
        where there is nothing to train."""
        if not parameters:
            raise ValueError("nothing to train: attach() left no parameter that requires gradients")
        self.cost.cut_rows |= encoded(examples).cut_rows
        rows = self.prompts.after_start(encoded(examples))
        return rows, total_steps(self.subject.recipe, len(rows)), BatchLog(rows, training=True)

    def steps(
        self,
        parameters: Mapping[str, nn.Parameter],
        loss: Callable[[Batch], Tensor],
        examples: EncodedExamples,
        total: int,
    ) -> Iterator[tuple[int, Batch, float]]:
        """Optimiser steps without end, the schedule spanning `total`; yields (steps done, batch, its loss)."""
        recipe, clocks = self.subject.recipe, self.cost.clocks
        step = Step(parameters, loss, recipe, self.subject.autocast)
        schedule = torch.optim.lr_scheduler.LambdaLR(step.optimizer, lambda done: rate(recipe, done, total))
        order = training_order(examples, recipe.batch_size, self.generator, recipe.balanced)
        self.subject.model.train()
        for done in itertools.count(1):
            with clocks["data"].running():
                batch = examples.batch(next(order), self.device)
            with clocks["forward"].running():
                value = step.forward(batch)
                number = value.item()
            if not math.isfinite(number):
                raise NotFinite(f"the loss is {number} at step {done} of {total}; {advice(recipe)}")
            with clocks["backward"].running():
                value.backward()  # type: ignore[no-untyped-call]
            with clocks["optimizer"].running():
                step.update()
            if done <= total:
                schedule.step()
            yield done, batch, number

    def single_rows(self, parameters: Mapping[str, nn.Parameter], examples: Examples) -> BatchLog:
        """The rows whose gradients are added up, each a batch of its own; ValueError for what are no parameters of the
        model."""
        check_own(self.subject.model, parameters)
        rows = self.prompts.after_start(encoded(examples))
        self.cost.cut_rows |= encoded(examples).cut_rows
        shapes = BatchLog(rows, training=True)
        for row in range(len(rows)):
            shapes.add(rows.batch([row]))
        return shapes

    def scored_shapes(self, examples: EncodedExamples) -> BatchLog:
        """The shapes that scoring every row has, without running any."""
        shapes = BatchLog(examples)
        for rows in examples.scoring_order(self.subject.eval_batch_size):
            shapes.add(examples.batch(rows))
        return shapes

    def largest(self, shapes: BatchLog) -> list[BatchReplay]:
        """The largest batches, beside what prefixes and leads keep."""
        kept = [tensor for prefix in self.prompts.prefixes for tensor in keys_and_values(prefix)] + self._kept_lead
        return shapes.largest(self.device, kv_cache=kept)

    def prefill(self, backbone: Backbone, demonstrations: Examples) -> Prefix:
        """Demonstrations in tokens, read on a clock of its own; every row scored later is made to follow them."""
        self.keep_lead()
        place = self.prompts.add(backbone, encoded(demonstrations))
        self._backbones[place] = backbone
        self._read(place)
        return self.prompts.prefixes[place]

    def start_from(self, backbone: Backbone, demonstrations: Examples) -> Prefilled:
        """Demonstrations read as part of training; every row trained on or scored later is tokenised as it follows all
        of them. What they cost is found out at once: the method is about to change what reading them would give."""
        prefix, seconds = self.prompts.start(backbone, encoded(demonstrations))
        self.memory.add(self.memory.reading(lambda: keys_and_values(backbone.read(prefix))))
        layers: tuple[KeysValues, ...] = getattr(prefix, "layers", ())
        if not layers:
            name = type(self.subject.model).__name__
            raise Unsupported(f"{name} keeps no keys and values of demonstrations to train from")
        flops = self.prompts.start_flops(backbone)
        self.cost.clock.seconds += self._seconds(seconds)
        self.cost.flops += flops
        self.cost.enter({"prefill": self.subject.flop_ledger.prefix(prefix.tokens, flops)})
        return Prefilled(layers, prefix.demonstrations.spans)

    def following(self, examples: EncodedExamples) -> EncodedExamples:
        """The rows as they follow what leads and every prefix, which is read further where one of them keeps more."""
        self.keep_lead()
        for place, held in self.prompts.lacking(examples).items():
            self._read(place, held)
        return self.prompts.following(examples)

    def keep_lead(self) -> None:
        """Makes what leads in the rows that are scored from now on, and notes the memory that it takes."""
        backbone = self.subject.flop_ledger.backbone
        made = self.prompts.keep_lead(backbone) if backbone is not None else []
        if backbone is None or not made:
            return
        self._kept_lead = made
        self.memory.schedule_reading((0, backbone.led), lambda: backbone.make_lead().tensors, [])
        self.prompts.lead_seconds = self._seconds(self.prompts.lead_seconds)

    def _read(self, place: int, held: int | None = None) -> None:
        """Reads a prefix and notes the memory that it takes beside the others."""
        prefix = self.prompts.read(self._backbones[place], place, held)
        if keys_and_values(prefix):
            others = [other for other in self.prompts.prefixes if other is not prefix]
            kept, backbone = [tensor for other in others for tensor in keys_and_values(other)], self._backbones[place]
            sizes = (len(others), prefix.tokens)
            self.memory.schedule_reading(
                sizes, lambda: keys_and_values(backbone.read(prefix)), [*kept, *self._kept_lead]
            )
        self.prompts.reading_seconds[place] = self._seconds(self.prompts.reading_seconds[place])

    def calibrate(self, scored: Rowwise, examples: Examples) -> Tensor:
        """Enters rows that were scored as part of getting ready: what they cost joins the prefixes'."""
        self.cost.cut_rows |= encoded(examples).cut_rows
        self.prompts.calibrating_seconds += scored.seconds
        self.prompts.flops += scored.flops
        self.prompts.calibrating += scored.entry or PhaseFlops(counted=scored.flops)
        return scored.values

    def charge_features(
        self, features: Rowwise, entry: PhaseFlops, examples: EncodedExamples, name: str
    ) -> EncodedExamples:
        """The rows with features in place of tokens; what these cost is charged even when an earlier cell computed
        them, so that a record does not depend on what the cache holds."""
        self.cost.grown |= features.grown
        self.memory.add(features.memory)
        self.cost.clock.seconds += features.seconds
        self.cost.flops += features.flops
        self.cost.enter({"features": entry})
        self.cost.examples += len(examples)
        return examples.with_features(features.values.to(self.device), name)


def advice(recipe: Recipe) -> str:
    """What to do where training does not stay finite."""
    return f"lower the learning rate (now {recipe.learning_rate:g}), or take a wider dtype (now {recipe.dtype})"


def encoded(examples: Examples) -> EncodedExamples:
    """The examples as harnesses make them; TypeError for any others."""
    if not isinstance(examples, EncodedExamples):
        raise TypeError(f"train on the examples that fit() was given, or on harness.cached(...), not {type(examples)}")
    return examples
