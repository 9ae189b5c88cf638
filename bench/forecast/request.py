"""The arguments of a call of `plan` and their checks, most of them before any library is imported."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tunefront.bench.errors import ErrorCollector, UserError, nearest
from tunefront.bench.forecast import limits
from tunefront.bench.forecast.presets import find, presets, same_letters
from tunefront.bench.forecast.sizes import LENGTH, Sweep
from tunefront.bench.forecast.synthetic import SyntheticRows
from tunefront.bench.forecast.targets import Target, cell_targets, needs_lengths, synthetic_rows, synthetic_targets
from tunefront.bench.models.locate import known_backbones
from tunefront.bench.suites.expand import expand
from tunefront.bench.suites.overrides import Overrides

log = logging.getLogger("tunefront")


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """The arguments of a call of `plan`: cells of a suite, or methods on synthetic rows.

    Args: suite and overrides select the cells, as for `run`; length, choices, answer_tokens and queries of
    synthetic rows; device_memory in bytes, into which the plan should fit; sweep, sizes at which every cell is planned
    too; seconds, whether to time this machine; workers, number of cells that will run at a time.
    """

    suite: str | None = None
    overrides: Overrides = field(default_factory=Overrides)
    length: int | None = None
    choices: int | None = None
    answer_tokens: int | None = None
    queries: int | None = None
    device_memory: int | None = None
    sweep: Sweep | None = None
    seconds: bool = False
    workers: int = 1

    @property
    def backbones(self) -> Sequence[str]:
        """The backbones that the call names."""
        return self.overrides.backbones or ()

    @property
    def uses_synthetic_rows(self) -> bool:
        """Whether rows are synthetic: a length is given, or a backbone that is only a configuration."""
        return self.length is not None or needs_lengths(self.backbones)

    def lengths(self) -> SyntheticRows:
        """The lengths of synthetic rows; UserError if they are out of bounds."""
        shots = self.overrides.shots or ()
        if len(shots) > 1 or None in shots:
            counts = ", ".join("all" if count is None else str(count) for count in shots)
            raise UserError(f"synthetic rows need exactly one number for --shots, got {counts}.")
        sizes = {
            "tokens": self.length,
            "choices": self.choices,
            "answer_tokens": self.answer_tokens,
            "train_rows": next(iter(shots), None),
            "test_rows": self.queries,
        }
        return synthetic_rows(**{name: size for name, size in sizes.items() if size is not None})


def check(request: PlanRequest, known: ErrorCollector | None = None) -> None:
    """Checks the names of backbones and the lengths; UserErrors with all errors, and for synthetic rows with the ones
    already `known` of these options."""
    check_paths(request.backbones)
    errors = ErrorCollector()
    for name in request.backbones:
        with errors.collect():
            _check_name(name, request.uses_synthetic_rows)
    errors.messages += known.messages if known is not None and request.uses_synthetic_rows else []
    if not request.uses_synthetic_rows or errors.messages:
        errors.raise_if_any()
        return
    with errors.collect():
        _check_lengths(request, request.lengths(), errors)
    errors.raise_if_any()


def _check_lengths(request: PlanRequest, lengths: SyntheticRows, errors: ErrorCollector) -> None:
    for name in request.backbones:
        with errors.collect():
            limits.check(name, lengths)
    if request.sweep is None or request.sweep.name != LENGTH or errors.messages:
        return
    ends = (min(request.sweep.sizes), max(request.sweep.sizes))
    for name, size in itertools.product(request.backbones, ends):
        with errors.collect():
            check_swept(name, lengths, size)


def _check_name(name: str, synthetic: bool) -> None:
    """UserError for an unknown backbone, as far as can be checked without the Hub."""
    if name in known_backbones() or Path(name).expanduser().exists():
        return
    near = same_letters(name)
    if synthetic and ("/" not in name or name.endswith(".json")):
        find(name)
    elif near is not None:
        raise UserError(
            f"no backbone {name!r}; did you mean the preset {near!r}? Presets are planned on synthetic rows."
        )


def check_swept(backbone: str, lengths: SyntheticRows, size: int) -> None:
    """UserError if rows of one length of a sweep are out of bounds or too long for the backbone."""
    try:
        limits.check(backbone, synthetic_rows(lengths, tokens=size))
    except UserError as error:
        raise name_sweep_option(error) from error


def name_sweep_option(error: UserError) -> UserError:
    """The error of a length, reworded for a length in --sweep."""
    return UserError(
        str(error)
        .replace("a smaller --length", "smaller sizes to --sweep length")
        .replace("--length", "--sweep length")
    )


def check_paths(backbones: Iterable[str]) -> None:
    """UserError for a name that is not a valid path."""
    for name in backbones:
        if not name.strip():
            raise UserError("--backbone is empty; give a preset, a folder, a config.json or a Hub id.")
        try:
            Path(name).expanduser().exists()
        except (OSError, RuntimeError, ValueError) as error:  # the latter two: an unknown home, a null byte
            why = getattr(error, "strerror", None) or str(error).rstrip(".")
            short = name if len(name) < 100 else f"{name[:96]} ..."
            raise UserError(f"the backbone {short!r} is not a valid path ({why}); give another.") from error


def targets_of(request: PlanRequest, errors: ErrorCollector, on_status: Callable[[str], None]) -> list[Target]:
    """The cells to predict; `errors` contains the errors found so far, `on_status` is called with status messages.

    Errors: UserErrors with all errors of the call.
    """
    synthetic = request.uses_synthetic_rows
    targets = _on_synthetic_rows(request, errors) if synthetic else _on_task_rows(request, errors, on_status)
    if request.sweep is not None and request.sweep.name == LENGTH:
        for target, size in itertools.product(targets, request.sweep.sizes):
            if target.lengths is None:
                raise UserError("--sweep length=... needs synthetic rows; add --length and --backbone.")
            check_swept(target.cell.backbone, target.lengths, size)
    return targets


def _on_synthetic_rows(request: PlanRequest, errors: ErrorCollector) -> list[Target]:
    overrides = request.overrides
    useless = {
        "SUITE": request.suite,
        "--data" if overrides.data else "--task": overrides.tasks,
        "--template": overrides.templates,
        "--draws": overrides.draws,
        "--seeds": overrides.seeds,
        "--trials": overrides.trials,
        "--sampler": overrides.sampler,
    }
    for name in (name for name, value in useless.items() if value):
        raise UserError(
            f"{name} cannot be combined with synthetic rows; drop it, or drop --length and every backbone that is only "
            "a configuration (a preset or a config.json)."
        )
    return synthetic_targets(overrides, request.lengths(), errors)


def _on_task_rows(request: PlanRequest, errors: ErrorCollector, on_status: Callable[[str], None]) -> list[Target]:
    useless = {
        "choices": request.choices,
        "answer-length": request.answer_tokens,
        "queries": request.queries,
    }
    for option in (option for option, value in useless.items() if value is not None):
        raise UserError(f"--{option} only applies to synthetic rows; add --length and --backbone, or drop it.")
    _check_presets(request.backbones)
    expansion = expand(request.suite, request.overrides, on_status=on_status, wrong=errors)
    for warning in expansion.warnings:
        log.warning("%s", warning)
    return cell_targets(expansion.cells)


def _check_presets(backbones: Iterable[str]) -> None:
    """UserError for an unknown backbone with a name like a preset's: the backbones of a suite are looked up on the Hub,
    whose answer does not mention presets."""
    from tunefront.bench.models.config import check_backbone

    for name in backbones:
        near = nearest(name, presets())
        if near is None:
            continue
        try:
            check_backbone(name)
        except UserError as error:
            message = str(error).rstrip(". ")
            raise UserError(
                f"{message}. The nearest preset is {near!r}; presets are planned on synthetic rows."
            ) from error
