"""How long a run will take and how much memory it needs, in one line before it starts; and how long it took."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tunefront.bench.cli.progress import format_duration, plural
from tunefront.bench.errors import UserError

if TYPE_CHECKING:
    from tunefront.bench.cells import Cell
    from tunefront.bench.execution.engines.cluster.schedule import Expected
    from tunefront.bench.records import Record


@dataclass(frozen=True)
class Outlook:
    """What a run will take: a line about it, the predicted seconds until its end, None where they are not known, and
    the prediction of each cell that is to run."""

    line: str
    seconds: float | None = None
    predictions: Mapping[Cell, Record] = field(default_factory=dict)


def look_ahead(
    cells: Sequence[Cell], out: str, workers: int | None, on_status: Callable[[str], None], required: bool
) -> Outlook:
    """What the cells that have not run yet will take. The predictions are kept in OUT. `workers`, None if it is not
    known how many cells will run at a time.

    Errors: UserError where they fail and are `required`; otherwise the line says why.
    """
    from tunefront.bench.execution.engines import default_workers
    from tunefront.bench.forecast.forecast import keep_predictions
    from tunefront.reports.units import si

    try:
        missing = keep_predictions(cells, out, workers or default_workers(cells), on_status)
    except UserError as error:
        if required:
            raise
        return Outlook(f"{plural(len(cells), 'cell')}; how long they take is not predicted: {error}")
    planned = [record for _, record in missing if record.status == "planned"]
    known = f", {len(cells) - len(missing):,} of them recorded before" if len(missing) < len(cells) else ""
    skipped = [record.label for _, record in missing if record.status == "skipped"]
    if skipped:
        known += f", {'all' if len(skipped) == len(cells) else f'{len(skipped):,}'} of them skipped"
        known += f" ({', '.join(dict.fromkeys(skipped))})"
    if not planned:
        return Outlook(f"{plural(len(cells), 'cell')}{known}.")
    seconds = sum(map(seconds_of, planned))
    peak = max(record.peak_memory_bytes or 0 for record in planned)
    memory = f"up to {si(peak, 'B')} each"
    if workers is None:
        work = f"about {format_duration(seconds)} of work on a machine like this one"
        return Outlook(f"{plural(len(cells), 'cell')}{known}: {work}, and {memory}.", None, dict(missing))
    at_once = min(workers, len(planned))
    times = "one at a time" if at_once == 1 else f"{at_once} at a time"
    costs = f"about {format_duration(seconds / at_once)}, and {memory}"
    return Outlook(f"{plural(len(cells), 'cell')}{known}, {times}: {costs}.", seconds / at_once, dict(missing))


def time_taken(elapsed: float, predicted: float | None) -> str:
    """The time that the cells took, in seconds, to append to a sentence."""
    return f", in {format_duration(elapsed)}" + (f" (predicted: {format_duration(predicted)})" if predicted else "")


def seconds_of(record: Record) -> float:
    """Predicted seconds of training, of scoring the test rows, and of scoring the selection rows at the same speed."""
    scored = record.seconds.eval or 0.0
    chosen_on = (record.data.n_selection or 0) / (record.data.n_test or 1)
    return (record.seconds.train or 0.0) + (record.seconds.prefix or 0.0) + scored * (1 + chosen_on)


def expected_costs(predictions: Mapping[Cell, Record]) -> dict[str, Expected]:
    """What an engine needs to know of predicted cells, by the key of each."""
    from tunefront.bench.execution.engines.cluster.schedule import Expected
    from tunefront.bench.execution.identity import Identity, Shared

    shared = Shared()
    return {
        Identity.of(cell, shared).key: Expected(seconds_of(record), record.peak_memory_bytes)
        for cell, record in predictions.items()
        if record.status == "planned"
    }
