"""What a run may be told: the run's settings, and how the recipe of a cell is resolved."""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from tunefront.bench.errors import Mistake, unknown
from tunefront.methods.base import Method, Recipe, at_least

Scalar = bool | int | float | str | None


NORMALIZATIONS = ("none", "token", "char", "byte")
"""What a choice's log-probability is divided by; `models.scoring.normalization` has the exact definitions."""


@dataclass(frozen=True)
class RunConfig:
    """Settings of a run that change its numbers, whatever the method; they are part of every key.

    Args: device, `cpu`, `cuda` or `cuda:N`; threads per cell; max_length in tokens, longer rows are cut and counted,
    None for what the model takes; eval_batch_size in rows, of which a decoder scores
    as many at once as some hundreds of tokens hold; eval_rows, at most so many rows of the scored split, drawn once by
    hash, None for all; select, whether rows are held out to choose hyper-parameters on (set by a suite's [search]). Of
    language models: normalization, what a choice's log-probability is divided by (see `NORMALIZATIONS`);
    context_length, the most tokens of a whole prompt, demonstrations and answer included, None for what the model takes
    (max_length cuts the query alone). Of draws: published_draws takes the task folder's few_shot files instead of
    drawing by hash; balanced_draws lets the labels take turns.
    """

    device: str = "cpu"
    threads: int = 1
    max_length: int | None = None
    eval_batch_size: int = 64
    eval_rows: int | None = None
    select: bool = False
    normalization: str = "token"
    context_length: int | None = None
    published_draws: bool = False
    balanced_draws: bool = False

    def __post_init__(self) -> None:
        for field in ("threads", "max_length", "eval_batch_size", "eval_rows", "context_length"):
            if getattr(self, field) is not None:
                at_least(1, 1024 if field == "threads" else 10**9, **{field: getattr(self, field)})
        if self.normalization not in NORMALIZATIONS:
            raise ValueError(f"normalization must be one of {', '.join(NORMALIZATIONS)}, got {self.normalization!r}")


def parse_setting(name: str, value: object) -> dict[str, Scalar]:
    """One field of the recipe or of the run settings, its value converted; Mistake naming the nearest field."""
    kinds = {**typing.get_type_hints(Recipe), **typing.get_type_hints(RunConfig)}
    if name not in kinds:
        raise Mistake(unknown("setting", name, kinds))
    allowed = set(typing.get_args(kinds[name])) if isinstance(kinds[name], types.UnionType) else {kinds[name]}
    return {name: _converted(name, value, allowed)}


def checked(name: str, value: object, kind: type[Recipe] | type[RunConfig]) -> dict[str, Scalar]:
    """One field of a recipe or of the run settings, converted; Mistake if unknown there, of a wrong type or value."""
    homes = {
        **{known.name: ("[recipe]", Recipe) for known in fields(Recipe)},
        **{known.name: ("[settings]", RunConfig) for known in fields(RunConfig)},
    }
    if name not in homes:
        raise Mistake(unknown("field", name, [known for known, (_, home) in homes.items() if home is kind]))
    if homes[name][1] is not kind:
        raise Mistake(f"{name} belongs in {homes[name][0]}.")
    setting = parse_setting(name, value)
    valid(setting, kind)
    return setting


def valid(values: Mapping[str, Scalar], kind: type[Recipe] | type[RunConfig]) -> Any:  # Any: a Recipe or a RunConfig
    """A recipe or run settings with these values; Mistake naming the wrong one."""
    try:
        return kind(**values)  # type: ignore[arg-type]
    except ValueError as error:
        raise Mistake(f"{error}.") from error


def split_settings(values: Mapping[str, Scalar]) -> tuple[dict[str, Scalar], dict[str, Scalar]]:
    """Settings -> (those of the recipe, those of the run)."""
    recipe = {field.name for field in fields(Recipe)}
    return {k: v for k, v in values.items() if k in recipe}, {k: v for k, v in values.items() if k not in recipe}


def overridden(values: Mapping[str, Scalar], *overrides: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Fields of a recipe overridden one by one, the last one winning.

    Steps replace epochs, so an override that names epochs and no steps takes the earlier steps away: else who asks for
    3 epochs would silently train for the steps that a method, or the rest of a suite, names.

    >>> overridden({"steps": 1500}, {"epochs": 3.0})
    {'steps': None, 'epochs': 3.0}
    """
    merged = dict(values)
    for override in overrides:
        if "epochs" in override and merged.get("steps") is not None:
            merged["steps"] = None
        merged.update(override)
    return merged


def resolve_recipe(method: Method, *overrides: Mapping[str, Scalar]) -> Recipe:
    """The method's own recipe (else the family's default) overridden field by field, the last one winning; Mistake if
    what comes out is invalid."""
    try:
        return Recipe(**overridden(as_scalars(method.recipe or Recipe()), *overrides))  # type: ignore[arg-type]
    except ValueError as error:
        raise Mistake(f"recipe of {method.name}: {error}") from error


def as_scalars(value: Recipe | RunConfig) -> dict[str, Scalar]:
    """The fields of a recipe or of the settings, as a record keeps them."""
    return asdict(value)


def _converted(name: str, value: object, allowed: set[type]) -> Scalar:
    if isinstance(value, str):
        text = value.strip()
        if text.lower() in ("none", "null") and type(None) in allowed:
            return None
        if text.lower() in ("true", "false") and bool in allowed:
            return text.lower() == "true"
        for kind in (int, float):
            if kind in allowed:
                try:
                    return kind(text)
                except ValueError:
                    continue
        if str in allowed:
            return text
    elif isinstance(value, bool):
        if bool in allowed:
            return value
    elif isinstance(value, int) and int in allowed:
        return value
    elif isinstance(value, int | float) and float in allowed and abs(value) <= sys.float_info.max:
        return float(value)
    names = " or ".join(sorted(kind.__name__.replace("NoneType", "none") for kind in allowed))
    raise Mistake(f"{name} must be {names}, got {value!r}.")
