"""Summarises records about `nano` in `measured.json`, from which its card is written."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import mean, median, stdev
from typing import TYPE_CHECKING, Any

import numpy as np

from tunefront.bench.files import writing

if TYPE_CHECKING:
    from tunefront.bench.records import Record

MEASURED = "measured.json"
_FIXED, _FIXED_AT = re.compile(r"way-0[01]-[a-z]+$"), (0, 16)
_TRIAL = re.compile(r"(?P<name>(?P<ways>\d+)way-\d+-[a-z]+)(?:-(?P<variant>[a-z]+))?$")


def gather(records: Iterable[Record]) -> dict[str, Any]:
    """Accuracies by number of classes: the curve over k, and the effects of orders, labels and draws within a task.

    Curve: the mean over tasks and draws; the quartiles of the tasks (each the mean of its draws); the standard
    deviation over draws within a task. Orders: the standard deviation within a task and the mean range. Labels: the
    mean for each kind of label, and the mean distance from the same task's accuracy with reserved tokens.
    """
    matched = [(_TRIAL.search(record.task), record) for record in records]
    trials = [(match, record) for match, record in matched if match]
    if len(trials) != len(matched):
        raise ValueError("these records are not all of trials; measure into a separate folder")
    return {
        ways: {"curve": _curve(own), "order": _orders(own), "labels": _labels(own)}
        for ways in sorted({match["ways"] for match, _ in trials})
        if (own := [(match, record) for match, record in trials if match["ways"] == ways])
    }


def few_shot(records: Iterable[Record]) -> dict[str, dict[str, dict[str, float]]]:
    """Task -> method -> median and quartiles of the score over draws, with 32 rows."""
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        scores[record.task][record.label].append(_score(record))
    return {
        task: {
            method: {
                "lower_quartile": float(np.quantile(scored, 0.25)),
                "median": median(scored),
                "upper_quartile": float(np.quantile(scored, 0.75)),
                "draws": len(scored),
            }
            for method, scored in by_method.items()
        }
        for task, by_method in scores.items()
    }


def against_fresh(records: Iterable[Record]) -> dict[str, dict[str, float]]:
    """Task -> scores of full fine-tuning from `nano` and from random weights of its shape, and of the baseline."""
    scores: dict[str, dict[str, float]] = defaultdict(dict)
    for record in records:
        scores[record.task]["nano" if record.backbone == "nano" else "fresh"] = _score(record)
        baseline = record.baseline_score
        if baseline is not None:
            scores[record.task]["majority"] = baseline
    return dict(scores)


def fixed(records: Iterable[Record]) -> dict[str, float]:
    """Scores of some cells of the curve, by task and method, for a test that measures them again."""
    return {
        f"{Path(record.task).name} {record.label}": _score(record)
        for record in records
        if record.draw_seed == 0
        and _FIXED.search(record.task)
        and _field(record, "k") in _FIXED_AT
        and not _field(record, "order")
    }


def keep(measured: dict[str, Any], held_out: dict[str, str], first: Record, figures: Path) -> Path:
    """Writes the measurements to the folder of figures, with the model's fingerprint and the versions.

    Args: held_out, versions of the trials' libraries; first, any of the records.
    """
    place = figures / MEASURED
    content = {
        "backbone_fingerprint": first.fingerprints.get("backbone"),
        "versions": {**first.versions, **held_out},
        "cpu_model": first.environment.cpu_model,
        **measured,
    }
    with writing(place) as file:
        file.write(json.dumps(content, indent=1).encode() + b"\n")
    return place


_Trials = list[tuple[re.Match[str], "Record"]]


def _curve(trials: _Trials) -> dict[str, dict[str, float]]:
    cells: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for match, record in trials:
        if match["variant"] is None and not _field(record, "order"):
            cells[_field(record, "k")][match["name"]].append(_score(record))
    return {str(k): _spread(by_task) for k, by_task in sorted(cells.items())}


def _spread(by_task: dict[str, list[float]]) -> dict[str, float]:
    tasks = [mean(scores) for scores in by_task.values()]
    within = [stdev(scores) for scores in by_task.values() if len(scores) > 1]
    return {
        "mean": mean(tasks),
        "lower_quartile": float(np.quantile(tasks, 0.25)),
        "upper_quartile": float(np.quantile(tasks, 0.75)),
        "within_task_sd": mean(within) if within else 0.0,
        "tasks": len(tasks),
    }


def _orders(trials: _Trials) -> dict[str, float]:
    cells: dict[tuple[str, int], dict[int, float]] = defaultdict(dict)
    for match, record in trials:
        if match["variant"] is None:
            cells[match["name"], record.draw_seed][_field(record, "order")] = _score(record)
    several = [list(by_order.values()) for by_order in cells.values() if len(by_order) > 2]
    return {"sd": mean(map(stdev, several)), "range": mean(max(s) - min(s) for s in several), "tasks": len(several)}


def _labels(trials: _Trials) -> dict[str, dict[str, float]]:
    scores: dict[str, dict[str, float]] = defaultdict(dict)
    measured_at = {_field(record, "k") for match, record in trials if match["variant"]}
    for match, record in trials:
        if _field(record, "k") in measured_at and not _field(record, "order") and record.draw_seed == 0:
            scores[match["variant"] or "reserved"][match["name"]] = _score(record)
    reserved = scores["reserved"]
    return {
        variant: {
            "mean": mean(by_task.values()),
            "moved": mean(abs(score - reserved[name]) for name, score in by_task.items()),
            "tasks": len(by_task),
        }
        for variant, by_task in scores.items()
    }


def _field(record: Record, name: str) -> int:
    match = re.search(rf"[:,]{name}=(\d+)", record.method)
    return int(match[1]) if match else 0


def _score(record: Record) -> float:
    if record.score is None:
        raise ValueError(f"{record.label} on {record.task} has no score: {record.status}, {record.reason}")
    return record.score
