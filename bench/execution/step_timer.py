"""Times single steps on a fresh attach of a cell; it reads and writes no record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from tunefront.bench.cells import Cell
from tunefront.bench.execution.setup import Setup
from tunefront.bench.meters.memory.phases import Flags, Parts, parts_of, requiring_grad, using_parts
from tunefront.bench.models.session import Session
from tunefront.bench.training.harness import CellHarness
from tunefront.methods.base import AfterStep, Backbone, Batch, Examples, Prefilled, Prefix, Scorer, Unsupported


class StepHarness:
    """A harness that prepares training and remembers the model's parts at that time, but does not train; it delegates
    everything else to another harness.

    `training` is an iterator whose every item is one training step; None if nothing is trained.
    """

    def __init__(self, other: CellHarness):
        self._other = other
        self.recipe, self.generator = other.recipe, other.generator
        self.training: Iterator[object] | None = None
        self.parts: Parts = []
        self.flags: Flags = []

    def train(
        self,
        parameters: Mapping[str, nn.Parameter],
        loss: Callable[[Batch], Tensor],
        examples: Examples,
        after_step: AfterStep | None = None,
    ) -> None:
        """Prepares the steps of the recipe, without taking any."""
        tools = self._other.tools
        rows, total, _ = tools.begin(parameters, examples)
        self.training = tools.steps(parameters, loss, rows, total, after_step)
        self.parts = parts_of(tools.subject.model)
        self.flags = [(parameter, parameter.requires_grad) for parameter in tools.subject.model.parameters()]

    def gradients(
        self,
        parameters: Mapping[str, nn.Parameter],
        loss: Callable[[Batch], Tensor],
        examples: Examples,
        each: Callable[[Tensor], Tensor],
    ) -> dict[str, Tensor]:
        """Delegates to the other harness."""
        return self._other.gradients(parameters, loss, examples, each)

    def cached(self, name: str, compute: Callable[[Batch], Tensor], examples: Examples) -> Examples:
        """Delegates to the other harness."""
        return self._other.cached(name, compute, examples)

    def prefill(self, backbone: Backbone, demonstrations: Examples) -> Prefix:
        """Delegates to the other harness."""
        return self._other.prefill(backbone, demonstrations)

    def start_from(self, backbone: Backbone, demonstrations: Examples) -> Prefilled:
        """Delegates to the other harness."""
        return self._other.start_from(backbone, demonstrations)

    def scores(self, scorer: Scorer, examples: Examples) -> Tensor:
        """Delegates to the other harness."""
        return self._other.scores(scorer, examples)


class StepTimer:
    """Times steps of a freshly attached cell. Raises Unsupported, with the reason, if the cell cannot run."""

    def __init__(self, cell: Cell, session: Session | None = None):
        self._setup = setup = Setup(cell, session)
        self._harness, self._tools = StepHarness(setup.trainer), setup.trainer.tools
        self._scorer = cell.method.fit(setup.backbone, setup.train, self._harness)
        self._test = setup.trainer.prompts.prepend_to(setup.test)
        self._batches = self._test.scoring_order(cell.config.eval_batch_size)
        self._next_batch = 0
        self._training, self._entered = ExitStack(), False

    def train_step(self) -> None:
        """One optimiser step on the next training batch, as in `fit`; Unsupported if nothing is trained."""
        harness = self._harness
        if harness.training is None:
            raise Unsupported(f"{self._setup.cell.spelled} trains nothing")
        if not self._entered:  # once: `fit` may have put other parts into the model after its training
            self._training.enter_context(using_parts(harness.parts))
            self._training.enter_context(requiring_grad(harness.flags))
            self._entered = True
        next(harness.training)

    def evaluate(self) -> Tensor:
        """Scores of the next evaluation batch, (batch, choices); the first call also caches a learned prompt."""
        self._training.close()
        self._entered = False
        self._setup.trainer.prompts.keep_lead(self._setup.backbone)
        rows = self._batches[self._next_batch % len(self._batches)]
        self._next_batch += 1
        self._setup.backbone.model.eval()
        with torch.inference_mode(), self._tools.subject.autocast():
            return self._scorer(self._test.batch(rows, self._tools.device))
