"""A fresh attach of a cell for timing single steps; it reads and writes no record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from tunefront.bench.cells import Cell
from tunefront.bench.execution.run_cell import Setup
from tunefront.bench.training.harness import Trainer, encoded
from tunefront.bench.training.step import total_steps
from tunefront.methods.base import Batch, Examples, Unsupported


class _Rehearsal(Trainer):
    """Takes down what a method would train, and trains nothing."""

    training: Iterator[object] | None = None

    def train(
        self, parameters: Mapping[str, nn.Parameter], loss: Callable[[Batch], Tensor], examples: Examples
    ) -> None:
        rows = encoded(examples)
        self.training = self.steps(parameters, loss, rows, total_steps(self.recipe, len(rows)))


class Rehearsal:
    """A cell attached anew. Unsupported, with the reason, where the cell cannot run."""

    def __init__(self, cell: Cell):
        self._setup = Setup(cell, harness=_Rehearsal)
        self._scorer = cell.method.fit(self._setup.backbone, self._setup.train, self._setup.trainer)
        self._test = self._setup.trainer.prompts.following(self._setup.test)
        self._batches = self._test.scoring_order(cell.config.eval_batch_size)
        self._place = 0

    def train_step(self) -> None:
        """One optimiser step on the next training batch, just as `fit` takes it; Unsupported if nothing is trained."""
        trainer = self._setup.trainer
        if not isinstance(trainer, _Rehearsal) or trainer.training is None:
            raise Unsupported(f"{self._setup.cell.spelled} trains nothing")
        next(trainer.training)

    def evaluate(self) -> Tensor:
        """Scores of the next evaluation batch, (batch, choices)."""
        rows = self._batches[self._place % len(self._batches)]
        self._place += 1
        self._setup.backbone.model.eval()
        with torch.inference_mode(), self._setup.trainer.autocast():
            return self._scorer(self._test.batch(rows, self._setup.trainer.device))
