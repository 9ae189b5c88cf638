"""From the options of `tunefront plan` to a forecast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.errors import Mistake
from bench.forecast.asked import Planned, needs_lengths, of_cells, of_lengths
from bench.forecast.made_up import Lengths
from bench.forecast.plans import Forecast, Planner, Tell
from bench.options import planned_from

LENGTH = 128
"""Tokens of a made-up row where --length is not given."""


@dataclass(frozen=True)
class Asked:
    """What the call names, as typed; None and empty where it does not."""

    suite: str | None = None
    methods: Sequence[str] | None = None
    backbones: Sequence[str] | None = None
    tasks: Sequence[str] | None = None
    shots: Sequence[str] | None = None
    templates: Sequence[str] | None = None
    settings: Sequence[str] | None = None
    length: int | None = None
    choices: int = 2
    answer_tokens: int = 1
    queries: int = 64


def forecast(
    asked: Asked, memory: int | None, sweep: tuple[str, tuple[int, ...]] | None, seconds: bool, workers: int, tell: Tell
) -> Forecast:
    """The forecast of what the call asks for. Errors: Mistakes with all that is wrong in it."""
    return Planner(seconds, workers, tell).forecast(_planned(asked, tell), memory, sweep)


def _planned(asked: Asked, tell: Tell) -> list[Planned]:
    tell("importing the libraries")
    if asked.length is None and not needs_lengths(asked.backbones):
        selectors = (asked.methods, asked.backbones, asked.tasks, asked.shots, None, None, asked.templates)
        return of_cells(planned_from(asked.suite or "quick", *selectors, asked.settings, tell=tell).cells)
    named = [name for name in ("suite", "tasks", "templates") if getattr(asked, name)]
    if named:
        raise Mistake(
            f"made-up rows have no {named[0].removesuffix('s')}: leave it out, or give neither --length nor a backbone "
            "that is a configuration alone."
        )
    return of_lengths(asked.methods, asked.backbones, asked.settings, _lengths(asked))


def _lengths(asked: Asked) -> Lengths:
    shots = [part.strip() for text in asked.shots or () for part in text.split(",") if part.strip()]
    if len(shots) > 1 or any(not one.isdigit() for one in shots):
        raise Mistake(f"made-up rows need one whole number of --shots, got {', '.join(shots)}.")
    rows = int(shots[0]) if shots else Lengths.train_rows
    try:
        return Lengths(
            LENGTH if asked.length is None else asked.length, asked.choices, asked.answer_tokens, rows, asked.queries
        )
    except ValueError as error:
        raise Mistake(f"made-up rows: {error}.") from error
