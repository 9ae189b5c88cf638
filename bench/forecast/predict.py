"""Predicts the costs of a cell from its configuration, as a record with status `planned`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from typing import cast

from tunefront.bench.cells import Cell
from tunefront.bench.errors import UserError, in_short
from tunefront.bench.execution import run_cell
from tunefront.bench.execution.identity import Identity
from tunefront.bench.execution.setup import Setup, StandIns
from tunefront.bench.forecast.fake_models import fake_pretrained
from tunefront.bench.forecast.harness import PredictingHarness
from tunefront.bench.forecast.limits import too_long
from tunefront.bench.forecast.machine import Machine
from tunefront.bench.forecast.presets import is_file
from tunefront.bench.forecast.synthetic import PlainTextTemplate, SyntheticRows
from tunefront.bench.models.architectures import is_recorded
from tunefront.bench.models.families import LanguageModel
from tunefront.bench.models.scoring.prompted import PromptedExamples
from tunefront.bench.records import CpuSeconds, ExamplesPerSecond, Record, Seconds
from tunefront.methods.base import Unsupported


def predict(
    cell: Cell, lengths: SyntheticRows | None = None, machine: Machine | None = None, concurrent: int = 1
) -> Record:
    """The planned record of a cell.

    Args: lengths of synthetic rows, None to read the rows of the cell's task; machine, None to predict no seconds;
    concurrent, number of cells that will run at a time.
    Errors: UserError if rows are too long for the model or the backbone's configuration cannot be used.
    """
    with _config_errors(cell.backbone):
        return _predict(cell, lengths, machine, concurrent)


def _predict(cell: Cell, lengths: SyntheticRows | None, machine: Machine | None, concurrent: int) -> Record:
    model = fake_pretrained(cell.backbone, lengths)
    if lengths is None:
        identity = Identity.of(cell)
    else:
        identity = Identity.of_no_files(cell, asdict(lengths), model.config.to_dict())
    surroundings = run_cell.environment(cell, concurrent)
    task = None if lengths is None else lengths.task(model.sites.family)
    try:
        setup = Setup(
            cell,
            harness=partial(PredictingHarness, machine=machine),
            instead=StandIns(
                source=model,
                identity=(identity.key,),
                task=task,
                template=PlainTextTemplate() if lengths is not None and model.sites.family != "encoder" else None,
            ),
        )
        if lengths is not None:
            _check_room(setup, lengths)
        costs = run_cell.fit(setup).costs
        if lengths is not None:
            _check_demonstrations(setup, lengths)
    except Unsupported as reason:
        return run_cell.record_of(cell, identity, surroundings, "skipped", run_cell.why_unsupported(reason))
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a user's own method may raise anything; a run would record a failure
        if cell.method_file is not None:
            told = f"the method raised an error: {in_short(error)}"
        elif not is_recorded(model.sites) and not is_file(cell.backbone):  # routing by values (JetMoE), and others
            told = (
                f"costs are planned on tensors without values, on which it fails ({in_short(error)}); it may still run"
            )
        else:
            raise
        return run_cell.record_of(cell, identity, surroundings, "skipped", told)
    return run_cell.record_of(
        cell, identity, surroundings, "planned", costs=_predicted(costs, lengths is not None, machine is not None)
    )


def _predicted(costs: run_cell.Costs, synthetic: bool, timed: bool) -> run_cell.Costs:
    """The predicted part of the costs: without counted FLOPs, without the bytes of synthetic texts, and without seconds
    unless they were `timed`; processor time is not predicted."""
    phases = costs.flops.phases or {}
    analytic = {name: phase.model_copy(update={"counted": None}) for name, phase in phases.items()}
    storage = costs.storage.model_copy(update={"demonstration_bytes": None}) if synthetic else costs.storage
    return replace(
        costs,
        flops=costs.flops.model_copy(update={"phases": analytic}),
        storage=storage,
        seconds=costs.seconds if timed else Seconds(),
        cpu_seconds=CpuSeconds(),  # what passed here is the processor time of the prediction
        examples_per_second=costs.examples_per_second if timed else ExamplesPerSecond(),
    )


@contextmanager
def _config_errors(backbone: str) -> Iterator[None]:
    """Re-raises any failure of a user-supplied config.json as an error that names the file."""
    try:
        yield
    except (UserError, Unsupported):
        raise
    except Exception as error:  # the type depends on the architecture
        if not is_file(backbone):
            raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise UserError(
            f"running a model of the configuration {backbone} fails ({type(error).__name__}"
            f"{f': {lines[0]}' if lines else ''}); correct its fields."
        ) from error


def _check_room(setup: Setup, lengths: SyntheticRows) -> None:
    """UserError if synthetic rows had to be cut; Unsupported if only the lead of this method leaves too little room."""
    cut = setup.train.truncated + setup.test.truncated
    if not cut:
        return
    led, family = setup.backbone.led, setup.backbone.sites.family
    if led:
        raise Unsupported(
            f"it puts {led:,} tokens before every text, which leaves no room in {setup.cell.backbone} for rows of "
            f"{lengths.tokens:,} tokens; give a smaller --length"
        )
    positions = getattr(setup.pretrained.config, "max_position_embeddings", None)
    most = positions if family == "encoder" else cast(LanguageModel, setup.backbone).room
    raise too_long(setup.cell.backbone, family, lengths, most)


def _check_demonstrations(setup: Setup, lengths: SyntheticRows) -> None:
    """Unsupported if demonstrations do not fit before synthetic rows: a run would drop the last ones and record it, but
    a plan for a number of demonstrations must not show the costs of fewer."""
    prompts = setup.trainer.prompts
    test = cast(PromptedExamples, prompts.prepend_to(setup.test))
    for prefix in prompts.prefixes:
        demonstrations = prefix.demonstrations
        rows = test.by_prefix[demonstrations.name]
        if demonstrations.room is None or min(rows.kept) == rows.total:
            continue
        answer = 0 if demonstrations.whole else lengths.answer_tokens
        with_answer = f" with an answer of {answer}" if answer else ""
        fit = min(rows.kept)
        raise Unsupported(
            f"{rows.total:,} demonstrations and a query of {lengths.tokens:,} tokens{with_answer} are "
            f"{demonstrations.ends[-1] + lengths.tokens + answer:,} tokens, but {setup.cell.backbone} takes "
            f"{demonstrations.room:,}; {f'only {fit:,}' if fit else 'not even one'} of them would fit"
        )
