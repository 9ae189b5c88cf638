"""The screen of `tunefront prune`: what would be deleted, by reason, for 80 columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tunefront.bench.cli.progress import plural
from tunefront.bench.errors import without_long_words

if TYPE_CHECKING:
    from tunefront.bench.cli.prune_choice import Candidate
    from tunefront.bench.records import Record

MOST_RUNS = 6
"""The most runs that a row names; further ones are counted."""
LONGEST_REASON = 150


def list_candidates(candidates: Sequence[Candidate], most_rows: int | None = None) -> Iterator[RenderableType]:
    """A heading per reason, and below it a row per method and task with its runs. After `most_rows` rows the rest is
    counted."""
    from tunefront.reports.names import natural_key

    place = _places([candidate.shown for candidate in candidates])
    by_reason: dict[str, dict[tuple[str, str], list[Record]]] = {}
    for candidate in candidates:
        rows = by_reason.setdefault(_shortened(candidate.why), {})
        rows.setdefault((candidate.shown.label, place(candidate.shown)), []).append(candidate.shown)
    left = most_rows
    hidden = 0
    for reason, rows in sorted(by_reason.items(), key=lambda item: natural_key(item[0])):
        ordered = sorted(rows.items(), key=lambda row: [natural_key(part) for part in row[0]])
        shown = ordered if left is None else ordered[: max(left, 0)]
        left = None if left is None else left - len(ordered)
        hidden += len(ordered) - len(shown)
        if shown:
            records = [record for _, group in ordered for record in group]
            yield Text(f"{plural(len(records), 'record')}{_written(records)}: {reason}", style="bold")
            yield Padding(_table(shown), (0, 0, 1, 2))
    if hidden:
        yield Text(f"{plural(hidden, 'more row')}; --dry-run lists all.")


def _table(rows: Sequence[tuple[tuple[str, str], list[Record]]]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(3):
        table.add_column(overflow="fold")
    for (label, where), records in rows:
        table.add_row(*(Text(without_long_words(cell)) for cell in (label, where, _runs(records))))
    return table


def _places(records: Sequence[Record]) -> Callable[[Record], str]:
    """What names the place of a record: its task, and backbone, shots and template if these differ."""
    from tunefront.reports.names import describe_shots, short_names

    names = short_names(record.task for record in records)
    backbones = short_names(record.backbone for record in records)
    several = {
        name: len({getattr(record, name) for record in records}) > 1 for name in ("backbone", "shots", "template")
    }

    def place(record: Record) -> str:
        parts = [names[record.task]]
        parts += [backbones[record.backbone]] if several["backbone"] else []
        parts += [describe_shots(record.shots)] if several["shots"] else []
        parts += [record.template or "no template"] if several["template"] else []
        return ", ".join(parts)

    return place


def _runs(records: Sequence[Record]) -> str:
    """The draws and seeds of the records; only one of the two if the other is always 0.

    >>> from types import SimpleNamespace as R
    >>> _runs([R(draw_seed=0, seed=0), R(draw_seed=0, seed=1)]), _runs([R(draw_seed=2, seed=0)])
    ('seed 0, 1', 'draw 2')
    >>> _runs([R(draw_seed=0, seed=1), R(draw_seed=2, seed=0)])
    'draw 0, seed 1; draw 2, seed 0'
    """
    runs = sorted({(record.draw_seed, record.seed) for record in records})
    more = f" and {len(runs) - MOST_RUNS:,} more" if len(runs) > MOST_RUNS else ""
    if not any(seed for _, seed in runs) and any(draw for draw, _ in runs):
        return f"draw {', '.join(str(draw) for draw, _ in runs[:MOST_RUNS])}{more}"
    if any(draw for draw, _ in runs):
        return "; ".join(f"draw {draw}, seed {seed}" for draw, seed in runs[:MOST_RUNS]) + more
    return f"seed {', '.join(str(seed) for _, seed in runs[:MOST_RUNS])}{more}"


def _written(records: Sequence[Record]) -> str:
    """The days on which the records were written, in words; empty if none says so."""
    days = sorted({(record.environment.created_at or "")[:10] for record in records} - {""})
    return f", of {' to '.join(dict.fromkeys([days[0], days[-1]]))}" if days else ""


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
