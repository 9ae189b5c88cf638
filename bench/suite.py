"""Suite files: which methods, backbones, tasks, draws and seeds to run, and how (TOML)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from bench.errors import Gathered, Mistake, unknown
from bench.parts import Part, read_part

PARTS = "part"
"""The key of a suite's parts: an array of tables, each headed [[part]]."""


@dataclass(frozen=True)
class Suite:
    """A suite file as read, its names not yet looked up: the file itself is one part, or it holds several.

    Each [[part]] has the lists and tables of the file, but for the entries that it gives itself: a list replaces the
    file's, a table ([part.recipe], [part.recipe.<method>], [part.settings], [part.search]) replaces single fields. The
    first part is the main one. `folder` is where relative paths start: the folder of the file, or the working directory
    for a shipped suite.
    """

    name: str
    folder: Path
    parts: tuple[Part, ...]


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
    parts = content.pop(PARTS, None)
    whole = read_part(content, Part(f"suite {name}"), wrong, [PARTS])
    return Suite(name, folder, (whole,) if parts is None else _parts(parts, whole, wrong))


def _parts(tables: object, whole: Part, wrong: Gathered) -> tuple[Part, ...]:
    """The parts of a file; `whole` has what stands outside them."""
    if not isinstance(tables, list) or not tables or not all(isinstance(table, Mapping) for table in tables):
        wrong.found.append(f"{whole.title}: {PARTS} must be an array of tables, each [[{PARTS}]], got {tables!r}.")
        return (whole,)
    titles = (f"part {number} of {whole.title}" for number in range(1, len(tables) + 1))
    return tuple(
        read_part(table, replace(whole, title=title), wrong) for table, title in zip(tables, titles, strict=True)
    )


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
