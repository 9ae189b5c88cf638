"""Sets up a cell: sets seeds, draws rows, attaches the method, tokenises rows, builds a harness."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from tunefront.bench.cells import Cell
from tunefront.bench.checkpoints.exports.form import Exportable
from tunefront.bench.checkpoints.exports.forms import servable
from tunefront.bench.checkpoints.manifest import Manifest, StoredRow, StoredTask, StoredTemplate
from tunefront.bench.data import cache, sources
from tunefront.bench.data.sampling import rows_of
from tunefront.bench.data.task import Row, Task
from tunefront.bench.execution.identity import Identity, label_of
from tunefront.bench.meters.flops.by_phase import FlopLedger
from tunefront.bench.meters.storage import checkpoint_content
from tunefront.bench.models import checkpoints
from tunefront.bench.models.examples import EncodedExamples
from tunefront.bench.models.families import Backbone, Prompting
from tunefront.bench.models.losses import LossWeights
from tunefront.bench.models.session import Session
from tunefront.bench.records.environment import cpu_model
from tunefront.bench.settings import as_scalars
from tunefront.bench.templates import Template, find_template
from tunefront.bench.training.feature_cache import FeatureStore
from tunefront.bench.training.harness import CellHarness, MeasuringHarness, Report
from tunefront.bench.training.instruments import Subject
from tunefront.methods.base import Scorer, Unsupported
from tunefront.methods.spelling import spell


class Source(Protocol):
    """A source of pristine backbones: weights (`Pretrained`) or a configuration alone.

    `init_context` is the context in which new modules are built; `params` and `pooling` are those of the pretrained
    model, `file_bytes` is the size of its weights on disk, `stored_weights` their quantisation there, None without any.
    """

    params: int
    file_bytes: int | None
    stored_weights: str | None
    pooling: str | None
    config: Any  # Any: transformers' configurations share no type that has their fields

    def fresh_copy(self, task: Task, seed: int, dropout: float | None, prompting: Prompting | None) -> Backbone: ...

    def init_context(self) -> AbstractContextManager[object]: ...


@dataclass(frozen=True)
class StandIns:
    """Replacements for a cell that is not run: the source of its backbone, the identity under which counted FLOPs are
    shared, and, if given, its task and template."""

    source: Source
    identity: tuple[str, ...]
    task: Task | None = None
    template: Template | None = None


class Setup:
    """A cell ready to fit: seeds set, rows drawn, the method attached to a pristine backbone, rows tokenised for it.

    Args: session, keeps the backbone for later cells; harness, builds the harness from its subject, None for one that
    measures; instead, replacements, None for the cell's own parts; identity, the cell's, computed if None.
    """

    def __init__(
        self,
        cell: Cell,
        session: Session | None = None,
        harness: Callable[[Subject], CellHarness] | None = None,
        instead: StandIns | None = None,
        identity: Identity | None = None,
    ):
        torch.set_num_threads(cell.config.threads)
        self._given_identity = identity
        template = instead.template if instead else None
        self.cell, self.task = cell, (instead.task if instead else None) or sources.load_task(cell.task)
        self.rows = rows_of(cell, self.task)
        if len(self.rows.train) < cell.method.fewest_rows:
            requirement = f"{label_of(cell.method)} needs {cell.method.fewest_rows} training rows"
            raise Unsupported(f"{requirement}; there are {len(self.rows.train)} here")
        self.pretrained: Source = (
            instead.source if instead else (session or Session()).pretrained(cell.backbone, cell.config.device)
        )
        self.backbone: Backbone = self.pretrained.fresh_copy(
            self.task, cell.seed, cell.recipe.dropout, prompting_of(cell, self.task, template)
        )
        with self.pretrained.init_context():
            cell.method.attach(self.backbone)
        # A learned prompt in the backbone leaves fewer tokens for the rows.
        self.train = self._encode(self.rows.train)
        self.selection = self._encode(self.rows.selection) if self.rows.selection else None
        self.test = self._encode(self.rows.test)
        subject = Subject(
            self.backbone.model,
            cell.recipe,
            cell.seed,
            identity=instead.identity if instead else shared_under(cell, self.task, self.identity),
            eval_batch_size=cell.config.eval_batch_size,
            flop_ledger=FlopLedger(self.backbone, self.pretrained.params),
            queries=tuple(rows for rows in (self.selection, self.test) if rows is not None),
        )
        self.trainer = (harness or measuring())(subject)

    @cached_property
    def identity(self) -> Identity:
        """The identity of the cell."""
        return self._given_identity or Identity.of(self.cell)

    @property
    def heads(self) -> nn.Module | None:
        """The head of the model; None without one."""
        return self.backbone.head

    def fit(self) -> Scorer:
        """Fits the method to the training rows."""
        return self.cell.method.fit(self.backbone, self.train, self.trainer)

    def shipped(self) -> dict[str, Tensor]:
        """What the task needs in addition to the backbone, by name."""
        return checkpoints.shipped(self.backbone.model, self.backbone.published_buffers)

    @cached_property
    def checkpoint(self) -> bytes:
        """The content of the safetensors file of these, with its manifest, to be read once the method is fitted."""
        return checkpoint_content(self.backbone.model, self.shipped(), self._manifest())

    @cached_property
    def servable(self) -> tuple[str, ...]:
        """The forms in which the fitted method can be exported."""
        return servable(Exportable(self.cell.method, self.backbone, self.trainer.prompts))

    def _manifest(self) -> str | None:
        """What the checkpoint is, as JSON."""
        cell, prompts, identity = self.cell, self.trainer.prompts, self.identity
        prompting = prompting_of(cell, self.task)
        return Manifest(
            key=identity.key,
            label=identity.label,
            method=spell(cell.method.portable()),
            method_file=identity.method_file,
            recipe=as_scalars(cell.recipe),
            settings=as_scalars(cell.config),
            seed=cell.seed,
            backbone=cell.backbone,
            backbone_fingerprint=identity.fingerprints["backbone"],
            sites_fingerprint=identity.fingerprints["sites"],
            architecture=self.pretrained.config.model_type,
            task=StoredTask.of(self.task),
            template=None if prompting is None else StoredTemplate.of(prompting.template),
            demonstrations=tuple(StoredRow.of(row) for row in self.rows.train if row.id in prompts.shown_ids),
            servable=self.servable,
            n_kept=tuple(prefix.n_kept for prefix in prompts.prefixes),
            versions=identity.versions,
        ).model_dump_json()

    def _encode(self, rows: tuple[Row, ...]) -> EncodedExamples:
        return self.backbone.encode(self.task, rows, self.cell.config.max_length)


def measuring(report: Report | None = None, concurrent_cells: int = 1) -> Callable[[Subject], CellHarness]:
    """Builds the harness of a cell that runs; it keeps computed features in the cache."""
    conditions = (cpu_model(), str(concurrent_cells))
    return lambda subject: MeasuringHarness(subject, FeatureStore(cache.folder() / "features"), report, conditions)


def shared_under(cell: Cell, task: Task, identity: Identity) -> tuple[str, ...]:
    """Everything that determines the cost of a batch, except its shape."""
    prints = identity.fingerprints
    parts = (cell.spelled, prints["method"], prints["backbone"], prints["sites"])
    earlier = [sources.load_task(other.task) for other in cell.tasks[:-1]]
    way = () if cell.stage is None else (cell.stage.way, *(str(other.outputs) for other in earlier))
    return (*parts, str(task.outputs), task.kind, *way)


def prompting_of(cell: Cell, task: Task, template: Template | None = None) -> Prompting | None:
    """The prompting of a language model; None for an encoder, whose cells have no template."""
    if cell.template is None and template is None:
        return None
    config = cell.config
    losses, used = LossWeights.of(cell.recipe), template or find_template(task, cell.template)
    return Prompting(used, config.normalization, losses, config.context_length)
