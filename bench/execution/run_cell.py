"""Runs one cell: attach, fit, score, measure, record."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from tunefront.bench.cells import Cell
from tunefront.bench.data import metrics
from tunefront.bench.errors import DiskFull, in_short
from tunefront.bench.execution import interruption
from tunefront.bench.execution.collapse import collapse_of
from tunefront.bench.execution.identity import Identity
from tunefront.bench.execution.latency import measure_latency
from tunefront.bench.execution.predictions import (
    constant_answer,
    digest_of,
    frame_of,
    labels_of,
)
from tunefront.bench.execution.setup import Setup, measuring
from tunefront.bench.execution.spans import check_removable, scores_without_spans
from tunefront.bench.execution.stages import StageSetup, planned_step
from tunefront.bench.execution.unchanged import process_unchanged
from tunefront.bench.meters.flops.by_phase import NO_FLOPS
from tunefront.bench.meters.memory.peak import PeakMemory
from tunefront.bench.meters.parameters import count_parameters
from tunefront.bench.meters.storage import checkpoint_bytes, checkpoint_dtypes
from tunefront.bench.models.examples import EncodedExamples
from tunefront.bench.models.scoring.answers import check_scores, predictions_of
from tunefront.bench.models.scoring.prompted import PromptedExamples
from tunefront.bench.models.session import Session
from tunefront.bench.records import (
    FLOP_PHASES,
    Collapse,
    CpuSeconds,
    Data,
    Environment,
    ExamplesPerSecond,
    Flops,
    Latency,
    Memory,
    Model,
    Parameters,
    PhaseFlops,
    Prompt,
    Record,
    Scores,
    Searched,
    Seconds,
    Span,
    Status,
    Storage,
    Stream,
    Tokens,
    Training,
)
from tunefront.bench.records.environment import cpu_model, git_commit, host
from tunefront.bench.records.store import Store
from tunefront.bench.settings import as_scalars
from tunefront.bench.training.feature_cache import RowValues
from tunefront.bench.training.harness import CellHarness, Report
from tunefront.bench.training.instruments import Subject
from tunefront.methods.base import Scorer, Unsupported

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("tunefront")


@dataclass(frozen=True)
class Costs:
    """Costs and inputs of fitting and scoring: the groups of a record except its scores."""

    model: Model = field(default_factory=Model)
    data: Data = field(default_factory=Data)
    prompt: Prompt = field(default_factory=Prompt)
    training: Training = field(default_factory=Training)
    parameters: Parameters = field(default_factory=Parameters)
    storage: Storage = field(default_factory=Storage)
    tokens: Tokens = field(default_factory=Tokens)
    flops: Flops = field(default_factory=Flops)
    seconds: Seconds = field(default_factory=Seconds)
    cpu_seconds: CpuSeconds = field(default_factory=CpuSeconds)
    latency: Latency = field(default_factory=Latency)
    examples_per_second: ExamplesPerSecond = field(default_factory=ExamplesPerSecond)
    memory: Memory = field(default_factory=Memory)
    servable: tuple[str, ...] | None = None


UNKNOWN = Costs()
"""The costs of a cell that did not run."""


@dataclass(frozen=True)
class Results:
    """What the answers to the scored rows came to, in a stream also those to the rows of earlier tasks."""

    scores: Scores = field(default_factory=Scores)
    collapse: Collapse = field(default_factory=Collapse)
    spans: tuple[Span, ...] | None = None
    stream: Stream = field(default_factory=Stream)


NO_RESULTS = Results()
"""The results of a cell that scored nothing."""


@dataclass(frozen=True)
class Fitted:
    """A fitted cell: its costs, its scorer, and the scores of the test rows and of the selection rows (None if there
    are none)."""

    costs: Costs
    scorer: Scorer
    scored: RowValues
    selection: RowValues | None


def run_cell(
    cell: Cell,
    report: Report | None = None,
    concurrent_cells: int = 1,
    session: Session | None = None,
    identity: Identity | None = None,
    store: Store | None = None,
) -> tuple[Record, pd.DataFrame | None]:
    """Runs a cell; returns its record and per-example predictions (None unless it is ok). An error in a method or model
    does not raise, but gives a failed record. Errors: DiskFull; UserError if data or backbone are missing.

    `session` keeps the backbone for later cells; `identity` is the cell's, computed if None; `store` has the
    checkpoints of earlier steps of a stream, and gets the cell's own if it is to be kept.
    """
    identity = identity or Identity.of(cell)
    surroundings = environment(cell, concurrent_cells)
    try:
        with process_unchanged():
            setup = _setup(cell, session, measuring(report, concurrent_cells), identity, store)
            measured, results, predictions = _measure(setup)
            if cell.keep and store is not None:
                kept = store.write_checkpoint(setup.checkpoint)
                storage = measured.storage.model_copy(update={"checkpoint_sha256": kept})
                measured = replace(measured, storage=storage)
        return record_of(cell, identity, surroundings, "ok", costs=measured, results=results), predictions
    except Unsupported as reason:
        return record_of(cell, identity, surroundings, "skipped", why_unsupported(reason)), None
    except DiskFull:
        raise
    except BaseException as error:  # a method may call sys.exit(), a tokenizer's Rust code may panic
        if interruption.pending():  # the method may have turned it into another error
            raise KeyboardInterrupt from error
        log.debug("cell %s failed", cell.title, exc_info=True)
        return failed_record(cell, identity, in_short(error), concurrent_cells), None


def _setup(
    cell: Cell,
    session: Session | None,
    harness: Callable[[Subject], CellHarness],
    identity: Identity,
    store: Store | None,
) -> Setup:
    if cell.stage is None:
        return Setup(cell, session, harness, identity=identity)
    if store is None:
        raise ValueError("a step of a stream needs the store with the checkpoints of the earlier steps")
    return StageSetup(cell, store, session, harness, identity)


def failed_record(cell: Cell, identity: Identity, reason: str, concurrent_cells: int) -> Record:
    """The record of a cell that failed."""
    return record_of(cell, identity, environment(cell, concurrent_cells), "failed", reason)


def record_of(
    cell: Cell,
    identity: Identity,
    surroundings: Environment,
    status: Status,
    reason: str | None = None,
    costs: Costs = UNKNOWN,
    results: Results = NO_RESULTS,
) -> Record:
    """The record of a cell: its identity and its measurements."""
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
        search=Searched() if cell.trial is None else Searched(**vars(cell.trial)),
        versions=identity.versions,
        fingerprints=identity.fingerprints,
        model=costs.model,
        data=costs.data,
        prompt=costs.prompt,
        scores=results.scores,
        collapse=results.collapse,
        spans=results.spans,
        stream=results.stream if results.stream.is_step else planned_step(cell),
        training=costs.training,
        parameters=costs.parameters,
        storage=costs.storage,
        servable=costs.servable,
        tokens=costs.tokens,
        flops=costs.flops,
        seconds=costs.seconds,
        cpu_seconds=costs.cpu_seconds,
        latency_seconds=costs.latency,
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
        host=host(),
        cpu_model=cpu_model(),
        threads=cell.config.threads,
        concurrent_cells=concurrent_cells,
        created_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        git_commit=git_commit(),
    )


def why_unsupported(reason: Unsupported) -> str:
    """The reason of a skipped record."""
    return in_short(reason).removeprefix("Unsupported: ")


def _measure(setup: Setup) -> tuple[Costs, Results, pd.DataFrame]:
    """Fits and scores a cell; returns costs, results and predictions."""
    task = setup.task
    fitted = fit(setup)
    scored, selection = fitted.scored, fitted.selection
    for values in [scored.values, *([selection.values] if selection else [])]:
        check_scores(task, values)
    predicted = predictions_of(task, scored.values)
    labels = labels_of(task, setup.rows.test, setup.test)
    constant = constant_answer(task, labels_of(task, setup.rows.train, setup.train))
    scores = Scores(
        headline=task.headline,
        test=metrics.score(task, predicted, labels),
        selection=None
        if selection is None
        else metrics.score(
            task,
            predictions_of(task, selection.values),
            labels_of(task, setup.rows.selection, setup.selection or setup.test),
        ),
        baseline=None if constant is None else metrics.score(task, [constant] * len(labels), labels),
        sha256=digest_of(scored.values),
    )
    spans = scores_without_spans(setup, fitted.scorer, labels)
    results = Results(scores, collapse_of(task, predicted, labels, constant), spans)
    spent = setup.trainer.cost.clock.seconds + scored.seconds
    measured = replace(
        fitted.costs,
        latency=measure_latency(setup, fitted.scorer, spent),
        servable=setup.servable if setup.cell.stage is None else None,
    )
    if isinstance(setup, StageSetup):
        results = replace(results, stream=setup.stream())
        measured = measured if setup.trains else _without_training(measured)
    return measured, results, frame_of(setup.rows.test, labels, predicted, scored.values)


def _without_training(measured: Costs) -> Costs:
    """The costs of a step that only scored: what was trained is in the records of the tasks alone."""
    return Costs(
        model=measured.model,
        data=measured.data,
        storage=Storage(backbone_bytes=measured.storage.backbone_bytes),
        tokens=measured.tokens.model_copy(update={"train": None}),
        seconds=Seconds(eval=measured.seconds.eval),
        cpu_seconds=CpuSeconds(eval=measured.cpu_seconds.eval),
        latency=measured.latency,
        examples_per_second=ExamplesPerSecond(eval=measured.examples_per_second.eval),
    )


def fit(setup: Setup) -> Fitted:
    """Fits and scores a cell."""
    check_removable(setup)
    cell, trainer, backbone = setup.cell, setup.trainer, setup.backbone
    with trainer.peak() as train_memory:
        scorer: Scorer = setup.fit()
    if not callable(scorer):
        raise TypeError(f"fit() of {cell.method.name} returned {type(scorer).__name__}, not a scorer: batch -> scores")
    train_memory.at_least(trainer.cost.grown)
    parameters = count_parameters(backbone.model, setup.heads, setup.pretrained.params)
    selection = trainer.score(scorer, setup.selection) if setup.selection else None
    with trainer.peak() as eval_memory:
        scored = trainer.score(scorer, setup.test)
    memory, cost, rows = _memory(setup, train_memory, eval_memory), trainer.cost, len(setup.rows.test)
    prefixed = bool(trainer.prompts.flops_once(backbone))
    measured = Costs(
        model=Model(
            architecture=setup.pretrained.config.model_type,
            pooling=setup.pretrained.pooling,
            stored_weights=setup.pretrained.stored_weights,
        ),
        data=_data(setup),
        prompt=_prompt(setup),
        training=Training(steps=cost.steps, final_loss=cost.final_loss),
        parameters=parameters,
        storage=_storage(setup),
        tokens=_tokens(setup, scored.reads_choices),
        flops=_flops(setup, scored),
        seconds=Seconds(
            train=cost.clock.seconds,
            eval=scored.seconds,
            prefix=trainer.prompts.seconds if prefixed else None,
            steps=trainer.step_seconds(scored),
        ),
        cpu_seconds=CpuSeconds(
            train=cost.clock.cpu_seconds,
            eval=scored.cpu_seconds,
            prefix=trainer.prompts.cpu_seconds if prefixed else None,
        ),
        examples_per_second=ExamplesPerSecond(
            train=cost.examples / cost.clock.seconds if cost.clock.seconds else None,
            eval=rows / scored.seconds if scored.seconds else None,
        ),
        memory=memory,
    )
    return Fitted(measured, scorer, scored, selection)


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
    """The demonstrations of the scored rows; empty if the method has none."""
    prompts = setup.trainer.prompts
    if not prompts.ids:
        return Prompt()
    followed = cast(PromptedExamples, prompts.prepend_to(setup.test))
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


def _tokens(setup: Setup, reads_choices: bool) -> Tokens:
    """The tokens of a scored row and those of the training."""
    prompts, rows, test = setup.trainer.prompts, range(len(setup.test)), setup.test
    passes = max(1, len(prompts.prefixes))
    demonstrations, text = prompts.scored_tokens(test)
    right = [len(choices[label]) for choices, label in zip(_choices(test), test.labels.tolist(), strict=False)]
    return Tokens(
        prefix=demonstrations + passes * setup.backbone.led,
        query=text,
        answer=passes * sum(map(test.choice_tokens, rows)) / len(rows) if reads_choices else 0.0,
        right_answer=sum(right) / len(rows) if reads_choices else 0.0,
        train=setup.trainer.cost.tokens,
    )


def _choices(examples: EncodedExamples) -> Sequence[Sequence[Tensor]]:
    """The choices of every row as tokens; empty for rows without choices."""
    return examples.choices if isinstance(examples, PromptedExamples) else ()


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


def _flops(setup: Setup, scored: RowValues) -> Flops:
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


def _phases(setup: Setup, scored: RowValues) -> dict[str, PhaseFlops]:
    """FLOPs of every phase that has any, from every source."""
    trainer = setup.trainer
    trained = trainer.cost.flops_by_phase
    prefill = trainer.prompts.entry_once(setup.backbone, trainer.flop_ledger) + trained.get("prefill", NO_FLOPS)
    evaluation = scored.entry or PhaseFlops(counted=scored.flops)
    entries = {**trained, "prefill": prefill, "evaluation": evaluation}
    return {phase: entries[phase] for phase in FLOP_PHASES if phase in entries and entries[phase].counted}
