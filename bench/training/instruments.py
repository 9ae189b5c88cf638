"""The tools of every harness, whether it measures, predicts or times: a cost log, meters and prompts."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial

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
from tunefront.bench.training.feature_cache import RowValues
from tunefront.bench.training.gradients import check_parameters
from tunefront.bench.training.step import NotFinite, Step, rate, total_steps
from tunefront.methods.base import AfterStep, Backbone, Batch, Examples, Prefilled, Prefix, Recipe, Unsupported

Seconds = Callable[[float], float]
"""Maps measured seconds of reading to the seconds that are recorded: the same, or predicted ones."""


@dataclass(frozen=True)
class Subject:
    """The model that a method is fitted to, and how.

    Args: identity, names method, backbone and task shape, under which counted FLOPs and cached features may be shared;
    flop_ledger, has FLOPs from every source; queries, all rows to be scored after fitting, if they are known: they
    decide how many demonstrations are read; now, the function that clocks read.
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
        """The model's device."""
        return next(self.model.parameters()).device

    def autocast(self) -> AbstractContextManager[object]:
        """bf16 autocast if the recipe asks for it."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.dtype == "bfloat16")


class Instruments:
    """The cost log, the meters and the prompts of a subject, with the operations that all harnesses share.

    Args: observer, is notified of every operator while memory is measured; seconds, maps the seconds of reading.
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
        """The training rows, the recipe's number of steps over them, and an empty log of their shapes; ValueError if
        there is nothing to train."""
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
        after_step: AfterStep | None = None,
    ) -> Iterator[tuple[int, Batch, float]]:
        """Endless optimiser steps, with a schedule over `total`; yields (steps done, batch, its loss)."""
        recipe, clocks = self.subject.recipe, self.cost.clocks
        step = Step(parameters, loss, recipe, self.subject.autocast)
        schedule = torch.optim.lr_scheduler.LambdaLR(step.optimizer, lambda done: rate(recipe, done, total))
        order = training_order(examples, recipe.batch_size, self.generator, recipe.balanced)
        self.subject.model.train()
        for done in itertools.count(1):
            with clocks["data"].running():
                batch = examples.batch(next(order), self.device)
            with clocks["forward"].running():
                loss_tensor = step.forward(batch)
                value = loss_tensor.item()
            if not math.isfinite(value):
                raise NotFinite(f"the loss is {value} at step {done} of {total}; {advice(recipe)}")
            with clocks["backward"].running():
                loss_tensor.backward()  # type: ignore[no-untyped-call]
            with clocks["optimizer"].running():
                step.update(None if after_step is None else partial(after_step, done, total))
            if done <= total:
                schedule.step()
            yield done, batch, value

    def single_rows(self, parameters: Mapping[str, nn.Parameter], examples: Examples) -> BatchLog:
        """The rows whose gradients are summed, each as a separate batch; ValueError for other parameters than the
        model's."""
        check_parameters(self.subject.model, parameters)
        rows = self.prompts.after_start(encoded(examples))
        self.cost.cut_rows |= encoded(examples).cut_rows
        shapes = BatchLog(rows, training=True)
        for row in range(len(rows)):
            shapes.add(rows.batch([row]))
        return shapes

    def count_tokens(self, shapes: BatchLog) -> None:
        """Adds the tokens of all rows that training ran. A model with a head reads no choices."""
        backbone = self.subject.flop_ledger.backbone
        self.cost.tokens += shapes.tokens(choices=backbone is not None and backbone.head is None)

    def scored_shapes(self, examples: EncodedExamples) -> BatchLog:
        """The shapes of the batches that score every row, without running them."""
        shapes = BatchLog(examples)
        for rows in examples.scoring_order(self.subject.eval_batch_size):
            shapes.add(examples.batch(rows))
        return shapes

    def largest(self, shapes: BatchLog) -> list[BatchReplay]:
        """The largest batches, with the tensors that prefixes and leads keep in memory."""
        kept = [tensor for prefix in self.prompts.prefixes for tensor in keys_and_values(prefix)] + self._kept_lead
        return shapes.largest(self.device, kv_cache=kept)

    def prefill(self, backbone: Backbone, demonstrations: Examples) -> Prefix:
        """Tokenises demonstrations and reads them on a separate clock; every row scored later follows them."""
        self.keep_lead()
        place = self.prompts.add(backbone, encoded(demonstrations))
        self._backbones[place] = backbone
        self._read(place)
        return self.prompts.prefixes[place]

    def start_from(self, backbone: Backbone, demonstrations: Examples) -> Prefilled:
        """Reads demonstrations as part of training; every row of training or scoring is tokenised after all of
        them from now on. Their costs are measured now, because the method will change the result of reading them."""
        prefix, clock = self.prompts.start(backbone, encoded(demonstrations))
        self.memory.add(self.memory.reading(lambda: keys_and_values(backbone.read(prefix))))
        layers: tuple[KeysValues, ...] = getattr(prefix, "layers", ())
        if not layers:
            name = type(self.subject.model).__name__
            raise Unsupported(f"{name} keeps no keys and values of demonstrations, so training cannot start from them")
        flops = self.prompts.start_flops(backbone)
        self.cost.clock.seconds += self._seconds(clock.seconds)
        self.cost.clock.cpu_seconds += clock.cpu_seconds
        self.cost.flops += flops
        self.cost.tokens += prefix.tokens
        self.cost.enter({"prefill": self.subject.flop_ledger.prefix(prefix.tokens, flops)})
        return Prefilled(layers, prefix.demonstrations.spans)

    def prepend_to(self, examples: EncodedExamples) -> EncodedExamples:
        """The rows after the lead and every prefix; reads more of a prefix if a row keeps more demonstrations."""
        self.keep_lead()
        for place, n_kept in self.prompts.missing(examples).items():
            self._read(place, n_kept)
        return self.prompts.prepend_to(examples)

    def keep_lead(self) -> None:
        """Computes the lead for rows scored from now on, and records its memory."""
        backbone = self.subject.flop_ledger.backbone
        tensors = self.prompts.keep_lead(backbone) if backbone is not None else []
        if backbone is None or not tensors:
            return
        self._kept_lead = tensors
        self.memory.schedule_reading((0, backbone.led), lambda: backbone.make_lead().tensors, [])
        self.prompts.lead_seconds = self._seconds(self.prompts.lead_seconds)

    def reader(self) -> Callable[[], object] | None:
        """Reads the lead and every prefix again, as before a first query; None if nothing that is read is kept."""
        backbone = self.subject.flop_ledger.backbone
        led = backbone if backbone is not None and self.prompts.reads_lead(backbone) else None
        known = enumerate(self.prompts.prefixes)
        read = [(self._backbones[place], prefix) for place, prefix in known if keys_and_values(prefix)]
        if led is None and not read:
            return None
        return lambda: (led and led.make_lead(), [own.read(prefix) for own, prefix in read])

    def _read(self, place: int, n_kept: int | None = None) -> None:
        """Reads a prefix and records its memory in addition to that of the others."""
        prefix = self.prompts.read(self._backbones[place], place, n_kept)
        if keys_and_values(prefix):
            others = [other for other in self.prompts.prefixes if other is not prefix]
            kept, backbone = [tensor for other in others for tensor in keys_and_values(other)], self._backbones[place]
            sizes = (len(others), prefix.tokens)
            self.memory.schedule_reading(
                sizes, lambda: keys_and_values(backbone.read(prefix)), [*kept, *self._kept_lead]
            )
        self.prompts.reading_seconds[place] = self._seconds(self.prompts.reading_seconds[place])

    def calibrate(self, scored: RowValues, examples: Examples) -> Tensor:
        """Adds the costs of rows that were scored for calibration to those of the prefixes; returns their scores."""
        self.cost.cut_rows |= encoded(examples).cut_rows
        self.prompts.calibrating_seconds += scored.seconds
        self.prompts.calibrating_cpu_seconds += scored.cpu_seconds
        self.prompts.flops += scored.flops
        self.prompts.calibrating += scored.entry or PhaseFlops(counted=scored.flops)
        return scored.values

    def charge_features(
        self, features: RowValues, entry: PhaseFlops, examples: EncodedExamples, name: str
    ) -> EncodedExamples:
        """The rows with features in place of tokens. Their costs are charged even if an earlier cell computed them, so
        that a record does not depend on the content of the cache."""
        self.cost.grown |= features.grown
        self.memory.add(features.memory)
        self.cost.clock.seconds += features.seconds
        self.cost.clock.cpu_seconds += features.cpu_seconds
        self.cost.flops += features.flops
        self.cost.tokens += sum(map(examples.text_tokens, range(len(examples))))
        self.cost.enter({"features": entry})
        self.cost.examples += len(examples)
        return examples.with_features(features.values.to(self.device), name)


def advice(recipe: Recipe) -> str:
    """What to do if training does not stay finite."""
    return f"lower the learning rate (now {recipe.learning_rate:g}), or use a wider dtype (now {recipe.dtype})"


def encoded(examples: Examples) -> EncodedExamples:
    """The examples with the type that harnesses create; TypeError for any others."""
    if not isinstance(examples, EncodedExamples):
        raise TypeError(f"train on the examples passed to fit(), or on harness.cached(...), not on {type(examples)}")
    return examples
