"""A made-up results folder of thousands of ok records: the keys are those that `tunefront run` computes for its suite,
the numbers are plausible, and every record has its predictions.

`python -m tests.benchmarks.large_store FOLDER [SHAPE]` writes the suite file and the results, runs the commands that
read them, and prints their seconds.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.conftest import make_toy
from tests.reports import factory
from tunefront.bench.models.tiny import make_backbone

if TYPE_CHECKING:
    from tunefront.bench.cells import Cell
    from tunefront.bench.execution.identity import Identity
    from tunefront.bench.records.store import Store

METHODS = (
    *("full", "features", "bitfit", "layernorm", "ia3", "lora", "lora:rank=2", "lora:rank=32"),
    *("top_layers:n=1", "top_layers:n=2", "houlsby:bottleneck=8", "houlsby:bottleneck=16", "houlsby:bottleneck=64"),
    *("pfeiffer", "pfeiffer:reduction=4", "scaling", "knn", "knn:k=1"),
    *("prompt_tuning:length=4", "prefix_tuning:length=4"),
)
"""Twenty methods of any encoder, of which none searches its recipe."""
ROWS = (640, 32, 300)
"""Rows of a task in train, validation and test."""


@dataclass(frozen=True)
class Shape:
    """The lists of a suite: a cell for each of their combinations."""

    methods: int
    tasks: int
    shots: tuple[int, ...]
    draws: int
    seeds: int

    @property
    def cells(self) -> int:
        """The number of cells."""
        return self.methods * self.tasks * len(self.shots) * self.draws * self.seeds


SHAPES = {
    "methods": Shape(20, 10, (200,), 5, 5),
    "panels": Shape(10, 10, (16, 32, 64, 128, 256), 10, 1),
    "large": Shape(10, 5, (200,), 10, 5),
    "small": Shape(10, 5, (200,), 5, 2),
    "tiny": Shape(4, 2, (8, 16), 2, 2),
    "hundred": Shape(10, 2, (200,), 5, 1),
    "thousand": Shape(10, 4, (200,), 5, 5),
    "ten thousand": Shape(20, 10, (200,), 10, 5),
}
"""Shapes by name; the first two have 5,000 cells, `large` has five times the cells of `small`."""


@dataclass(frozen=True)
class LargeStore:
    """A suite file, and the results folder that has a record of each of its cells."""

    suite: Path
    results: Path


def make(folder: Path, shape: Shape) -> LargeStore:
    """Writes backbone, tasks, suite and results into a folder, which may not exist yet."""
    from tunefront.bench.execution.identity import Identity, Shared
    from tunefront.bench.records.store import Store
    from tunefront.bench.suites.expand import expand

    folder.mkdir(parents=True, exist_ok=True)
    made = LargeStore(folder / "suite.toml", folder / "results")
    backbone = make_backbone(folder / "tiny", "bert")
    tasks = [make_toy(folder / "tasks" / f"toy{number}", number, ROWS) for number in range(shape.tasks)]
    methods = METHODS[: shape.methods]
    made.suite.write_text(_suite(shape, methods, backbone, tasks), encoding="utf-8")
    store = Store(made.results)
    store.prepare()
    cells = expand(str(made.suite)).cells
    assert len(cells) == shape.cells, (len(cells), shape.cells)
    places = {method: place for place, method in enumerate(dict.fromkeys(cell.method for cell in cells))}
    shared = Shared()
    for cell in cells:
        _write(store, cell, Identity.of(cell, shared), places[cell.method])
    return made


def _suite(shape: Shape, methods: Sequence[str], backbone: Path, tasks: Sequence[Path]) -> str:
    lists: dict[str, object] = {
        "methods": list(methods),
        "backbones": [str(backbone)],
        "tasks": [f"dir:{task}" for task in tasks],
        "shots": list(shape.shots),
        "draws": list(range(shape.draws)),
        "seeds": list(range(shape.seeds)),
    }
    lines = [f"{name} = {value!r}".replace("'", '"') for name, value in lists.items()]
    return "\n".join([*lines[3:], "[[part]]", *lines[:3]]) + "\n"


def _write(store: Store, cell: Cell, identity: Identity, place: int) -> None:
    """Writes the record of a cell and its predictions; `place` is that of its method in the list."""
    import pandas as pd

    from tunefront.bench.data.sampling import draw
    from tunefront.bench.data.sources import load_task
    from tunefront.bench.settings import as_scalars

    task = load_task(cell.task)
    rng = np.random.default_rng(int(identity.key[:12], 16))
    labels = np.array([row.label for row in task.splits["test"]])
    skill = 1.2 + 0.08 * place + 0.3 * np.log10(cell.shots / 16) + 0.15 * rng.standard_normal()
    difficulty = np.random.default_rng(len(labels)).standard_normal(len(labels))
    logits = (skill + difficulty + rng.standard_normal(len(labels))) * np.where(labels == 1, 1, -1)
    predicted = (logits > 0).astype(int)
    accuracy = float((predicted == labels).mean())
    record = factory.record(
        key=identity.key,
        label=identity.label,
        method=cell.spelled,
        backbone=cell.backbone,
        task=cell.task,
        shots=cell.shots,
        draw_seed=cell.draw_seed,
        seed=cell.seed,
        template=cell.template,
        recipe=as_scalars(cell.recipe),
        settings=as_scalars(cell.config),
        versions=identity.versions,
        fingerprints=identity.fingerprints,
        **_measured(rng, place, accuracy),
        **{
            "data.split_rows": {split: len(rows) for split, rows in task.splits.items()},
            "data.input_fields": task.input_fields,
            "data.left_out_fields": dict(task.left_out),
            "data.label_counts": task.label_counts("train"),
            "data.notes": task.notes,
            "data.warnings": task.warnings,
            "data.n_train": cell.shots,
            "data.n_test": len(labels),
            "data.train_ids": tuple(row.id for row in draw(task, cell.shots, cell.draw_seed)),
        },
    )
    predictions = pd.DataFrame(
        {
            "id": [row.id for row in task.splits["test"]],
            "label": labels,
            "prediction": predicted,
            "score_0": -logits,
            "score_1": logits,
        }
    )
    store.write(factory.ledger(record), predictions)


def _measured(rng: np.random.Generator, place: int, accuracy: float) -> Mapping[str, Any]:
    """Scores and costs of a run of the method at this place in the list."""
    noise = rng.uniform(0.95, 1.05)
    trained = 770 + 2**place % 22_000_000
    return {
        "scores.test": {"accuracy": accuracy, "macro_f1": accuracy - 0.01},
        "scores.baseline": {"accuracy": 0.5, "macro_f1": 1 / 3},
        "collapse": {
            "collapsed": False,
            "one_answer": False,
            "answer": "good",
            "answer_share": 0.51,
            "label_share": 0.5,
            "baseline_answer": "good",
            "baseline_share": 0.5,
            "p_value": 1e-9,
        },
        "parameters.trainable": trained,
        "storage.checkpoint_bytes": 4 * trained + 1200,
        "training.final_loss": float(rng.uniform(0.1, 0.4)),
        "seconds.train": float((5 + place) * noise),
        "seconds.eval": float(3 * noise),
        "cpu_seconds.train": float((5 + place) * noise),
        "cpu_seconds.eval": float(3 * noise),
        "memory.train_peak_resident_bytes": int(9e8 * noise),
    }


def main(folder: str, shape: str = "methods") -> None:
    """Writes the store of a shape into a folder, unless it is there; prints the seconds of what reads it."""
    place = Path(folder).absolute()
    os.environ["TUNEFRONT_CACHE"] = str(place / "cache")
    made = LargeStore(place / "suite.toml", place / "results") if place.exists() else make(place, SHAPES[shape])
    for name, code in (
        ("report", _REPORT.format(results=str(made.results))),
        ("run of recorded cells, without a report", _RUN.format(suite=str(made.suite), results=str(made.results))),
    ):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
        after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - start
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(f"{shape}, {SHAPES[shape].cells:,} records: {name}: {cpu:.1f} s of processor time, {wall:.1f} s")


_REPORT = """
import sys
from tunefront.bench.cli.entry import main
sys.argv = ["tunefront", "report", {results!r}]
main()
"""
_RUN = """
from tunefront import run
assert len(run({suite!r}, out={results!r})) > 0
"""


if __name__ == "__main__":
    main(*sys.argv[1:])
