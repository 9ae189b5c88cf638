"""A step of a stream of tasks: the model after the newest task, and its scores on every earlier one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from safetensors.torch import load
from torch import Tensor, nn

from tunefront.bench.cells import Cell, Stage
from tunefront.bench.checkpoints.loading import restored
from tunefront.bench.data import metrics, sources
from tunefront.bench.data.sampling import Rows, rows_of
from tunefront.bench.data.task import Task
from tunefront.bench.execution.identity import Identity
from tunefront.bench.execution.predictions import digest_of, labels_of
from tunefront.bench.execution.setup import Setup
from tunefront.bench.meters.storage import shipped_bytes
from tunefront.bench.models.examples import EncodedExamples
from tunefront.bench.models.families import Backbone
from tunefront.bench.models.families.several import HEADS, SeveralTasks, as_earlier
from tunefront.bench.models.scoring.answers import check_scores, predictions_of
from tunefront.bench.models.session import Session
from tunefront.bench.records import Stream
from tunefront.bench.records.store import Store
from tunefront.bench.templates import find_template
from tunefront.bench.training.harness import CellHarness
from tunefront.bench.training.instruments import Subject
from tunefront.methods.base import Method, Scorer, Unsupported


@dataclass(frozen=True)
class _Earlier:
    """An earlier task: its cell alone, the model on it, and its rows, those to score encoded."""

    cell: Cell
    task: Task
    backbone: Backbone
    rows: Rows
    test: EncodedExamples

    @classmethod
    def of(cls, cell: Cell, task: Task, backbone: Backbone) -> _Earlier:
        rows = rows_of(cell, task)
        return cls(cell, task, backbone, rows, backbone.encode(task, rows.test, cell.config.max_length))

    def train(self, share: float) -> EncodedExamples:
        """The first rows of its draw, this share of them and at least one."""
        rows = self.rows.train[: math.ceil(share * len(self.rows.train))]
        return self.backbone.encode(self.task, rows, self.cell.config.max_length)


@dataclass(frozen=True)
class _File:
    """A checkpoint: the number of values in each of its tensors, and its size in bytes."""

    sizes: Mapping[str, int]
    n_bytes: int

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], n_bytes: int) -> _File:
        return cls({name: value.numel() for name, value in tensors.items()}, n_bytes)

    def params(self, named: Mapping[str, Tensor]) -> int:
        """The number of parameters, without buffers."""
        return sum(size for name, size in self.sizes.items() if name in named or name.startswith(f"{HEADS}."))


class StageSetup(Setup):
    """A step of a stream, ready to fit: as `Setup`, with the same model on the earlier tasks.

    Args: store, has the checkpoints of earlier steps.
    Errors: Unsupported for a method that one model for several tasks cannot have, or whose checkpoint is not enough.
    """

    def __init__(
        self,
        cell: Cell,
        store: Store,
        session: Session | None = None,
        harness: Callable[[Subject], CellHarness] | None = None,
        identity: Identity | None = None,
    ):
        super().__init__(cell, session, harness, identity=identity)
        self._stage, self._store = cast(Stage, cell.stage), store
        self._files: dict[str, _File] = {}
        if self._stage.way != "separate" and type(cell.method).fit is not Method.fit:
            raise Unsupported(f"{cell.method.name} has a fit() of its own, which knows one task; a stream has several")
        cells = cell.tasks[:-1]
        tasks = [sources.load_task(other.task) for other in cells]
        templates = [
            None if other.template is None else find_template(task, other.template)
            for other, task in zip(cells, tasks, strict=True)
        ]
        self._several = SeveralTasks(self.backbone, list(zip(tasks, templates, strict=True)))
        self._earlier = [_Earlier.of(*parts) for parts in zip(cells, tasks, self._several.backbones[:-1], strict=True)]
        if cell.before is not None:
            self.backbone.restore(as_earlier(self._read(cell.before), len(self._earlier) - 1))
        again = [other.train(self._stage.replay_share or 1.0) for other in self._earlier] if self._stage.joins else []
        self._n_again = sum(map(len, again))
        self._trained_on = self._several.join([*again, self.train]) if again else self.train

    @property
    def heads(self) -> nn.Module | None:
        """The heads of all tasks; None without any."""
        return self._several.heads or None

    @property
    def trains(self) -> bool:
        """Whether the step trains anything; separate tasks were trained alone."""
        return self._stage.way != "separate"

    def fit(self) -> Scorer:
        """Trains on rows of the newest task or of several, or loads what was trained on the newest task alone."""
        if not self.trains:
            return restored(self.cell.method, self.backbone, self._read(self.cell.tasks[-1]))
        return self.cell.method.fit(self.backbone, self._trained_on, self.trainer)

    def shipped(self) -> dict[str, Tensor]:
        """What all tasks need in addition to the backbone, by name."""
        return self._several.shipped()

    def _manifest(self) -> None:
        """None: what is kept is for later steps, which know what it is."""

    def stream(self) -> Stream:
        """Scores every earlier task with the model after `fit`, separate ones with their own checkpoints."""
        scores: dict[str, dict[str, float | None]] = {}
        digests: dict[str, str] = {}
        for place, earlier in enumerate(self._earlier):
            method = self.cell.method
            if self.trains:
                scorer = method.scorer(earlier.backbone)
            else:
                tensors = as_earlier(self._read(earlier.cell), place)
                scorer = restored(method, self.backbone, tensors, earlier.backbone)
            scored = self.trainer.score(scorer, earlier.test).values
            check_scores(earlier.task, scored)
            labels = labels_of(earlier.task, earlier.rows.test, earlier.test)
            scores[earlier.cell.task] = metrics.score(earlier.task, predictions_of(earlier.task, scored), labels)
            digests[earlier.cell.task] = digest_of(scored)
        total_params, total_bytes = self._totals()
        measured = {
            "replayed_rows": self._n_again if self.trains else None,
            "earlier_scores": scores,
            "earlier_headlines": {other.cell.task: other.task.headline for other in self._earlier},
            "earlier_n_test": {other.cell.task: len(other.rows.test) for other in self._earlier},
            "earlier_sha256": digests,
            "total_params": total_params,
            "total_bytes": total_bytes,
        }
        return planned_step(self.cell).model_copy(update=measured)

    def _totals(self) -> tuple[int, int | None]:
        """Parameters and bytes that all tasks so far need together; no bytes if those of the backbone are not known."""
        named = dict(self.backbone.model.named_parameters())
        heads = set(map(id, self._several.heads.parameters()))
        frozen = sum(value.numel() for value in named.values() if not value.requires_grad and id(value) not in heads)
        own = [_File.of(self.shipped(), shipped_bytes(self.checkpoint))] if self.trains else []
        files = own or list(self._files.values())
        n_bytes = self.pretrained.file_bytes if frozen else 0
        params = frozen + sum(file.params(named) for file in files)
        return params, None if n_bytes is None else n_bytes + sum(file.n_bytes for file in files)

    def _read(self, cell: Cell) -> dict[str, Tensor]:
        """The tensors of a step's checkpoint; RuntimeError if the store has none."""
        content = self._store.checkpoint(self._store.read(Identity.of(cell).key))
        if content is None:
            raise RuntimeError(f"the checkpoint of {cell.title} is missing; run the stream again")
        tensors = load(content)
        self._files[cell.task] = _File.of(tensors, shipped_bytes(content))
        return tensors


def planned_step(cell: Cell) -> Stream:
    """The step of a cell as it was chosen, without results; nothing for a cell outside a stream."""
    if cell.stage is None:
        return Stream()
    return Stream(
        way=cell.stage.way,
        earlier=tuple(task for task, _ in cell.stage.earlier),
        earlier_templates=tuple(template for _, template in cell.stage.earlier),
        replay_share=cell.stage.replay_share,
    )
