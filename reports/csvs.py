"""The numbers as CSV, exact: a row a record, and a row per method, backbone, task and number of shots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from reports import measures
from reports.frame import to_frame
from reports.panels import baseline_score, mean, measured, quantile

if TYPE_CHECKING:
    from reports.document import Report
    from reports.panels import Entry, Panel

COUNTS = (
    "trainable_params",
    "head_params",
    "inserted_params",
    "backbone_params",
    "total_params",
    "checkpoint_bytes",
    "train_flops",
    "inference_flops_per_example",
    "train_peak_resident_bytes",
    "eval_peak_resident_bytes",
    "train_peak_allocated_bytes",
    "eval_peak_allocated_bytes",
)
TIMES = ("train_seconds", "eval_seconds", "train_examples_per_second", "eval_examples_per_second")


def records(report: Report) -> str:
    """Every record, skipped and failed ones among them, every field but the ids of the training rows."""
    return str(to_frame(report.records).to_csv(index=False, lineterminator="\n"))


def summary(report: Report) -> str:
    """Per entry and task: mean, sample standard deviation and number of scores, medians of the costs."""
    rows = [
        _row(page.panel, entry, task)
        for page in report.pages
        for entry in page.panel.entries
        for task in page.panel.tasks
        if task in entry.records
    ]
    return str(pd.DataFrame(rows, dtype=object).to_csv(index=False, lineterminator="\n"))


def _row(panel: Panel, entry: Entry, task: str) -> dict[str, object]:
    runs = entry.records[task]
    score, base = entry.mean(task), panel.reference.mean(task) if panel.reference is not None else None
    row: dict[str, object] = {
        "label": entry.label,
        "method": runs[0].method,
        "backbone": panel.backbone,
        "task": task,
        "shots": panel.shots,
        "metric": runs[0].headline,
        "mean_score": score,
        "score_standard_deviation": entry.spread(task),
        "n_scores": len(entry.scores(task)),
        "n_records": len(runs),
        "points_against_reference": None if score is None or base is None else 100 * (score - base),
        "reference": panel.reference.label if panel.reference is not None else None,
        "baseline_score": mean(measured(runs, baseline_score)),
        "trials": entry.trials,
    }
    for field in COUNTS:
        row[f"median_{field}"] = _whole(quantile(measured(runs, measures.Cost(field, "").read), 0.5))
    for field in TIMES:
        values = [] if panel.uneven else measured(runs, measures.Cost(field, "").read)
        row[f"median_{field}"] = quantile(values, 0.5)
    return row


def _whole(value: float | None) -> float | int | None:
    """A median that is a whole number, without its decimal point."""
    return int(value) if value is not None and float(value).is_integer() else value
