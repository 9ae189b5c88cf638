"""Exact numbers as CSV: a row per record; a row per method, backbone, task and number of shots; a row per method; the
ledgers; the studies.

Records may contain any text, so a text that a spreadsheet would take for a formula is escaped.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from tunefront.bench.errors import escape_formula
from tunefront.bench.records.frame import to_frame
from tunefront.reports.compare import measures
from tunefront.reports.compare.collapse import count_collapsed
from tunefront.reports.compare.factors import rows_used
from tunefront.reports.compare.panels import baseline_score
from tunefront.reports.compare.statistics import deviation, finite_values, mean, median, spread_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tunefront.reports.compare.entries import Entry
    from tunefront.reports.compare.evidence import Evidence
    from tunefront.reports.compare.panels import Panel
    from tunefront.reports.compare.uncertainty.contrasts import Interval
    from tunefront.reports.sections.document import Report
    from tunefront.reports.tables import Table

COUNTS = (
    "parameters.trainable",
    "parameters.head",
    "parameters.inserted",
    "parameters.backbone",
    "parameters.total",
    "storage.checkpoint_bytes",
    "storage.backbone_bytes",
    "storage.demonstration_bytes",
    "task_bytes",
    "flops.train",
    "flops.inference_per_example",
    "flops.inference_per_example_without_reuse",
    "prompt.demonstrations_per_row",
    "prompt.prefix_tokens",
    "tokens.prefix",
    "tokens.query",
    "tokens.answer",
    "tokens.right_answer",
    "tokens.train",
    "flops.prefix",
    "prompt.kv_cache_bytes",
    "memory.train_peak_resident_bytes",
    "memory.eval_peak_resident_bytes",
    "memory.train_peak_allocated_bytes",
    "memory.eval_peak_allocated_bytes",
)
TIMES = (
    *("seconds.train", "seconds.eval", "seconds.prefix"),
    *("cpu_seconds.train", "cpu_seconds.eval", "cpu_seconds.prefix"),
    *("examples_per_second.train", "examples_per_second.eval"),
)


def records(report: Report) -> str:
    """All records, including skipped and failed ones, with all fields except lists of row ids. Records of
    several folders also have the column `results`."""
    return _to_csv(to_frame(report.records, report.folders or None))


def summary(report: Report) -> str:
    """Per entry and task: mean, sample standard deviation, median and interquartile range of the scores, the number of
    scores and of levels of each factor, and medians of the costs."""
    rows = [
        _row(page.panel, entry, task)
        for page in report.pages
        for entry in page.panel.entries
        for task in page.panel.tasks
        if task in entry.records
    ]
    return _to_csv(pd.DataFrame(rows, dtype=object))


def methods(report: Report) -> str:
    """Per panel and method with stored predictions: how sure its mean and its differences are, in points."""
    rows = [
        _certainty(page.panel, page.panel.evidence, place)
        for page in report.pages
        if page.panel.evidence is not None
        for place in range(len(page.panel.evidence.labels))
    ]
    return _to_csv(pd.DataFrame(rows, dtype=object))


def ledgers(report: Report) -> str:
    """All numbers of the ledgers: a row per cell of their tables, as shown and in full."""
    rows = []
    for page in report.pages:
        where = {
            "backbone": page.panel.backbone,
            "shots": page.panel.shots,
            "metric": page.panel.metric or None,
        }
        for ledger in page.ledgers:
            rows += _cells({**where, "ledger": ledger.tag}, ledger.tables)
    return _to_csv(pd.DataFrame(rows, dtype=object))


def studies(report: Report) -> str:
    """All numbers of the studies: a row per cell of their tables, as shown and in full."""
    rows = [row for study in report.studies for row in _cells({"study": study.tag, "title": study.title}, study.tables)]
    return _to_csv(pd.DataFrame(rows, dtype=object))


def _cells(where: Mapping[str, object], tables: Sequence[Table]) -> list[dict[str, object]]:
    """A row per cell of tables, with `where` they are in front."""
    return [
        {
            **where,
            "table": table.caption,
            "row": ", ".join(cell.text for cell in row[: table.leading]),
            "column": ", ".join(filter(None, (column.head, column.under))),
            "shown": f"{cell.text} {cell.minor}".strip().replace("\u00a0", " "),
            "in_full": cell.title,
        }
        for table in tables
        for row in table.rows
        for column, cell in list(zip(table.columns, row, strict=True))[table.leading :]
    ]


def _to_csv(table: pd.DataFrame) -> str:
    """A table as CSV, with values and column names escaped."""
    rows = [[escape_formula(value) for value in row] for row in table.itertuples(index=False, name=None)]
    safe = pd.DataFrame(rows, columns=[str(escape_formula(name)) for name in table.columns], dtype=object)
    return str(safe.to_csv(index=False, lineterminator="\n"))


def _row(panel: Panel, entry: Entry, task: str) -> dict[str, object]:
    runs = entry.records[task]
    scores, spread = entry.scores(task), spread_of(entry.runs(task))
    used = finite_values(runs, rows_used)
    row: dict[str, object] = {
        "label": entry.label,
        "method": " | ".join(sorted({record.method for record in runs})),
        "backbone": panel.backbone,
        "task": task,
        "shots": panel.shots,
        "metric": runs[0].scores.headline,
        "rows_used": used[0] if len(set(used)) == 1 else None,
        "mean_score": mean(scores),
        "score_standard_deviation": deviation(scores),
        "median_score": spread.median,
        "score_interquartile_range": spread.iqr,
        "n_scores": len(scores),
        "n_records": len(runs),
        **{f"n_{factor}s": amount or None for factor, amount in spread.levels.items()},
        **{f"standard_deviation_of_{factor}_means": value for factor, value in spread.deviations.items()},
        "points_against_reference": _against(panel, entry, task),
        "pairs_with_reference": len(panel.task_differences(entry, task)) if panel.few_shot else None,
        "reference": panel.reference.label if panel.reference is not None else None,
        "baseline_score": mean(finite_values(runs, baseline_score)),
        "n_collapsed": count_collapsed(runs).runs if count_collapsed(runs).of else None,
        "trials": entry.trials,
    }
    for field in COUNTS:
        row[f"median_{field}"] = _whole(median(finite_values(runs, measures.Cost(field, "").read)))
    for field in TIMES:
        values = [] if panel.timing_mismatch else finite_values(runs, measures.Cost(field, "").read)
        row[f"median_{field}"] = median(values)
    return row


def _certainty(panel: Panel, known: Evidence, place: int) -> dict[str, object]:
    """The numbers of one method. Intervals are at 95 %: that of the mean alone, those of differences all at once."""
    estimate, chances = known.estimate, known.chances
    found, against, behind = known.means[place], known.against[place], known.behind[place]
    low, high = min(estimate.runs), max(estimate.runs)
    row: dict[str, object] = {
        "label": known.labels[place],
        "backbone": panel.backbone,
        "shots": panel.shots,
        "metric": panel.metric or None,
        "n_tasks": len(known.tasks),
        "runs_per_task": low if low == high else None,
        "independent_unit": known.unit,
        "n_rows": sum(estimate.rows),
        "about": "checkpoints" if estimate.checkpoints_only else "methods",
        "run_degrees_of_freedom": estimate.run_df,
        "mean_points": found.difference,
        "mean_low": found.low,
        "mean_high": found.high,
        "reference": None if known.reference is None else known.labels[known.reference],
        **_ends("against_reference", against),
        "best": known.best,
        **_ends("against_best", behind),
        "tied_with_best": place in known.tied.tied,
    }
    listed = {"best": chances.best, "front": chances.front, "rank": chances.rank, "regret": chances.regret}
    names = {"best": "p_best", "front": "p_pareto_front", "rank": "expected_rank", "regret": "expected_regret_points"}
    for name, values in listed.items():
        value = None if values is None or estimate.checkpoints_only else float(values[place])
        row[names[name]] = None if value is None or math.isnan(value) else value
    ranks = known.ranks
    row["mean_rank_over_tasks"] = None if ranks is None else float(ranks.mean[place])
    p = math.nan if ranks is None or ranks.wilcoxon is None else float(ranks.wilcoxon[place])
    row["wilcoxon_p_against_reference"] = None if math.isnan(p) else p
    row["missing_runs_per_task"] = chances.missing_runs
    return row


def _ends(name: str, found: Interval | None) -> dict[str, object]:
    return {
        f"{name}_points": None if found is None else found.difference,
        f"{name}_low": None if found is None else found.low,
        f"{name}_high": None if found is None else found.high,
        f"{name}_standard_error": None if found is None else found.standard_error,
        f"{name}_degrees_of_freedom": None if found is None or math.isinf(found.df) else found.df,
    }


def _against(panel: Panel, entry: Entry, task: str) -> float | None:
    """The difference to the reference in points: of means, or in few-shot panels the mean over equal cells."""
    if panel.few_shot:
        return mean(panel.task_differences(entry, task))
    score, base = entry.center(task), panel.reference.center(task) if panel.reference is not None else None
    return None if score is None or base is None else 100 * (score - base)


def _whole(value: float | None) -> float | int | None:
    """A median as an integer if it is one."""
    return int(value) if value is not None and float(value).is_integer() else value
