"""Tries a method on a model, with or without values: attached, fitted and scored by one pass of each kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tunefront.bench.cells import Cell
from tunefront.bench.errors import UserError, in_short
from tunefront.bench.execution.setup import Setup, StandIns
from tunefront.bench.forecast.fake_models import FakePretrained
from tunefront.bench.forecast.harness import PredictingHarness
from tunefront.bench.forecast.synthetic import PlainTextTemplate, SyntheticRows
from tunefront.bench.models.examples import EncodedExamples
from tunefront.bench.models.pretrained import Pretrained
from tunefront.bench.quiet import quiet
from tunefront.bench.records import PhaseFlops
from tunefront.bench.settings import RunConfig, resolve_recipe
from tunefront.bench.training.feature_cache import RowValues
from tunefront.methods.base import AfterStep, Batch, Examples, Method, Unsupported
from tunefront.methods.spelling import label
from tunefront.methods.torch_internals import NoValues

ROWS = SyntheticRows(tokens=8, train_rows=8, test_rows=2)
"""The synthetic rows on which methods are tried."""


@dataclass(frozen=True)
class Tried:
    """A method on the model: `reason` says why it does not run, None if it does; `trained_params` count the head. It is
    not `certain` if the trial itself failed: on tensors without values, a pass that depends on values does."""

    method: str
    reason: str | None
    trained_params: int | None = None
    certain: bool = True

    @property
    def runs(self) -> bool:
        """Whether it runs."""
        return self.reason is None


def tried(method: Method, model: FakePretrained | Pretrained) -> Tried:
    """The method on synthetic rows of this model."""
    rows = replace(ROWS, train_rows=max(ROWS.train_rows, method.fewest_rows))
    recipe = resolve_recipe(method, {"batch_size": 2, "steps": 1})
    config = RunConfig(threads=torch.get_num_threads(), max_length=rows.tokens, latency_queries=0)
    cell = Cell(method, model.name, rows.name, recipe, shots=rows.train_rows, config=config)
    template = None if model.sites.family == "encoder" else PlainTextTemplate()
    task = rows.task(model.sites.family)
    try:
        with quiet():
            setup = Setup(cell, harness=_Once, instead=StandIns(model, ("probe",), task, template))
            scorer = setup.fit()
            with torch.no_grad(), NoValues():
                scorer(setup.trainer.tools.prepend_to(setup.test).batch(range(len(setup.test))))
    except Unsupported as reason:
        return Tried(label(method), str(reason))
    except UserError:
        raise
    except Exception as error:  # of a site that does not fit: a proposal is a guess
        return Tried(label(method), f"trying it fails ({in_short(error)})", certain=False)
    return Tried(label(method), None, sum(parameter.numel() for parameter in setup.backbone.trainable().values()))


class _Once(PredictingHarness):
    """Runs one small batch in place of training, of features and of scores."""

    def train(
        self,
        parameters: Mapping[str, nn.Parameter],
        loss: Callable[[Batch], Tensor],
        examples: Examples,
        after_step: AfterStep | None = None,
    ) -> None:
        """The loss of two rows."""
        rows, _, _ = self.tools.begin(parameters, examples)
        self._run(loss, rows)

    def gradients(
        self,
        parameters: Mapping[str, nn.Parameter],
        loss: Callable[[Batch], Tensor],
        examples: Examples,
        each: Callable[[Tensor], Tensor],
    ) -> dict[str, Tensor]:
        """Sums without values, after the loss of two rows."""
        self.train(parameters, loss, examples)
        return {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}

    def _rowwise(
        self, phase: str, call: Callable[[Batch], Tensor], examples: EncodedExamples
    ) -> tuple[RowValues, PhaseFlops]:
        width = self._run(call, examples).shape[1]
        return RowValues(torch.zeros(len(examples), width), 0.0, 0), PhaseFlops()

    def _run(self, call: Callable[[Batch], Tensor], rows: EncodedExamples) -> Tensor:
        with torch.no_grad(), self.subject.autocast(), NoValues():
            return call(rows.batch(range(min(2, len(rows)))))
