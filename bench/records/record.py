"""The record of one cell: what ran, its scores and its costs. Torch-free, so that reports can read it anywhere."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

SCHEMA_VERSION = 9
"""Raised whenever a field is added, removed or changes its type or meaning (a test compares the fields with the list
for the version); records of other versions are left unchanged, and never compared with these."""

ROUNDING = 1e-9
"""Scores that differ by less are equal."""

SIGNIFICANT = 0.05
"""A cell beats the constant answer if its p-value is smaller."""
LONGEST_ANSWER = 16
"""Longer answers are cut where a sentence quotes them, which thus fits into a narrow terminal."""

Scalar = bool | int | float | str | None
Amount = Annotated[int, Field(ge=0)]
Bytes = Annotated[int | None, Field(ge=0)]
Count = Annotated[int | None, Field(ge=0)]
Time = Annotated[float | None, Field(ge=0)]
Share = Annotated[float | None, Field(ge=0, le=1)]
Status = Literal["ok", "skipped", "failed", "planned"]

EARLIER = "earlier task "
"""Prefix of the fingerprint of an earlier task of a stream, before its number from 1."""

OWNERS = (
    *("frozen_weights", "trained_weights", "gradients", "optimizer_state", "saved_activations"),
    *("kv_cache", "features_cache", "inputs", "temporary"),
)
"""Owners of bytes in memory; every byte has one owner, so the owners sum to the peak."""
MEMORY_PHASES = ("load", "features", "forward", "backward", "optimizer", "evaluation", "prefill", "query")
FLOP_PHASES = ("features", "forward", "backward", "prefill", "evaluation")
STEP_PHASES = ("data", "forward", "backward", "optimizer", "evaluation")

RECIPE_FIELDS = (
    *("optimizer", "learning_rate", "weight_decay", "beta1", "beta2", "epsilon", "scale_parameter", "warmup"),
    *("schedule", "clip_norm", "batch_size", "epochs", "steps", "balanced", "dropout", "dtype"),
    *("likelihood_weight", "unlikelihood_weight", "length_normalised_weight"),
)
SETTINGS_FIELDS = (
    *("device", "threads", "max_length", "eval_batch_size", "eval_rows", "select", "selection_rows", "normalization"),
    *("context_length", "published_draws", "balanced_draws", "removed_spans", "latency_queries"),
)
"""The fields of a recipe and of the run settings, repeated here: adding or removing one changes records, and so needs
another schema version (a test compares them)."""
KEYS = {
    "recipe": RECIPE_FIELDS,
    "settings": SETTINGS_FIELDS,
    "flops.phases": FLOP_PHASES,
    "memory.phases": MEMORY_PHASES,
    "memory.cuda": MEMORY_PHASES,
    "seconds.steps": STEP_PHASES,
}
"""The known keys of each field that is a mapping with fixed keys."""
WHOLE = ("recipe", "settings")
"""The mappings that have all their keys, or none."""


class Group(BaseModel):
    """A group of fields of a record; an unknown field is null."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")


class PhaseFlops(Group):
    """FLOPs of one phase of a cell from three sources, summed over its batches; null if a source does not know them.

    Args: counted, matrix products and attention as seen by torch's dispatcher; analytic, the same from the
    configuration and the shapes alone; elementwise, everything else by the same analysis (norms, softmax, activations,
    residual sums), not included in the other two; rule, the papers' rule of thumb (2 N per token forward, N if an
    encoder-decoder passes each token through one of its sides, and twice that backward). In the backward pass,
    activation_gradients and weight_gradients are the two parts of `analytic`.
    """

    counted: Count = None
    analytic: Count = None
    elementwise: Count = None
    rule: Count = None
    activation_gradients: Count = None
    weight_gradients: Count = None

    def __add__(self, other: PhaseFlops) -> PhaseFlops:
        """The sum, source by source; null if either is null."""
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in PhaseFlops.model_fields}
        return PhaseFlops(**{name: None if None in pair else sum(pair) for name, pair in pairs.items()})


class Spread(Group):
    """Seconds of one phase of a step: median and quartiles over `count` steps, without warm-up steps."""

    median: float = Field(ge=0)
    low: float = Field(ge=0)
    high: float = Field(ge=0)
    count: int = Field(ge=1)


