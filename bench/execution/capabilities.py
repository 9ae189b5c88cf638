"""What each method can do on each architecture, found by trying it on a tiny random model."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tunefront.bench.cells import Cell
from tunefront.bench.checkpoints.exports.form import Exportable
from tunefront.bench.checkpoints.exports.forms import servable
from tunefront.bench.data.task import MetricSpec, Row, Task
from tunefront.bench.errors import UserError
from tunefront.bench.execution.setup import Setup, StandIns, prompting_of
from tunefront.bench.models.families import Backbone
from tunefront.bench.models.pretrained import Pretrained
from tunefront.bench.models.tiny import (
    FAMILIES,
    LANGUAGE_MODELS,
    MORE_FAMILIES,
    MORE_LANGUAGE_MODELS,
    WORDS,
    make_backbone,
    make_language_model,
)
from tunefront.bench.quiet import quiet
from tunefront.bench.settings import RunConfig, resolve_recipe
from tunefront.bench.templates.plain import Plain
from tunefront.bench.training.harness import MeasuringHarness
from tunefront.methods.base import AfterStep, Batch, Examples, Method, Unsupported
from tunefront.methods.registry import load_file, methods
from tunefront.methods.spelling import label, parse

if TYPE_CHECKING:
    from torch import nn

ENCODERS = (*FAMILIES, *MORE_FAMILIES)
ARCHITECTURES = (*ENCODERS, *LANGUAGE_MODELS, *MORE_LANGUAGE_MODELS)
"""The architectures, and variants of some, that a tiny model can be made of: all that have a record of sites."""
FEW = ("bert", "gpt2", "llama", "t5")
"""One of each kind: an encoder, a decoder with fused projections, one with separate ones, an encoder-decoder."""
ROWS = 12
STEPS = 2
NEAR = 0.03
"""The share of the largest state below which a model starts near the pretrained one."""


@dataclass(frozen=True)
class Capability:
    """A method on an architecture.

    `reason` says why it does not run there, None if it does; `start_difference` is the largest difference of the pooled
    states, before training, from those of the pretrained model, as a share of the largest state (0 means that it
    starts at the identity), None if it adds its modules during training only; `forms` are those in which
    it can be exported.
    """

    method: str
    architecture: str
    reason: str | None
    start_difference: float | None = None
    forms: tuple[str, ...] = ()

    @property
    def runs(self) -> bool:
        """Whether the method runs on the architecture."""
        return self.reason is None

    @property
    def start(self) -> str:
        """How training starts: `=` at the pretrained model to the bit, `≈` near it, `≠` elsewhere, empty if unknown."""
        if self.start_difference is None:
            return ""
        return "=" if self.start_difference == 0 else "≈" if self.start_difference < NEAR else "≠"


def capabilities(
    methods: Sequence[Method],
    architectures: Sequence[str] = FEW,
    on_step: Callable[[str], None] = lambda _: None,
) -> list[Capability]:
    """Tries every method on every architecture: attached, trained for a few steps, scored. `on_step` gets what is
    tried next. A method that raises anything but `Unsupported` has the error as its reason."""
    found = []
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        torch.set_num_threads(1)  # tiny models are fastest on one
        for architecture in architectures:
            make = make_backbone if architecture in ENCODERS else make_language_model
            with quiet():
                pretrained = Pretrained(str(make(Path(folder) / architecture, architecture)), torch.device("cpu"))
            for method in methods:
                on_step(f"{label(method)} on {architecture}")
                with quiet():
                    found.append(_tried(method, architecture, pretrained))
    torch.set_num_threads(threads)
    return found


def default_methods(files: Sequence[str] = ()) -> list[Method]:
    """Every registered method with its defaults, and those of users' files. UserError for a file that cannot be
    imported, or a method that has fields without a default."""
    try:
        for file in files:
            load_file(file)
        return [parse(name) for name in methods()]
    except ValueError as error:
        raise UserError(f"--method: {error}") from error


def _tried(method: Method, architecture: str, pretrained: Pretrained) -> Capability:
    task, spelled = _task(), label(method)
    is_encoder = architecture in ENCODERS
    recipe = resolve_recipe(method, {"steps": STEPS, "batch_size": 4, "dropout": 0.0})
    config = RunConfig(threads=1, latency_queries=0)
    cell = Cell(_small(method), "tiny", task.name, recipe, config=config, template=None if is_encoder else "plain")
    template = None if is_encoder else Plain()
    try:
        plain = pretrained.fresh_copy(task, 0, 0.0, prompting_of(cell, task, template))
        before = _states(plain, task)
        identity = ("capability", spelled, architecture)
        setup = Setup(cell, harness=_Trying, instead=StandIns(pretrained, identity, task, template))
        modules = _paths(setup.backbone.model)
        after = _states(setup.backbone, task)
        scorer = setup.fit()
        with torch.no_grad():
            scorer(setup.trainer.tools.prepend_to(setup.test).batch(range(2)))
        adds_later = bool(_paths(setup.backbone.model) - modules)
        forms = servable(Exportable(cell.method, setup.backbone, setup.trainer.prompts))
    except Unsupported as reason:
        return Capability(spelled, architecture, str(reason))
    difference = float((after - before).abs().max() / before.abs().max())
    return Capability(spelled, architecture, None, None if adds_later else difference, forms)


class _Trying(MeasuringHarness):
    """Trains without measuring what that costs."""

    def train(
        self,
        parameters: Mapping[str, nn.Parameter],
        loss: Callable[[Batch], Tensor],
        examples: Examples,
        after_step: AfterStep | None = None,
    ) -> None:
        """The recipe's steps."""
        rows, total, _ = self.tools.begin(parameters, examples)
        for _ in itertools.islice(self.tools.steps(parameters, loss, rows, total, after_step), total):
            pass
        self.model.eval()


def _small(method: Method) -> Method:
    """The method with the smallest size that it declares, which fits a tiny model."""
    search = method.search
    if search is None or search.size is None:
        return method
    current = getattr(method, search.size)
    smallest = min(search.sizes)
    return replace(method, **{search.size: int(smallest) if type(current) is int else smallest})


def _task() -> Task:
    """A task whose label is the sentiment of a word."""
    good, bad, fillers = WORDS[:3], WORDS[3:6], WORDS[6:]

    def rows(start: int, count: int) -> Iterator[Row]:
        for place in range(start, start + count):
            words = [fillers[(place * step) % len(fillers)] for step in range(1, 2 + place % 5)]
            text = " ".join([*words, (good, bad)[place % 2][place % 3]])
            yield Row(str(place), {"text": text}, place % 2)

    splits = {"train": tuple(rows(0, ROWS)), "test": tuple(rows(ROWS, 6))}
    return Task("tiny", "classification", splits, ("text",), ("good", "bad"), (MetricSpec("accuracy"),))


def _states(backbone: Backbone, task: Task) -> Tensor:
    """The pooled states of the test rows, from tokens, in evaluation mode."""
    examples = backbone.encode(task, task.splits["test"], None)
    was_training = backbone.model.training
    backbone.model.eval()
    with torch.no_grad():
        batch: Batch = examples.batch(range(len(examples)))
        states = backbone.features(batch)
    backbone.model.train(was_training)
    return states.float().clone()


def _paths(model: nn.Module) -> set[str]:
    return {path for path, _ in model.named_modules()}
