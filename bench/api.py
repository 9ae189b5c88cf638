"""The Python API of the commands that run cells, predict their costs, or look at data."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from tunefront.bench.cells import kept
from tunefront.bench.errors import ErrorCollector, UserError, unknown
from tunefront.bench.papers.compared import compared
from tunefront.bench.quiet import quiet_libraries
from tunefront.bench.records import Record
from tunefront.bench.records.kept import find_missing
from tunefront.bench.records.store import Store
from tunefront.bench.settings import Scalar
from tunefront.bench.suites.expand import MIX, STREAM, Expansion, expand
from tunefront.bench.suites.overrides import Overrides
from tunefront.methods.base import Method
from tunefront.methods.registry import is_given_by_path

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from tunefront.bench.cells import Cell, Sampler
    from tunefront.bench.check.findings import Check
    from tunefront.bench.execution.grid import Grid
    from tunefront.bench.execution.mixed_model import MixedModel
    from tunefront.bench.execution.mixing import Mixtures
    from tunefront.bench.execution.rounds import Rounds
    from tunefront.bench.execution.shards import Shard
    from tunefront.bench.execution.stream import Streams
    from tunefront.bench.forecast.forecast import Forecast
    from tunefront.bench.probe.probing import Probe
    from tunefront.bench.suites.grids import Grid as Part

log = logging.getLogger("tunefront")

T = TypeVar("T")


def run(
    suite: str | None = None,
    *,
    methods: Sequence[str | Method] | None = None,
    backbones: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    data: object = None,
    test: object = None,
    validation: object = None,
    text: str | Sequence[str] | None = None,
    label: str | None = None,
    id: str | None = None,
    group: str | None = None,
    split: str | float | None = None,
    kind: str | None = None,
    header: str | None = None,
    prompts: str | Path | None = None,
    shots: Sequence[int | None] | None = None,
    draws: Sequence[int] | None = None,
    seeds: Sequence[int] | None = None,
    templates: Sequence[str | None] | None = None,
    trials: int | None = None,
    sampler: Sampler | None = None,
    settings: Mapping[str, Scalar] | None = None,
    sites: Sequence[str] | None = None,
    device: str | None = None,
    out: str | Path = "results",
    workers: int | None = None,
    engine: str = "local",
    keep: Sequence[str] = (),
    shard: str | None = None,
) -> list[Record]:
    """Runs the cells of a suite that are not recorded yet; returns the records of all of them, in order.

    Args: suite, the name of a shipped suite or the path of a TOML file, by default `own` for tasks of your own and
    `quick` for embedded ones; each list replaces the suite's list (`methods` takes strings and instances, None in
    `shots` means all rows). If the suite has several parts, a list replaces that of every part; `backbones` instead
    selects the parts that name one of them, and a backbone that no part names runs the parts for its kind (encoder or
    language model). data, your own task: the path of a file or folder, a pandas DataFrame, or a list of these; where
    it should not be guessed how to read it: test and validation, a file or DataFrame each; text, columns; label, id
    and group, a column each; split, a share of the rows, or a column; kind, of task; header, `yes` or `no`; prompts, a
    file of prompt templates. settings, any fields of the recipe or of the run settings; sites, TOML files with records
    of sites for architectures (see `probe`), which the process keeps; device, one of the run settings; trials, the
    number of sizes and learning rates that every method tries, and sampler, how they are chosen (`grid`, `random`, or
    `optuna`); out, a folder or fsspec URL; workers, the number of cells that run at a time, by default 1, or on a
    cluster as many as fit; engine, where they run: `local`, `ray` or `ray:HOST:PORT`; keep, `["checkpoints"]` to keep
    what was trained, for `predict` and `export`; shard, such as "2/8", one of the shares into which the cells are
    divided by their keys, for several machines: only its cells are run and returned. Workers import the script that
    started them, so a script that uses several keeps its call under `if __name__ == "__main__":`.
    Errors: UserError for any mistake in the call. A failed cell is a record with `status == "failed"`. The logger
    `tunefront` reports what was read for each task, warnings about the tasks, where a suite that repeats a paper
    differs from it, and recorded results that are missing from the disk.

        from tunefront import run
        from tunefront.methods.houlsby import Houlsby

        for record in run(methods=["full", Houlsby(bottleneck=8)], tasks=["dir:data/mine"], seeds=[0, 1, 2]):
            print(record.label, record.score, record.parameters.trainable)
    """
    quiet_libraries()  # before they are imported
    share = _shard(shard)
    overrides = Overrides(
        methods=methods,
        backbones=backbones,
        tasks=tasks,
        data=_listed(data),
        test=test,
        validation=validation,
        text=_listed(text),
        label=label,
        id=id,
        group=group,
        split=split,
        kind=kind,
        header=header,
        prompts=prompts,
        shots=shots,
        draws=draws,
        seeds=seeds,
        templates=templates,
        trials=trials,
        sampler=sampler,
        settings=settings,
        sites=sites,
        device=device,
    )
    unknown_parts = [part for part in keep if part != CHECKPOINTS]
    if unknown_parts:
        raise UserError(f"keep: {unknown('part', str(unknown_parts[0]), [CHECKPOINTS])}")
    expansion = expand(suite, overrides)
    expansion = replace(expansion, cells=kept(expansion.cells)) if keep else expansion
    return _records_of(expansion, out, (engine, workers), shard=share)


def ablate(
    what: str,
    *,
    spans: str | None = None,
    values: Sequence[float] | None = None,
    out: str | Path = "results",
    workers: int | None = None,
    engine: str = "local",
    shard: str | None = None,
    **selection: Any,  # Any: the keywords of `run`
) -> list[Record]:
    """Varies one thing about methods, as `tunefront ablate` does; returns the records of all cells, in order.

    Args: what, `spans` (what the method inserted is left out of each span of blocks after training), `init` (standard
    deviation of the initial weights), `losses` (T-Few's three, on and off), `size`, `layers` (top blocks trained) or
    `shots` (learning curves); spans, for `spans`, such as "0-2,5", by default every span; values, for `init`, `size`
    and `layers`, those to try; out, workers, engine and shard as in `run`; selection, the lists, data and settings of
    `run`: methods are those that are varied.
    Errors: as `run`; TypeError for a keyword that `run` does not have.

        from tunefront import ablate

        for record in ablate("spans", methods=["houlsby:bottleneck=64"], tasks=["docstrings/kind"], spans="0-2,3-5"):
            for span in record.spans or ():
                print(record.score, span.first, span.last, span.scores)
    """
    quiet_libraries()
    from tunefront.bench.suites.ablations import Ablation

    share, ablation = _shard(shard), Ablation.of(what, values, spans)
    overrides = ablation.with_spans(_overrides(selection))
    return _records_of(expand(ablation.suite, overrides, vary=ablation.vary), out, (engine, workers), shard=share)


def stream(
    suite: str | None = None,
    *,
    orders: Sequence[int] = (0, 1, 2),
    one_model: Sequence[str | Method] | None = None,
    ways: Sequence[str] | None = None,
    replay_share: float = 0.1,
    out: str | Path = "results",
    workers: int | None = None,
    engine: str = "local",
    **selection: Any,  # Any: the keywords of `run`
) -> list[Record]:
    """Lets tasks arrive one after another, as `tunefront stream` does; returns the records of all steps, those of the
    tasks alone first.

    Args: suite, by default `stream`; orders of the tasks by seed, 0 for the order as given; one_model, the methods
    that also have one model for all tasks, by default the first method of the suite; ways in which that model is
    trained, of `sequential`, `multitask` and `replay`, by default all; replay_share, the share of each earlier task's
    rows that `replay` trains on again; out, workers and engine as in `run`; selection, the lists, data and settings of
    `run`: methods are those that have parameters of their own for each task.
    Errors: as `run`, and UserError for fewer than two tasks; TypeError for a keyword that `run` does not have.

        from tunefront import stream

        for record in stream(methods=["houlsby:bottleneck=8"], tasks=["docstrings/kind", "docstrings/match"]):
            print(record.label, record.stream.way, record.stream.earlier, record.task, record.score)
    """
    quiet_libraries()
    from tunefront.bench.execution.stream import Streams
    from tunefront.bench.suites.streams import StreamRequest

    suite, wrong = STREAM if suite is None else suite, ErrorCollector()
    request = StreamRequest.read(suite, orders, one_model, ways, replay_share, wrong)
    wrong.raise_if_any()
    expansion = expand(suite, request.added_to(_overrides(selection)))

    def arrange(cells: Sequence[Cell]) -> Streams:
        return Streams.of(cells, request.orders, request.one_model, request.ways, request.replay_share)

    return _records_of(expansion, out, (engine, workers), arrange)


def mix(
    suite: str | None = None,
    *,
    out: str | Path = "results",
    workers: int | None = None,
    engine: str = "local",
    **selection: Any,  # Any: the keywords of `run`
) -> list[Record]:
    """Scores rows of several methods and tasks in one batch, as `tunefront mix` does; returns the members' records.

    Args: suite, by default `mix`; out, workers and engine as in `run`; selection, the lists, data and settings of
    `run`: every method on every task is a member.
    Errors: as `run`, and UserError for methods that cannot share a batch; TypeError for a keyword that `run` does not
    have.

        from tunefront import mix

        for record in mix(methods=["ia3", "lora"], tasks=["docstrings/kind", "docstrings/match"]):
            print(record.label, record.task, record.mixed.largest_difference, record.mixed.rows_per_second)
    """
    quiet_libraries()
    from tunefront.bench.execution.mixing import Mixtures

    return _records_of(expand(suite or MIX, _overrides(selection)), out, (engine, workers), Mixtures.of)


def mixed_model(suite: str | None = None, **selection: Any) -> MixedModel:  # Any: as in `mix`
    """Trains every method of a suite on each of its tasks, and returns one model for all of them: it answers rows of
    any of its members together, each through the small modules of its own.

    Args and errors: as `mix`; nothing is recorded, and only one backbone may be given.

        from tunefront import mixed_model

        model = mixed_model(methods=["ia3", "lora"], tasks=["docstrings/kind"])
        model.predict([("ia3@docstrings/kind", "Return the sum."), ("lora@docstrings/kind", "A sum of numbers.")])
    """
    quiet_libraries()
    from tunefront.bench.execution.mixed_model import MixedModel
    from tunefront.bench.suites.optuna_search import check_all_known

    cells = expand(suite or MIX, _overrides(selection)).cells
    check_all_known(cells, "a mixed model")
    return MixedModel(cells)


def _overrides(selection: Mapping[str, Any]) -> Overrides:  # Any: the keywords of `run`
    """The overrides of the keywords of `run`, of which `data` and `text` may be single values."""
    listed = {name: _listed(selection[name]) for name in {"data", "text"} & selection.keys()}
    return Overrides(**{**selection, **listed})


def _records_of(
    expansion: Expansion,
    out: str | Path,
    on: tuple[str, int | None],
    arrange: Callable[[Sequence[Cell]], Streams | Mixtures] | None = None,
    shard: Shard | None = None,
) -> list[Record]:
    """Runs the cells of the shard that have no record yet `on` an engine and so many workers; returns the records of
    all of them, in order."""
    from tunefront.bench.execution.engines.named import EngineName

    engine = EngineName.parse(on[0])
    for line in expansion.announcements:
        log.info("%s", line)
    for warning in expansion.warnings:
        log.warning("%s", warning)
    cells = expansion.cells
    if shard is not None:
        from tunefront.bench.suites.optuna_search import check_all_known

        check_all_known(cells, "a shard", "leave shard out")
        cells = shard.select(cells)
    cells, lines = compared(cells)
    for line in lines:
        log.info("%s", line)
    # Methods that the program has imported run in its process; a method given by its file gets a separate process.
    store = Store(out)
    workers = 1 if on[1] is None and not engine.is_cluster else on[1]
    runs_on = engine.engine(workers, cells, alone=lambda cell: is_given_by_path(type(cell.method)))
    outcome = arranged(cells, expansion.parts, arrange).run(store, runs_on)
    if outcome.interrupted:
        raise KeyboardInterrupt
    for line in find_missing(store.location, outcome.records).lines:
        log.warning("%s", line)
    return list(outcome.records)


def _shard(text: str | None) -> Shard | None:
    """The share that a text such as `2/8` names, None for all cells; UserError for any other text."""
    from tunefront.bench.execution.shards import Shard

    return None if text is None else Shard.of(text)


def arranged(
    cells: Sequence[Cell],
    parts: Sequence[Part],
    arrange: Callable[[Sequence[Cell]], T] | None = None,
) -> T | Grid | Rounds:
    """How cells of these parts of a suite are run: as `arrange` says, else as a grid, or in rounds if trials depend on
    scores. UserError if they do and `arrange` is given."""
    from tunefront.bench.execution.grid import Grid
    from tunefront.bench.suites.grids import space_for
    from tunefront.bench.suites.optuna_search import Asking, asks, check_all_known

    if arrange is not None:
        check_all_known(cells, "this command")
        return arrange(cells)
    if not asks(cells):
        return Grid(cells)
    from tunefront.bench.execution.rounds import Rounds

    return Rounds(cells, Asking.of(cells, partial(space_for, parts=parts)))


def plan(
    suite: str | None = None,
    *,
    methods: Sequence[str | Method] | None = None,
    backbones: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    data: object = None,
    test: object = None,
    validation: object = None,
    text: str | Sequence[str] | None = None,
    label: str | None = None,
    id: str | None = None,
    group: str | None = None,
    split: str | float | None = None,
    kind: str | None = None,
    header: str | None = None,
    prompts: str | Path | None = None,
    shots: Sequence[int | None] | None = None,
    draws: Sequence[int] | None = None,
    seeds: Sequence[int] | None = None,
    templates: Sequence[str | None] | None = None,
    trials: int | None = None,
    sampler: Sampler | None = None,
    settings: Mapping[str, Scalar] | None = None,
    sites: Sequence[str] | None = None,
    device: str | None = None,
    length: int | None = None,
    choices: int | None = None,
    answer_tokens: int | None = None,
    queries: int | None = None,
    device_memory: int | str | None = None,
    sweep: Mapping[str, Sequence[int]] | None = None,
    seconds: bool = False,
) -> Forecast:
    """Predicts the costs of cells, as records of status `planned` (or `skipped`, with the reason); runs nothing.

    Args: suite, the lists and data select cells as in `run`; length, tokens per synthetic
    row, used instead of a suite: `shots`, one number, of the rows are trained on and `queries` are scored, each row
    with `choices` answers of `answer_tokens` tokens; backbones may then be presets or config.json files; device_memory,
    bytes or "24GB": the result's `fits` says for each record's key whether it fits and the largest batch that does;
    sweep, {"batch": [1, 2, 4]} or {"length": [64, 128]}: the result's `sweep` has the records at each size; seconds,
    whether to time operators on this machine.
    Errors: UserError for any mistake in the call, and if nothing fits into the memory.
    """
    quiet_libraries()
    from tunefront.bench.forecast.forecast import predict_costs
    from tunefront.bench.forecast.request import PlanRequest
    from tunefront.bench.forecast.sizes import Sweep, memory_bytes

    overrides = Overrides(
        methods=methods,
        backbones=backbones,
        tasks=tasks,
        data=_listed(data),
        test=test,
        validation=validation,
        text=_listed(text),
        label=label,
        id=id,
        group=group,
        split=split,
        kind=kind,
        header=header,
        prompts=prompts,
        shots=shots,
        draws=draws,
        seeds=seeds,
        templates=templates,
        trials=trials,
        sampler=sampler,
        settings=settings,
        sites=sites,
        device=device,
    )
    request = PlanRequest(
        suite=suite,
        overrides=overrides,
        length=length,
        choices=choices,
        answer_tokens=answer_tokens,
        queries=queries,
        device_memory=None if device_memory is None else memory_bytes(device_memory),
        sweep=None if sweep is None else Sweep.from_mapping(sweep),
        seconds=seconds,
    )
    return predict_costs(request, ErrorCollector())


def probe(model: str, *, sites: Sequence[str] = (), methods: Sequence[str] = ()) -> Probe:
    """What a model is, which methods run on it and why others do not, and a record of sites for an architecture that
    has none; runs nothing but a few tokens.

    Args: model, an embedded name, a folder, a Hub id, a GGUF file, a preset or a config.json; sites, TOML files with
    records of sites, which the process keeps; methods, files with methods of your own to try too.
    Errors: UserError, with the reason, for a model that cannot be used, and for any mistake in a file.
    """
    quiet_libraries()
    from tunefront.bench.models.sites_file import use_all
    from tunefront.bench.probe.probing import probe as look_at

    use_all(sites)
    return look_at(model, methods)


def check(
    data: object,
    *,
    test: object = None,
    text: str | Sequence[str] | None = None,
    label: str | None = None,
    id: str | None = None,
    group: str | None = None,
    split: str | float | None = None,
    kind: str | None = None,
    header: str | None = None,
    backbone: str | None = None,
    baseline: bool = True,
) -> Check:
    """Reads data and looks for what is odd about it, before anything is trained: as `tunefront check` shows it.

    Args: data, the path of a file or folder, a pandas DataFrame, or the name of a task; test to header, how to read it,
    as in `run`; backbone, whose tokens are counted, by default minilm if it is on this machine; baseline, whether to
    train a linear model on frozen features, which takes about ten seconds.
    Errors: UserError if nothing can run on the data.

        from tunefront import check

        for finding in check("tickets.csv", label="sentiment").warnings:
            print(finding.text, finding.remedy)
    """
    quiet_libraries()
    from tunefront.bench.check.inspect import inspect

    options = {
        "test": test,
        "text": _listed(text),
        "label": label,
        "id": id,
        "group": group,
        "split": split,
        "kind": kind,
        "header": header,
    }
    return inspect(data, options, backbone, baseline)


def predict(
    checkpoint: str | Path,
    data: object,
    *,
    out: str | Path | None = None,
    backbone: str | None = None,
    sites: Sequence[str] = (),
) -> pd.DataFrame:
    """The answers of a kept checkpoint to rows: the label, and for every label its probability and score; for
    regression the value.

    Args: checkpoint, a record whose checkpoint was kept (`results/records/KEY.json`), its file, or a folder exported as
    safetensors; data, the path of a file of rows, or a pandas DataFrame, with the columns that the task reads; out,
    also write the answers to this .jsonl, .csv or .parquet file; backbone, where the backbone lies now, if it moved;
    sites, files with records of sites, as the run had them.
    Errors: UserError if the checkpoint cannot be used, the backbone is another one, or columns are missing.
    """
    quiet_libraries()
    from tunefront.bench.checkpoints.loading import open_checkpoint
    from tunefront.bench.checkpoints.prediction import (
        answers_to,
        check_place,
        frame_of_answers,
        read_rows,
        write_answers,
    )
    from tunefront.bench.data.sources.file_name import FRAME
    from tunefront.bench.data.sources.frames import is_frame, store
    from tunefront.bench.models.sites_file import use_all

    use_all(sites)
    if out is not None:
        check_place(Path(out))
    _, fitted = open_checkpoint(str(checkpoint), backbone)
    if not (isinstance(data, (str, Path)) or is_frame(data)):
        raise UserError(f"data must be the path of a file of rows or a pandas DataFrame, got {type(data).__name__}.")
    place = str(data) if isinstance(data, (str, Path)) else f"{FRAME}{store(cast('pd.DataFrame', data))}"
    answers = answers_to(fitted, read_rows(fitted, place))
    if out is not None:
        write_answers(answers, Path(out))
    return frame_of_answers(answers)


def export(
    checkpoint: str | Path, to: str, out: str | Path, *, backbone: str | None = None, sites: Sequence[str] = ()
) -> list[str]:
    """Writes a kept checkpoint into the new folder `out`, in a form that other software loads; returns notes about it.

    Args: checkpoint, backbone and sites, as in `predict`; to, `merged` (a whole model for transformers), `peft`,
    `adapterhub` or `safetensors`. What was written is loaded again, and its logits compared. Errors: UserError if the
    form cannot express the fitted method exactly, with the forms that can.
    """
    quiet_libraries()
    from tunefront.bench.checkpoints.exports.writing import check_form, export_checkpoint
    from tunefront.bench.checkpoints.loading import open_checkpoint
    from tunefront.bench.models.sites_file import use_all

    use_all(sites)
    form = check_form(to)
    stored, fitted = open_checkpoint(str(checkpoint), backbone, device="cpu")
    return export_checkpoint(fitted, stored, form, Path(out))


CHECKPOINTS = "checkpoints"
"""What `run` can keep beside records and predictions."""


def _listed(value: Any) -> Sequence[Any] | None:  # Any: texts, paths and DataFrames
    """One value as a list."""
    return value if value is None or isinstance(value, (list, tuple)) else [value]
