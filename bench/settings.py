"""What a run may be told: the run's settings, and how the recipe of a cell is resolved."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from tunefront.bench.errors import UserError, nearest, unknown
from tunefront.methods.base import Method, Recipe, at_least

Scalar = bool | int | float | str | None

Normalization = Literal["none", "token", "char", "byte"]
"""What a choice's log-probability is divided by; `models.scoring.normalization` has the exact definitions."""
NORMALIZATIONS: tuple[str, ...] = typing.get_args(Normalization)


@dataclass(frozen=True)
class RunConfig:
    """Settings of a run that change its numbers, whatever the method; they are part of every key.

    Each field says in its metadata what it is (`help`).
    """

    device: str = field(default="cpu", metadata={"help": "cpu, cuda or cuda:N"})
    threads: int = field(default=1, metadata={"help": "threads that a cell computes in"})
    max_length: int | None = field(
        default=None,
        metadata={"help": "tokens of a text; longer ones are cut and counted; none for what the model takes"},
    )
    eval_batch_size: int = field(
        default=64,
        metadata={"help": "rows scored at a time; a decoder scores as many at once as some hundreds of tokens hold"},
    )
    eval_rows: int | None = field(
        default=None, metadata={"help": "the most rows of the scored split, drawn once by hash; none for all"}
    )
    select: bool = field(
        default=False,
        metadata={"help": "whether rows are held out to choose hyper-parameters on; a suite's [search] sets it"},
    )
    normalization: Normalization = field(
        default="token",
        metadata={
            "help": "what a language model's log-probability of an answer is divided by: its tokens, characters, bytes "
            "or nothing"
        },
    )
    context_length: int | None = field(
        default=None,
        metadata={
            "help": "the most tokens of a language model's prompt, demonstrations and answer included (max_length cuts "
            "the query alone); none for what the model takes"
        },
    )
    published_draws: bool = field(
        default=False, metadata={"help": "whether draws are the few_shot files of the task's folder"}
    )
    balanced_draws: bool = field(
        default=False, metadata={"help": "whether labels take turns in a draw of training rows"}
    )

    def __post_init__(self) -> None:
        for name in ("threads", "max_length", "eval_batch_size", "eval_rows", "context_length"):
            if getattr(self, name) is not None:
                at_least(1, 1024 if name == "threads" else 10**9, **{name: getattr(self, name)})
        if self.normalization not in NORMALIZATIONS:
            raise ValueError(f"normalization must be one of {', '.join(NORMALIZATIONS)}, got {self.normalization!r}")


Kind = type[Recipe] | type[RunConfig]
TABLES: Mapping[str, Kind] = {"recipe": Recipe, "settings": RunConfig}
"""The tables of a suite that hold settings."""


@dataclass(frozen=True)
class Setting:
    """A field of the recipe or of the run settings: the table that it stands in, its type, its default and what it
    is."""

    name: str
    table: str
    hint: Any  # Any: a type, or a union of them
    default: Scalar
    help: str

    @property
    def choices(self) -> tuple[str, ...]:
        """The values that it may have, where they are named."""
        return typing.get_args(self.hint) if typing.get_origin(self.hint) is Literal else ()

    @property
    def takes(self) -> str:
        """What values it takes, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        parts = typing.get_args(self.hint) if isinstance(self.hint, types.UnionType) else (self.hint,)
        return " or ".join(sorted(part.__name__.replace("NoneType", "none") for part in parts))

    def read(self, value: object) -> Scalar:
        """The value, made of a text where it is one; UserError where it is of another type."""
        from pydantic import TypeAdapter, ValidationError

        reader: TypeAdapter[Scalar] = TypeAdapter(self.hint)
        text = value.strip() if isinstance(value, str) else None
        try:
            if text is None:
                return reader.validate_python(value, strict=True)
            none = text.lower() in ("none", "null") and type(None) in typing.get_args(self.hint)
            return None if none else reader.validate_strings(text)
        except ValidationError as error:
            near = nearest(value, self.choices) if isinstance(value, str) else None
            hint = f"; did you mean {near!r}?" if near else "."
            raise UserError(f"{self.name} must be {self.takes}, got {value!r}{hint}") from error


def _settings_of(table: str, kind: Kind) -> Iterator[Setting]:
    hints, plain = typing.get_type_hints(kind), asdict(kind())
    for known in fields(kind):
        yield Setting(known.name, table, hints[known.name], plain[known.name], known.metadata["help"])


SETTINGS: Mapping[str, Setting] = {
    known.name: known for table, kind in TABLES.items() for known in _settings_of(table, kind)
}
"""Every setting by its name."""
LISTED = "`tunefront list settings` says what each is."


def parse_setting(name: str, value: object, table: str | None = None) -> dict[str, Scalar]:
    """One field of the recipe or of the run settings, its value converted.

    Errors: UserError where it is unknown, of a wrong type or value, or, with `table`, belongs in the other one.
    """
    known = SETTINGS.get(name)
    if known is None:
        offered = [other.name for other in SETTINGS.values() if table in (None, other.table)]
        raise UserError(unknown("field" if table else "setting", name, offered, LISTED))
    if table not in (None, known.table):
        raise UserError(f"{name} belongs in [{known.table}].")
    setting = {name: known.read(value)}
    build(setting, TABLES[known.table])
    return setting


def build(values: Mapping[str, Scalar], kind: Kind) -> Any:  # Any: a Recipe or a RunConfig
    """A recipe or run settings with these values; UserError naming the wrong one."""
    try:
        return kind(**values)  # type: ignore[arg-type]
    except ValueError as error:
        raise UserError(f"{error}.") from error


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
    """The method's own recipe (else the family's default) overridden field by field, the last one winning; UserError if
    what comes out is invalid."""
    try:
        return Recipe(**overridden(as_scalars(method.recipe or Recipe()), *overrides))  # type: ignore[arg-type]
    except ValueError as error:
        raise UserError(f"recipe of {method.name}: {error}") from error


def as_scalars(value: Recipe | RunConfig) -> dict[str, Scalar]:
    """The fields of a recipe or of the settings, as a record keeps them."""
    return asdict(value)
