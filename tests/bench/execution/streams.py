"""Small streams of toy tasks, which differ in their rows and numbers of classes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tests.conftest import make_toy
from tunefront.bench.cells import Cell
from tunefront.bench.settings import RunConfig, resolve_recipe
from tunefront.methods.spelling import parse


def toy_tasks(folder: Path, count: int = 3) -> list[str]:
    """Names of tasks in a folder; every second one has a third class, which no row has."""
    names = []
    for number in range(count):
        place = make_toy(folder / f"task{number}", seed=number, rows=(24, 4, 12))
        if number % 2:
            meta = json.loads((place / "meta.json").read_text())
            meta["label_names"] = ["good", "bad", "other"]
            (place / "meta.json").write_text(json.dumps(meta))
        names.append(f"dir:{place}")
    return names


def alone(
    backbone: str, tasks: Sequence[str], methods: Sequence[str] = ("full",), template: str | None = None
) -> list[Cell]:
    """The cells of methods on each task, a few steps each."""
    return [
        Cell(
            method,
            backbone,
            task,
            resolve_recipe(method, {"steps": 3, "batch_size": 8}),
            template=template,
            config=RunConfig(eval_batch_size=16),
        )
        for method in map(parse, methods)
        for task in tasks
    ]
