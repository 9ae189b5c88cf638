"""The two sets of results: their records, one per cell, by method and task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunefront.bench.errors import UserError, UserErrors
from tunefront.bench.records.merge import written_at
from tunefront.reports.compare import checks, filters, recipe_choice
from tunefront.reports.compare.aliases import unify_names
from tunefront.reports.compare.checks import group_by
from tunefront.reports.compare.factors import merge_orders
from tunefront.reports.compare.printable import make_printable
from tunefront.reports.compare.protocols import ordinary
from tunefront.reports.compare.statistics import finite_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunefront.bench.records import Record
    from tunefront.reports.compare.filters import Where

Place = tuple[str, int | None]
"""(backbone, shots)."""


@dataclass(frozen=True)
class Side:
    """One set of results. `name`: "old" or "new". `records`: the newest of each cell, an ok one before others.

    `rows`: (backbone, shots) -> method's label -> task -> its runs with a score. `lost`: runs without one. `replaced`:
    how many older records of the same cells are left out.
    """

    name: str
    records: tuple[Record, ...]
    rows: dict[Place, dict[str, dict[str, list[Record]]]]
    lost: tuple[Record, ...]
    replaced: int


def both_sides(old: Sequence[Record], new: Sequence[Record], where: Where = None) -> tuple[Side, Side]:
    """The two sets, with one name for the same task rows and the same backbone files.

    Errors: UserError if a set is empty, if no record matches `where`, or if the records of one set cannot be compared
    with each other.
    """
    for name, records in (("old", old), ("new", new)):
        if not records:
            raise UserError(f"the {name} results have no records; give the folder that `tunefront run --out` wrote.")
    named = unify_names(make_printable([*old, *new]))
    return _side("old", named[: len(old)], where), _side("new", named[len(old) :], where)


def has_score(record: Record) -> bool:
    """Whether a record is ok with a finite score."""
    return record.status == "ok" and bool(finite_values([record], lambda known: known.score))


def _side(name: str, records: Sequence[Record], where: Where) -> Side:
    try:
        chosen = filters.select(records, where)
        kept = ordinary(record for record in chosen if record.status != "planned")
        newest = _newest(kept)
        ok = [record for record in newest if record.status == "ok"]
        checks.check(ok)
    except UserErrors as error:
        raise UserErrors([f"the {name} results: {text}" for text in error.messages]) from error
    except UserError as error:
        raise UserError(f"the {name} results: {error}") from error
    selection = recipe_choice.choose(ok)
    scored = [record for record in selection.records if has_score(record)]
    rows: dict[Place, dict[str, dict[str, list[Record]]]] = {}
    for place, group in group_by(scored, lambda record: (record.backbone, record.shots)).items():
        by_label = merge_orders(group_by(group, selection.row), "")
        rows[place] = {label: group_by(runs, lambda record: record.task) for label, runs in by_label.items()}
    lost = tuple(record for record in newest if not has_score(record))
    return Side(name, tuple(newest), rows, lost, len(kept) - len(newest))


def _newest(records: Sequence[Record]) -> list[Record]:
    """The newest ok record of each cell, and the newest other one of a cell that has none.

    An ok record that is older than a failed or skipped one of the same cell does not count: the method has no score any
    more, and a guard must see that. If the later one has no recipe, it stands for all recipes of the cell.
    """
    ordered = sorted(records, key=written_at)
    ok = {checks.cell_of(record): record for record in ordered if record.status == "ok"}
    ended: dict[tuple[object, ...], Record] = {}
    for record in ordered:
        if record.status != "ok":
            ended[checks.cell_of(record) if record.recipe else _without_recipe(record)] = record
    ok = {cell: record for cell, record in ok.items() if not _ended(record, ended)}
    mended = {_without_recipe(record) for record in ok.values()}
    others = {_without_recipe(record): record for record in ordered if record.status != "ok"}
    kept = [*ok.values(), *(record for cell, record in others.items() if cell not in mended)]
    return sorted(kept, key=lambda record: record.key)


def _ended(record: Record, ended: dict[tuple[object, ...], Record]) -> bool:
    """Whether a cell was run again after this record, without a score."""
    later = [ended.get(checks.cell_of(record)), ended.get(_without_recipe(record))]
    return any(other is not None and written_at(other) > written_at(record) for other in later)


def _without_recipe(record: Record) -> tuple[object, ...]:
    """The identity of a cell without its recipe, which a failed cell may lack."""
    return checks.cell_of(record)[:-1]
