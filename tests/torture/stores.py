"""What a results folder holds while commands write to it: which finished records were lost, written again or torn."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.torture.figures import Figures
from tests.torture.world import World

PARQUET = b"PAR1"
PROBE = ".probe-"
"""How the files begin whose writing shows that a folder can be written."""


@dataclass
class Watch:
    """Looks at a folder again and again; counts what must not happen to it."""

    out: Path
    part: str
    kind: str
    figures: Figures
    finished: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Inode and time of every ok record, by key."""

    def look(self) -> None:
        """Compares the folder with what it was: what was finished must be there, unchanged."""
        found = dict[str, tuple[int, int]]()
        for path in sorted(self.out.glob("records/[!.]*")):
            known = self.finished.get(path.stem)
            try:
                state = path.stat()
                mark = (state.st_ino, state.st_mtime_ns)
                if mark != known and not self._is_ok(path):
                    continue
            except FileNotFoundError:  # only a failed record is ever replaced
                continue
            found[path.stem] = mark
        for key, mark in self.finished.items():
            if key not in found:
                self._fault("lost", f"the record {key} was there, and is gone")
            elif found[key] != mark:
                self._fault("doubled", f"the finished record {key} was written again")
        self.finished = found

    def writes(self) -> set[str]:
        """The unfinished files and the records that there are now."""
        return {
            entry.name
            for folder in ("records", "predictions")
            for entry in _entries(self.out / folder)
            if entry.name.endswith((".tmp", ".json")) and not entry.name.startswith(PROBE)
        }

    def end(self, world: World, suite: str, without: Sequence[str] = ()) -> None:
        """Compares the records at the end with those of the undisturbed run, but for these fields."""
        self.look()
        results, expected = world.results(self.out), world.expected[suite]
        for key in sorted(set(expected) - set(results)):
            self._fault("lost", f"{self.out} has no result of {key}")
        for path in (*self.out.glob("records/[!.]*"), *self.out.glob("predictions/[!.]*")):
            if path.stem not in expected:
                self._fault("doubled", f"{path} belongs to no cell of the grid")
        for key in sorted(set(expected) & set(results)):
            names = [
                name for name, value in results[key].items() if name not in without and value != expected[key][name]
            ]
            if names:
                self._fault("different", f"{key} in {self.out}: {', '.join(names)}")

    def _is_ok(self, path: Path) -> bool:
        content = path.read_bytes()
        try:
            record: dict[str, Any] = json.loads(content)
        except ValueError:
            self._fault("torn", f"{path} is not complete: {len(content)} bytes")
            return False
        if record["status"] != "ok":
            return False
        predictions = self.out / "predictions" / f"{path.stem}.parquet"
        try:
            content = predictions.read_bytes()
        except FileNotFoundError:
            self._fault("torn", f"{path} has no predictions")
            return True
        if not (content.startswith(PARQUET) and content.endswith(PARQUET)):
            self._fault("torn", f"{predictions} is not complete: {len(content)} bytes")
        return True

    def _fault(self, name: str, text: str) -> None:
        self.figures.fault(self.part, self.kind, name, text)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []
