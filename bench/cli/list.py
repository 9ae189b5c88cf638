"""`tunefront list`: the methods, tasks, backbones, suites and settings that there are, as plain data and as a table."""

from __future__ import annotations

import inspect
import itertools
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from typing import TYPE_CHECKING

from tunefront.bench.cli import options
from tunefront.bench.cli.console import Console, handle_errors, plain, quiet_libraries
from tunefront.bench.errors import printable
from tunefront.bench.settings import SETTINGS, Setting

if TYPE_CHECKING:
    from rich.table import Table

    from tunefront.methods.base import Method

Entry = dict[str, object]

HINTS = {
    "tasks": "Your own data: dir:FOLDER (train, validation, test as JSON Lines, CSV or Parquet) or hub:NAME/CONFIG.",
    "backbones": "A folder saved with save_pretrained(), a GGUF file or a Hub id is a backbone too.",
    "methods": "Your own: path/to/file.py:ClassName:field=value, a subclass of tunefront.Method.",
    "suites": "Your own: a path to a .toml file.",
    "settings": "Change one by --set NAME=VALUE, by settings={...} in Python, or in a suite, in the table above it.",
}


def list_(
    what: options.What,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """List methods, tasks, backbones, suites or settings."""
    with handle_errors(Console(stderr=True), debug, prints=True):
        quiet_libraries()
        found = entries(what.value)
        if as_json:
            plain(json.dumps(found, indent=2))
        else:
            Console().print(as_table(what.value, found))


def entries(what: str) -> list[Entry]:
    """What there is of `methods`, `tasks`, `backbones`, `suites` or `settings`: each with a name and more."""
    if what == "settings":
        return [_setting(known) for known in SETTINGS.values()]
    if what == "methods":
        from tunefront.bench.suites.sweeps import known_methods

        return [_method(cls) for cls in known_methods().values()]
    if what == "tasks":
        from tunefront.bench.data.sources import known_tasks

        return [{"name": name} for name in known_tasks()]
    if what == "backbones":
        from tunefront.bench.models.locate import known_backbones

        return _described(known_backbones())
    from tunefront.bench.suites.toml import known_suites

    return _described(known_suites())


def as_table(what: str, found: Sequence[Entry]) -> Table:
    """The entries for a person, with how to bring one's own below."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    if what == "settings":
        found = list(_by_table(found))
    found = [_in_two(entry) if what == "methods" else entry for entry in found]
    columns = list(dict.fromkeys(key for entry in found for key in entry))
    table = Table(box=box.SIMPLE, caption=Text(HINTS[what]), caption_justify="left", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == "name")
    for entry in found:
        table.add_row(*(Text(printable(_written(entry.get(column)))) for column in columns))
    return table


def _described(known: Mapping[str, str]) -> list[Entry]:
    return [{"name": name, "about": about} for name, about in known.items()]


def _setting(known: Setting) -> Entry:
    takes = ", ".join(known.choices) or known.takes
    return {"name": known.name, "table": known.table, "takes": takes, "default": known.default, "about": known.help}


def _by_table(settings: Sequence[Entry]) -> Iterator[Entry]:
    """The settings below the table of a suite that they stand in."""
    for table, entries in itertools.groupby(settings, key=lambda entry: entry["table"]):
        yield {"name": f"[{table}]"}
        for entry in entries:
            yield {
                "name": entry["name"],
                "default": _written(entry["default"]) or "none",
                "takes: what it is": f"{entry['takes']}: {entry['about']}",
            }


def _in_two(method: Entry) -> Entry:
    """A method by its name and, in lines of their own, what it is, its fields and its recipe."""
    lines = [method["about"], _written(method["fields"])]
    if method["recipe"]:
        lines.append(f"recipe: {_written(method['recipe'])}")
    return {
        "name": method["name"],
        "about, fields with their defaults, recipe": "\n".join(map(str, filter(None, lines))),
    }


def _method(cls: type[Method]) -> Entry:
    """A method's fields with their defaults, its own recipe where it differs from the family's, and what it is: of a
    shipped one the first line of its file, which names the paper, of a user's own the class's first sentence."""
    from tunefront.methods.base import Recipe

    plain, own = asdict(Recipe()), asdict(cls.recipe or Recipe())
    return {
        "name": cls.name,
        "fields": {field.name: None if field.default is MISSING else field.default for field in fields(cls)},
        "recipe": {name: value for name, value in own.items() if value != plain[name]},
        "about": _about(cls),
    }


def _about(cls: type[Method]) -> str:
    if cls.__module__.startswith("tunefront.methods."):
        text = inspect.getdoc(sys.modules[cls.__module__])
    else:
        text = inspect.getdoc(cls) if cls.__doc__ else None
    paragraph = " ".join((text or "").split("\n\n")[0].split())
    return re.split(r"(?<=[^.\s]{2}\.)\s", paragraph)[0]


def _written(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={_written(inner) or 'none'}" for name, inner in value.items())
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
