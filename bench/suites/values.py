"""Reads numbers of rows and seeds from a suite, a command line or a program."""

from __future__ import annotations

from typing import get_args

from tunefront.bench.cells import Sampler
from tunefront.bench.errors import UserError, unknown

MOST_SHOTS = 10**9
"""The most training rows that may be requested."""
MOST_SEED = 2**32 - 1
MOST_TRIALS = 1_000
"""The most trials per method."""
SAMPLERS: tuple[Sampler, ...] = get_args(Sampler)


def read_shots(value: object) -> int | None:
    """A number of training rows, or None for `all` and for None; UserError otherwise."""
    if value is None or value == "all":
        return None
    number = whole_number(value)
    if number is None or number < 1:
        raise UserError(f"shots must be whole numbers from 1, or 'all', got {shortened(value)}.")
    if number > MOST_SHOTS:
        raise UserError(f"shots must be at most {MOST_SHOTS:,}, or 'all', got {number:,}.")
    return number


def read_seed(value: object, what: str = "seeds") -> int:
    """A seed or draw, a whole number from 0; UserError otherwise."""
    number = whole_number(value)
    if number is None or not 0 <= number <= MOST_SEED:
        high = f" to {MOST_SEED:,}" if number is not None and number > 0 else ""
        raise UserError(f"{what} must be whole numbers from 0{high}, got {shortened(value)}.")
    return number


def read_draw(value: object) -> int:
    """The seed of a draw of training rows; UserError otherwise."""
    return read_seed(value, "draws")


def read_trials(value: object, what: str = "trials") -> int:
    """A number of trials per method; UserError otherwise."""
    number = whole_number(value)
    if number is None or not 1 <= number <= MOST_TRIALS:
        raise UserError(f"{what} must be a whole number from 1 to {MOST_TRIALS:,}, got {shortened(value)}.")
    return number


def read_sampler(value: object) -> Sampler:
    """How the trials of a search are chosen, by name; UserError with the nearest name otherwise."""
    for sampler in SAMPLERS:
        if value == sampler:
            return sampler
    raise UserError(unknown("sampler", value if isinstance(value, str) else shortened(value), SAMPLERS))


def whole_number(value: object) -> int | None:
    """A whole number, also as a text; None for anything else."""
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 20:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def shortened(value: object) -> str:
    """The value's repr, cut if it is long."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}... ({len(text):,} characters)"
