"""The one training loop, and what else the harness does for a method while it fits."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from tunefront.bench.meters.batches import Shapes
from tunefront.bench.meters.flops.by_phase import FlopLedger
from tunefront.bench.meters.flops.extrapolate import Counting
from tunefront.bench.meters.memory.peak import NONE, Growth, PeakMemory, peak_memory
from tunefront.bench.meters.memory.phases import MemoryMeter, PhaseMemory, Work, flagged, keys_and_values
from tunefront.bench.meters.time import Clock, spread
from tunefront.bench.models.examples import EncodedExamples, training_order
from tunefront.bench.models.scoring.prefix import KeysValues
from tunefront.bench.records import PhaseFlops, Spread
from tunefront.bench.records.environment import versions
from tunefront.bench.training.demonstrations import Demonstrated, Prompts
from tunefront.bench.training.feature_cache import FeatureStore, Rowwise
from tunefront.bench.training.gradients import RowGradients, check_own
from tunefront.bench.training.step import Step, rate, total_steps
from tunefront.methods.base import (
    Backbone,
    Batch,
    Examples,
    Prefilled,
    Prefix,
    Recipe,
    Scorer,
    Unsupported,
)

Report = Callable[[str, int, int], None]
"""(phase, steps done, steps in all) of a cell under way."""


class NotFinite(ArithmeticError):
    """The training loss is not a number any more."""


@dataclass
class TrainingCost:
    """What fitting took: seconds on the clock (`clocks`: of each phase of a step), counted FLOPs (`flops_by_phase`:
    from every source), optimiser steps, rows through the model, losses, the rows learned from that had been cut, and by
    how much computing features grew memory, whether it was done now or earlier."""

    clock: Clock
    flops: int = 0
    steps: int = 0
    examples: int = 0
    losses: list[float] = field(default_factory=list)
    cut_rows: dict[int, Tensor] = field(default_factory=dict)
    grown: Growth = NONE
    clocks: dict[str, Clock] = field(default_factory=dict)
    flops_by_phase: dict[str, PhaseFlops] = field(default_factory=dict)

    def enter(self, phases: Mapping[str, PhaseFlops]) -> None:
        """Adds what ran to its phases."""
        known = self.flops_by_phase
        for phase, entry in phases.items():
            known[phase] = known[phase] + entry if phase in known else entry

    @property
    def final_loss(self) -> float | None:
        """Mean loss of the last tenth of the steps, None where nothing was trained."""
        last = self.losses[-max(1, len(self.losses) // 10) :]
        return sum(last) / len(last) if last else None


class Trainer:
    """The harness that `Method.fit` sees: it owns clocks, seeds, recipe and caches.

    Args: model, put into training mode while steps run; identity, names method, backbone and task shape, under which
    counted FLOPs and cached features may be shared; features, where precomputed states are kept; report, told of steps;
    conditions, what changes seconds and no score (processor, cells side by side): features are shared within them;
    flop_ledger, which tells FLOPs from every source; queries, all rows that are to be scored once the method has
    fitted, where they are known: they decide how many demonstrations are read.
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
        flop_ledger: FlopLedger | None = None,
        queries: Sequence[EncodedExamples] = (),
    ):
        self.model, self.recipe, self.identity = model, recipe, identity
        self.device = next(model.parameters()).device
        self.generator = torch.Generator().manual_seed(seed)
        self.cost, self.flop_ledger = TrainingCost(Clock(self.device)), flop_ledger or FlopLedger()
        self.cost.clocks = {name: Clock(self.device) for name in ("data", "forward", "backward", "optimizer")}
        self.memory = MemoryMeter(model, self.autocast)
        led = 0 if self.flop_ledger.backbone is None else self.flop_ledger.backbone.led
        self.counting = Counting(model, recipe, identity, self.autocast, led)
        self.prompts = Prompts(model, (*identity, recipe.dtype), self.autocast, queries)
        self._features, self._eval_batch_size, self._conditions = features, eval_batch_size, conditions
        self._backbones: dict[int, Backbone] = {}
        self._kept_lead: list[Tensor] = []
        self._report: Report = report or (lambda phase, done, total: None)

    def train(
        self, parameters: Mapping[str, nn.Parameter], loss: Callable[[Batch], Tensor], examples: Examples
    ) -> None:
        """Runs the recipe over `examples` on the clock; NotFinite as soon as the loss is not a finite number."""
        examples, total, shapes = self._begun(parameters, examples)
        with self.cost.clock.running():
            for done, batch, value in itertools.islice(self.steps(parameters, loss, examples, total), total):
                shapes.add(batch)
                self.cost.losses.append(value)
                self.cost.examples += len(batch.labels)
                self._report("train", done, total)
        if not all(parameter.isfinite().all() for parameter in parameters.values()):  # no later loss would show it
            raise NotFinite(f"a gradient overflowed in the last of {total} steps; {self._advice()}")
        self.cost.steps += total
        self.model.eval()
        self._enter_training(loss, shapes)
        self.memory.note_step(lambda: Step(parameters, loss, self.recipe, self.autocast), self._largest(shapes))

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
        check_own(self.model, parameters)
        rows = self.prompts.after_start(encoded(examples))
        self.cost.cut_rows |= encoded(examples).cut_rows
        shapes = Shapes(rows, training=True)
        for row in range(len(rows)):
            shapes.add(rows.batch([row]))
        wanted = set(map(id, parameters.values()))
        with flagged([(parameter, id(parameter) in wanted) for parameter in self.model.parameters()]):
            sums = self._add_gradients(lambda: RowGradients(parameters, loss, each, self.autocast), shapes)
        self.cost.examples += len(rows)
        return sums

    def _add_gradients(self, start: Callable[[], RowGradients], shapes: Shapes) -> dict[str, Tensor]:
        for work in self._largest(shapes):  # before there are sums, beside which those of measuring would lie
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

    def _enter_training(self, loss: Callable[[Batch], Tensor], shapes: Shapes, kind: str = "step") -> None:
        """Enters the FLOPs of forward and backward passes, in the totals too; `kind` as `Counting.steps` has it."""
        flops = self.counting.steps(loss, shapes, kind)
        half = self.counting.forward_half(loss, shapes, kind)
        self.cost.flops += flops
        self.cost.enter(self.flop_ledger.training(loss, shapes.times, half, flops))

    def _begun(self, parameters: Mapping[str, nn.Parameter], examples: Examples) -> tuple[EncodedExamples, int, Shapes]:
        """The rows, how many steps the recipe takes over them, and where to note their shapes; ValueError where there
        is nothing to train."""
        if not parameters:
            raise ValueError("nothing to train: attach() left no parameter that requires gradients")
        self.cost.cut_rows |= encoded(examples).cut_rows
        rows = self.prompts.after_start(encoded(examples))
        return rows, total_steps(self.recipe, len(rows)), Shapes(rows, training=True)

    def steps(
        self,
        parameters: Mapping[str, nn.Parameter],
        loss: Callable[[Batch], Tensor],
        examples: EncodedExamples,
        total: int,
    ) -> Iterator[tuple[int, Batch, float]]:
        """Optimiser steps without end, the schedule spanning `total`; yields (steps done, batch, its loss)."""
        step, clocks = Step(parameters, loss, self.recipe, self.autocast), self.cost.clocks
        schedule = torch.optim.lr_scheduler.LambdaLR(step.optimizer, lambda done: rate(self.recipe, done, total))
        order = training_order(examples, self.recipe.batch_size, self.generator, self.recipe.balanced)
        self.model.train()
        for done in itertools.count(1):
            with clocks["data"].running():
                batch = examples.batch(next(order), self.device)
            with clocks["forward"].running():
                value = step.forward(batch)
                number = value.item()
            if not math.isfinite(number):
                raise NotFinite(f"the loss is {number} at step {done} of {total}; {self._advice()}")
            with clocks["backward"].running():
                value.backward()  # type: ignore[no-untyped-call]
            with clocks["optimizer"].running():
                step.update()
            if done <= total:
                schedule.step()
            yield done, batch, number

    def cached(self, name: str, compute: Callable[[Batch], Tensor], examples: Examples) -> EncodedExamples:
        """`examples` with one row of `compute` each in place of tokens; what they cost is charged here even when an
        earlier cell computed them, so that a record does not depend on what the cache holds."""
        examples = encoded(examples)
        self.cost.cut_rows |= examples.cut_rows
        key = self._features_key(name, examples) if self._features else ""
        stored = self._features.read(key) if self._features else None
        if stored is None:
            start = Growth.in_use(self.device)
            stored, works = self._rowwise("features", compute, examples)
            grown, memory = Growth.since(start, self.device), PhaseMemory()
            for work in works:
                memory |= self.memory.batch("features", compute, work)
            stored = replace(stored, grown=grown, memory=memory)
            if self._features:
                self._features.write(key, stored)
        self.cost.grown |= stored.grown
        self.memory.add(stored.memory)
        self.cost.clock.seconds += stored.seconds
        self.cost.flops += stored.flops
        # What was kept has no entry: it follows from the shapes of the rows, as what was computed now has it.
        entry = stored.entry or self.flop_ledger.rows(compute, self._scored(examples).times, stored.flops)
        self.cost.enter({"features": entry})
        self.cost.examples += len(examples)
        return examples.with_features(stored.values.to(self.device), name)

    def prefill(self, backbone: Backbone, demonstrations: Examples) -> Prefix:
        """Demonstrations in tokens, read on a clock of its own; every row scored later is made to follow them."""
        self._keep_lead()
        place = self.prompts.add(backbone, encoded(demonstrations))
        self._backbones[place] = backbone
        self._read(place)
        return self.prompts.prefixes[place]

    def start_from(self, backbone: Backbone, demonstrations: Examples) -> Prefilled:
        """Demonstrations read as part of training; every row trained on or scored later is tokenised as it follows all
        of them. What they cost is found out at once: the method is about to change what reading them would give."""
        prefix, seconds = self._start(backbone, encoded(demonstrations))
        layers: tuple[KeysValues, ...] = getattr(prefix, "layers", ())
        if not layers:
            raise Unsupported(f"{type(self.model).__name__} keeps no keys and values of demonstrations to train from")
        flops = self.prompts.start_flops(backbone)
        self.cost.clock.seconds += seconds
        self.cost.flops += flops
        self.cost.enter({"prefill": self.flop_ledger.prefix(prefix.tokens, flops)})
        return Prefilled(layers, prefix.demonstrations.spans)

    def _start(self, backbone: Backbone, demonstrations: EncodedExamples) -> tuple[Demonstrated, float]:
        """Demonstrations as they were read, and the seconds of it; its memory is measured."""
        prefix, seconds = self.prompts.start(backbone, demonstrations)
        self.memory.add(self.memory.reading(lambda: keys_and_values(backbone.read(prefix))))
        return prefix, seconds

    def scores(self, scorer: Scorer, examples: Examples) -> Tensor:
        """(rows, choices) scores of rows that are part of getting ready; what they cost joins the prefixes'."""
        scored = self.score(scorer, encoded(examples))
        self.cost.cut_rows |= encoded(examples).cut_rows
        self.prompts.calibrating_seconds += scored.seconds
        self.prompts.flops += scored.flops
        self.prompts.calibrating += scored.entry or PhaseFlops(counted=scored.flops)
        return scored.values

    def score(self, scorer: Scorer, examples: EncodedExamples) -> Rowwise:
        """(rows, choices) scores of every row, and what they cost; nothing of it is on the training clock."""
        self._keep_lead()
        scored, works = self._rowwise("evaluate", scorer, self._following(examples))
        self.memory.note_batch("query" if self.prompts.prefixes else "evaluation", scorer, works)
        return scored

    def _following(self, examples: EncodedExamples) -> EncodedExamples:
        """The rows as they follow every prefix, which is read further where one of them keeps more of it."""
        for place, held in self.prompts.lacking(examples).items():
            self._read(place, held)
        return self.prompts.following(examples)

    def _keep_lead(self) -> bool:
        """Makes what leads in the rows that are scored from now on, and notes the memory that it takes; whether that
        takes any."""
        backbone = self.flop_ledger.backbone
        made = self.prompts.keep_lead(backbone) if backbone is not None else []
        if backbone is None or not made:
            return False
        self._kept_lead = made
        self.memory.note_reading((0, backbone.led), lambda: backbone.make_lead().tensors, [])
        return True

    def _read(self, place: int, held: int | None = None) -> None:
        """Reads a prefix and notes the memory that it takes beside the others."""
        prefix = self.prompts.read(self._backbones[place], place, held)
        if not keys_and_values(prefix):
            return
        others = [other for other in self.prompts.prefixes if other is not prefix]
        kept, backbone = [tensor for other in others for tensor in keys_and_values(other)], self._backbones[place]
        sizes = (len(others), prefix.tokens)
        self.memory.note_reading(sizes, lambda: keys_and_values(backbone.read(prefix)), [*kept, *self._kept_lead])

    def step_seconds(self, scored: Rowwise) -> dict[str, Spread]:
        """What each phase of a training step took, and a batch of `scored`; phases that never ran are left out."""
        laps = {name: clock.laps for name, clock in self.cost.clocks.items()} | {"evaluation": scored.batch_seconds}
        return {name: found for name, seconds in laps.items() if (found := spread(seconds))}

    def peak(self) -> AbstractContextManager[PeakMemory]:
        """The peak of a block's memory, as the process and the allocator see it."""
        return peak_memory(self.device)

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

    def _rowwise(
        self, phase: str, call: Callable[[Batch], Tensor], examples: EncodedExamples
    ) -> tuple[Rowwise, list[Work]]:
        """One row of `call` for each row, batch by batch in evaluation mode, the longest rows first; and the largest
        batches."""
        clock, shapes = Clock(self.device), Shapes(examples)
        found: dict[int, Tensor] = {}
        order = examples.scoring_order(self._eval_batch_size)
        self.model.eval()
        with self.flop_ledger.watching() as calls:
            for done, rows in enumerate(order, 1):
                with clock.running(), torch.inference_mode(), self.autocast():
                    batch = examples.batch(rows, self.device)
                    values = row_values(call(batch), len(rows), phase).float().cpu()
                shapes.add(batch)
                found.update(zip(rows, values, strict=True))
                self._report(phase, done, len(order))
        flops = self.counting.rows(call, shapes)
        entry = self.flop_ledger.rows(call, shapes.times, flops, calls)
        values = _stacked([found[row] for row in range(len(examples))])
        rowwise = Rowwise(values, clock.seconds, flops, batch_seconds=tuple(clock.laps), entry=entry)
        return rowwise, self._largest(shapes)

    def _largest(self, shapes: Shapes) -> list[Work]:
        kept = [tensor for prefix in self.prompts.prefixes for tensor in keys_and_values(prefix)] + self._kept_lead
        return shapes.largest(self.device, kv_cache=kept)

    def _scored(self, examples: EncodedExamples) -> Shapes:
        """The shapes that scoring every row has, without running any."""
        shapes = Shapes(examples)
        for rows in examples.scoring_order(self._eval_batch_size):
            shapes.add(examples.batch(rows))
        return shapes


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


def encoded(examples: Examples) -> EncodedExamples:
    """The examples as this harness makes them; TypeError for any others."""
    if not isinstance(examples, EncodedExamples):
        raise TypeError(f"train on the examples that fit() was given, or on harness.cached(...), not {type(examples)}")
    return examples
