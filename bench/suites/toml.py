"""Suite files: which methods, backbones, tasks, draws and seeds to run, and how (TOML)."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, get_args

from tunefront.bench.cells import Sampler
from tunefront.bench.data.task import Kind
from tunefront.bench.errors import ErrorCollector, UserError, unknown
from tunefront.bench.files import describe_shipped, expanded
from tunefront.bench.settings import SETTINGS, Scalar, overridden, parse_setting
from tunefront.bench.suites.data_tables import DATA, names_in
from tunefront.bench.suites.values import read_draw, read_sampler, read_seed, read_shots, read_trials, shortened

PARTS = "part"
"""The key of a suite's parts: an array of [[part]] tables."""
FALLBACK = "fallback"
"""The key that names the suite to run where nothing of this one was fetched."""


@dataclass(frozen=True)
class Suite:
    """A suite file as read, before any name is looked up: the file is a single part, or contains several.

    Each [[part]] inherits the lists and tables of the file and overrides them: a list replaces the file's list, a table
    ([part.recipe], [part.recipe.<method>], [part.settings], [part.search]) replaces single fields. The first part is
    the main one. Relative paths start at `folder`: the folder of the file, or the working directory for a shipped
    suite. `fallback` is the suite that runs instead where nothing that this one needs was fetched.
    """

    name: str
    folder: Path
    parts: tuple[Part, ...]
    fallback: str | None = None


def known_suites() -> dict[str, str]:
    """The shipped suites: name -> the first line of its comment."""
    return describe_shipped(__package__)


def read_suite(name: str, wrong: ErrorCollector) -> Suite:
    """Reads a shipped suite by name, or a file by path; wrong entries are collected as errors and left out.

    Errors: UserError if there is no such suite, or it is not TOML.
    """
    text, folder = suite_text(name)
    try:
        content = tomllib.loads(text)
    except RecursionError as error:
        raise UserError(f"suite {name} is nested too deeply; a suite has lists in tables, nothing deeper.") from error
    except ValueError as error:  # also for a number with more digits than Python reads
        raise UserError(f"suite {name} is not valid TOML: {error}.") from error
    _check_values(name, content)
    parts, named, fallback = content.pop(PARTS, None), content.pop(FALLBACK, None), None
    whole = read_part(content, Part(f"suite {name}"), wrong, [PARTS, FALLBACK])
    with wrong.collect(f"{whole.title}: "):
        fallback = None if named is None else _suite_name(named, folder)
    return Suite(name, folder, (whole,) if parts is None else _parts(parts, whole, wrong), fallback)


def _suite_name(value: object, folder: Path) -> str:
    """The suite that a suite names: shipped, or a file relative to its own folder."""
    if not isinstance(value, str):
        raise UserError(f"{FALLBACK} must be the name of a suite or the path of a .toml file, got {shortened(value)}.")
    if value in known_suites() or not (value.endswith(".toml") or "/" in value):
        return value
    return str(folder / expanded(value))


def _parts(tables: object, whole: Part, wrong: ErrorCollector) -> tuple[Part, ...]:
    """The parts of a file; `whole` has the entries outside them."""
    if not isinstance(tables, list) or not tables or not all(isinstance(table, Mapping) for table in tables):
        wrong.messages.append(f"{whole.title}: {PARTS} must be an array of tables, each [[{PARTS}]], got {tables!r}.")
        return (whole,)
    return tuple(
        read_part(table, replace(whole, title=f"part {place + 1} of {whole.title}", place=place), wrong)
        for place, table in enumerate(tables)
    )


