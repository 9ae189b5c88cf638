"""Scores without adaptation: of the commonest class, and of a linear model on frozen features, in about ten seconds."""

from __future__ import annotations

import os
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tunefront.bench.check.findings import Baseline, Finding
from tunefront.bench.check.samples import cut_texts, sample
from tunefront.bench.data.metrics import score

if TYPE_CHECKING:
    from tunefront.bench.data.task import Row, Task
    from tunefront.bench.models.families.encoder import Encoder

Features = np.ndarray[Any, np.dtype[np.float64]]

TRAIN_ROWS, TEST_ROWS = 1000, 600
"""Rows of the linear model, if they are short."""
_TOKENS = 32_000
"""Tokens of all of them together, of a model with minilm's layers: as many as two cores read in about ten seconds."""
_LAYERS = 10.6e6
"""Parameters of minilm's layers, without embeddings."""
_MAX_LENGTH, _LONGEST = 64, 2000
"""Tokens to which texts are cut, and characters to which they are cut before that."""
_FEWEST_ROWS = 20
_BATCH, _PARTS, _CPU_SECONDS, _SECONDS = 32, 10, 24.0, 60.0
"""Rows of a forward pass; parts of the rows, after each of which the time is looked at; processor seconds, and seconds
of a busy machine, after which the rows of the parts so far have to do."""
_PENALTY, _ALPHAS = 0.01, (1.0, 10.0, 100.0, 1000.0, 10_000.0)
"""Inverse strength of the penalty on standardised features of classes, and strengths that are tried for values."""
_RESAMPLES = 200
_DOUBTED_ROWS = 200
"""Fewest train rows of a linear model that learns nothing from which the labels may be doubted."""
_EASY, _EASY_ROWS = 0.98, 200
"""Score, and rows that it is measured on, from which a task may give its answers away."""


def baselines(task: Task, backbone: str | None, linear: bool = True) -> Baseline:
    """The scores of the commonest class and of a linear model.

    Args: backbone, an encoder, None if there is none; linear, whether to train a linear model.
    """
    begun = time.perf_counter()
    metric, majority = task.headline, _majority(task)
    why_not = _why_not(task, backbone, linear)
    if why_not or backbone is None:
        return Baseline(metric, majority, why_not=why_not)
    train, test = _rows(task, backbone)
    if len(train) < _FEWEST_ROWS or len(test) < 2 or len({row.label for row in train}) < 2:
        return Baseline(metric, majority, why_not="there are too few rows")
    regression = task.kind == "regression"
    train, test, features = _features(task, backbone, train, test)
    labels, expected = [row.label for row in train], [row.label for row in test]
    predicted = _predictions(features, labels, regression)
    value = score(task, predicted, expected)[metric]
    return Baseline(
        metric,
        majority,
        linear=value,
        margin=_margin(task, predicted, expected),
        accuracy=None if regression else float(np.mean(np.equal(predicted, expected))),
        common=None if regression else Counter(expected)[_commonest(task)] / len(expected),
        backbone=backbone,
        max_length=_MAX_LENGTH,
        train_rows=len(train),
        test_rows=len(test),
        seconds=round(time.perf_counter() - begun, 2),
    )


def baseline_findings(task: Task, baseline: Baseline) -> list[Finding]:
    """Notes on a linear model that learns nothing, or nearly everything."""
    linear = baseline.linear
    if linear is None:
        return []
    rows, margin = max(1, baseline.test_rows), baseline.margin or 0.0
    accuracy, common = baseline.accuracy or 0.0, baseline.common or 0.0
    enough = baseline.train_rows >= _DOUBTED_ROWS
    if enough and linear <= (baseline.majority or 0.0) + margin and accuracy <= common + _share_margin(accuracy, rows):
        several = ", or the task needs its texts read together" if len(task.input_fields) > 1 else ""
        text = f"the linear baseline is no better than the commonest label: its features do not show the label{several}"
        return [Finding("hard", "note", text, "Check that --text and --label name the right columns.")]
    if linear >= _EASY and baseline.test_rows >= _EASY_ROWS:
        text = f"the linear baseline scores {linear:.3f} already, so methods will hardly differ"
        return [Finding("easy", "note", text, "Check that no text contains its label.")]
    return []


def _why_not(task: Task, backbone: str | None, linear: bool) -> str:
    if not linear:
        return "it was left out"
    if task.kind == "multiple choice":
        return "an encoder does no multiple choice"
    return "there is no encoder on this machine; pip install 'tunefront[offline]'" if backbone is None else ""


def _majority(task: Task) -> float | None:
    """The score of the commonest class of train in every row of the scored split; None for a regression."""
    if task.kind == "regression":
        return None
    return score(task, [_commonest(task)] * len(task.splits[task.eval_split]))[task.headline]


def _commonest(task: Task) -> float:
    return Counter(row.label for row in task.splits["train"]).most_common(1)[0][0]


