"""One cell: attach, fit, score, measure, record."""

from __future__ import annotations

import datetime
import logging
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import Tensor

from tunefront.bench.cells import Cell
from tunefront.bench.data import cache, metrics, sources
from tunefront.bench.data.sampling import rows_of
from tunefront.bench.data.task import Row, Task
from tunefront.bench.errors import DiskFull, in_short
from tunefront.bench.execution import interruption
from tunefront.bench.execution.identity import Identity, label_of
from tunefront.bench.execution.unchanged import process_unchanged
from tunefront.bench.meters.flops.by_phase import NOTHING, FlopLedger
from tunefront.bench.meters.memory.peak import PeakMemory
from tunefront.bench.meters.parameters import count_parameters
from tunefront.bench.meters.storage import checkpoint_bytes, checkpoint_dtypes
from tunefront.bench.models.examples import EncodedExamples
from tunefront.bench.models.families import Backbone, Prompting
from tunefront.bench.models.losses import LossWeights
from tunefront.bench.models.scoring.prompted import PromptedExamples
from tunefront.bench.models.session import Session
from tunefront.bench.records import (
    FLOP_PHASES,
    Data,
    Environment,
    ExamplesPerSecond,
    Flops,
    Memory,
    Model,
    Parameters,
    PhaseFlops,
    Prompt,
    Record,
    Scores,
    Seconds,
    Status,
    Storage,
    Training,
)
from tunefront.bench.records.environment import cpu_model, git_commit
from tunefront.bench.settings import as_scalars
from tunefront.bench.templates import Template, find_template
from tunefront.bench.training.feature_cache import FeatureStore, Rowwise
from tunefront.bench.training.harness import CellHarness, MeasuringHarness, Report
from tunefront.bench.training.instruments import Subject
from tunefront.methods.base import Scorer, Unsupported

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("tunefront")


class Source(Protocol):
    """Where pristine backbones come from: weights (`Pretrained`) or a configuration alone.

    `making` is what new modules are made under; `params` and `pooling` are those of the pretrained model, `file_bytes`
    what its weights take on disk.
    """

    params: int
    file_bytes: int | None
    pooling: str | None
    config: Any  # Any: transformers' configurations have no common type with their fields

    def pristine(self, task: Task, seed: int, dropout: float | None, prompting: Prompting | None) -> Backbone: ...

    def making(self) -> AbstractContextManager[object]: ...


@dataclass(frozen=True)
class StandIns:
    """What takes the place of a cell's own where it is not run: the source of its backbone, what counted FLOPs may be
    shared under, and its task and template where they are given."""

    source: Source
    identity: tuple[str, ...]
    task: Task | None = None
    template: Template | None = None


@dataclass(frozen=True)
class Costs:
    """What fitting and scoring took and were given: the groups of a record but its scores."""

    model: Model = field(default_factory=Model)
    data: Data = field(default_factory=Data)
    prompt: Prompt = field(default_factory=Prompt)
    training: Training = field(default_factory=Training)
    parameters: Parameters = field(default_factory=Parameters)
    storage: Storage = field(default_factory=Storage)
    flops: Flops = field(default_factory=Flops)
    seconds: Seconds = field(default_factory=Seconds)
    examples_per_second: ExamplesPerSecond = field(default_factory=ExamplesPerSecond)
    memory: Memory = field(default_factory=Memory)


UNKNOWN = Costs()
"""Of a cell that did not run."""


