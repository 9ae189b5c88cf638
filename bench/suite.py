"""Suite files: which methods, backbones, tasks, draws and seeds to run, and how (TOML)."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from bench.errors import Gathered, Mistake, unknown
from bench.settings import RunConfig, Scalar, parse_setting
from methods.base import Recipe

T = TypeVar("T")

LISTS = ("methods", "backbones", "tasks", "shots", "draws", "seeds", "templates")
TABLES = ("recipe", "settings", "search")


@dataclass(frozen=True)
class Suite:
    """A suite file as read, its names not yet looked up.

    `folder` is where its relative paths start: the folder of the file, or the working directory for a shipped suite.
    `methods` holds spelled methods and tables (see `bench.sweeps`); None in `shots` is every training row; `recipes` is
    [recipe.<method name>]; `search` maps recipe fields to the values that every method is tried with.
    """

    name: str
    folder: Path
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


def known_suites() -> dict[str, str]:
    """The shipped suites: name -> the first line of its comment."""
    shipped = sorted(files("bench").joinpath("suites").iterdir(), key=lambda file: file.name)
    return {
        file.name.removesuffix(".toml"): file.read_text("utf-8").splitlines()[0].lstrip("# ")
        for file in shipped
        if file.name.endswith(".toml")
    }


def read_suite(name: str, wrong: Gathered) -> Suite:
    """A shipped suite by name, or a file by its path; what is wrong inside is gathered, and left out of the suite.

    Errors: Mistake where there is no such suite or it is not TOML, since nothing can be read then.
    """
    text, folder = _text(name)
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Mistake(f"suite {name} is not valid TOML: {error}.") from error
    prefix = f"suite {name}: "
    suite = Suite(name, folder)
    for key, value in content.items():
        with wrong.any(prefix):
            if key in LISTS:
                listed: dict[str, Any] = {key: _list(key, value, wrong, prefix)}  # Any: each list has its own type
                suite = replace(suite, **listed)
            elif key == "recipe":
                suite = _recipes(suite, value, wrong, prefix)
            elif key == "settings":
                suite = replace(suite, settings=_settings("settings", value, wrong, prefix))
            elif key == "search":
                suite = replace(suite, search=_search(value, wrong, prefix))
            else:
                raise Mistake(unknown("key", key, (*LISTS, *TABLES)))
    return suite


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


def _text(name: str) -> tuple[str, Path]:
    if not name.endswith(".toml") and "/" not in name:
        if name not in known_suites():
            raise Mistake(unknown("suite", name, known_suites(), "Or give the path of a .toml file of your own."))
        return files("bench").joinpath("suites", f"{name}.toml").read_text("utf-8"), Path.cwd()
    path = Path(name).expanduser()
    try:
        return path.read_text("utf-8"), path.parent
    except FileNotFoundError as error:
        raise Mistake(f"there is no suite file {name}. Shipped suites: {', '.join(known_suites())}.") from error
    except OSError as error:
        raise Mistake(f"the suite file {name} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise Mistake(f"the suite file {name} is not UTF-8 text (byte {error.start}).") from error


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


def _recipes(suite: Suite, value: object, wrong: Gathered, prefix: str) -> Suite:
    table = _table("recipe", value)
    own = {key: inner for key, inner in table.items() if isinstance(inner, dict)}
    return replace(
        suite,
        recipe=_settings("recipe", {key: inner for key, inner in table.items() if key not in own}, wrong, prefix),
        recipes={key: _settings(f"recipe.{key}", inner, wrong, prefix) for key, inner in own.items()},
    )


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
