"""From the options of `tunefront plan` to a forecast."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from tunefront.bench.cells import Cell
from tunefront.bench.errors import Mistake, nearest
from tunefront.bench.execution.identity import Identity
from tunefront.bench.forecast.asked import Asked, Sweep, check, check_swept, of_sweep
from tunefront.bench.forecast.forecast import Forecast, Planner, Tell, folder_of, keep
from tunefront.bench.forecast.limits import TooLong
from tunefront.bench.forecast.targets import LENGTH, Planned, of_cells, of_lengths
from tunefront.bench.models.folders import local
from tunefront.bench.records.store import Store
from tunefront.bench.suites.parse import planned_from


def forecast(
    asked: Asked, memory: int | None, sweep: Sweep | None, seconds: bool, workers: int, tell: Tell
) -> Forecast:
    """The forecast of what the call asks for, each cell once. Errors: Mistakes with all that is wrong in it, Mistake
    where all of it is left out."""
    check(asked, sweep)
    planned = list(dict.fromkeys(_planned(asked, tell)))
    if sweep is not None and sweep[0] == LENGTH:
        _check_swept(planned, sweep[1])
    try:
        found = Planner(seconds, workers, tell).forecast(planned, memory, sweep)
    except TooLong as error:
        if any(one.lengths is not None and one.lengths.tokens == error.tokens for one in planned):
            raise
        raise of_sweep(error) from error
    _check_some(found)
    return found


def keep_foretold(cells: Sequence[Cell], out: str, workers: int, tell: Tell) -> None:
    """Foretells the cells that have not run yet, seconds included, and keeps that in the results folder OUT; Mistake
    where it cannot."""
    folder, store = folder_of(out), Store(out)
    missing = [
        cell for cell in cells if (found := store.read(Identity.of(cell).key)) is None or found.status == "failed"
    ]
    keep(Planner(True, workers, tell).forecast(of_cells(missing)).records, folder)


def _planned(asked: Asked, tell: Tell) -> list[Planned]:
    for name in asked.backbones or ():
        local(name)  # Mistake for one that cannot even be looked for as a path
    tell("importing the libraries")
    if not asked.on_made_up_rows:
        beside = [name for name in ("choices", "answer_tokens", "queries") if getattr(asked, name) is not None]
        if beside:
            option = beside[0].replace("tokens", "length").replace("_", "-")
            raise Mistake(f"--{option} is of made-up rows: give --length too, and --backbone, or leave it out.")
        _check_presets(asked.backbones)
        selectors = (asked.methods, asked.backbones, asked.tasks, asked.shots, None, None, asked.templates)
        return of_cells(planned_from(asked.suite or "quick", *selectors, asked.settings, tell=tell).cells)
    named = [name for name in ("suite", "tasks", "templates") if getattr(asked, name)]
    if named:
        raise Mistake(
            f"made-up rows have no {named[0].removesuffix('s')}: leave it out, or give neither --length nor a backbone "
            "that is a configuration alone."
        )
    return of_lengths(asked.methods, asked.backbones, asked.settings, asked.lengths())


def _check_swept(planned: Sequence[Planned], sizes: Sequence[int]) -> None:
    """Mistake where rows cannot have these lengths, before anything is planned."""
    for one, size in itertools.product(planned, sizes):
        if one.lengths is None:
            raise Mistake("--sweep length=... needs made-up rows: give --length too, and --backbone.")
        check_swept(one.cell.backbone, one.lengths, size)


def _check_some(found: Forecast) -> None:
    """Mistake with the reasons where nothing could be planned, at no size of a sweep either."""
    records = [*found.records, *itertools.chain.from_iterable(found.sweep.values())]
    if any(one.status == "planned" for one in records):
        return
    reasons: dict[str | None, str] = {}
    for one in found.records:
        reasons.setdefault(one.reason, f"{one.label} on {one.backbone}")
    listed = "; ".join(f"{what}: {reason}" for reason, what in reasons.items())
    raise Mistake(f"nothing is planned, for all is left out: {listed}. Choose others, or other lengths.")


def _check_presets(backbones: Sequence[str] | None) -> None:
    """Mistake for a name that no backbone has and that is near a preset's: a suite's backbones are looked for on the
    Hub, whose answer says nothing of presets."""
    from tunefront.bench.forecast.presets import presets
    from tunefront.bench.models.config import check_backbone

    for name in backbones or ():
        near = nearest(name, presets())
        if near is None:
            continue
        try:
            check_backbone(name)
        except Mistake as error:
            told = str(error).rstrip(". ")
            raise Mistake(f"{told}. Of presets, which are planned on made-up rows, {near!r} is the nearest.") from error
