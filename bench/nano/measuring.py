"""What the suite's own records say of `nano`, gathered into `measured.json`, out of which its card is written."""

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
    """Accuracies by number of classes: the curve over k, and how far orders, labels and draws move one task's.

    Of a curve: the mean over tasks and draws; the middle half of the tasks (each the mean of its draws); the standard
    deviation over draws within a task. Of orders: the standard deviation within a task and the mean range. Of labels:
    the mean under each kind of label, and the mean distance from the same task's accuracy under reserved tokens.
    """
    found = [(_TRIAL.search(record.task), record) for record in records]
    trials = [(match, record) for match, record in found if match]
    if len(trials) != len(found):
        raise ValueError("these records are not of trials alone; measure into a folder of their own")
    return {
        ways: {"curve": _curve(own), "order": _orders(own), "labels": _labels(own)}
        for ways in sorted({match["ways"] for match, _ in trials})
        if (own := [(match, record) for match, record in trials if match["ways"] == ways])
    }


def few_shot(records: Iterable[Record]) -> dict[str, dict[str, dict[str, float]]]:
    """Task -> method -> median and quartiles over draws of the score, with 32 rows."""
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        scores[record.task][record.label].append(_score(record))
    return {
        task: {
            method: {
                "lower_quartile": float(np.quantile(found, 0.25)),
                "median": median(found),
                "upper_quartile": float(np.quantile(found, 0.75)),
                "draws": len(found),
            }
            for method, found in by_method.items()
        }
        for task, by_method in scores.items()
    }


def against_fresh(records: Iterable[Record]) -> dict[str, dict[str, float]]:
    """Task -> the score of full fine-tuning from `nano` and from random weights of its shape, and the baseline."""
    scores: dict[str, dict[str, float]] = defaultdict(dict)
    for record in records:
        scores[record.task]["nano" if record.backbone == "nano" else "fresh"] = _score(record)
        baseline = record.baseline_score
        if baseline is not None:
            scores[record.task]["majority"] = baseline
    return dict(scores)


def fixed(records: Iterable[Record]) -> dict[str, float]:
    """The scores of some cells of the curve, by task and method, for a test to measure again."""
    return {
        f"{Path(record.task).name} {record.label}": _score(record)
        for record in records
        if record.draw_seed == 0
        and _FIXED.search(record.task)
        and _field(record, "k") in _FIXED_AT
        and not _field(record, "order")
    }


def keep(measured: dict[str, Any], held_out: dict[str, str], first: Record, figures: Path) -> Path:
    """Writes what was measured into the folder of figures, with the fingerprint and the versions that it holds for.

    Args: held_out, the versions of the libraries that the trials are made of; first, any of the records.
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


_Found = list[tuple[re.Match[str], "Record"]]


def _curve(found: _Found) -> dict[str, dict[str, float]]:
    cells: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for match, record in found:
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


def _orders(found: _Found) -> dict[str, float]:
    cells: dict[tuple[str, int], dict[int, float]] = defaultdict(dict)
    for match, record in found:
        if match["variant"] is None:
            cells[match["name"], record.draw_seed][_field(record, "order")] = _score(record)
    several = [list(of_one.values()) for of_one in cells.values() if len(of_one) > 2]
    return {"sd": mean(map(stdev, several)), "range": mean(max(s) - min(s) for s in several), "tasks": len(several)}


def _labels(found: _Found) -> dict[str, dict[str, float]]:
    scores: dict[str, dict[str, float]] = defaultdict(dict)
    measured_at = {_field(record, "k") for match, record in found if match["variant"]}
    for match, record in found:
        if _field(record, "k") in measured_at and not _field(record, "order") and record.draw_seed == 0:
            scores[match["variant"] or "reserved"][match["name"]] = _score(record)
    reserved = scores["reserved"]
    return {
        variant: {
            "mean": mean(of_one.values()),
            "moved": mean(abs(score - reserved[name]) for name, score in of_one.items()),
            "tasks": len(of_one),
        }
        for variant, of_one in scores.items()
    }


def _field(record: Record, name: str) -> int:
    found = re.search(rf"[:,]{name}=(\d+)", record.method)
    return int(found[1]) if found else 0


def _score(record: Record) -> float:
    if record.score is None:
        raise ValueError(f"{record.label} on {record.task} has no score: {record.status}, {record.reason}")
    return record.score
