"""The folder of a training run: what the run is, its curves and its checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tunefront.bench.errors import Mistake
from tunefront.bench.files import writing

RUN, CURVES, CHECKPOINT = "run.json", "curves.jsonl", "checkpoint.pt"
MACHINE = ("device", "threads")
"""What may differ when a run goes on."""


class Run:
    """Args: out, the folder, which is there."""

    def __init__(self, out: Path):
        self._out = out

    def begin(self, told: Mapping[str, Any]) -> None:  # Any: whatever becomes JSON
        """Says what is trained, on what and how, before the first step.

        Errors: Mistake where the folder holds a run of which something else is told, but for the machine.
        """
        place = self._out / RUN
        if not place.exists():
            with writing(place) as file:
                file.write(json.dumps(told, indent=1).encode() + b"\n")
        kept, asked = json.loads(place.read_text("utf-8")), json.loads(json.dumps(told))
        differing = [name for name in kept if name not in MACHINE and kept[name] != asked.get(name)]
        if differing:
            raise Mistake(f"{place} tells of another run ({', '.join(differing)} differ); give another --out")

    def log(self, line: Mapping[str, Any]) -> None:
        """A line of the curves."""
        with (self._out / CURVES).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def save(self, state: Mapping[str, Any]) -> None:
        """The checkpoint, in place of the one before; `state` has `step`."""
        with writing(self._out / CHECKPOINT) as file:
            torch.save(dict(state), file)

    def resumed(self, device: torch.device) -> dict[str, Any] | None:
        """The checkpoint's state, or None; what was logged after it is dropped, since it comes again."""
        source, curves = self._out / CHECKPOINT, self._out / CURVES
        if not source.exists():
            return None
        state: dict[str, Any] = torch.load(source, map_location=device, weights_only=True)
        lines = curves.read_text("utf-8").splitlines(keepends=True) if curves.exists() else []
        with writing(curves) as file:
            file.writelines(line.encode() for line in lines if json.loads(line)["step"] <= state["step"])
        return state
