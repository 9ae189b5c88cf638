"""Collapse: answers that are nearly all the same, or that are not clearly better than a constant one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tunefront.bench.records import SIGNIFICANT, Collapse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunefront.bench.data.task import Task

ONE_ANSWER = 0.95
"""From this share of the scored rows on, a cell gives one answer."""
MOSTLY_RIGHT = 0.80
"""From this share of the truth on, a label may be given that often."""


def collapse_of(
    task: Task, predicted: Sequence[float], labels: Sequence[float], constant: float | None = None
) -> Collapse:
    """Whether the answers of a cell collapsed; all null for regression, which has no answers to count.

    A cell collapsed if it gives one answer (`ONE_ANSWER`) although that label is rarer (`MOSTLY_RIGHT`), or if it does
    not beat the constant answer (`one_sided_mcnemar`, from `SIGNIFICANT` on).
    Args: predicted and labels, (n,) label indices, for multiple choice positions among a prompt's answers; constant,
    the constant answer of the baseline, None if it is unknown. Errors: ValueError if there are no rows.
    """
    if task.kind == "regression":
        return Collapse()
    rows = len(labels)
    if not rows:
        raise ValueError("no row was scored, so there are no answers to count")
    given = Counter(map(int, predicted))
    answer = min(given, key=lambda label: (-given[label], label))
    answer_share, label_share = given[answer] / rows, _share(labels, answer)
    one_answer = answer_share >= ONE_ANSWER and label_share < MOSTLY_RIGHT
    p_value = None if constant is None else one_sided_mcnemar(predicted, labels, constant)
    return Collapse(
        collapsed=one_answer or (p_value is not None and p_value >= SIGNIFICANT),
        one_answer=one_answer,
        answer=_name(task, answer),
        answer_share=answer_share,
        label_share=label_share,
        baseline_answer=None if constant is None else _name(task, int(constant)),
        baseline_share=None if constant is None else _share(labels, constant),
        p_value=p_value,
    )


def one_sided_mcnemar(predicted: Sequence[float], labels: Sequence[float], constant: float) -> float:
    """The p-value of the one-sided exact McNemar test that the predictions are right no more often than a constant.

    Both answer the same rows, so rows on which both are right or both are wrong say nothing about which is better.
    Of the others, let b be the rows on which only the prediction is right, and c those on which only the constant is.
    If both are right equally often in general, each of these rows is equally likely to be of either kind, so that b is
    binomial (b + c, 1/2), whatever the share of the constant answer is; p = P(B >= b), 1 if there is no such row.

    A binomial test of the number of right answers against the constant's share of these rows would take that share,
    which is an estimate from the same rows, for known, and ignore that the two are right on the same rows: at the 5 %
    level it calls 9 to 12 % of predictions better that are right exactly as often, this test 3 to 4 % (simulated, 150
    and 300 rows, a share of .36 to .6).

    The test is about this cell as it was trained, on rows like these. It says nothing about the method with another
    seed. Source: McNemar 1947, exact form; the constant must not be chosen on these rows.
    """
    from scipy.stats import binomtest

    right = [prediction == label for prediction, label in zip(predicted, labels, strict=True)]
    simple = [label == constant for label in labels]
    ours = sum(a and not b for a, b in zip(right, simple, strict=True))
    theirs = sum(b and not a for a, b in zip(right, simple, strict=True))
    return float(binomtest(ours, ours + theirs, 0.5, alternative="greater").pvalue) if ours + theirs else 1.0


def _share(labels: Sequence[float], answer: float) -> float:
    return sum(label == answer for label in labels) / len(labels)


def _name(task: Task, answer: int) -> str:
    return task.label_names[answer] if task.kind == "classification" else f"position {answer + 1}"
