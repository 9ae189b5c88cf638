"""A cell's costs as a record of status `planned`: what a run would write, from its configuration alone."""

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
from tunefront.bench.models.families import LanguageModel
from tunefront.bench.models.scoring.prompted import PromptedExamples
from tunefront.bench.records import ExamplesPerSecond, Record, Seconds
from tunefront.methods.base import Unsupported


def predict(
    cell: Cell, lengths: SyntheticRows | None = None, machine: Machine | None = None, concurrent: int = 1
) -> Record:
    """The planned record of a cell.

    Args: lengths, of made-up rows; None where the cell's task and tokenizer are at hand, whose rows are then read;
    machine, None for no seconds; concurrent, how many cells are to run side by side.
    Errors: UserError where rows are longer than the model takes, or the backbone's configuration cannot be used.
    """
    with _naming_the_file(cell.backbone):
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
        found, _, _ = run_cell.costs(setup)
        if lengths is not None:
            _check_demonstrations(setup, lengths)
    except Unsupported as reason:
        return run_cell.record_of(cell, identity, surroundings, "skipped", run_cell.why_unsupported(reason))
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a method of the user's own may do anything, and its cell would fail
        if cell.method_file is None:
            raise
        return run_cell.record_of(cell, identity, surroundings, "skipped", f"its own code fails: {in_short(error)}")
    return run_cell.record_of(
        cell, identity, surroundings, "planned", costs=_predicted(found, lengths is not None, machine is not None)
    )


def _predicted(found: run_cell.Costs, synthetic: bool, timed: bool) -> run_cell.Costs:
    """The costs of a run that never was: no FLOPs are counted, the texts of synthetic rows have no size of their own,
    and seconds are known of a machine only."""
    phases = found.flops.phases or {}
    analytic = {name: phase.model_copy(update={"counted": None}) for name, phase in phases.items()}
    storage = found.storage.model_copy(update={"demonstration_bytes": None}) if synthetic else found.storage
    return replace(
        found,
        flops=found.flops.model_copy(update={"phases": analytic}),
        storage=storage,
        seconds=found.seconds if timed else Seconds(),
        examples_per_second=found.examples_per_second if timed else ExamplesPerSecond(),
    )


@contextmanager
def _naming_the_file(backbone: str) -> Iterator[None]:
    """What a model of somebody's config.json does wrong when it is run is told of that file, for no more is known of
    it than that transformers took it."""
    try:
        yield
    except (UserError, Unsupported):
        raise
    except Exception as error:  # its kind depends on the architecture
        if not is_file(backbone):
            raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise UserError(
            f"a model of the configuration {backbone} fails when it is run ({type(error).__name__}"
            f"{f': {lines[0]}' if lines else ''}); correct its fields."
        ) from error


def _check_room(setup: Setup, lengths: SyntheticRows) -> None:
    """UserError if made-up rows had to be cut; Unsupported where they only have to be beside what leads, which is one
    method's matter."""
    cut = setup.train.truncated + setup.test.truncated
    if not cut:
        return
    led, family = setup.backbone.led, setup.backbone.sites.family
    if led:
        raise Unsupported(
            f"it puts {led:,} tokens before every text, beside which {setup.cell.backbone} has no room for rows of "
            f"{lengths.tokens:,} tokens; give a smaller --length"
        )
    positions = getattr(setup.pretrained.config, "max_position_embeddings", None)
    most = positions if family == "encoder" else cast(LanguageModel, setup.backbone).room
    raise too_long(setup.cell.backbone, family, lengths, most)


def _check_demonstrations(setup: Setup, lengths: SyntheticRows) -> None:
    """Unsupported where made-up rows lose demonstrations: a run would drop the last ones and record so, but whoever
    plans for a number of them is not served by the costs of another."""
    prompts = setup.trainer.prompts
    test = cast(PromptedExamples, prompts.prepend_to(setup.test))
    for prefix in prompts.prefixes:
        told = prefix.demonstrations
        followed = test.by_prefix[told.name]
        if told.room is None or min(followed.kept) == followed.total:
            continue
        answer = 0 if told.whole else lengths.answer_tokens
        beside = f" with an answer of {answer}" if answer else ""
        fit = min(followed.kept)
        raise Unsupported(
            f"{followed.total:,} demonstrations and a query of {lengths.tokens:,} tokens{beside} are "
            f"{told.ends[-1] + lengths.tokens + answer:,} tokens, where {setup.cell.backbone} takes {told.room:,}; "
            f"{f'only {fit:,}' if fit else 'not even one'} of them would fit"
        )
