"""The screen of `tunefront prune`: a table of what would be deleted, for 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from tunefront.bench.errors import without_long_words

if TYPE_CHECKING:
    from tunefront.bench.cli.prune_choice import Candidate
    from tunefront.bench.records import Record

MOST_RUNS = 4
"""The most runs that a row names; further ones are counted."""
LONGEST_REASON = 120


def candidates_table(candidates: Sequence[Candidate], most_rows: int | None = None) -> tuple[Table, int]:
    """A row per method, task and reason, with its runs and the day on which the last of them was written; and the
    number of rows after `most_rows`, which are left out."""
    from tunefront.reports.names import natural_key, short_names

    names = short_names(candidate.shown.task for candidate in candidates)
    backbones = short_names(candidate.shown.backbone for candidate in candidates)
    rows: dict[tuple[str, ...], list[Record]] = {}
    for candidate in candidates:
        record = candidate.shown
        where = (names[record.task], *_if_several(backbones, record), *_choices(record))
        rows.setdefault((record.label, ", ".join(where), _shortened(candidate.why)), []).append(record)
    table = Table(box=box.SIMPLE, pad_edge=False)
    for column, ratio in (("method", 3), ("on", 3), ("runs", 2), ("written", 1), ("why", 5)):
        table.add_column(column, overflow="fold", ratio=ratio, min_width=10 if column == "written" else None)
    ordered = sorted(rows.items(), key=lambda row: [natural_key(part) for part in (row[0][2], *row[0][:2])])
    shown = ordered if most_rows is None else ordered[:most_rows]
    for (label, where_run, reason), records in shown:
        day = max((record.environment.created_at or "")[:10] for record in records)
        cells = (label, where_run, _runs(records), day, reason)
        table.add_row(*(Text(without_long_words(cell)) for cell in cells))
    return table, len(ordered) - len(shown)


def _if_several(backbones: dict[str, str], record: Record) -> tuple[str, ...]:
    return (backbones[record.backbone],) if len(backbones) > 1 else ()


def _choices(record: Record) -> tuple[str, ...]:
    """What tells apart the cells of a method on a task, if it is not the default."""
    shots = () if record.shots is None else (f"shots {record.shots}",)
    return (*shots, *(() if record.template is None else (record.template,)))


def _runs(records: Sequence[Record]) -> str:
    """The seeds of the records, with the draws if they are not all 0.

    >>> from types import SimpleNamespace as R
    >>> _runs([R(draw_seed=0, seed=0), R(draw_seed=0, seed=1)]), _runs([R(draw_seed=2, seed=0)])
    ('seed 0, 1', 'draw 2, seed 0')
    """
    runs = sorted({(record.draw_seed, record.seed) for record in records})
    more = f" and {len(runs) - MOST_RUNS:,} more" if len(runs) > MOST_RUNS else ""
    if any(draw for draw, _ in runs):
        return "; ".join(f"draw {draw}, seed {seed}" for draw, seed in runs[:MOST_RUNS]) + more
    return f"seed {', '.join(str(seed) for _, seed in runs[:MOST_RUNS])}{more}"


def _shortened(reason: str) -> str:
    line = " ".join(reason.split())
    return line if len(line) <= LONGEST_REASON else f"{line[: LONGEST_REASON - 1]}…"


def size(n_bytes: int) -> str:
    """An amount of bytes with a decimal prefix.

    >>> size(940), size(1_234_567)
    ('940 B', '1.23 MB')
    """
    from tunefront.reports.units import si

    return si(n_bytes, "B").replace("\u00a0", " ")
