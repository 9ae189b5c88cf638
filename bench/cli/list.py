"""`tunefront list`: the available methods, tasks, backbones, architectures, suites and settings, as plain data and as
a table."""

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
from tunefront.bench.cli.console import Console, handle_errors, print_raw, quiet_libraries
from tunefront.bench.errors import UserError, printable
from tunefront.bench.settings import SETTINGS, Setting
from tunefront.methods.sites import SITES

if TYPE_CHECKING:
    from rich.table import Table

    from tunefront.methods.base import Method
    from tunefront.methods.sites import Sites

Entry = dict[str, object]

HINTS = {
    "tasks": "Your own data: --data FILE, a folder with train and test files as dir:FOLDER, or hub:NAME/CONFIG.",
    "backbones": "A folder saved with save_pretrained(), a GGUF file or a Hub id is a backbone too.",
    "architectures": "Any other that transformers knows runs full, features, knn, icl and peft: tunefront probe MODEL.",
    "methods": "Your own: path/to/file.py:ClassName:field=value, a subclass of tunefront.Method.",
    "suites": "Your own: a path to a .toml file.",
    "settings": "Change one with --set NAME=VALUE, with settings={...} in Python, or in that table of a suite file.",
}


def list_(
    what: options.What,
    as_json: options.AsJson = False,
    matrix: options.Matrix = False,
    method: options.OwnMethods = None,
    debug: options.Debug = False,
) -> None:
    """List methods, tasks, backbones, architectures, suites or settings.

    With --matrix: what each method can do on an encoder, two decoders and an encoder-decoder, found by trying it on
    tiny random models, in about a minute.
    """
    errors = Console(stderr=True)
    with handle_errors(errors, debug, prints=True):
        quiet_libraries()
        if matrix or method:
            _matrix(what.value, as_json, method or [], errors)
            return
        listed = entries(what.value)
        if as_json:
            print_raw(json.dumps(listed, indent=2))
        else:
            Console().print(as_table(what.value, listed))


def _matrix(what: str, as_json: bool, files: list[str], errors: Console) -> None:
    """Prints what methods can do where. UserError for anything but methods, and for a file that is none."""
    if what != "methods":
        raise UserError(f"--matrix and --method are about methods, got {what}; use `tunefront list methods --matrix`.")
    from tunefront.bench.cli.matrix_screen import as_matrix
    from tunefront.bench.execution.capabilities import capabilities, default_methods

    with errors.status("") as status:
        found = capabilities(default_methods(files), on_step=lambda text: status.update(f"trying {text}"))
    if as_json:
        print_raw(json.dumps([asdict(each) for each in found], indent=2))
    else:
        for part in as_matrix(found):
            Console().print(part)


def entries(what: str) -> list[Entry]:
    """The available `methods`, `tasks`, `backbones`, `architectures`, `suites` or `settings`, each with its name and
    description."""
    if what == "settings":
        return [_setting_entry(setting) for setting in SETTINGS.values()]
    if what == "methods":
        from tunefront.bench.suites.sweeps import known_methods

        return [_method_entry(cls) for cls in known_methods().values()]
    if what == "tasks":
        from tunefront.bench.data.sources import describe_tasks

        return [asdict(entry) for entry in describe_tasks()]
    if what == "architectures":
        return [_architecture_entry(name, sites) for name, sites in sorted(SITES.items())]
    if what == "backbones":
        from tunefront.bench.models.locate import known_backbones

        return _described(known_backbones())
    from tunefront.bench.suites.toml import known_suites

    return _described(known_suites())


