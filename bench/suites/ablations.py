"""The ablations: suites in which one thing varies, for the methods and values that a call names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.bench.errors import ErrorCollector, UserError, unknown
from tunefront.bench.suites.grids import kind_of
from tunefront.bench.suites.lists import parse_values
from tunefront.bench.suites.overrides import Overrides
from tunefront.bench.suites.sweeps import known_methods, swept_methods
from tunefront.methods.base import Method
from tunefront.methods.spelling import label

if TYPE_CHECKING:
    from tunefront.bench.suites.grids import Grid

KINDS: Mapping[str, str] = {
    "spans": "what the method inserted is left out of each span of blocks after training (Houlsby et al. 2019, fig. 6)",
    "init": "the standard deviation of the initial weights (Houlsby et al. 2019, section 3.6)",
    "losses": "T-Few's three losses, on and off (Liu et al. 2022, section 3.2)",
    "size": "the size of the method (Houlsby et al. 2019, fig. 4)",
    "layers": "the number of top blocks that are trained (Houlsby et al. 2019, fig. 4)",
    "shots": "the number of training rows",
}
"""Ablation -> what varies in it."""
VALUED = ("init", "size", "layers")
"""The ablations that vary a field of the methods, whose values a call may give."""
DEVIATION, BLOCKS = "std", "n"
"""The fields of methods that `init` and `layers` vary: that of `layers` must be the size that the method declares
(`Search.size`), as the one of `size` is."""
SPANS = "removed_spans"
"""The setting that `spans` varies."""


@dataclass(frozen=True)
class Ablation:
    """One ablation of a call: its kind, the texts of the values to try, and the spans of blocks as text; None for those
    of its suite. Errors: UserError for an unknown kind, and for values or spans that it does not take."""

    kind: str
    values: tuple[str, ...] | None = None
    spans: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(unknown("ablation", self.kind, KINDS))
        if self.spans is not None and self.kind != "spans":
            raise UserError(f"--spans is for `ablate spans`; `ablate {self.kind}` removes nothing, so leave it out.")
        if self.values is not None and self.kind not in VALUED:
            own = {"spans": "--spans", "shots": "--shots"}.get(self.kind)
            instead = f"give {own}" if own else "leave it out"
            raise UserError(f"--values is for `ablate {'`, `ablate '.join(VALUED)}`; here {instead}.")

    @classmethod
    def of(cls, kind: str, values: object = None, spans: str | None = None) -> Ablation:
        """The ablation of a call; `values` are a text with commas, or a list of numbers. Errors as above."""
        texts = values if values is None or isinstance(values, str) else ",".join(map(str, _items(values)))
        listed = None if texts is None else parse_values("--values", [texts], commas=True)
        return cls(kind, None if listed is None else tuple(listed), spans)

    @property
    def suite(self) -> str:
        """The name of its suite."""
        return f"ablate_{self.kind}"

    def with_spans(self, overrides: Overrides) -> Overrides:
        """The overrides of a call with its spans among the settings; UserError if they are given twice."""
        if self.spans is None:
            return overrides
        settings = dict(overrides.settings or {})
        if SPANS in settings:
            raise UserError(f"{SPANS} is set twice, by --spans and by --set; give one of them.")
        return replace(overrides, settings={**settings, SPANS: self.spans})

    def vary(self, grids: Sequence[Grid], wrong: ErrorCollector) -> list[Grid]:
        """The parts with their methods varied: the methods of the call in place of the suite's own, for the values of
        the call, else for those of the suite."""
        if self.kind in VALUED:
            return self._with_values(grids, wrong)
        if self.kind == "losses":
            return _with_losses(grids, wrong)
        return [_beside_untrained(grid) for grid in grids] if self.kind == "shots" else list(grids)

    def _with_values(self, grids: Sequence[Grid], wrong: ErrorCollector) -> list[Grid]:
        """Each method that has the varied field with every value of it; the others beside them, as they are."""
        varied = []
        for grid in grids:
            before = len(wrong.messages)
            with wrong.collect():
                methods = list(self._swept(grid, wrong))
                if len(wrong.messages) == before and grid.methods and not any(map(self._field, grid.methods)):
                    known = [name for name, cls in known_methods().items() if self._field(cls)]
                    raise UserError(
                        f"`ablate {self.kind}` varies {self._what}, and {', '.join(map(label, grid.methods))} "
                        f"{'has' if len(grid.methods) == 1 else 'have'} none; give one of {', '.join(sorted(known))}."
                    )
                grid = replace(grid, methods=tuple(dict.fromkeys(methods)))
            varied.append(grid)
        return varied

    def _swept(self, grid: Grid, wrong: ErrorCollector) -> Iterator[Method]:
        for method in grid.methods:
            field = self._field(method)
            values = [] if field is None else self.values or self._values_of(method, field, grid)
            if field is None or not values:
                yield method
                continue
            for value in values:
                with wrong.collect():
                    yield _with_value(method, field, value)

    def _values_of(self, method: Method, field: str, grid: Grid) -> Sequence[object]:
        """The values to try where the call gives none: up to all blocks of a backbone; those of the suite for a field
        of this name; else the sizes that the method declares."""
        if self.kind == "layers":
            return range(1, _most_blocks(grid) + 1)
        own = {getattr(known, field) for known in _own_methods(grid) if self._field(known) == field}
        return sorted(own) or ([] if method.search is None else method.search.sizes)

    def _field(self, method: Method | type[Method]) -> str | None:
        """The field of a method that is varied, None if it has none."""
        if self.kind == "init":
            return DEVIATION if DEVIATION in {field.name for field in fields(method)} else None
        size = None if method.search is None else method.search.size
        return size if self.kind == "size" or size == BLOCKS else None

    @property
    def _what(self) -> str:
        return {
            "init": f"the field {DEVIATION}, the standard deviation of the initial weights",
            "layers": f"the field {BLOCKS}, the number of top blocks that are trained",
        }.get(self.kind, "the field that sets the number of trained parameters")


def _with_losses(grids: Sequence[Grid], wrong: ErrorCollector) -> list[Grid]:
    """Methods that train in the parts for losses, the others in the part without any. An encoder has one loss only."""
    encoders = [name for grid in grids for name in grid.part.backbones if kind_of(name) == "encoder"]
    if encoders:
        wrong.messages.append(
            f"`ablate losses` needs a language model, whose answers have three losses; {encoders[0]} is an encoder, "
            "which has one. Give --backbone, such as nano."
        )
    kept = []
    for grid in grids:
        own = _own_methods(grid)
        trained = any(method.trains for method in own)
        named = tuple(method for method in grid.methods if method.trains == trained)
        kept.append(replace(grid, methods=named if trained else (named or own)))
    if kept and not any(method.trains for grid in kept for method in grid.methods):
        wrong.messages.append("`ablate losses` needs a method that trains; leave --method out, or add one.")
    return kept


def _beside_untrained(grid: Grid) -> Grid:
    """The part with its own methods that train nothing, such as demonstrations in a prompt, beside those of the
    call."""
    own = tuple(method for method in _own_methods(grid) if not method.trains)
    return replace(grid, methods=tuple(dict.fromkeys((*grid.methods, *own))))


def _own_methods(grid: Grid) -> tuple[Method, ...]:
    """The methods that the part itself names."""
    return tuple(method for item in grid.part.methods for method in swept_methods(item, Path.cwd()))


def _most_blocks(grid: Grid) -> int:
    """The most blocks of a backbone of the part; 0 if none is found, which is reported when it is looked up."""
    from tunefront.bench.models.config import block_count

    counts = [0]
    for name in grid.part.backbones:
        try:
            counts.append(block_count(name))
        except UserError:
            continue
    return max(counts)


def _with_value(method: Method, field: str, value: object) -> Method:
    """The method with another value of a field; UserError if it does not take it."""
    whole = type(getattr(method, field)) is int
    try:
        number = int(str(value)) if whole else float(str(value))
    except ValueError as error:
        kind = "whole numbers" if whole else "numbers"
        raise UserError(f"--values of {field} must be {kind} with commas between them, got {value!r}.") from error
    try:
        changed: Method = replace(method, **{field: number})
    except ValueError as error:
        raise UserError(f"{method.name}: {error}.") from error
    return changed


def _items(values: object) -> Sequence[object]:
    if not isinstance(values, (list, tuple)):
        raise UserError(f"values must be a list of numbers, as in values=[1, 8, 64], got {values!r}.")
    return values