class Percentiles(Group):
    """Seconds that a part of `count` queries did not exceed: half of them, 95 and 99 of 100. Each is the seconds of one
    of the queries; p95 and p99 are null if there are too few to tell them from the slowest one (below 20 and 100)."""

    p50: Time = None
    p95: Time = None
    p99: Time = None
    count: int = Field(ge=1)


class Searched(Group):
    """The cell as a trial of a search; null outside one."""

    method: str | None = Field(
        default=None, description="label of the method whose trials these are, of whatever size, as the suite lists it"
    )
    sampler: Literal["grid", "random", "optuna"] | None = Field(
        default=None,
        description="how the trials were chosen: spread evenly, drawn at random, or asked of Optuna by the scores",
    )
    seed: Count = Field(default=None, description="seed of a sampler that draws, null for a grid")
    number: Count = Field(default=None, description="number of the trial in its search, from 1")


class Model(Group):
    """The backbone as loaded."""

    architecture: str | None = Field(default=None, description="the backbone's model_type")
    pooling: str | None = Field(default=None, description="input of the head: pooler, first or mean")
    stored_weights: str | None = Field(
        default=None,
        description="quantisation of most weights of the GGUF file that the backbone was read from, as the format "
        "names it (Q4_1); they are used in float32; null for a backbone of other files",
    )


class Data(Group):
    """The task's rows, and those drawn, trained on and scored."""

    task_kind: Literal["classification", "regression", "multiple choice"] | None = Field(
        default=None, description="task type"
    )
    split_rows: dict[str, Amount] | None = Field(default=None, description="split -> the task's number of rows")
    input_fields: tuple[str, ...] | None = Field(default=None, description="columns used as inputs, in order")
    left_out_fields: dict[str, str] | None = Field(default=None, description="column that is not used -> reason")
    label_counts: dict[str, Amount] | None = Field(
        default=None,
        description="label -> rows of the train split; for multiple choice, the position of the right answer; null for "
        "regression",
    )
    notes: tuple[str, ...] | None = Field(default=None, description="further notes on how the data was read")
    warnings: tuple[str, ...] | None = Field(default=None, description="possible problems in the data")
    draw_source: str | None = Field(
        default=None, description="folder of the published few-shot files, null if drawn by seed"
    )
    eval_split: str | None = Field(default=None, description="the scored split")
    selection_split: str | None = Field(
        default=None, description="split for choosing hyper-parameters, null if none are chosen"
    )
    n_train: Count = Field(default=None, description="training rows given to the method")
    n_selection: Count = Field(default=None, description="rows of the selection split")
    n_test: Count = Field(default=None, description="scored rows")
    truncated_train: Count = Field(
        default=None,
        description="training rows that were cut (to max_length, or to the model's limit) and trained on; "
        "demonstrations are never cut, so 0 if rows are only shown in prompts",
    )
    truncated_test: Count = Field(default=None, description="scored rows cut to max_length")
    train_ids: tuple[str, ...] | None = Field(default=None, description="ids of the training rows, in draw order")


class Prompt(Group):
    """The demonstrations in the prompts of scored rows; null without demonstrations."""

    demonstration_ids: tuple[tuple[str, ...], ...] | None = Field(
        default=None,
        description="ids of each prompt's demonstrations, in the prompt's order; null without any",
    )
    demonstrations_per_row: float | None = Field(
        default=None, ge=0, description="mean demonstrations per prompt of a scored row; null without any"
    )
    shortened_test: Count = Field(
        default=None, description="scored rows whose prompt kept fewer demonstrations, null without any"
    )
    prefix_tokens: Count = Field(
        default=None,
        description="tokens of the demonstrations that are read: each prompt's demonstrations from the first on, as "
        "many as the scored row with most room keeps; 0 if no row has room for any, null without any",
    )
    kv_cache_bytes: Bytes = Field(
        default=None, description="keys and values of the demonstrations, null if none are kept"
    )


class Scores(Group):
    """Values of the task's metrics."""

    headline: str | None = Field(default=None, description="name of the task's first metric")
    test: dict[str, float | None] | None = Field(default=None, description="metric name -> value on the scored split")
    selection: dict[str, float | None] | None = Field(
        default=None, description="metric name -> value on the selection rows"
    )
    baseline: dict[str, float | None] | None = Field(
        default=None,
        description="scores of always predicting the commonest label of the train split (the mean, for regression; for "
        "multiple choice, the commonest position of the right answer among the cell's training rows); null without "
        "such rows",
    )
    sha256: str | None = Field(
        default=None,
        description="sha256 over the scores of all scored rows and answers, as float32 in the rows' order: equal only "
        "if every one of them is equal to the bit",
    )


