"""How long a run will take and how much memory it needs, in one line before it starts; and how long it took."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tunefront.bench.cli.progress import format_duration, plural
from tunefront.bench.errors import UserError

if TYPE_CHECKING:
    from tunefront.bench.cells import Cell
    from tunefront.bench.records import Record


def look_ahead(
    cells: Sequence[Cell], out: str, workers: int, on_status: Callable[[str], None], required: bool
) -> tuple[str, float | None]:
    """(a line about the cells that have not run yet, their predicted seconds). The predictions are kept in OUT.

    Errors: UserError where they fail and are `required`; otherwise the line says why, and the seconds are None.
    """
    from tunefront.bench.forecast.forecast import keep_predictions
    from tunefront.reports.units import si

    try:
        missing = keep_predictions(cells, out, workers, on_status)
    except UserError as error:
        if required:
            raise
        return f"{plural(len(cells), 'cell')}; how long they take is not predicted: {error}", None
    planned = [record for _, record in missing if record.status == "planned"]
    known = f", {len(cells) - len(missing):,} of them recorded before" if len(missing) < len(cells) else ""
    skipped = [record.label for _, record in missing if record.status == "skipped"]
    if skipped:
        known += f", {'all' if len(skipped) == len(cells) else f'{len(skipped):,}'} of them skipped"
        known += f" ({', '.join(dict.fromkeys(skipped))})"
    if not planned:
        return f"{plural(len(cells), 'cell')}{known}.", None
    at_once = min(workers, len(planned))
    predicted = sum(map(seconds_of, planned)) / at_once
    peak = max(record.peak_memory_bytes or 0 for record in planned)
    times = "one at a time" if at_once == 1 else f"{at_once} at a time"
    costs = f"about {format_duration(predicted)}, and up to {si(peak, 'B')} each"
    return f"{plural(len(cells), 'cell')}{known}, {times}: {costs}.", predicted


def time_taken(elapsed: float, predicted: float | None) -> str:
    """The time that the cells took, in seconds, to append to a sentence."""
    return f", in {format_duration(elapsed)}" + (f" (predicted: {format_duration(predicted)})" if predicted else "")


def seconds_of(record: Record) -> float:
    """Predicted seconds of training, of scoring the test rows, and of scoring the selection rows at the same speed."""
    scored = record.seconds.eval or 0.0
    chosen_on = (record.data.n_selection or 0) / (record.data.n_test or 1)
    return (record.seconds.train or 0.0) + (record.seconds.prefix or 0.0) + scored * (1 + chosen_on)