def _rows(task: Task, backbone: str) -> tuple[list[Row], list[Row]]:
    """Train and test rows, as many as their tokens allow."""
    from tunefront.bench.models.config import config_at
    from tunefront.bench.models.families.encoder import row_lengths
    from tunefront.bench.models.tokenizer_files import tokenizer_of

    config = config_at(backbone)
    layers = 12.0 * getattr(config, "num_hidden_layers", 6) * getattr(config, "hidden_size", 384) ** 2
    train = [cut_texts(row, _LONGEST) for row in sample(task.splits["train"], TRAIN_ROWS)]
    test = [cut_texts(row, _LONGEST) for row in sample(task.splits[task.eval_split], TEST_ROWS, seed=1)]
    lengths = row_lengths(tokenizer_of(backbone), task, [*train[:100], *test[:100]])
    mean = sum(min(length, _MAX_LENGTH) for length in lengths) / len(lengths)
    share = min(1.0, _TOKENS * _LAYERS / max(layers, 1.0) / (mean * (len(train) + len(test))))
    return sample(train, max(_FEWEST_ROWS, int(share * len(train)))), sample(test, max(2, int(share * len(test))), 1)


def _predictions(features: Features, labels: Sequence[float], regression: bool) -> list[float]:
    """Predictions for the rows of `features` (rows, width) after the first ones, which have these labels."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model: Any = RidgeCV(_ALPHAS) if regression else LogisticRegression(C=_PENALTY, max_iter=300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a baseline may be a little off its optimum
        fitted = make_pipeline(StandardScaler(), model).fit(features[: len(labels)], labels)
    return [float(value) for value in fitted.predict(features[len(labels) :])]


def _features(
    task: Task, backbone: str, train: Sequence[Row], test: Sequence[Row]
) -> tuple[list[Row], list[Row], Features]:
    """(train rows, test rows, the pooled states of both that a head reads); fewer rows if the time is over."""
    import torch

    from tunefront.bench.models.families.encoder import Encoder
    from tunefront.bench.models.families.logits import evaluating
    from tunefront.bench.models.pretrained import Pretrained
    from tunefront.bench.quiet import quiet

    with quiet():
        encoder = Pretrained(backbone, torch.device("cpu")).fresh_copy(task, seed=0)
    assert isinstance(encoder, Encoder)  # the caller gives no other
    fields = task.input_fields
    texts = [replace(task, input_fields=(name,)) for name in fields] if len(fields) == 2 else [task]
    rows: list[list[Row]] = [[], []]
    states: list[list[Features]] = [[], []]
    begun, used = time.perf_counter(), time.process_time()
    with evaluating(encoder.model), _threads():
        for part in range(_PARTS):
            for which, of in enumerate((train, test)):
                taken = of[part::_PARTS]
                if taken:
                    rows[which] += taken
                    states[which].append(_paired([_pooled(encoder, each, taken) for each in texts]))
            late = time.process_time() - used > _CPU_SECONDS or time.perf_counter() - begun > _SECONDS
            if late and len({row.label for row in rows[0]}) > 1:
                break
    return rows[0], rows[1], np.concatenate([*states[0], *states[1]])


def _pooled(encoder: Encoder, task: Task, rows: Sequence[Row]) -> Features:
    """The pooled states that a head reads, (rows, width)."""
    import torch

    examples = encoder.encode(task, rows, _MAX_LENGTH)
    features = torch.zeros(len(rows), encoder.width)
    for order in examples.scoring_order(_BATCH):
        features[order] = encoder.features(examples.batch(order))
    return features.numpy().astype(np.float64)


def _paired(texts: Sequence[Features]) -> Features:
    """The features of one text; of a pair those of both, of their difference and of their product (Conneau et al. 2017,
    arXiv:1705.02364, section 3.1): a linear model on the pair read together hardly compares its texts."""
    if len(texts) == 1:
        return texts[0]
    first, second = texts
    return np.concatenate([first, second, np.abs(first - second), first * second], axis=1)


@contextmanager
def _threads() -> Iterator[None]:
    """One thread inside the block if the machine is busy: several would mostly wait for each other, and spin."""
    import torch

    threads = torch.get_num_threads()
    busy = hasattr(os, "getloadavg") and os.getloadavg()[0] > (os.cpu_count() or 1)
    torch.set_num_threads(1 if busy else threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _margin(task: Task, predicted: Sequence[float], expected: Sequence[float]) -> float | None:
    """Half of a 95 % interval of the first metric over test rows: of a share, else by resampling the rows."""
    value = score(task, predicted, expected)[task.headline]
    if value is None or len(expected) < _FEWEST_ROWS:
        return None
    if task.headline == "accuracy":
        return _share_margin(value, len(expected))
    draws = np.random.default_rng(0).integers(len(expected), size=(_RESAMPLES, len(expected)))
    guesses, labels = np.asarray(predicted), np.asarray(expected)
    values = [score(task, guesses[rows].tolist(), labels[rows].tolist())[task.headline] for rows in draws]
    known = [value for value in values if value is not None]
    return 1.96 * float(np.std(known)) if len(known) > _RESAMPLES // 2 else None


def _share_margin(share: float, rows: int) -> float:
    return 1.96 * float(max(share * (1 - share), 1 / rows) / rows) ** 0.5
