"""What a call of `tunefront plan` asks for, and what is wrong in it that can be seen before any library is imported."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tunefront.bench.errors import Gathered, Mistake
from tunefront.bench.forecast import limits
from tunefront.bench.forecast.presets import find, same_letters
from tunefront.bench.forecast.synthetic import Lengths
from tunefront.bench.forecast.targets import LENGTH, made_up, needs_lengths
from tunefront.bench.models.locate import known_backbones

Sweep = tuple[str, tuple[int, ...]]
"""A name and the sizes."""


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
    choices: int | None = None
    answer_tokens: int | None = None
    queries: int | None = None

    @property
    def on_made_up_rows(self) -> bool:
        """Whether rows are made up: a length is given, or a backbone that is a configuration alone."""
        return self.length is not None or needs_lengths(self.backbones)

    def lengths(self) -> Lengths:
        """Of made-up rows; Mistake where they are out of bounds."""
        shots = [part.strip() for text in self.shots or () for part in text.split(",") if part.strip()]
        if len(shots) > 1 or any(not (one.isascii() and one.isdigit()) for one in shots):
            raise Mistake(f"made-up rows need one whole number of --shots, got {', '.join(shots)}.")
        if self.shots and not shots:
            raise Mistake("made-up rows need one whole number of --shots, got none; give it, or leave --shots out.")
        given = {
            "tokens": self.length,
            "choices": self.choices,
            "answer_tokens": self.answer_tokens,
            "train_rows": int(shots[0][:20]) if shots else None,  # more digits than any bound has
            "test_rows": self.queries,
        }
        return made_up(**{name: size for name, size in given.items() if size is not None})


def check(asked: Asked, sweep: Sweep | None) -> None:
    """Mistakes with what is wrong in the backbones' names and in the lengths, at once."""
    check_paths(asked.backbones)
    wrong, found = Gathered(), []
    for name in asked.backbones or ():
        with wrong.any():
            _check_name(name, asked.on_made_up_rows)
    if not asked.on_made_up_rows or wrong.found:
        wrong.told()
        return
    with wrong.any():
        found = [asked.lengths()]
    for name, lengths in itertools.product(asked.backbones or (), found):
        with wrong.any():
            limits.check(name, lengths)
    if sweep is not None and sweep[0] == LENGTH and not wrong.found:
        ends = (min(sweep[1]), max(sweep[1]))
        for name, lengths, size in itertools.product(asked.backbones or (), found, ends):
            with wrong.any():
                check_swept(name, lengths, size)
    wrong.told()


def _check_name(name: str, made_up_rows: bool) -> None:
    """Mistake for a name that stands for no backbone, as far as that is known without asking the Hub."""
    if name in known_backbones() or Path(name).expanduser().exists():
        return
    near = same_letters(name)
    if made_up_rows and ("/" not in name or name.endswith(".json")):
        find(name)
    elif near is not None:
        raise Mistake(
            f"no backbone {name!r}; of presets, which are planned on made-up rows, {near!r} is the nearest: give it."
        )


def check_swept(backbone: str, lengths: Lengths, size: int) -> None:
    """Mistake where rows of one length of a sweep are out of bounds, or too long for the backbone."""
    try:
        limits.check(backbone, made_up(lengths, tokens=size))
    except Mistake as error:
        raise of_sweep(error) from error


def of_sweep(error: Mistake) -> Mistake:
    """The mistake of a length that a sweep asks for."""
    return Mistake(
        str(error)
        .replace("a smaller --length", "smaller sizes to --sweep length")
        .replace("--length", "--sweep length")
    )


def check_paths(backbones: Sequence[str] | None) -> None:
    """Mistake for a name that cannot even be looked for as a path."""
    for name in backbones or ():
        if not name.strip():
            raise Mistake("--backbone is empty; give a preset, a folder, a config.json or a Hub id.")
        try:
            Path(name).expanduser().exists()
        except (OSError, RuntimeError, ValueError) as error:  # the latter two: a home that nobody has, a null byte
            why = getattr(error, "strerror", None) or str(error).rstrip(".")
            short = name if len(name) < 100 else f"{name[:96]} ..."
            raise Mistake(f"the backbone {short!r} cannot be looked for ({why}); give another.") from error
