"""How to read a report: what its points, bars, brackets and dashes are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare.statistics import finite_values

if TYPE_CHECKING:
    from tunefront.reports.compare.panels import Panel


def explain_report(panels: list[Panel]) -> list[tuple[str, str]]:
    """How to read the report: what, and how."""
    rows = finite_values(
        (record for panel in panels for record in panel.records), lambda record: record.data.n_test or None
    )
    reference = next((panel.reference for panel in panels if panel.reference is not None), None)
    name = reference.label if reference is not None else "the reference"
    against = [panel for panel in panels if panel.relative_tasks]
    base = "mean score"
    if any(panel.few_shot for panel in against):
        base = "score with the same template, draw and seed" if all(p.few_shot for p in against) else "score"
    height = (
        f"Height is 100 × (score − {base} of {name} on the same backbone, task and number of training rows): "
        f"0 is as good as {name}, −1 one point worse."
        if against
        else "Height is the score × 100."
    )
    free = ""
    if any(record.parameters.trainable == 0 for panel in panels for record in panel.records):
        free = " Left of a broken axis, at 0, stands what costs nothing; a logarithmic axis has no place for it."
    few_shot = any(panel.few_shot for panel in panels)
    prompted = any(record.prompt.demonstration_ids for panel in panels for record in panel.records)
    saved = "the saved file and of the demonstrations' text" if prompted else "the saved file"
    entries = [
        (
            "Plots",
            f"{height} A point is the median over tasks × runs; its bar spans the 20th to the 80th percentile. Up and "
            f"to the left is better. Sizes of one method share a colour and a line. A hollow point lacks some tasks."
            f"{free}",
        ),
        ("Scores", _scores(few_shot, any(not panel.few_shot for panel in panels))),
        (
            "Costs",
            "Measured, never typed in: parameters are those that require gradients after training, bytes are those of "
            f"{saved}, FLOPs are counted at run time. A dash means not measured, never zero.",
        ),
        ("Numbers", "Every number leads to the records it was computed from; their files are named there."),
    ]
    if prompted:
        text = (
            "A row in the prompt counts as a labelled row used, like a row trained on. Inference FLOPs are those of a "
            "query whose demonstrations were read once and kept; read anew is what they would be if every query read "
            "them again."
        )
        entries.insert(3, ("Demonstrations", text))
    if rows:
        error = 100 * math.sqrt(0.8 * 0.2 / min(rows))
        text = (
            f"The smallest scored split has {units.plural(int(min(rows)), 'row')}. An accuracy near 80 has a standard "
            f"error of about {error:.1f} points on so many rows, whatever the number of seeds."
        )
        entries.insert(2, ("Test rows", text))
    return entries


def _scores(medians: bool, means: bool) -> str:
    texts = []
    if means:
        texts.append(
            "The mean over runs of each task's first metric, times 100. A run is a seed, a draw of training rows or a "
            "prompt template. ± is the standard deviation between runs, not a confidence interval."
        )
    if medians:
        where = "Where templates, draws of rows or orders of demonstrations vary: the" if means else "The"
        texts.append(
            f"{where} median over templates, draws, orders and seeds of each task's first metric, times 100, and in "
            "brackets the interquartile range, which is no confidence interval."
        )
    return " ".join(texts)
