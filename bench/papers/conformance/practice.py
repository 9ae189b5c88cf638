"""What a paper's own code does, as its file in `bench/papers` says: what a run is compared with."""

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
"""The values that a paper's runs have of a field: one, or those that it searches."""
Numbers = Sequence[Any]  # Any: nested lists of numbers, as TOML has them


@dataclass(frozen=True)
class Inserted:
    """Tensors that a method adds to a toy model of the paper's architecture, and what they start from.

    Args: at, a regex matched in full on the paths of the published model's modules, "" for the model itself; name, what
    the tensor is called below each of them. One of the others says how it starts, none where that is not compared:
    `values`, of which every number is one; the standard deviation of `normal` numbers, or of those that are `truncated`
    at two of them; the gain of `glorot` uniform numbers; `rows`, a published matrix, of which each row is a copy of
    one.
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
    """A method of the paper's comparison, as its code has it.

    Args: name, the paper's; method, ours that stands for it, with the fields of the paper's code; recipe, what differs
    from the common one; counts, of trained parameters on the paper's backbones, heads apart, and kept, of those that
    are left after training, where they are fewer; varied, fields of which the paper tries many values; theirs, what the
    code does about a field whose values do not compare; besides, differences that no value shows; trained, regexes of
    the published tensors that train, None where they are not compared; inserted, the tensors that are added; trains,
    whether anything is trained; backbones, where they are not the common ones; differs, why our counts are others; own,
    the method as its own paper has it, where the code differs from that, and why it does.
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
        """The method's fields that are not compared as they are."""
        return (*self.varied, *self.theirs, *self.method.files)


@dataclass(frozen=True)
class Practice:
    """What a paper's code does.

    Args: title, what the paper is called; backbones, presets of the models that it adapts; toy, fields of their
    configuration that make a tiny model of it; lines, its methods; recipe and settings, common to all; tasks, the shots
    and the scored split of each by its name, "" for any other; habits, what no setting says; losses and step, numbers
    on which our code is tried.
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
        """The line that a method repeats: of those of its name the one whose fields differ least; None where there is
        none."""
        own = [line for line in self.lines if line.method.name == method.name]
        return min(own, key=lambda line: len(differing(line.method, method)), default=None)


def differing(theirs: Method, ours: Method) -> list[str]:
    """The fields in which two methods of one name differ."""
    return [known.name for known in fields(ours) if getattr(ours, known.name) != getattr(theirs, known.name, None)]


@functools.cache
def practice_of(paper: str) -> Practice:
    """What the paper's code does; Mistake for a paper that is not there."""
    return practice_from(paper_data(paper)["practice"])


def practice_from(table: Mapping[str, Any]) -> Practice:  # Any: as a paper's file has it
    """What a paper's table `practice` says. A line has what the line that it names as `like` has, but for its own."""
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
    inserted = tuple(one for each in table.get("inserted", ()) for one in _inserted(each))
    changed = {"inserted": inserted, "recipe": _allowed(table.get("recipe", {}))}
    lists = {name: tuple(table[name]) for name in ("trained", "varied", "backbones", "besides") if name in table}
    methods = {name: method_of(table[name]) for name in ("method", "own") if name in table}
    kept = {**methods, **lists}
    return Line(**{**table, **changed, **kept})


def _inserted(table: Mapping[str, Any]) -> Iterator[Inserted]:  # Any: as above
    """A description for each of the `names` that stand for tensors at the same places, with the same start."""
    start = {name: value for name, value in table.items() if name not in ("at", "names", "values")}
    values = tuple(table["values"]) if "values" in table else None
    yield from (Inserted(table["at"], name, values, **start) for name in table["names"])


def _allowed(table: Mapping[str, Any]) -> dict[str, Allowed]:  # Any: as above
    """Values as a recipe or the run settings have them: of a list any is the paper's."""
    return {
        name: tuple(parse_setting(name, each)[name] for each in (value if isinstance(value, list) else [value]))
        for name, value in table.items()
    }
