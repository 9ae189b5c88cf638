"""The practice of a paper's code, from its file in `bench/papers`, with which a run is compared."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from tunefront.bench.papers.reading import paper_data
from tunefront.bench.settings import Scalar, parse_setting
from tunefront.bench.suites.sweeps import method_of
from tunefront.methods.base import Method

Allowed = tuple[Scalar, ...]
"""The values of a field in a paper's runs: one, or those that it searches."""
Numbers = Sequence[Any]  # Any: nested lists of numbers, as TOML has them


@dataclass(frozen=True)
class Inserted:
    """Tensors that a method adds to a toy model of the paper's architecture, and their initial values.

    Args: at, a regex matched in full on the paths of the published model's modules, "" for the model itself; name, the
    tensor's name below each of them. At most one of the others gives the initial values (none: not compared): `values`,
    the allowed numbers; the standard deviation of `normal` numbers, or of numbers `truncated` at two standard
    deviations; the gain of `glorot` uniform numbers; `rows`, a published matrix from which each row is copied.
    """

    at: str
    name: str
    values: tuple[float, ...] | None = None
    normal: float | None = None
    truncated: float | None = None
    glorot: float | None = None
    rows: str | None = None


@dataclass(frozen=True)
class Line:
    """A method of the paper's comparison, as in its code.

    Args: name, the paper's; method, our equivalent with the fields of the paper's code; recipe, fields that differ from
    the common recipe; counts, trained parameters on the paper's backbones without heads, and kept, those that remain
    after training, if fewer; varied, fields for which the paper tries many values; theirs, the code's behaviour for a
    field whose values cannot be compared; besides, differences that no value shows; trained, regexes of the published
    tensors that train, None if not compared; inserted, the added tensors; trains, whether anything is trained;
    backbones, if not the common ones; differs, why our counts are different; own, the method of its own paper, if the
    code deviates from it, and why.
    """

    name: str
    method: Method
    recipe: Mapping[str, Allowed] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    kept: Mapping[str, int] = field(default_factory=dict)
    varied: tuple[str, ...] = ()
    theirs: Mapping[str, str] = field(default_factory=dict)
    trained: tuple[str, ...] | None = None
    inserted: tuple[Inserted, ...] = ()
    trains: bool = True
    backbones: tuple[str, ...] = ()
    besides: tuple[str, ...] = ()
    differs: str = ""
    own: Method | None = None
    why: str = ""

    @property
    def apart(self) -> tuple[str, ...]:
        """The method's fields whose values are not compared directly."""
        return (*self.varied, *self.theirs, *self.method.files)


@dataclass(frozen=True)
class Practice:
    """The practice of a paper's code.

    Args: title of the paper; backbones, presets of the models that it adapts; toy, fields of their configuration for a
    tiny model; lines, its methods; recipe and settings, common to all; tasks, the shots and the scored split of each by
    name, "" for any other; habits, practice without a setting; losses and step, numbers on which our code is checked.
    """

    title: str
    backbones: tuple[str, ...]
    toy: Mapping[str, Any]  # Any: as in a config.json
    lines: tuple[Line, ...]
    recipe: Mapping[str, Allowed] = field(default_factory=dict)
    settings: Mapping[str, Allowed] = field(default_factory=dict)
    tasks: Mapping[str, Mapping[str, Scalar]] = field(default_factory=dict)
    habits: Mapping[str, str] = field(default_factory=dict)
    losses: Mapping[str, Numbers] = field(default_factory=dict)
    step: tuple[Mapping[str, Numbers], ...] = ()

    def line_of(self, method: Method) -> Line | None:
        """The line that a method repeats: among those of its name, the one with the fewest different fields; else
        None."""
        own = [line for line in self.lines if line.method.name == method.name]
        return min(own, key=lambda line: len(differing(line.method, method)), default=None)


def differing(theirs: Method, ours: Method) -> list[str]:
    """The fields in which two methods of one name differ."""
    return [known.name for known in fields(ours) if getattr(ours, known.name) != getattr(theirs, known.name, None)]


@functools.cache
def practice_of(paper: str) -> Practice:
    """The practice of a paper's code; UserError for an unknown paper."""
    return practice_from(paper_data(paper)["practice"])


def practice_from(table: Mapping[str, Any]) -> Practice:  # Any: as a paper's file has it
    """Parses a paper's table `practice`. A line inherits the fields of the line that it names as `like`."""
    named: dict[str, Mapping[str, Any]] = {}
    for line in table["lines"]:
        own = {name: value for name, value in line.items() if name != "like"}
        named[line["name"]] = {**(named[line["like"]] if "like" in line else {}), **own}
    return Practice(
        **{
            **table,
            "backbones": tuple(table["backbones"]),
            "lines": tuple(map(_line, named.values())),
            "recipe": _allowed(table.get("recipe", {})),
            "settings": _allowed(table.get("settings", {})),
            "step": tuple(table.get("step", ())),
        }
    )


def _line(table: Mapping[str, Any]) -> Line:  # Any: as above
    inserted = tuple(tensor for entry in table.get("inserted", ()) for tensor in _inserted(entry))
    changed = {"inserted": inserted, "recipe": _allowed(table.get("recipe", {}))}
    lists = {name: tuple(table[name]) for name in ("trained", "varied", "backbones", "besides") if name in table}
    methods = {name: method_of(table[name]) for name in ("method", "own") if name in table}
    kept = {**methods, **lists}
    return Line(**{**table, **changed, **kept})


def _inserted(table: Mapping[str, Any]) -> Iterator[Inserted]:  # Any: as above
    """One entry per name in `names`, for tensors at the same places and with the same initial values."""
    start = {name: value for name, value in table.items() if name not in ("at", "names", "values")}
    values = tuple(table["values"]) if "values" in table else None
    yield from (Inserted(table["at"], name, values, **start) for name in table["names"])


def _allowed(table: Mapping[str, Any]) -> dict[str, Allowed]:  # Any: as above
    """Parses values of a recipe or the run settings; a list holds all values of the paper."""
    return {
        name: tuple(parse_setting(name, item)[name] for item in (value if isinstance(value, list) else [value]))
        for name, value in table.items()
    }
