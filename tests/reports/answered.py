"""Results folders with predictions: records whose scores are those of the answers that are stored with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.reports.factory import record
from tunefront.bench.records import Record, Records
from tunefront.bench.records.store import Store
from tunefront.reports.compare.row_scores import metric_of

ROWS = 120


def answered(folder: Path | str, labels: Sequence[float], predictions: Sequence[float], **changes: Any) -> Record:
    """Writes a record with its answers to rows r0, r1, ...; its headline score is that of the answers."""
    headline = changes.pop("scores__headline", "accuracy")
    fields = {"recipe": {}, "settings": {}, "data__n_test": len(labels), **changes}
    draft = record(scores__headline=headline, scores__test={headline: 0.5}, **fields)
    metric = metric_of(draft)
    assert metric is not None
    score = float(metric(np.array([predictions]), np.array([labels]))[0])
    made = record(scores__headline=headline, scores__test={headline: None if np.isnan(score) else score}, **fields)
    ids = [f"r{number}" for number in range(len(labels))]
    store = Store(folder)
    store.prepare()
    store.write(made, pd.DataFrame({"id": ids, "label": labels, "prediction": predictions}))
    return made


def world(
    folder: Path | str,
    accuracies: Mapping[str, float],
    tasks: Sequence[str] = ("sst2", "trec"),
    draws: Sequence[int] = (0, 1, 2),
    spread: float = 0.0,
    rows: int = ROWS,
    seed: int = 0,
    **changes: Any,
) -> Records:
    """Records of methods with these true accuracies: rows have difficulties that all methods share, runs deviate by
    `spread`."""
    generator = np.random.default_rng(seed)
    records = []
    for task in tasks:
        labels = generator.integers(2, size=rows)
        difficulty = generator.random(rows)
        for label, accuracy in accuracies.items():
            for draw in draws:
                level = accuracy + spread * generator.standard_normal()
                luck = 0.7 * difficulty + 0.3 * generator.random(rows)
                right = luck < np.quantile(0.7 * difficulty + 0.3 * generator.random(rows), np.clip(level, 0.02, 0.98))
                answers = np.where(right, labels, 1 - labels)
                fields = {"label": label, "task": task, "draw_seed": draw, **changes}
                records.append(answered(folder, labels.tolist(), answers.tolist(), **fields))
    return Records(records, {made.key: str(folder) for made in records})
