"""What a call of `plan` asks for, and what is wrong in it, most of it seen before any library is imported."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tunefront.bench.errors import ErrorCollector, UserError, nearest
from tunefront.bench.forecast import limits
from tunefront.bench.forecast.presets import find, presets, same_letters
from tunefront.bench.forecast.sizes import LENGTH, Sweep
from tunefront.bench.forecast.synthetic import SyntheticRows
from tunefront.bench.forecast.targets import Target, needs_lengths, of_cells, of_lengths, synthetic_rows
from tunefront.bench.models.locate import known_backbones
from tunefront.bench.suites.expand import expand
from tunefront.bench.suites.overrides import Overrides


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """What a call of `plan` asks for: cells of a suite, or methods on made-up rows.

    Args: suite and overrides, which cells, `quick` where nothing else is named; length, choices, answer_tokens and
    queries, of made-up rows; device_memory in bytes, of which is said what fits; sweep, sizes at which every cell is
    planned too; seconds, whether this machine is tried; workers, how many cells are to run at a time.
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
        """Those that the call names."""
        return self.overrides.backbones or ()

    @property
    def on_made_up_rows(self) -> bool:
        """Whether rows are made up: a length is given, or a backbone that is a configuration alone."""
        return self.length is not None or needs_lengths(self.backbones)

    def lengths(self) -> SyntheticRows:
        """Of made-up rows; UserError where they are out of bounds."""
        shots = self.overrides.shots or ()
        if len(shots) > 1 or None in shots:
            named = ", ".join("all" if count is None else str(count) for count in shots)
            raise UserError(f"made-up rows need one whole number of --shots, got {named}.")
        given = {
            "tokens": self.length,
            "choices": self.choices,
            "answer_tokens": self.answer_tokens,
            "train_rows": next(iter(shots), None),
            "test_rows": self.queries,
        }
        return synthetic_rows(**{name: size for name, size in given.items() if size is not None})


def check(request: PlanRequest, wrong: ErrorCollector | None = None) -> None:
    """UserErrors with what is wrong in the backbones' names and in the lengths, at once; on made-up rows with what is
    already known to be `wrong` in these options."""
    check_paths(request.backbones)
    mistakes = ErrorCollector()
    for name in request.backbones:
        with mistakes.collect():
            _check_name(name, request.on_made_up_rows)
    mistakes.messages += wrong.messages if wrong is not None and request.on_made_up_rows else []
    if not request.on_made_up_rows or mistakes.messages:
        mistakes.raise_if_any()
        return
    with mistakes.collect():
        _check_lengths(request, request.lengths(), mistakes)
    mistakes.raise_if_any()


def _check_lengths(request: PlanRequest, lengths: SyntheticRows, mistakes: ErrorCollector) -> None:
    for name in request.backbones:
        with mistakes.collect():
            limits.check(name, lengths)
    if request.sweep is None or request.sweep.name != LENGTH or mistakes.messages:
        return
    ends = (min(request.sweep.sizes), max(request.sweep.sizes))
    for name, size in itertools.product(request.backbones, ends):
        with mistakes.collect():
            check_swept(name, lengths, size)


def _check_name(name: str, made_up_rows: bool) -> None:
    """UserError for a name that stands for no backbone, as far as that is known without asking the Hub."""
    if name in known_backbones() or Path(name).expanduser().exists():
        return
    near = same_letters(name)
    if made_up_rows and ("/" not in name or name.endswith(".json")):
        find(name)
    elif near is not None:
        raise UserError(
            f"no backbone {name!r}; of presets, which are planned on made-up rows, {near!r} is the nearest: give it."
        )


def check_swept(backbone: str, lengths: SyntheticRows, size: int) -> None:
    """UserError where rows of one length of a sweep are out of bounds, or too long for the backbone."""
    try:
        limits.check(backbone, synthetic_rows(lengths, tokens=size))
    except UserError as error:
        raise of_sweep(error) from error


def of_sweep(error: UserError) -> UserError:
    """The mistake of a length that a sweep asks for."""
    return UserError(
        str(error)
        .replace("a smaller --length", "smaller sizes to --sweep length")
        .replace("--length", "--sweep length")
    )


def check_paths(backbones: Iterable[str]) -> None:
    """UserError for a name that cannot even be looked for as a path."""
    for name in backbones:
        if not name.strip():
            raise UserError("--backbone is empty; give a preset, a folder, a config.json or a Hub id.")
        try:
            Path(name).expanduser().exists()
        except (OSError, RuntimeError, ValueError) as error:  # the latter two: a home that nobody has, a null byte
            why = getattr(error, "strerror", None) or str(error).rstrip(".")
            short = name if len(name) < 100 else f"{name[:96]} ..."
            raise UserError(f"the backbone {short!r} cannot be looked for ({why}); give another.") from error


def targets_of(request: PlanRequest, wrong: ErrorCollector, tell: Callable[[str], None]) -> list[Target]:
    """What costs are predicted of; `wrong` has what is wrong with the call so far, `tell` hears what is looked up.

    Errors: UserErrors with all that is wrong in the call.
    """
    made = request.on_made_up_rows
    targets = _on_made_up_rows(request, wrong) if made else _on_rows_of_tasks(request, wrong, tell)
    if request.sweep is not None and request.sweep.name == LENGTH:
        for target, size in itertools.product(targets, request.sweep.sizes):
            if target.lengths is None:
                raise UserError("--sweep length=... needs made-up rows: give --length too, and --backbone.")
            check_swept(target.cell.backbone, target.lengths, size)
    return targets


def _on_made_up_rows(request: PlanRequest, wrong: ErrorCollector) -> list[Target]:
    overrides = request.overrides
    useless = {
        "suite": request.suite,
        "task": overrides.tasks,
        "template": overrides.templates,
        "draws": overrides.draws,
        "seeds": overrides.seeds,
    }
    for name in (name for name, value in useless.items() if value):
        raise UserError(
            f"made-up rows have no {name}: leave it out, or give neither --length nor a backbone that is a "
            "configuration alone."
        )
    return of_lengths(overrides, request.lengths(), wrong)


def _on_rows_of_tasks(request: PlanRequest, wrong: ErrorCollector, tell: Callable[[str], None]) -> list[Target]:
    useless = {
        "choices": request.choices,
        "answer-length": request.answer_tokens,
        "queries": request.queries,
    }
    for option in (option for option, value in useless.items() if value is not None):
        raise UserError(f"--{option} is of made-up rows: give --length too, and --backbone, or leave it out.")
    _check_presets(request.backbones)
    return of_cells(expand(request.suite or "quick", request.overrides, on_status=tell, wrong=wrong).cells)


def _check_presets(backbones: Iterable[str]) -> None:
    """UserError for a name that no backbone has and that is near a preset's: a suite's backbones are looked for on the
    Hub, whose answer says nothing of presets."""
    from tunefront.bench.models.config import check_backbone

    for name in backbones:
        near = nearest(name, presets())
        if near is None:
            continue
        try:
            check_backbone(name)
        except UserError as error:
            told = str(error).rstrip(". ")
            raise UserError(
                f"{told}. Of presets, which are planned on made-up rows, {near!r} is the nearest."
            ) from error
