"""Precomputed features on disk, with what computing them cost."""

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


@dataclass(frozen=True)
class Rowwise:
    """One row of values for each example, (rows, n), and what they cost: seconds of forward passes, counted FLOPs, by
    how much memory grew at most, who held it at the peak; and, of what was not kept, seconds of each batch and the
    FLOPs from every source, which follow from the shapes of the rows."""

    values: Tensor
    seconds: float
    flops: int
    grown: Growth = NO_GROWTH
    memory: PhaseMemory = field(default_factory=PhaseMemory)
    batch_seconds: tuple[float, ...] = ()
    entry: PhaseFlops | None = None


class FeatureStore:
    """A folder of safetensors files, each named by what its features were computed from."""

    def __init__(self, folder: Path):
        self.folder = folder

    def read(self, key: str) -> Rowwise | None:
        """The features of a key, None where there are none; a corrupted file is named, removed and counts as none."""
        path = self._path(key)
        try:
            if not path.is_file():
                return None
        except OSError as error:
            log.warning("the cache %s cannot be entered (%s); features are computed", self.folder, error.strerror)
            return None
        try:
            with safe_open(path, framework="pt") as file:
                cost, values = json.loads(file.metadata()["cost"]), file.get_tensor("values")
                if _digest(values) != cost["sha256"]:
                    raise ValueError("its values are not those that were written")
                grown, memory = Growth(**cost["grown"]), PhaseMemory(**cost["memory"])
                return Rowwise(values, float(cost["seconds"]), int(cost["flops"]), grown, memory=memory)
        except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
            log.warning("the cached features %s are corrupted (%s); they are computed again", path, error)
            with suppress(OSError):  # of another user, or on a disk that cannot be written
                path.unlink(missing_ok=True)
            return None

    def write(self, key: str, features: Rowwise) -> None:
        """Keeps features; the file appears whole or not at all. A cache that cannot be written is named, not fatal."""
        values = features.values.contiguous()
        cost = json.dumps(
            {
                "seconds": features.seconds,
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
