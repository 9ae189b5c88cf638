"""The entries of a suite, read from TOML one by one: lists of what runs, and tables of how it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from bench.errors import Gathered, Mistake, unknown
from bench.settings import RunConfig, Scalar, checked
from methods.base import Recipe

T = TypeVar("T")

LISTS = ("methods", "backbones", "tasks", "shots", "draws", "seeds", "templates")
TABLES = ("recipe", "settings", "search")


@dataclass(frozen=True)
class Part:
    """What runs together: every method on every backbone and task, with every draw and seed; no name is looked up yet.

    `title` is what messages call it. `methods` holds spelled methods and tables (see `bench.sweeps`); None in `shots`
    is every training row; `recipes` is [recipe.<method name>]; `search` maps recipe fields to the values that every
    method is tried with.
    """

    title: str
    methods: tuple[object, ...] = ()
    backbones: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    shots: tuple[int | None, ...] = (None,)
    draws: tuple[int, ...] = (0,)
    seeds: tuple[int, ...] = (0,)
    templates: tuple[str | None, ...] = (None,)
    recipe: Mapping[str, Scalar] = field(default_factory=dict)
    recipes: Mapping[str, Mapping[str, Scalar]] = field(default_factory=dict)
    settings: Mapping[str, Scalar] = field(default_factory=dict)
    search: Mapping[str, tuple[Scalar, ...]] = field(default_factory=dict)


def read_part(entries: Mapping[str, object], part: Part, wrong: Gathered, others: Iterable[str] = ()) -> Part:
    """The part with the entries of a TOML table: lists in the place of its own, tables field by field.

    What is wrong among the entries is gathered, and left out; `others` are keys that stand beside them.
    """
    prefix = f"{part.title}: "
    for key, value in entries.items():
        with wrong.any(prefix):
            if key in LISTS:
                listed: dict[str, Any] = {key: _list(key, value, wrong, prefix)}  # Any: each list has its own type
                part = replace(part, **listed)
            elif key == "recipe":
                part = _recipes(part, value, wrong, prefix)
            elif key == "settings":
                part = replace(part, settings={**part.settings, **_settings("settings", value, wrong, prefix)})
            elif key == "search":
                part = replace(part, search={**part.search, **_search(value, wrong, prefix)})
            else:
                raise Mistake(unknown("key", key, (*LISTS, *TABLES, *others)))
    return part


def shots_of(value: object) -> int | None:
    """A number of training rows, or None for `all`; Mistake otherwise."""
    if value == "all":
        return None
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise Mistake(f"shots must be whole numbers from 1, or 'all', got {value!r}.")
    return value


def seed_of(value: object, what: str = "seeds") -> int:
    """A seed or draw, a whole number from 0; Mistake otherwise."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**32:
        raise Mistake(f"{what} must be whole numbers from 0, got {value!r}.")
    return value


def _list(key: str, value: object, wrong: Gathered, prefix: str) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise Mistake(f"{key} must be a list, as in {key} = [{_quoted(value)}], got {value!r}.")
    if not value:
        raise Mistake(f"{key} is empty; leave it out or name at least one.")
    kinds: Mapping[str, Callable[[object], object]] = {
        "methods": lambda item: item,
        "shots": shots_of,
        "seeds": seed_of,
        "draws": lambda item: seed_of(item, "draws"),
    }
    return tuple(_each(value, kinds.get(key, lambda item: _name(item, key)), wrong, prefix))


def _name(item: object, key: str) -> str:
    if not isinstance(item, str):
        raise Mistake(f"{key} must be texts, got {item!r}.")
    return item


def _recipes(part: Part, value: object, wrong: Gathered, prefix: str) -> Part:
    table = _table("recipe", value)
    own = {key: inner for key, inner in table.items() if isinstance(inner, dict)}
    common = _settings("recipe", {key: inner for key, inner in table.items() if key not in own}, wrong, prefix)
    read = {key: _settings(f"recipe.{key}", inner, wrong, prefix) for key, inner in own.items()}
    merged = {key: {**part.recipes.get(key, {}), **values} for key, values in read.items()}
    return replace(part, recipe={**part.recipe, **common}, recipes={**part.recipes, **merged})


def _settings(table: str, value: object, wrong: Gathered, prefix: str) -> dict[str, Scalar]:
    """A table of plain values: each field known, of its type, and valid."""
    kind: type[Recipe] | type[RunConfig] = RunConfig if table == "settings" else Recipe
    values: dict[str, Scalar] = {}
    for name, given in _table(table, value).items():
        with wrong.any(f"{prefix}[{table}] "):
            values |= checked(name, given, kind)
    return values


def _search(value: object, wrong: Gathered, prefix: str) -> dict[str, tuple[Scalar, ...]]:
    searched: dict[str, tuple[Scalar, ...]] = {}
    for name, values in _table("search", value).items():
        with wrong.any(f"{prefix}[search] "):
            if not isinstance(values, list) or not values:
                raise Mistake(f"{name} must be a list of at least one value, got {values!r}.")
            searched[name] = tuple(checked(name, given, Recipe)[name] for given in values)
    return searched


def _each(values: list[object], convert: Callable[[object], T], wrong: Gathered, prefix: str) -> list[T]:
    converted: list[T] = []
    for value in values:
        with wrong.any(prefix):
            converted.append(convert(value))
    return converted


def _table(name: str, value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise Mistake(f"{name} must be a table, [{name}], got {value!r}.")
    return value


def _quoted(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
