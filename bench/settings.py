"""The run settings, and how the recipe of a cell is resolved."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from tunefront.bench.errors import UserError, nearest, unknown
from tunefront.methods.base import Method, Recipe, at_least

Scalar = bool | int | float | str | None

Normalization = Literal["none", "token", "char", "byte"]
"""Divisor of a choice's log-probability; `models.scoring.normalization` has the exact definitions."""
NORMALIZATIONS: tuple[str, ...] = typing.get_args(Normalization)


@dataclass(frozen=True)
class RunConfig:
    """Settings of a run that change its numbers for every method; they are part of every key.

    The metadata of each field describe it (`help`).
    """

    device: str = field(default="cpu", metadata={"help": "cpu, cuda or cuda:N"})
    threads: int = field(default=1, metadata={"help": "CPU threads per cell"})
    max_length: int | None = field(
        default=None,
        metadata={"help": "the most tokens per text; longer texts are cut and counted; none for the model's limit"},
    )
    eval_batch_size: int = field(
        default=64,
        metadata={
            "help": "the most rows per scoring batch; a decoder's batches also hold at most some hundreds of tokens"
        },
    )
    eval_rows: int | None = field(
        default=None,
        metadata={"help": "the most rows to score, drawn once by hash from the scored split; none for all"},
    )
    select: bool = field(
        default=False,
        metadata={"help": "whether to hold out rows for choosing hyper-parameters; a suite's [search] sets it"},
    )
    selection_rows: int | None = field(
        default=None,
        metadata={"help": "the most rows to choose hyper-parameters on, always the same ones; none for all"},
    )
    normalization: Normalization = field(
        default="token",
        metadata={
            "help": "divisor of a language model's log-probability of an answer: its number of tokens, characters or "
            "bytes, or none"
        },
    )
    context_length: int | None = field(
        default=None,
        metadata={
            "help": "the most tokens of a language model's prompt, demonstrations and answer included (max_length cuts "
            "the query alone); none for the model's limit"
        },
    )
    published_draws: bool = field(
        default=False, metadata={"help": "whether to take the draws from the few_shot files in the task's folder"}
    )
    balanced_draws: bool = field(
        default=False, metadata={"help": "whether a draw of training rows takes the labels in turn"}
    )
    removed_spans: str | None = field(
        default=None,
        metadata={
            "help": "spans of blocks, such as 0-2,5: the rows are scored again, after training, without the modules "
            "that the method inserted into each span; `all` for every span, none for no further scores"
        },
    )

    latency_queries: int | None = field(
        default=None,
        metadata={
            "help": "how many single queries to time, 0 for none; none for as many as take a twentieth of the time of "
            "training and scoring, at most 100"
        },
    )

    def __post_init__(self) -> None:
        if self.latency_queries is not None:
            at_least(0, 10_000, latency_queries=self.latency_queries)
        for name in ("threads", "max_length", "eval_batch_size", "eval_rows", "selection_rows", "context_length"):
            if getattr(self, name) is not None:
                at_least(1, 1024 if name == "threads" else 10**9, **{name: getattr(self, name)})
        if self.normalization not in NORMALIZATIONS:
            raise ValueError(f"normalization must be one of {', '.join(NORMALIZATIONS)}, got {self.normalization!r}")
        if self.removed_spans is not None:
            read_spans(self.removed_spans)


EVERY_SPAN = "all"
"""The text for every span, as typed."""


def read_spans(text: str) -> tuple[tuple[int, int], ...] | None:
    """The (first, last) block of each span in a text like `0-2,5`, both counted from 0; None for `all`.

    Errors: ValueError for anything else.

    >>> read_spans("0-2, 5"), read_spans("all")
    (((0, 2), (5, 5)), None)
    """
    if text.strip() == EVERY_SPAN:
        return None
    spans = []
    for part in text.split(","):
        ends = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", part.strip(), re.ASCII)
        if ends is None:
            raise ValueError(f"removed_spans must be `all`, or spans of blocks such as 0-2,5; got {part.strip()!r}")
        first, last = int(ends[1]), int(ends[2] or ends[1])
        if last < first:
            raise ValueError(f"a span of removed_spans starts at its lower block, {last}-{first}; got {part.strip()}")
        if (first, last) in spans:
            raise ValueError(f"removed_spans has the span {part.strip()} twice; once is enough")
        spans.append((first, last))
    return tuple(spans)


def every_span(blocks: int) -> tuple[tuple[int, int], ...]:
    """The (first, last) of every span of so many blocks, shorter spans first.

    >>> every_span(2)
    ((0, 0), (1, 1), (0, 1))
    """
    return tuple((first, first + more) for more in range(blocks) for first in range(blocks - more))


Kind = type[Recipe] | type[RunConfig]
TABLES: Mapping[str, Kind] = {"recipe": Recipe, "settings": RunConfig}
"""The tables of a suite that hold settings."""


@dataclass(frozen=True)
class Setting:
    """A field of the recipe or of the run settings: its table in a suite file, type, default and description."""

    name: str
    table: str
    hint: Any  # Any: a type, or a union of them
    default: Scalar
    help: str

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed values, if they are an enumeration."""
        return typing.get_args(self.hint) if typing.get_origin(self.hint) is Literal else ()

    @property
    def takes(self) -> str:
        """A description of the allowed values."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        parts = typing.get_args(self.hint) if isinstance(self.hint, types.UnionType) else (self.hint,)
        return " or ".join(sorted(part.__name__.replace("NoneType", "none") for part in parts))

    def read(self, value: object) -> Scalar:
        """The value, converted if it is a text; UserError if it has another type."""
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
    hints, defaults = typing.get_type_hints(kind), asdict(kind())
    for declared in fields(kind):
        name = declared.name
        yield Setting(name, table, hints[name], defaults[name], declared.metadata["help"])


SETTINGS: Mapping[str, Setting] = {
    setting.name: setting for table, kind in TABLES.items() for setting in _settings_of(table, kind)
}
"""Every setting by its name."""
LISTED = "`tunefront list settings` describes them."


def parse_setting(name: str, value: object, table: str | None = None) -> dict[str, Scalar]:
    """One field of the recipe or of the run settings, with its value converted.

    Errors: UserError if the name is unknown, the type or value is wrong, or the field belongs in another `table`.
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
    """A recipe or run settings with these values; UserError that names the wrong one."""
    try:
        return kind(**values)  # type: ignore[arg-type]
    except ValueError as error:
        raise UserError(f"{error}.") from error


def overridden(values: Mapping[str, Scalar], *overrides: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Fields of a recipe, overridden one by one; the last override wins.

    Steps replace epochs, so an override that names epochs and no steps removes the earlier steps. Otherwise a request
    for 3 epochs would silently train for the steps that a method, or the rest of a suite, names.

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
    the result is invalid."""
    try:
        return Recipe(**overridden(as_scalars(method.recipe or Recipe()), *overrides))  # type: ignore[arg-type]
    except ValueError as error:
        raise UserError(f"recipe of {method.name}: {error}") from error


def as_scalars(value: Recipe | RunConfig) -> dict[str, Scalar]:
    """The fields of a recipe or of the settings, as a record keeps them."""
    return {field.name: getattr(value, field.name) for field in fields(value)}