def suite_text(name: str) -> tuple[str, Path]:
    """(the text of a suite file, the folder that its relative paths start at). Errors: UserError."""
    if not name.endswith(".toml") and "/" not in name:
        if name not in known_suites():
            raise UserError(unknown("suite", name, known_suites(), "Or give the path of your own .toml file."))
        return files(__package__).joinpath(f"{name}.toml").read_text("utf-8"), Path.cwd()
    path = expanded(name)
    try:
        if path.exists() and not path.is_file():
            kind = "a folder" if path.is_dir() else "not a regular file"
            raise UserError(f"the suite {name} is {kind}; give the path of a .toml file.")
        return path.read_text("utf-8-sig"), path.parent
    except FileNotFoundError as error:
        raise UserError(f"there is no suite file {name}. Shipped suites: {', '.join(known_suites())}.") from error
    except OSError as error:
        raise UserError(f"the suite file {name} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise UserError(f"the suite file {name} is not UTF-8 text (byte {error.start}).") from error


def _check_values(name: str, content: dict[str, Any]) -> None:
    """UserError for an integer beyond TOML's 64 bits, which might not even print, and for a NUL in a text."""
    pending: list[object] = [content]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending += [*value, *value.values()]
        elif isinstance(value, list):
            pending += value
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise UserError(f"suite {name} has a whole number of {value.bit_length()} bits; TOML allows at most 64.")
        elif isinstance(value, str) and "\0" in value:
            raise UserError(f"suite {name} has a NUL character in the text {value[:50]!r}.")


T = TypeVar("T")

LISTS = ("methods", "backbones", "tasks", "shots", "draws", "seeds", "templates")
TABLES = ("recipe", "settings", "search", "fitted")
PAPER = "paper"
KIND = "backbone_kind"
"""The key of a part for backbones of one kind that the call names and no part does."""
DEFAULT_FOR = "default_for"
"""The key for the kinds of tasks whose cells a part has where the call names no backbone."""
INSTEAD = "fallback_backbone"
"""The key that names the backbone of a part where its own were not fetched."""
KINDS = ("encoder", "language model")
TASK_KINDS: tuple[str, ...] = get_args(Kind)
TRIALS, BUDGET, SAMPLER, SEED = "trials", "budget", "sampler", "seed"
"""The keys in [search] that are no field of a recipe: the number of trials per method, an older name of it, how they
are chosen, and the seed of a sampler that draws."""


@dataclass(frozen=True)
class Part:
    """A grid: every method on every backbone and task, with every draw and seed; no name is looked up yet.

    `title` is its name in messages, `place` its index among the parts of the file. `methods` has texts and tables (see
    `suites.sweeps`); None in `shots` means all training rows; `recipes` is [recipe.<method name>]; `search` maps recipe
    fields to the values to try with every method; `trials` is the number of trials per method over the sizes and rates
    that the method declares, None without such a search, `sampler` how they are chosen, with `search_seed` if it draws
    (both None where nothing is said); `fitted` has what is fitted to each task, by the names of the
    fields of `Fitting`, empty for nothing; `paper` is the paper that the part repeats and is compared with.
    `backbone_kind`, one of `KINDS`, is that of a part for backbones that the call names and no part does.
    `default_for`: where the call names no backbone, the part runs on tasks of these kinds only, empty for all.
    `fallback_backbone` runs where the backbones of the part were not fetched.
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
    paper: str | None = None
    trials: int | None = None
    sampler: Sampler | None = None
    search_seed: int | None = None
    backbone_kind: str | None = None
    fitted: Mapping[str, float] = field(default_factory=dict)
    default_for: tuple[str, ...] = ()
    fallback_backbone: str | None = None
    place: int = 0


@dataclass(frozen=True)
class Fitting:
    """What a suite fits to a task, the table [fitted].

    Args: uncut_share, of the rows, which max_length leaves uncut; row_passes, how often rows are trained on in all, a
    number that epochs follow from; class_passes, the fewest row passes for each class; most_epochs. None for what is
    not fitted.
    """

    uncut_share: float | None = None
    row_passes: float | None = None
    class_passes: float | None = None
    most_epochs: float | None = None


def read_part(entries: Mapping[str, object], part: Part, wrong: ErrorCollector, others: Iterable[str] = ()) -> Part:
    """The part updated with the entries of a TOML table: lists replace its own, tables replace single fields.

    The files in `data` are tasks, after those of `tasks`; either replaces the tasks of `part`. Wrong entries are
    collected as errors and left out; `others` are further keys that are allowed.
    """
    prefix = f"{part.title}: "
    files: tuple[str, ...] = ()
    keys = (*LISTS, DATA, *TABLES, PAPER, KIND, DEFAULT_FOR, INSTEAD, *others)
    for key, value in entries.items():
        with wrong.collect(prefix):
            if key == DATA:
                files = names_in(value, keys, wrong, prefix)
            elif key in LISTS:
                listed: dict[str, Any] = {key: _list(key, value, wrong, prefix)}  # Any: each list has its own type
                part = replace(part, **listed)
            elif key == "recipe":
                part = _recipes(part, value, wrong, prefix)
            elif key == "settings":
                part = replace(part, settings={**part.settings, **_settings("settings", value, wrong, prefix)})
            elif key == "search":
                part = _searched(part, _table("search", value), wrong, prefix)
            elif key == "fitted":
                part = replace(part, fitted={**part.fitted, **_fitted(value, wrong, prefix)})
            elif key == PAPER:
                part = replace(part, paper=_text_of(PAPER, value))
            elif key == KIND:
                part = replace(part, backbone_kind=_one_of(KIND, KINDS, value))
            elif key == DEFAULT_FOR:
                kinds = (_one_of(key, TASK_KINDS, each) for each in _list(key, value, wrong, prefix))
                part = replace(part, default_for=tuple(kinds))
            elif key == INSTEAD:
                part = replace(part, fallback_backbone=_text_of(INSTEAD, value))
            else:
                raise UserError(unknown("key", key, keys))
    if files:
        listed_tasks = part.tasks if "tasks" in entries else ()
        part = replace(part, tasks=tuple(dict.fromkeys((*listed_tasks, *files))))
    if part.backbones and part.backbone_kind:
        wrong.messages.append(
            f"{prefix}it has both backbones and {KIND}; give one: the others' part is another [[part]]."
        )
    return part


def _list(key: str, value: object, wrong: ErrorCollector, prefix: str) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise UserError(f"{key} must be a list, as in {key} = [{_quoted(value)}], got {value!r}.")
    if not value:
        raise UserError(f"{key} is empty; leave it out or name at least one.")
    kinds: Mapping[str, Callable[[object], object]] = {
        "methods": lambda item: item,
        "shots": read_shots,
        "seeds": read_seed,
        "draws": read_draw,
    }
    return tuple(_each(value, kinds.get(key, lambda item: _name(item, key)), wrong, prefix))


def _text_of(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise UserError(f"{key} must be a text, got {shortened(value)}.")
    return value


def _one_of(key: str, known: Sequence[str], value: object) -> str:
    if not isinstance(value, str) or value not in known:
        raise UserError(f"{key} must be one of {', '.join(map(repr, known))}, got {shortened(value)}.")
    return value


def _fitted(value: object, wrong: ErrorCollector, prefix: str) -> dict[str, float]:
    """Reads the table [fitted]; unknown and invalid fields are collected as errors."""
    values: dict[str, float] = {}
    known = [declared.name for declared in fields(Fitting)]
    for name, number in _table("fitted", value).items():
        with wrong.collect(f"{prefix}[fitted] "):
            if name not in known:
                raise UserError(unknown("field", name, known))
            most_allowed = 1 if name == "uncut_share" else math.inf
            if not isinstance(number, int | float) or isinstance(number, bool) or not 0 < number <= most_allowed:
                most = " to 1" if name == "uncut_share" else ""
                raise UserError(f"{name} must be a number above 0{most}, got {shortened(number)}.")
            values[name] = float(number)
    return values


def _name(item: object, key: str) -> str:
    if not isinstance(item, str):
        raise UserError(f"{key} must be texts, got {item!r}.")
    return item


def _recipes(part: Part, value: object, wrong: ErrorCollector, prefix: str) -> Part:
    table = _table("recipe", value)
    own = {key: inner for key, inner in table.items() if isinstance(inner, dict)}
    common = _settings("recipe", {key: inner for key, inner in table.items() if key not in own}, wrong, prefix)
    read = {key: _settings(f"recipe.{key}", inner, wrong, prefix) for key, inner in own.items()}
    merged = {key: overridden(part.recipes.get(key, {}), values) for key, values in read.items()}
    return replace(part, recipe=overridden(part.recipe, common), recipes={**part.recipes, **merged})


def _settings(table: str, value: object, wrong: ErrorCollector, prefix: str) -> dict[str, Scalar]:
    """Reads a table of settings; unknown and invalid fields are collected as errors."""
    values: dict[str, Scalar] = {}
    for name, setting in _table(table, value).items():
        with wrong.collect(f"{prefix}[{table}] "):
            values |= parse_setting(name, setting, table.split(".")[0])
    return values


def _searched(part: Part, table: Mapping[str, object], wrong: ErrorCollector, prefix: str) -> Part:
    """The part with the table [search]; unknown and invalid fields are collected as errors."""
    prefix = f"{prefix}[search] "
    if {TRIALS, BUDGET} <= table.keys():
        wrong.messages.append(f"{prefix}{BUDGET} is an older name of {TRIALS}; give {TRIALS} alone.")
    fields_of_search: dict[str, Any] = {}  # Any: each has its own type
    searched = dict(part.search)
    for name, value in table.items():
        with wrong.collect(prefix):
            if name in (TRIALS, BUDGET):
                fields_of_search["trials"] = read_trials(value, name)
            elif name == SAMPLER:
                fields_of_search["sampler"] = read_sampler(value)
            elif name == SEED:
                fields_of_search["search_seed"] = read_seed(value, SEED)
            else:
                searched[name] = _listed_values(name, value)
    return replace(part, search=searched, **fields_of_search)


def _listed_values(name: str, values: object) -> tuple[Scalar, ...]:
    known = [name for name, setting in SETTINGS.items() if setting.table == "recipe"]
    if name not in known:
        raise UserError(unknown("field", name, (*known, TRIALS, SAMPLER, SEED)))
    if not isinstance(values, list) or not values:
        raise UserError(f"{name} must be a list of at least one value, got {values!r}.")
    return tuple(parse_setting(name, each)[name] for each in values)


def _each(values: list[object], convert: Callable[[object], T], wrong: ErrorCollector, prefix: str) -> list[T]:
    converted: list[T] = []
    for value in values:
        with wrong.collect(prefix):
            converted.append(convert(value))
    return converted


def _table(name: str, value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise UserError(f"{name} must be a table, [{name}], got {value!r}.")
    return value


def _quoted(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