class Setup:
    """A cell made ready: seeds set, rows drawn, the method attached to a pristine backbone, rows tokenised for it.

    Args: session, which keeps the backbone for the cells that follow; harness, made of what is fitted, None for one
    that measures; instead, None for the cell's own; identity, the cell's, found out where it is None.
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
        template = instead.template if instead else None
        self.cell, self.task = cell, (instead.task if instead else None) or sources.load_task(cell.task)
        self.rows = rows_of(cell, self.task)
        if len(self.rows.train) < cell.method.fewest_rows:
            needs = f"{label_of(cell.method)} needs {cell.method.fewest_rows} training rows"
            raise Unsupported(f"{needs}; there are {len(self.rows.train)} here")
        self.pretrained: Source = (
            instead.source if instead else (session or Session()).pretrained(cell.backbone, cell.config.device)
        )
        self.backbone: Backbone = self.pretrained.pristine(
            self.task, cell.seed, cell.recipe.dropout, _prompting(cell, self.task, template)
        )
        with self.pretrained.making():
            cell.method.attach(self.backbone)
        # What leads in the backbone now takes room from the rows.
        self.train = self._encode(self.rows.train)
        self.selection = self._encode(self.rows.selection) if self.rows.selection else None
        self.test = self._encode(self.rows.test)
        subject = Subject(
            self.backbone.model,
            cell.recipe,
            cell.seed,
            identity=instead.identity if instead else shared_under(cell, self.task, identity or Identity.of(cell)),
            eval_batch_size=cell.config.eval_batch_size,
            flop_ledger=FlopLedger(self.backbone, self.pretrained.params),
            queries=tuple(rows for rows in (self.selection, self.test) if rows is not None),
        )
        self.trainer = (harness or measuring())(subject)

    def _encode(self, rows: tuple[Row, ...]) -> EncodedExamples:
        return self.backbone.encode(self.task, rows, self.cell.config.max_length)


def measuring(report: Report | None = None, concurrent_cells: int = 1) -> Callable[[Subject], CellHarness]:
    """Makes the harness of a cell that runs; what it computes of features is kept in the cache."""
    conditions = (cpu_model(), str(concurrent_cells))
    return lambda subject: MeasuringHarness(subject, FeatureStore(cache.folder() / "features"), report, conditions)


def run_cell(
    cell: Cell,
    report: Report | None = None,
    concurrent_cells: int = 1,
    session: Session | None = None,
    identity: Identity | None = None,
) -> tuple[Record, pd.DataFrame | None]:
    """Runs a cell to its record and its per-example predictions (None unless it is ok). Never raises for what a method
    or a model does wrong: that is a failed record. DiskFull comes through, and UserError if data or backbone are gone.

    `session` keeps the backbone for the cells that follow; `identity` is the cell's own, found out where it is None.
    """
    identity = identity or Identity.of(cell)
    surroundings = environment(cell, concurrent_cells)
    try:
        with process_unchanged():
            setup = Setup(cell, session, measuring(report, concurrent_cells), identity=identity)
            measured, scores, predictions = _measured(setup)
        return record_of(cell, identity, surroundings, "ok", costs=measured, scores=scores), predictions
    except Unsupported as reason:
        return record_of(cell, identity, surroundings, "skipped", why_unsupported(reason)), None
    except DiskFull:
        raise
    except BaseException as error:  # a method may call sys.exit(), a tokenizer's Rust code may panic
        if interruption.pending():  # whatever became of it on its way through the method
            raise KeyboardInterrupt from error
        log.debug("cell %s failed", cell.title, exc_info=True)
        return failed(cell, identity, in_short(error), concurrent_cells), None


def failed(cell: Cell, identity: Identity, reason: str, concurrent_cells: int) -> Record:
    """The record of a cell that failed."""
    return record_of(cell, identity, environment(cell, concurrent_cells), "failed", reason)


def record_of(
    cell: Cell,
    identity: Identity,
    surroundings: Environment,
    status: Status,
    reason: str | None = None,
    costs: Costs = UNKNOWN,
    scores: Scores | None = None,
) -> Record:
    """The record of a cell: what identifies it, and what was measured."""
    return Record(
        key=identity.key,
        status=status,
        reason=reason,
        method=cell.spelled,
        label=identity.label,
        method_file=identity.method_file,
        method_sources=identity.method_sources,
        backbone=cell.backbone,
        task=cell.task,
        template=cell.template,
        shots=cell.shots,
        draw_seed=cell.draw_seed,
        seed=cell.seed,
        recipe=as_scalars(cell.recipe),
        settings=as_scalars(cell.config),
        paper=None if cell.deviations is None else cell.paper,
        deviations=cell.deviations,
        versions=identity.versions,
        fingerprints=identity.fingerprints,
        model=costs.model,
        data=costs.data,
        prompt=costs.prompt,
        scores=scores or Scores(),
        training=costs.training,
        parameters=costs.parameters,
        storage=costs.storage,
        flops=costs.flops,
        seconds=costs.seconds,
        examples_per_second=costs.examples_per_second,
        memory=costs.memory,
        environment=surroundings,
    )


def environment(cell: Cell, concurrent_cells: int) -> Environment:
    """Where and when a cell runs."""
    device = torch.device(cell.config.device)
    return Environment(
        device=device.type,
        device_name=torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        cpu_model=cpu_model(),
        threads=cell.config.threads,
        concurrent_cells=concurrent_cells,
        created_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        git_commit=git_commit(),
    )


def why_unsupported(reason: Unsupported) -> str:
    """The reason of a skipped record."""
    return in_short(reason).removeprefix("Unsupported: ")


def _measured(setup: Setup) -> tuple[Costs, Scores, pd.DataFrame]:
    """Fits and scores; all that is measured, and the predictions."""
    task = setup.task
    found, scored, selection = costs(setup)
    for values in [scored.values, *([selection.values] if selection else [])]:
        _check_scores(task, values)
    predicted = _predictions(task, scored.values)
    labels = _labels(task, setup.rows.test, setup.test)
    learned_from = _labels(task, setup.rows.train, setup.train)
    scores = Scores(
        headline=task.headline,
        test=metrics.score(task, predicted, labels),
        selection=None
        if selection is None
        else metrics.score(
            task,
            _predictions(task, selection.values),
            _labels(task, setup.rows.selection, setup.selection or setup.test),
        ),
        baseline=metrics.score(task, [_commonest(task, learned_from)] * len(labels), labels) if learned_from else None,
    )
    return found, scores, _frame(setup.rows.test, labels, predicted, scored.values)


def costs(setup: Setup) -> tuple[Costs, Rowwise, Rowwise | None]:
    """Fits and scores; what that took, and what was scored: test rows, and the rows that are chosen on, None where
    there are none."""
    cell, trainer, backbone = setup.cell, setup.trainer, setup.backbone
    with trainer.peak() as train_memory:
        scorer: Scorer = cell.method.fit(backbone, setup.train, trainer)
    if not callable(scorer):
        raise TypeError(f"fit() of {cell.method.name} returned {type(scorer).__name__}, not a scorer: batch -> scores")
    train_memory.at_least(trainer.cost.grown)
    parameters = count_parameters(backbone.model, backbone.head, setup.pretrained.params)
    selection = trainer.score(scorer, setup.selection) if setup.selection else None
    with trainer.peak() as eval_memory:
        scored = trainer.score(scorer, setup.test)
    memory, cost, rows = _memory(setup, train_memory, eval_memory), trainer.cost, len(setup.rows.test)
    found = Costs(
        model=Model(architecture=setup.pretrained.config.model_type, pooling=setup.pretrained.pooling),
        data=_data(setup),
        prompt=_prompt(setup),
        training=Training(steps=cost.steps, final_loss=cost.final_loss),
        parameters=parameters,
        storage=_storage(setup),
        flops=_flops(setup, scored),
        seconds=Seconds(
            train=cost.clock.seconds,
            eval=scored.seconds,
            prefix=trainer.prompts.seconds if trainer.prompts.flops_once(backbone) else None,
            steps=trainer.step_seconds(scored),
        ),
        examples_per_second=ExamplesPerSecond(
            train=cost.examples / cost.clock.seconds if cost.clock.seconds else None,
            eval=rows / scored.seconds if scored.seconds else None,
        ),
        memory=memory,
    )
    return found, scored, selection


def _data(setup: Setup) -> Data:
    task, rows = setup.task, setup.rows
    return Data(
        task_kind=task.kind,
        split_rows={split: len(rows) for split, rows in task.splits.items()},
        input_fields=task.input_fields,
        left_out_fields=dict(task.left_out),
        label_counts=task.label_counts("train") or None,
        notes=task.notes,
        warnings=task.warnings,
        draw_source=rows.source,
        eval_split=task.eval_split,
        selection_split=rows.selection_split,
        n_train=len(rows.train),
        n_selection=len(rows.selection) if setup.selection else None,
        n_test=len(rows.test),
        truncated_train=len(setup.trainer.cost.cut_rows.keys() & setup.train.cut_rows.keys()),
        truncated_test=setup.test.truncated,
        train_ids=tuple(row.id for row in rows.train),
    )


def _prompt(setup: Setup) -> Prompt:
    """What rows followed; nothing where a method has no demonstrations."""
    prompts = setup.trainer.prompts
    if not prompts.ids:
        return Prompt()
    followed = cast(PromptedExamples, prompts.following(setup.test))
    return Prompt(
        demonstration_ids=tuple(prompts.ids),
        demonstrations_per_row=followed.demonstrations_per_row,
        shortened_test=followed.shortened,
        prefix_tokens=prompts.tokens,
        kv_cache_bytes=prompts.cache_bytes,
    )


def _storage(setup: Setup) -> Storage:
    backbone, prompts = setup.backbone, setup.trainer.prompts
    return Storage(
        checkpoint_bytes=checkpoint_bytes(backbone.model, backbone.published_buffers),
        checkpoint_dtypes=checkpoint_dtypes(backbone.model, backbone.published_buffers),
        demonstration_bytes=prompts.text_bytes if prompts.ids else None,
        backbone_bytes=setup.pretrained.file_bytes,
    )


def _memory(setup: Setup, train: PeakMemory, evaluation: PeakMemory) -> Memory:
    measured = setup.trainer.memory.measure()
    return Memory(
        phases=measured.owners,
        cuda=measured.allocator or None,
        start_resident_bytes=train.start_resident_bytes,
        train_peak_resident_bytes=train.peak_resident_bytes,
        eval_peak_resident_bytes=evaluation.peak_resident_bytes,
        train_peak_allocated_bytes=train.peak_allocated_bytes,
        eval_peak_allocated_bytes=evaluation.peak_allocated_bytes,
    )


def _flops(setup: Setup, scored: Rowwise) -> Flops:
    prompts, backbone, rows = setup.trainer.prompts, setup.backbone, len(setup.rows.test)
    without_reuse = prompts.flops_without_reuse(backbone, setup.test) if prompts.ids else None
    return Flops(
        train=setup.trainer.cost.flops,
        inference_per_example=scored.flops / rows,
        inference_per_example_without_reuse=None if without_reuse is None else (scored.flops + without_reuse) / rows,
        prefix=prompts.flops_once(backbone) or None,
        calibration=prompts.flops or None,
        phases=_phases(setup, scored),
    )


def _phases(setup: Setup, scored: Rowwise) -> dict[str, PhaseFlops]:
    """FLOPs of every phase that took any, from every source."""
    trainer = setup.trainer
    trained = trainer.cost.flops_by_phase
    prefill = trainer.prompts.entry_once(setup.backbone, trainer.flop_ledger) + trained.get("prefill", NOTHING)
    evaluation = scored.entry or PhaseFlops(counted=scored.flops)
    entries = {**trained, "prefill": prefill, "evaluation": evaluation}
    return {phase: entries[phase] for phase in FLOP_PHASES if phase in entries and entries[phase].counted}


def shared_under(cell: Cell, task: Task, identity: Identity) -> tuple[str, ...]:
    """What decides what a batch costs, beside its shape."""
    prints = identity.fingerprints
    what = (cell.spelled, prints["method"], prints["backbone"], prints["sites"])
    return (*what, str(task.outputs), task.kind)


def _prompting(cell: Cell, task: Task, template: Template | None) -> Prompting | None:
    """How a language model is asked; None for an encoder, whose cells have no template."""
    if cell.template is None and template is None:
        return None
    config = cell.config
    losses, asked = LossWeights.of(cell.recipe), template or find_template(task, cell.template)
    return Prompting(asked, config.normalization, losses, config.context_length)


def _check_scores(task: Task, scores: Tensor) -> None:
    """ValueError where no prediction follows from the scores: NaN is neither the highest nor not."""
    unknown = int(scores.isnan().any(1).sum())
    if unknown:
        raise ValueError(f"the scores of {unknown} of {len(scores)} rows are NaN, from which no prediction follows")
    if task.kind != "multiple choice" and scores.shape[1] != task.outputs:
        raise ValueError(f"each row has {scores.shape[1]} scores; {task.name} takes {task.outputs}")


def _predictions(task: Task, scores: Tensor) -> list[int] | list[float]:
    """The choice of the highest score (ties to the first), or the predicted value."""
    if task.kind == "regression":
        return [float(value) for value in scores[:, 0].tolist()]
    return [int(choice) for choice in scores.argmax(1).tolist()]


def _labels(task: Task, rows: tuple[Row, ...], examples: EncodedExamples) -> list[int | float]:
    """What is right, as predictions name it: of multiple choice the place among a prompt's answers, whose order is the
    template's."""
    if task.kind == "multiple choice":
        return [int(label) for label in examples.labels.tolist()]
    return [row.label for row in rows]


def _commonest(task: Task, labels: list[int | float]) -> int | float:
    if task.kind == "regression":
        return sum(labels) / len(labels)
    return max(sorted(set(labels)), key=labels.count)


def _frame(
    rows: tuple[Row, ...], labels: list[int | float], predicted: list[int] | list[float], scores: Tensor
) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame({"id": [row.id for row in rows], "label": labels, "prediction": predicted})
    for choice in range(scores.shape[1]):
        # A row may have fewer choices than others: what does not exist is missing.
        frame[f"score_{choice}"] = [None if value == -math.inf else value for value in scores[:, choice].tolist()]
    return frame
