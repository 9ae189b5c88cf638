"""Leaves out of a suite what is made from archives that were not fetched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tunefront.bench.data.archives.cached import is_fetched, megabytes
from tunefront.bench.data.archives.catalog import ARCHIVES, archive_of
from tunefront.bench.models.gguf.converted import is_converted

if TYPE_CHECKING:
    from tunefront.bench.suites.grids import Grid
    from tunefront.bench.suites.overrides import Overrides


def without_unfetched(parts: Sequence[Grid], overrides: Overrides) -> tuple[list[Grid], list[str]]:
    """The parts without the suite's own tasks and backbones that were not fetched, and a sentence about these.

    What the call itself names stays, and so does everything if nothing else is left: looking it up is an error that
    says how to fetch it.
    """
    names = [] if overrides.tasks else [name for grid in parts for name in grid.part.tasks]
    names += [] if overrides.backbones else [name for grid in parts for name in grid.part.backbones]
    missing = [name for name in dict.fromkeys(names) if _is_missing(name)]
    kept = []
    for grid in parts:
        backbones = tuple(name for name in grid.part.backbones if name not in missing)
        tasks = tuple(name for name in grid.part.tasks if name not in missing)
        if (backbones or not grid.part.backbones) and (tasks or not grid.part.tasks):
            kept.append(replace(grid, part=replace(grid.part, backbones=backbones, tasks=tasks)))
    if not kept or not missing:
        return list(parts), []
    return kept, [_sentence(missing)]


def _is_missing(name: str) -> bool:
    """Whether a task or backbone is made from an archive that was not fetched. A converted backbone needs none."""
    archive = archive_of(name)
    if archive is None or is_fetched(archive):
        return False
    return name not in archive.backbones or not is_converted(name)


def _sentence(missing: Sequence[str]) -> str:
    archives = [archive for archive in ARCHIVES.values() if any(name in archive.provides for name in missing)]
    command = f"tunefront fetch {' '.join(archive.name for archive in archives)}"
    size = " + ".join(megabytes(archive) for archive in archives)
    return (
        f"not fetched yet, so left out: {', '.join(missing)}. Fetch once with `{command}` ({size} from the package "
        "index), then repeat this command: it adds their cells."
    )
