"""The folder of a training run: its description, curves and checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tunefront.bench.errors import UserError
from tunefront.bench.files import writing

RUN, CURVES, CHECKPOINT = "run.json", "curves.jsonl", "checkpoint.pt"
MACHINE = ("device", "threads")
"""Fields that may differ when a run is resumed."""


class Run:
    """A training run on disk. Args: out, the existing folder."""

    def __init__(self, out: Path):
        self._out = out

    def begin(self, description: Mapping[str, Any]) -> None:  # Any: JSON values
        """Writes the description of the run before the first step.

        Errors: UserError if the folder has a run with another description, apart from the machine.
        """
        place = self._out / RUN
        if not place.exists():
            with writing(place) as file:
                file.write(json.dumps(description, indent=1).encode() + b"\n")
        saved, ours = json.loads(place.read_text("utf-8")), json.loads(json.dumps(description))
        differing = [name for name in saved if name not in MACHINE and saved[name] != ours.get(name)]
        if differing:
            raise UserError(f"{place} describes another run ({', '.join(differing)} differ); choose another --out")

    def log(self, line: Mapping[str, Any]) -> None:
        """Appends a line to the curves."""
        with (self._out / CURVES).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def save(self, state: Mapping[str, Any]) -> None:
        """Replaces the checkpoint; `state` has `step`."""
        with writing(self._out / CHECKPOINT) as file:
            torch.save(dict(state), file)

    def resumed(self, device: torch.device) -> dict[str, Any] | None:
        """The checkpoint's state, or None; drops later log lines, since these steps run again."""
        source, curves = self._out / CHECKPOINT, self._out / CURVES
        if not source.exists():
            return None
        state: dict[str, Any] = torch.load(source, map_location=device, weights_only=True)
        lines = curves.read_text("utf-8").splitlines(keepends=True) if curves.exists() else []
        with writing(curves) as file:
            file.writelines(line.encode() for line in lines if json.loads(line)["step"] <= state["step"])
        return state
