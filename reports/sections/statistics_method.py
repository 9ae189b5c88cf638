"""How the intervals, ties and chances of a report were computed, in words from the estimates themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare.row_scores import metric_of
from tunefront.reports.compare.statistics import finite_values
from tunefront.reports.compare.uncertainty import chances, contrasts, crossed, simultaneous
from tunefront.reports.compare.uncertainty.metrics import accuracy
from tunefront.reports.names import join_names
from tunefront.reports.sections.certainty_words import extent
from tunefront.reports.tables import Cell, Column, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tunefront.reports.compare.evidence import Evidence
    from tunefront.reports.compare.panels import Panel

Paragraph = tuple[str, str]
"""A heading, and the text after it."""


def describe_sample(panel: Panel) -> str:
    """What the means of a panel are over: numbers of tasks, of runs and of test rows."""
    known = panel.evidence
    if known is not None:
        return f"n = {extent(known)} × {_span(known.estimate.rows, 'test row')}"
    runs = [len(entry.scores(task)) for entry in panel.entries for task in panel.tasks if entry.scores(task)]
    rows = finite_values(panel.records, lambda record: record.data.n_test or None)
    parts = [units.plural(len(panel.tasks), "task")]
    parts += [_span(runs, "run")] if runs else []
    parts += [_span(map(int, rows), "test row")] if rows else []
    return f"n = {' × '.join(parts)}"


def describe_test(panel: Panel) -> str:
    """Which intervals a panel has, in a few words for a caption."""
    known = panel.evidence
    if known is None:
        return "no intervals: how sure the differences are is not known"
    rows = "a bootstrap of test rows" if _is_resampled(panel) else "test rows"
    if known.estimate.checkpoints_only:
        return f"95 % intervals of these checkpoints, by {rows} alone"
    if known.rows_alone:
        return f"95 % intervals by {rows} alone, all at once"
    how = "95 % t intervals, all at once, by runs and test rows" + ("" if known.estimate.shared_runs else " (Welch)")
    how = how.replace("test rows", rows)
    return f"approximate {how}" if known.estimate.approximate else how


def describe_statistics(panels: Sequence[Panel], titles: Sequence[str]) -> list[Paragraph]:
    """What was done, paragraph by paragraph; the numbers are in `statistics_table`. A rule of some panels alone names
    them; one of all is said once."""
    where: dict[Paragraph, list[str]] = {}
    for panel, title in zip(panels, titles, strict=True):
        for paragraph in _rules(panel):
            where.setdefault(paragraph, []).append(title)
    order = {head: place for place, head in enumerate(dict.fromkeys(head for head, _ in where))}
    found = sorted(where.items(), key=lambda item: order[item[0][0]])
    return [
        (head if len(named) == len(panels) else f"{head}, on {join_names(named)}", rule)
        for (head, rule), named in found
    ]


def statistics_table(panels: Sequence[Panel], titles: Sequence[str]) -> Table | None:
    """What the intervals of each panel are based on; None if no panel has any."""
    known = [(panel.evidence, title) for panel, title in zip(panels, titles, strict=True) if panel.evidence is not None]
    if not known:
        return None
    columns = (
        Column("comparison", numeric=False),
        Column("methods"),
        Column("tasks"),
        Column("runs", "per task"),
        Column("test rows", "per task"),
        Column("degrees of freedom", "by runs"),
        Column("degrees of freedom", "by rows"),
        Column("bound", "against the reference"),
        Column("bound", "ties"),
        Column("tied", "with the best"),
    )
    rows = tuple(_numbers(evidence, title) for evidence, title in known)
    note = "Bounds of |t|: half of an interval, in standard errors. A dash: there is none."
    return Table("What the intervals are based on", columns, rows, note)


def _numbers(known: Evidence, title: str) -> tuple[Cell, ...]:
    estimate = known.estimate
    found = [one for one in known.against if one is not None and one.standard_error > 0]
    against = _range((one.high - one.low) / 2 / one.standard_error for one in found)
    others = len(known.labels) - 1
    texts = (
        title,
        str(len(known.labels)),
        str(len(known.tasks)),
        _span(estimate.runs),
        _span(estimate.rows),
        str(estimate.run_df) if estimate.run is not None else units.MISSING,
        f"{estimate.row_df:,}",
        against,
        _range(bound for bound in known.tied.critical if bound),
        f"{len(known.tied_labels) - 1} of {others}",
    )
    return tuple(map(Cell, texts))


def _rules(panel: Panel) -> list[Paragraph]:
    known = panel.evidence
    if known is None:
        return [
            (
                "No intervals",
                f"How sure the differences are is not known: {panel.no_evidence}. ± is the standard deviation between "
                "runs, no confidence interval.",
            )
        ]
    return [
        ("Sample", _sample(known)),
        ("Variance", _variance(panel, known)),
        ("Intervals", _intervals(known)),
        (
            "Ties",
            "A method is tied with the best if the interval of their difference contains 0. Its bound is a quantile of "
            "the largest |t| over all pairs of methods, because the best is chosen after the scores were seen. Tied "
            "does not mean equal.",
        ),
        *([] if known.estimate.checkpoints_only else [("Chances", _chances(known))]),
        *([("Checkpoints", _checkpoints(known))] if any(known.checkpoints) else []),
        *([("Other tasks", _ranks(known))] if known.ranks is not None else []),
    ]


def _sample(known: Evidence) -> str:
    if known.rows_alone:
        text = "No method uses training rows, so that test rows are the only sample."
    elif known.unit == "draw":
        text = "Every method is scored on the same test rows. A run is a draw of training rows; seeds of one draw are "
        text += "averaged."
    else:
        text = "Every method is scored on the same test rows. A run is a training seed: other draws of training rows "
        text += "were not measured."
    if known.missing:
        text += f" Not compared: {join_names(list(known.missing))}."
    if any(known.left_out):
        text += f" {units.plural(sum(known.left_out), 'run')} that not all methods have are left out."
    return f"{text} The tasks are fixed: intervals are about these tasks."


def _variance(panel: Panel, known: Evidence) -> str:
    estimate = known.estimate
    by_rows = "from a bootstrap of test rows, with the same samples for all methods and runs (Gallas 2006)"
    by_rows = by_rows if _is_resampled(panel) else "the covariance over rows, divided by their number"
    if estimate.checkpoints_only:
        return (
            f"By test rows alone, {by_rows}, since these runs say too little of the spread between runs. The intervals "
            "are about these very checkpoints, not about methods that are trained again."
        )
    if known.rows_alone:
        return f"By test rows, {by_rows}."
    text = (
        "Every run is scored on every test row, so that runs and rows are crossed samples (Obuchowski and Rockette "
        f"1995, Hillis 2007): the covariance of the means is a part by runs and a part by rows, {by_rows}, less the "
        "interaction of runs and rows."
    )
    if estimate.run_df < crossed.ENOUGH:
        prior = contrasts.PRIOR_DF
        text += (
            f" With n degrees of freedom by runs, fewer than {crossed.ENOUGH}, the part by runs of a difference is at "
            f"least (n × own + {prior} × mean over all pairs) / (n + {prior}), after Smyth 2004, and the intervals are "
            "approximate."
        )
    if not estimate.shared_runs:
        text += " The methods share too few runs and are compared as independent samples (Welch 1947)."
    if estimate.assumed:
        once = [known.labels[place] for place in estimate.assumed]
        text += f" {join_names(once)} ran once: the run variance is that of the others."
    return text


def _intervals(known: Evidence) -> str:
    if known.reference is None:
        return "95 % t intervals of each mean, with Satterthwaite's degrees of freedom (1946)."
    return (
        f"Differences from {known.labels[known.reference]} have t intervals, with Satterthwaite's degrees of freedom "
        "(1946), that hold together with 95 %: the bound is a quantile of the largest |t| over all methods, from "
        f"{simultaneous.DRAWS:,} draws (Hasler and Hothorn 2008, Westfall and Young 1993). Between the reference and "
        "the best it is the bound of the ties."
    )


def _chances(known: Evidence) -> str:
    if known.chances.best is None:
        return (
            f"P(best) and P(front) need {crossed.ENOUGH} degrees of freedom by runs: "
            f"{units.plural(known.chances.missing_runs, 'more run')} of every task."
        )
    return (
        f"P(best), P(front), the expected rank and the regret are from {chances.DRAWS:,} draws of a multivariate t "
        "distribution around the means, with the covariance above and the degrees of freedom by runs. On the front: no "
        "other method with at most as many trained parameters scores as high."
    )


def _checkpoints(known: Evidence) -> str:
    base = known.labels[known.reference] if known.reference is not None else ""
    return f"McNemar's exact test compares each checkpoint with that of {base}, for a single pair each."


def _ranks(known: Evidence) -> str:
    ranks = known.ranks
    assert ranks is not None
    friedman = "" if ranks.p is None else f"Friedman's test over {len(known.tasks)} tasks has p = {ranks.p:.2g}; "
    return (
        f"With the tasks as the sample, {friedman}mean ranks {ranks.critical_difference:.2f} apart differ (Nemenyi; "
        "Demšar 2006)."
    )


def _is_resampled(panel: Panel) -> bool:
    """Whether the metric is no mean over rows, so that rows are resampled."""
    return metric_of(panel.records[0]) is not accuracy


def _span(amounts: Iterable[int], noun: str = "") -> str:
    known = sorted(amounts)
    low, high = known[0], known[-1]
    text = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    return text if not noun else units.plural(low, noun) if low == high else f"{text} {noun}s"


def _range(values: Iterable[float]) -> str:
    known = sorted(values)
    if not known:
        return units.MISSING
    low, high = f"{known[0]:.2f}", f"{known[-1]:.2f}"
    return low if low == high else f"{low} to {high}"