def as_table(what: str, listed: Sequence[Entry]) -> Table:
    """The entries as a table for a terminal, with a caption on how to add your own."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    if what == "settings":
        listed = list(_grouped_by_table(listed))
    if what == "tasks":
        listed = list(_grouped_by_source(listed))
    in_columns = {"methods": _in_two_columns, "architectures": _in_three_columns}
    listed = [in_columns[what](entry) if what in in_columns else entry for entry in listed]
    columns = list(dict.fromkeys(key for entry in listed for key in entry))
    table = Table(box=box.SIMPLE, caption=Text(HINTS[what]), caption_justify="left", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == "name")
    for entry in listed:
        table.add_row(*(Text(printable(_as_text(entry.get(column)))) for column in columns))
    return table


def _architecture_entry(name: str, sites: Sites) -> Entry:
    """An architecture: its family, models that have it, what a head reads if their folders say nothing (of an
    encoder-decoder the decoder's first token), whether its FLOPs have closed forms, and what is special in its
    sites."""
    from tunefront.bench.meters.flops.analytic import ARCHITECTURES
    from tunefront.bench.models.architectures import MODELS

    special = [
        "fused queries, keys and values" if sites.fused else "",
        f"shared: {', '.join(sorted(sites.repeated))}" if sites.repeated else "",
    ]
    return {
        "name": name,
        "family": sites.family,
        "models": MODELS.get(name),
        "head_reads": sites.pooling if sites.family == "encoder" else "last" if sites.family == "decoder" else "first",
        "closed_flops": name in ARCHITECTURES,
        "special": "; ".join(filter(None, special)) or None,
    }


def _in_three_columns(architecture: Entry) -> Entry:
    """An architecture's name, family, and the rest in one column."""
    notes = [
        f"a head reads the {_READ[str(architecture['head_reads'])]}",
        str(architecture["special"] or ""),
        "" if architecture["closed_flops"] else "FLOPs are counted only",
    ]
    models = architecture["models"]
    about = "; ".join(filter(None, notes)).removeprefix("a")
    return {
        "name": architecture["name"],
        "family": architecture["family"],
        "about": f"{models}. A{about}." if models else f"A{about}.",
    }


_READ = {"pooler": "pooler", "first": "first token", "mean": "mean of the tokens", "last": "last token"}


def _described(known: Mapping[str, str]) -> list[Entry]:
    return [{"name": name, "about": about} for name, about in known.items()]


def _setting_entry(setting: Setting) -> Entry:
    takes = ", ".join(setting.choices) or setting.takes
    return {
        "name": setting.name,
        "table": setting.table,
        "takes": takes,
        "default": setting.default,
        "about": setting.help,
    }


def _grouped_by_table(settings: Sequence[Entry]) -> Iterator[Entry]:
    """The settings, each group headed by its table of a suite file."""
    for table, entries in itertools.groupby(settings, key=lambda entry: entry["table"]):
        yield {"name": f"[{table}]"}
        for entry in entries:
            yield {
                "name": entry["name"],
                "default": _as_text(entry["default"]) or "none",
                "type: description": f"{entry['takes']}: {entry['about']}",
            }


def _grouped_by_source(tasks: Sequence[Entry]) -> Iterator[Entry]:
    """The tasks under a row for their source."""
    for archive, group in itertools.groupby(tasks, key=lambda entry: entry["archive"]):
        entries = list(group)
        fetch = "" if archive is None else f" Fetch it once: tunefront fetch {archive}."
        licence = "" if archive is None else f" Licence: {entries[0]['licence']}."
        source = str(entries[0]["source"])
        yield {"name": f"[{archive or 'docstrings'}]", "about": f"{source[:1].upper()}{source[1:]}.{licence}{fetch}"}
        yield from ({"name": entry["name"], "about": entry["about"]} for entry in entries)


def _in_two_columns(method: Entry) -> Entry:
    """A method's name, and its description, fields and recipe on separate lines of one column."""
    lines = [method["about"], _as_text(method["fields"])]
    if method["recipe"]:
        lines.append(f"recipe: {_as_text(method['recipe'])}")
    return {
        "name": method["name"],
        "about, fields with their defaults, recipe": "\n".join(map(str, filter(None, lines))),
    }


def _method_entry(cls: type[Method]) -> Entry:
    """A method's fields with their defaults, where its recipe differs from the family's, and a description: for a
    shipped method the first line of its file, which names the paper; for a user's method the class's first sentence."""
    from tunefront.methods.base import Recipe

    default, own = asdict(Recipe()), asdict(cls.recipe or Recipe())
    return {
        "name": cls.name,
        "fields": {field.name: None if field.default is MISSING else field.default for field in fields(cls)},
        "recipe": {name: value for name, value in own.items() if value != default[name]},
        "about": _about(cls),
    }


def _about(cls: type[Method]) -> str:
    if cls.__module__.startswith("tunefront.methods."):
        text = inspect.getdoc(sys.modules[cls.__module__])
    else:
        text = inspect.getdoc(cls) if cls.__doc__ else None
    paragraph = " ".join((text or "").split("\n\n")[0].split())
    return re.split(r"(?<=[^.\s]{2}\.)\s", paragraph)[0]


def _as_text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={_as_text(inner) or 'none'}" for name, inner in value.items())
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
