"""What can change a cell's numbers, and the key made of it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from bench import backbones, sources
from bench.cells import Cell
from bench.provenance import versions
from bench.records import SCHEMA_VERSION
from bench.settings import as_scalars
from methods.registry import source_fingerprint


def ingredients(cell: Cell) -> dict[str, Any]:  # Any: nested dicts of scalars, as JSON has them
    """Everything that can change the numbers of a cell; Mistake where its task or backbone cannot be found."""
    return {
        "schema_version": SCHEMA_VERSION,
        "method": cell.spelled,
        "backbone": cell.backbone,
        "task": cell.task,
        "shots": cell.shots,
        "draw_seed": cell.draw_seed,
        "seed": cell.seed,
        "template": cell.template,
        "recipe": as_scalars(cell.recipe),
        "settings": as_scalars(cell.config),
        "fingerprints": {
            "method": source_fingerprint(cell.method),
            "backbone": backbones.fingerprint(cell.backbone),
            "task": sources.load_task(cell.task).fingerprint,
        },
        "versions": versions(),
    }


NAMES = ("backbone", "task")
"""Ingredients that only say where something lies; what it is, is in the fingerprints."""


def key(cell: Cell) -> str:
    """The name of the cell's record: a sha256 over its ingredients. A moved folder keeps its records."""
    parts = {name: value for name, value in ingredients(cell).items() if name not in NAMES}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