class Stream(Group):
    """A step of a stream of tasks, which arrive one after another; null for a cell outside a stream. The record's own
    groups are about the newest task, its training, and the model after it."""

    way: Literal["separate", "sequential", "multitask", "replay"] | None = Field(
        default=None,
        description="separate: every task has its own trained parameters, scored again here; sequential: training went "
        "on from the parameters after the earlier tasks; replay: so did this, on some rows of these too; multitask: "
        "the pretrained model was trained on all tasks so far together",
    )
    earlier: tuple[str, ...] | None = Field(default=None, description="the earlier tasks, in order")
    earlier_templates: tuple[str | None, ...] | None = Field(
        default=None, description="the earlier tasks' prompt templates, null if none is used"
    )
    replay_share: Share = Field(
        default=None, description="share of each earlier task's drawn rows that are trained on again; null without"
    )
    replayed_rows: Count = Field(
        default=None, description="rows of earlier tasks that were trained on in this step; null for separate"
    )
    earlier_scores: dict[str, dict[str, float | None]] | None = Field(
        default=None, description="earlier task -> metric name -> value on its scored split, after this step"
    )
    earlier_headlines: dict[str, str] | None = Field(
        default=None, description="earlier task -> name of its first metric"
    )
    earlier_n_test: dict[str, Amount] | None = Field(default=None, description="earlier task -> scored rows")
    earlier_sha256: dict[str, str] | None = Field(
        default=None, description="earlier task -> sha256 of the scores of its rows, as scores.sha256"
    )
    total_params: Count = Field(
        default=None,
        description="parameters that all tasks so far need together: frozen ones once, and the trained ones of every "
        "task, or of the one model",
    )
    total_bytes: Bytes = Field(
        default=None,
        description="bytes of the files that all tasks so far need together: the checkpoints in the store and, if any "
        "parameter of the backbone is frozen, the backbone's weights files once",
    )

    @property
    def is_step(self) -> bool:
        """Whether the record is of a step in a stream."""
        return self.way is not None


class Mixed(Group):
    """The cell as a member of mixed batches, in which rows of several cells share passes through one backbone; null if
    it was never one. Ways to score: mixed; switching, one task after another on one backbone; separate, with a copy of
    the backbone for every task (left out where the copies would take too much memory)."""

    members: tuple[str, ...] | None = Field(
        default=None, description="keys of the cells whose rows were mixed, this one among them, in order"
    )
    largest_difference: float | None = Field(
        default=None, description="largest difference of a score in mixed batches from that of the cell alone"
    )
    changed_answers: Count = Field(default=None, description="rows with another answer than alone")
    n_rows: Count = Field(default=None, description="rows of all members whose scoring was timed, in each way")
    rows_per_second: dict[str, float] | None = Field(
        default=None, description="way -> rows of all members scored per second, in batches of settings.eval_batch_size"
    )
    weights_bytes: dict[str, Amount] | None = Field(
        default=None, description="way -> bytes of the backbone or its copies, and of all members' modules and heads"
    )
    peak_bytes: dict[str, Amount] | None = Field(
        default=None, description="way -> these, and the most bytes of tensors beside them"
    )

    @property
    def is_member(self) -> bool:
        """Whether the cell was a member of mixed batches."""
        return self.members is not None


