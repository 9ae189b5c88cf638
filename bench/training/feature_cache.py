"""Precomputed features on disk, with the costs of computing them."""

from __future__ import annotations

import hashlib
import json
import logging
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from tunefront.bench.files import sweep, writing
from tunefront.bench.meters.memory.peak import NO_GROWTH, Growth
from tunefront.bench.meters.memory.phases import PhaseMemory
from tunefront.bench.records import PhaseFlops

log = logging.getLogger("tunefront")

FORMAT = 2
"""Raised when the content of a file changes; part of the key, so that files of another format are not found."""


@dataclass(frozen=True)
class RowValues:
    """One row of values per example, (rows, n), and their costs: seconds of forward passes and the processor time in
    them, counted FLOPs, growth of memory (`grown`), and its owners at the peak (`memory`). Not stored in the cache:
    seconds of each batch, FLOPs from every source (`entry`), which follow from the shapes of the rows, and whether the
    choices of rows were read (`reads_choices`), not only their texts."""

    values: Tensor
    seconds: float
    flops: int
    cpu_seconds: float = 0.0
    grown: Growth = NO_GROWTH
    memory: PhaseMemory = field(default_factory=PhaseMemory)
    batch_seconds: tuple[float, ...] = ()
    entry: PhaseFlops | None = None
    reads_choices: bool = False


class FeatureStore:
    """A folder of safetensors files; a file's name is the key of its features."""

    def __init__(self, folder: Path):
        self.folder = folder

    def read(self, key: str) -> RowValues | None:
        """The features of a key, None if there are none; a corrupted file is reported, removed and counts as none."""
        path = self._path(key)
        try:
            if not path.is_file():
                return None
        except OSError as error:
            log.warning("the cache %s cannot be read (%s); features are computed", self.folder, error.strerror)
            return None
        try:
            with safe_open(path, framework="pt") as file:
                cost, values = json.loads(file.metadata()["cost"]), file.get_tensor("values")
                if _digest(values) != cost["sha256"]:
                    raise ValueError("the checksum of its values is wrong")
                grown, memory = Growth(**cost["grown"]), PhaseMemory(**cost["memory"])
                seconds, cpu_seconds = float(cost["seconds"]), float(cost["cpu_seconds"])
                return RowValues(values, seconds, int(cost["flops"]), cpu_seconds, grown, memory)
        except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
            log.warning("the cached features %s are corrupted (%s); they are computed again", path, error)
            with suppress(OSError):  # owned by another user, or on a read-only disk
                path.unlink(missing_ok=True)
            return None

    def write(self, key: str, features: RowValues) -> None:
        """Stores features; the file appears whole or not at all. An unwritable cache only causes a warning."""
        values = features.values.contiguous()
        cost = json.dumps(
            {
                "seconds": features.seconds,
                "cpu_seconds": features.cpu_seconds,
                "flops": features.flops,
                "grown": asdict(features.grown),
                "memory": asdict(features.memory),
                "sha256": _digest(values),
            }
        )
        try:
            with writing(self._path(key)) as file:
                file.write(save({"values": values}, metadata={"cost": cost}))
            sweep(self.folder)
        except (OSError, SafetensorError) as error:
            log.warning("the features could not be cached in %s (%s); they will be computed again", self.folder, error)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"


def _digest(values: Tensor) -> str:
    return hashlib.sha256(values.numpy().tobytes()).hexdigest()
