"""A fresh attach of a cell for timing single steps; it reads and writes no record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from tunefront.bench.cells import Cell
from tunefront.bench.execution.run_cell import Setup
from tunefront.bench.meters.memory.phases import Flags, Parts, flagged, made_of, parts_of
from tunefront.bench.training.harness import Trainer
from tunefront.methods.base import Batch, Examples, Unsupported


class _Rehearsal(Trainer):
    """Takes down what a method would train, what the model is made of then, and trains nothing."""

    training: Iterator[object] | None = None
    parts: Parts
    flags: Flags

    def train(
        self, parameters: Mapping[str, nn.Parameter], loss: Callable[[Batch], Tensor], examples: Examples
    ) -> None:
        rows, total, _ = self._begun(parameters, examples)
        self.training = self.steps(parameters, loss, rows, total)
        self.parts = parts_of(self.model)
        self.flags = [(parameter, parameter.requires_grad) for parameter in self.model.parameters()]


class Rehearsal:
    """A cell attached anew. Unsupported, with the reason, where the cell cannot run."""

    def __init__(self, cell: Cell):
        self._setup = Setup(cell, harness=_Rehearsal)
        self._scorer = cell.method.fit(self._setup.backbone, self._setup.train, self._setup.trainer)
        self._test = self._setup.trainer.prompts.following(self._setup.test)
        self._batches = self._test.scoring_order(cell.config.eval_batch_size)
        self._place = 0
        self._training, self._entered = ExitStack(), False

    def train_step(self) -> None:
        """One optimiser step on the next training batch, just as `fit` takes it; Unsupported if nothing is trained."""
        trainer = self._setup.trainer
        if not isinstance(trainer, _Rehearsal) or trainer.training is None:
            raise Unsupported(f"{self._setup.cell.spelled} trains nothing")
        if not self._entered:  # once: `fit` may have put other parts into the model after its training
            self._training.enter_context(made_of(trainer.parts))
            self._training.enter_context(flagged(trainer.flags))
            self._entered = True
        next(trainer.training)

    def evaluate(self) -> Tensor:
        """Scores of the next evaluation batch, (batch, choices), after what leads, which is made for the first."""
        self._training.close()
        self._entered = False
        self._setup.trainer.prompts.keep_lead(self._setup.backbone)
        rows = self._batches[self._place % len(self._batches)]
        self._place += 1
        self._setup.backbone.model.eval()
        with torch.inference_mode(), self._setup.trainer.autocast():
            return self._scorer(self._test.batch(rows, self._setup.trainer.device))