class Collapse(Group):
    """Whether the cell gives nearly always the same answer, or does not beat a constant one; null for regression."""

    collapsed: bool | None = Field(
        default=None,
        description="true if one_answer is true or p_value is at least 0.05; null for regression",
    )
    one_answer: bool | None = Field(
        default=None,
        description="true if answer_share is at least 0.95 and label_share is under 0.80; null for regression",
    )
    answer: str | None = Field(
        default=None,
        description="the answer given most often: a label; for multiple choice `position 1` for the first answer",
    )
    answer_share: Share = Field(default=None, description="share of the scored rows that got this answer")
    label_share: Share = Field(default=None, description="share of the scored rows for which this answer is right")
    baseline_answer: str | None = Field(
        default=None, description="the constant answer of scores.baseline, named in the same way"
    )
    baseline_share: Share = Field(
        default=None, description="share of the scored rows for which the constant answer is right"
    )
    p_value: Share = Field(
        default=None,
        description="p-value of a one-sided exact McNemar test on the scored rows, that the cell is right no more "
        "often than the constant answer (right or wrong, whatever the headline metric); null without scores.baseline",
    )

    @property
    def reason(self) -> str | None:
        """Why the cell counts as collapsed, in words; None if it does not.

        >>> Collapse(collapsed=True, one_answer=True, answer="bad", answer_share=0.96, label_share=0.5).reason
        '96 % of its answers are “bad”, right for 50 %'
        >>> Collapse(collapsed=True, baseline_answer="good", baseline_share=0.6, p_value=0.25).reason
        'not clearly better than always “good”, right for 60 % (p = 0.25)'
        """
        if not self.collapsed:
            return None
        if self.one_answer and self.answer_share is not None:
            return f"{_percent(self.answer_share)} of its answers are {_always(self.answer, self.label_share)}"
        p_value = "" if self.p_value is None else f" (p = {self.p_value:.2g})"
        return f"not clearly better than always {_always(self.baseline_answer, self.baseline_share)}{p_value}"


def _percent(share: float) -> str:
    """A share in whole percent, rounded down: 99.7 % of the rows are not all rows."""
    return f"{math.floor(100 * share + ROUNDING)} %"


def _always(answer: str | None, right: float | None) -> str:
    """An answer and the share of the rows for which it is right; the text of an answer may be any of a data file."""
    text = answer or ""
    short = text if len(text) <= LONGEST_ANSWER else f"{text[: LONGEST_ANSWER - 1]}…"
    return f"“{short}”" + ("" if right is None else f", right for {_percent(right)}")


class Span(Group):
    """The scores without what the method inserted into a span of blocks, trained with it and not trained again."""

    first: int = Field(ge=0, description="first block of the span, counted from 0, encoder before decoder")
    last: int = Field(ge=0, description="last block of the span")
    plugs: int = Field(ge=0, description="inserted modules that were left out")
    scores: dict[str, float | None] = Field(description="metric name -> value on the scored split")


class Training(Group):
    """Steps and loss of the training."""

    steps: Count = Field(default=None, description="optimiser steps")
    final_loss: float | None = Field(default=None, description="mean loss of the last tenth of the training steps")


class Parameters(Group):
    """Numbers of parameters, counting each tensor once."""

    trainable: Count = Field(default=None, description="parameters that require gradients after fit, head included")
    head: Count = Field(default=None, description="parameters of the head, 0 if none of them is trained")
    inserted: Count = Field(default=None, description="parameters that the method added to the model")
    backbone: Count = Field(
        default=None,
        description="parameters of the pretrained model as used (without a pooler that is not used), the "
        "denominator of percentages",
    )
    total: Count = Field(default=None, description="parameters of the adapted model: backbone, inserted and head")


class Storage(Group):
    """Bytes to keep on disk."""

    checkpoint_bytes: Bytes = Field(
        default=None,
        description="safetensors file to ship for the task: trained parameters, buffers that the method added, and "
        "seeds; 0 if there is nothing to ship",
    )
    checkpoint_dtypes: dict[str, Amount] | None = Field(
        default=None, description="dtype -> number of values in that file; empty if it has none"
    )
    checkpoint_sha256: str | None = Field(
        default=None,
        description="sha256, and so the name, of the file in checkpoints/, which also has a manifest; null if it was "
        "not kept",
    )
    demonstration_bytes: Bytes = Field(
        default=None, description="text of the demonstrations in prompts, each counted once; null without any"
    )
    backbone_bytes: Bytes = Field(
        default=None,
        description="weights files of the backbone, shipped once for all tasks; for a GGUF backbone the GGUF file",
    )


