"""Runs and measures ways of adapting a pretrained model. What the command does, these do too: `plan`, `run` and
`load_records`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.api import plan as plan
    from bench.api import run as run
    from bench.records import Record as Record
    from bench.records import load_records as load_records

__all__ = ["Record", "load_records", "plan", "run"]


def __getattr__(name: str) -> object:
    """Imports on first use, so that `import bench` stays light."""
    if name in ("plan", "run"):
        import bench.api

        return getattr(bench.api, name)
    if name in ("Record", "load_records"):
        import bench.records

        return getattr(bench.records, name)
    raise AttributeError(f"module 'bench' has no attribute {name!r}")
