"""What all cells of a plan take together, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import units

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.records import Record


def totals(records: Sequence[Record]) -> str:
    """A line for the end of a plan; empty where nothing was planned."""
    planned = [record for record in records if record.status == "planned"]
    if not planned:
        return ""
    training, _ = _sum(planned, lambda record: record.train_flops)
    scoring, _ = _sum(planned, _scoring_flops)
    parts = [f"{units.si(training, 'FLOP')} of training and {units.si(scoring, 'FLOP')} of scoring"]
    (trains, timed), (scores, _) = _sum(planned, lambda record: record.train_seconds), _sum(planned, _scoring_seconds)
    if scores is not None:
        of = "" if timed == len(planned) else f" in the {timed:,} whose seconds were foretold"
        parts.append(f"{units.seconds(trains)} of training and {units.seconds(scores)} of scoring, one by one{of}")
    peaks = [(record.peak_memory_bytes, record) for record in planned if record.peak_memory_bytes is not None]
    if peaks:
        peak, largest = max(peaks, key=lambda pair: pair[0])
        parts.append(f"at most {units.si(peak, 'B')} at once ({largest.label} on {largest.backbone}, {largest.task})")
    together = f"{len(planned):,} planned cells together" if len(planned) > 1 else "The planned cell"
    return f"{together}: {'; '.join(parts)}. Each cell stands for one seed."


def _sum(records: Sequence[Record], read: Callable[[Record], float | None]) -> tuple[float | None, int]:
    """The sum of what is there and how many have it; None where none has."""
    found = [value for record in records if (value := read(record)) is not None]
    return (sum(found) if found else None), len(found)


def _scoring_flops(record: Record) -> float | None:
    """Of all scored rows, and of reading demonstrations once."""
    query, rows = record.inference_flops_per_example, record.n_test
    return None if query is None or rows is None else query * rows + (record.prefix_flops or 0)


def _scoring_seconds(record: Record) -> float | None:
    return None if record.eval_seconds is None else record.eval_seconds + (record.prefix_seconds or 0.0)