class Tokens(Group):
    """Tokens that go through the model, without padding; those of a query are means over the scored rows."""

    prefix: float | None = Field(
        default=None,
        ge=0,
        description="tokens before a query's text, which are read once where their keys and values are kept: those of "
        "the demonstrations that its prompt keeps, and the positions of a learned prompt; 0 without either",
    )
    query: float | None = Field(
        default=None, ge=0, description="tokens of a query's text with its template, special ones included"
    )
    answer: float | None = Field(
        default=None,
        ge=0,
        description="tokens of all choices that are scored for a query; 0 where a head or a vote answers",
    )
    right_answer: float | None = Field(
        default=None,
        ge=0,
        description="tokens of a query's right choice, which is what a model that writes its answers would write; 0 "
        "where a head or a vote answers",
    )
    train: Count = Field(
        default=None,
        description="tokens of the rows (their texts, and their choices where the loss reads them) over all training "
        "steps, and of what is read once for training: rows whose features or gradients are computed, and "
        "demonstrations that training starts from; without padding and learned prompts, 0 if nothing is trained",
    )


class Flops(Group):
    """FLOPs; one multiply-add is two."""

    train: Count = Field(
        default=None,
        description="counted FLOPs of all training steps (and of precomputing features, and of reading demonstrations "
        "that training starts from)",
    )
    inference_per_example: float | None = Field(
        default=None, ge=0, description="counted forward FLOPs per scored row, padding included as computed"
    )
    inference_per_example_without_reuse: float | None = Field(
        default=None,
        ge=0,
        description="the same without cache, reading the demonstrations for every row; null without demonstrations",
    )
    prefix: Count = Field(
        default=None,
        description="counted FLOPs of reading the demonstrations once, of calibrating, and of reading a learned prompt "
        "that a decoder keeps in its cache; null if nothing is read",
    )
    calibration: Count = Field(
        default=None, description="the part of these spent on calibration, null without calibration"
    )
    phases: dict[str, PhaseFlops] | None = Field(
        default=None,
        description="FLOPs of each phase (features, forward, backward, prefill, evaluation), counted, analytic and by "
        "the papers' rule; over all training, all scored rows, all demonstrations once",
    )


class Seconds(Group):
    """Seconds; those of training never include evaluation."""

    train: Time = Field(
        default=None,
        description="seconds of all training steps (and of precomputing features, and of reading demonstrations that "
        "training starts from), without evaluation or tokenisation",
    )
    eval: Time = Field(default=None, description="seconds of scoring the scored split, without tokenisation")
    prefix: Time = Field(
        default=None,
        description="seconds of reading the demonstrations once, of calibrating, and of reading a learned prompt that "
        "a decoder keeps in its cache; null if nothing is read",
    )
    steps: dict[str, Spread] | None = Field(
        default=None,
        description="seconds of a step's data, forward, backward and optimizer, and of an evaluation batch: median and "
        "quartiles, without warm-up steps",
    )


class CpuSeconds(Group):
    """Seconds of processor time of the process, over all its threads, during the same stretches as `Seconds`. Seconds
    that are longer than these show that the process had to wait. On CUDA they include waiting for the device."""

    train: Time = Field(default=None, description="processor time during seconds.train")
    eval: Time = Field(default=None, description="processor time during seconds.eval")
    prefix: Time = Field(default=None, description="processor time during seconds.prefix; null if that is")


class Latency(Group):
    """Seconds of single queries, one at a time, with tokens that are ready, outside all other clocks."""

    first: Percentiles | None = Field(
        default=None,
        description="a first query: reading what is kept for later ones (demonstrations, a learned prompt), then the "
        "answer; null if nothing is read and kept",
    )
    after_prefix: Percentiles | None = Field(default=None, description="a later query, or any if nothing is kept")
    merged: Percentiles | None = Field(
        default=None,
        description="the same with what the method inserted merged into the weights, without modules of its own; null "
        "if nothing is inserted, or if it cannot be merged",
    )


class ExamplesPerSecond(Group):
    """Rows through the model per second."""

    train: float | None = Field(default=None, ge=0, description="training rows through the model per second")
    eval: float | None = Field(default=None, ge=0, description="scored rows per second")


class Memory(Group):
    """Peaks of memory."""

    phases: dict[str, dict[str, Amount]] | None = Field(
        default=None,
        description="for each phase (load, features, forward, backward, optimizer, evaluation, prefill, query) the "
        "bytes of each owner at the phase's peak, counting tensors as allocated; they sum to the peak",
    )
    cuda: dict[str, dict[str, Amount]] | None = Field(
        default=None,
        description="for each of these phases the CUDA allocator's own peaks: bytes handed out to tensors (allocated) "
        "and bytes taken from the device (reserved); null on CPU",
    )
    start_resident_bytes: Bytes = Field(
        default=None, description="the process's resident memory before the cell trained"
    )
    train_peak_resident_bytes: Bytes = Field(
        default=None, description="peak resident memory of the process while training"
    )
    eval_peak_resident_bytes: Bytes = Field(
        default=None, description="peak resident memory of the process while scoring"
    )
    train_peak_allocated_bytes: Bytes = Field(
        default=None, description="CUDA allocator's peak while training, null on CPU"
    )
    eval_peak_allocated_bytes: Bytes = Field(
        default=None, description="CUDA allocator's peak while scoring, null on CPU"
    )


