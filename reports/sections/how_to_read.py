"""How to read a report: the meaning of its points, bars, brackets and dashes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tunefront.bench.records import SIGNIFICANT
from tunefront.reports import units
from tunefront.reports.compare.collapse import MARK
from tunefront.reports.compare.statistics import finite_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunefront.reports.compare.panels import Panel


CERTAINTY = (
    "Runs (a draw of training rows and a seed) and test rows are samples: with others, scores differ. The intervals "
    "are computed from both, from the stored predictions (Obuchowski and Rockette 1995). Whether two methods differ is "
    "not seen from whether their bars overlap: the tables compare each with the reference and with the best."
)

SURE, LINKS = "How sure", "Numbers"


def on_paper(reading: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The explanations without those on links, and on certainty, of which paper has a section."""
    return [(what, how) for what, how in reading if what not in (SURE, LINKS)]


def explain_report(panels: list[Panel]) -> list[tuple[str, str]]:
    """The explanations, each as a heading and a paragraph."""
    if not panels:
        return []
    rows = finite_values(
        (record for panel in panels if panel.metric == "accuracy" for record in panel.records),
        lambda record: record.data.n_test or None,
    )
    reference = next((panel.reference for panel in panels if panel.reference is not None), None)
    name = reference.label if reference is not None else "the reference"
    against = [panel for panel in panels if panel.relative_tasks]
    height = (
        f"Height is the mean over tasks of 100 × (score − that of {name}), on the same backbone and number of training "
        f"rows: 0 is as good as {name}, −1 is one point worse."
        if against
        else "Height is the mean score × 100."
    )
    free = ""
    if any(record.parameters.trainable == 0 for panel in panels for record in panel.records):
        free = " A cost of 0 is left of the break in a logarithmic axis."
    prompted = any(record.prompt.demonstration_ids for panel in panels for record in panel.records)
    saved = "the saved file and of the demonstrations' text" if prompted else "the saved file"
    sure = any(panel.evidence is not None for panel in panels)
    bars = " A bar is a 95 % interval, explained below the first plot." if sure else ""
    entries = [
        (
            "Plots",
            f"{height}{bars} Better methods are higher and further left. Sizes of one method share a colour. "
            f"A hollow point lacks some tasks.{free}",
        ),
        ("Scores", _scores(any(panel.few_shot for panel in panels))),
        (
            "Costs",
            "All costs are measured: parameters are those that require gradients after training, bytes are those of "
            f"{saved}, FLOPs are counted at run time. A dash means not measured, or nothing to measure; never zero.",
        ),
        *([(SURE, CERTAINTY)] if sure else []),
        (LINKS, "Every number of a table links to the records that it was computed from, and these name their files."),
    ]
    if any(entry.collapsed for panel in panels for entry in panel.entries):
        text = (
            "A run counts as collapsed if at least 95 % of its answers are one label that is right for under 80 % of "
            "the rows, or if it does not beat always answering the commonest label of the train split (one-sided exact "
            f"McNemar test on the scored rows, p ≥ {SIGNIFICANT:g}). The test is about this run, not about its method. "
            f"{MARK} marks scores that include such runs; a method of which at least half the runs collapsed is not "
            "recommended."
        )
        entries.insert(2, ("Collapsed runs", text))
    if prompted:
        text = (
            "A row in the prompt counts as a labelled row used, like a row trained on. Inference FLOPs are those of a "
            "query that reuses cached demonstrations; without cache, every query would process its demonstrations "
            "again."
        )
        entries.insert(len(entries) - 1, ("Demonstrations", text))
    if rows:
        error = 100 * math.sqrt(0.8 * 0.2 / min(rows))
        text = (
            f"The smallest scored split has {units.plural(int(min(rows)), 'row')}. On that number of rows, an accuracy "
            f"near 80 of one run has a standard error of about {error:.1f} points by the choice of rows alone, which "
            "more seeds do not remove. Differences between methods on the same rows often vary less."
        )
        entries.insert(2, ("Test rows", text))
    return entries


def _scores(few_shot: bool) -> str:
    text = (
        "The mean over runs of each task's first metric, times 100. Runs differ in their seed, draw of training rows "
        "or prompt template. ± is the standard deviation between runs, not a confidence interval."
    )
    if few_shot:
        text += " The few-shot tables have medians and interquartile ranges, as the tables of T-Few (Liu et al. 2022)."
    return text