class Environment(Group):
    """Where and when the cell ran; none of it changes a score."""

    device: str | None = Field(default=None, description="cpu or cuda")
    device_name: str | None = Field(default=None, description="the accelerator's name, null on CPU")
    host: str | None = Field(default=None, description="the name of the machine on its network, null if it has none")
    cpu_model: str | None = Field(default=None, description="the processor's name")
    threads: Count = Field(default=None, description="torch threads of the cell")
    concurrent_cells: Count = Field(
        default=None, description="cells allowed to run in parallel; compare seconds only if equal"
    )
    created_at: str | None = Field(default=None, description="when the record was written, UTC, ISO 8601")
    git_commit: str | None = Field(
        default=None, description="commit of the checkout that ran, null for an installed package"
    )


class Record(BaseModel):
    """The immutable result of one cell: its identity, then groups of measurements. A missing value is null, never 0;
    units end the name of a field or of its group; one multiply-add is two FLOPs.

    The field descriptions define the fields: `leaves()[name].description`, with names such as `flops.train` for a field
    in a group.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")

    schema_version: int = Field(default=SCHEMA_VERSION, description="version of the meaning of these fields")
    key: str = Field(description="sha256 over everything that can change the numbers; also the file's name")
    status: Status = Field(
        description="ok, skipped (unsupported here), failed, or planned (costs predicted, nothing run)"
    )
    reason: str | None = Field(default=None, description="why the cell was skipped or failed, null if it is ok")
    attempts: tuple[str, ...] = Field(default=(), description="reasons of earlier failed attempts, oldest first")

    method: str = Field(description="the method, spelled with every field")
    label: str = Field(description="the method's short form: fields that differ from their default")
    method_file: str | None = Field(
        default=None,
        description="the user's own file that defines the method: its path from the working directory, or only its "
        "name if it lies elsewhere; null for a shipped method",
    )
    method_sources: dict[str, str] | None = Field(
        default=None,
        description="sha256 of each file that defines the user's own method or a base class of it, named like "
        "method_file, or by the module if it is installed; null for a shipped method",
    )
    backbone: str = Field(description="the backbone as requested: an embedded name, a folder, a GGUF file or a Hub id")
    task: str = Field(description="the task as requested")
    template: str | None = Field(default=None, description="the prompt template, null if none is used")
    shots: Count = Field(default=None, description="training rows drawn, null for all")
    draw_seed: int = Field(default=0, description="seed of the draw of training rows")
    seed: int = Field(default=0, description="seed of initialisation, order and dropout")
    recipe: dict[str, Scalar] = Field(default_factory=dict, description="the resolved training recipe")
    settings: dict[str, Scalar] = Field(default_factory=dict, description="the run settings that change numbers")
    paper: str | None = Field(default=None, description="the paper that the suite repeats, null if it repeats none")
    deviations: tuple[str, ...] | None = Field(
        default=None,
        description="differences from the paper's code, one sentence each, as compared when the run started; null if "
        "the suite repeats no paper",
    )
    search: Searched = Field(
        default=Searched(), description="the cell as a trial of a search, of the last one that asked for it"
    )
    versions: dict[str, str] = Field(default_factory=dict, description="package name -> version")
    fingerprints: dict[str, str] = Field(
        default_factory=dict,
        description="sha256 of the method's source, the backbone, the rows, the sites and the harness",
    )

    model: Model = Field(default=Model(), description="the backbone as loaded")
    data: Data = Field(default=Data(), description="the task's rows, and those drawn, trained on and scored")
    prompt: Prompt = Field(default=Prompt(), description="the demonstrations in the prompts of scored rows")
    scores: Scores = Field(default=Scores(), description="values of the task's metrics")
    collapse: Collapse = Field(
        default=Collapse(), description="whether the answers are nearly all the same, or no better than a constant one"
    )
    spans: tuple[Span, ...] | None = Field(
        default=None,
        description="for each of settings.removed_spans its blocks, the number of modules left out, and the scores "
        "without them, not trained again; null if none are removed",
    )
    stream: Stream = Field(default=Stream(), description="a step of a stream of tasks")
    mixed: Mixed = Field(default=Mixed(), description="the cell as a member of mixed batches")
    training: Training = Field(default=Training(), description="steps and loss of the training")
    parameters: Parameters = Field(default=Parameters(), description="numbers of parameters")
    storage: Storage = Field(default=Storage(), description="bytes to keep on disk")
    servable: tuple[str, ...] | None = Field(
        default=None,
        description="forms in which `tunefront export` can write the fitted method; null if the cell has no result, or "
        "is a step of a stream",
    )
    tokens: Tokens = Field(default=Tokens(), description="tokens of a query and of the training")
    flops: Flops = Field(default=Flops(), description="FLOPs; one multiply-add is two")
    seconds: Seconds = Field(default=Seconds(), description="seconds of training and scoring")
    cpu_seconds: CpuSeconds = Field(default=CpuSeconds(), description="processor time of training and scoring")
    latency_seconds: Latency = Field(default=Latency(), description="seconds of single queries")
    examples_per_second: ExamplesPerSecond = Field(
        default=ExamplesPerSecond(), description="rows through the model per second"
    )
    memory: Memory = Field(default=Memory(), description="peaks of memory")
    environment: Environment = Field(default=Environment(), description="where and when the cell ran")

    @property
    def score(self) -> float | None:
        """The headline metric on the scored split."""
        return self._headline(self.scores.test)

    @property
    def selection_score(self) -> float | None:
        """The headline metric on the selection rows."""
        return self._headline(self.scores.selection)

    @property
    def baseline_score(self) -> float | None:
        """The headline metric of always giving the constant answer of `scores.baseline`."""
        return self._headline(self.scores.baseline)

    def _headline(self, scores: dict[str, float | None] | None) -> float | None:
        return (scores or {}).get(self.scores.headline or "")

    @property
    def baseline_answer(self) -> str:
        """The constant answer of the baseline, in words."""
        return "mean label" if self.data.task_kind == "regression" else "commonest label"

    @property
    def task_bytes(self) -> int | None:
        """Bytes to keep for the task in addition to the backbone: its checkpoint file and its demonstrations.

        0 if it has neither (zero-shot); null if they are not measured.
        """
        sizes = (self.storage.checkpoint_bytes, self.storage.demonstration_bytes)
        kept = [size for size in sizes if size is not None]
        return sum(kept) if kept or self.parameters.trainable == 0 else None

    @property
    def peak_memory_bytes(self) -> int | None:
        """The largest tensor memory of any phase; null if it is not measured."""
        return max((sum(owners.values()) for owners in (self.memory.phases or {}).values() if owners), default=None)


GROUPS: dict[str, type[Group]] = {
    name: field.annotation
    for name, field in Record.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Group)
}
"""The fields of a record that are groups of fields."""


def leaves() -> dict[str, FieldInfo]:
    """Every field by its dotted name, with the fields of each group instead of the group.

    >>> leaves()["flops.prefix"].description[:40]
    'counted FLOPs of reading the demonstrati'
    """
    by_name: dict[str, FieldInfo] = {}
    for name, field in Record.model_fields.items():
        inner = GROUPS[name].model_fields if name in GROUPS else None
        by_name |= {name: field} if inner is None else {f"{name}.{leaf}": value for leaf, value in inner.items()}
    return by_name


_VARYING = (
    *("attempts", "paper", "deviations", "search", "method_file", "method_sources"),
    *("seconds", "cpu_seconds", "latency_seconds", "examples_per_second", "mixed"),
    *("memory.cuda", "memory.start_resident_bytes", "storage.checkpoint_sha256"),
    *("environment.created_at", "environment.git_commit", "environment.concurrent_cells"),
    *("environment.host", "environment.cpu_model", "environment.device_name"),
)
DETERMINISTIC = frozenset(
    name for name in leaves() if name not in _VARYING and name.split(".")[0] not in _VARYING and "_peak_" not in name
)
"""Fields, by dotted name, that are bitwise equal for the same key on the same machine."""
