"""Leaves out of a suite what is made from archives that were not fetched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tunefront.bench.data.archives.cached import is_fetched, megabytes
from tunefront.bench.data.archives.catalog import ARCHIVES, archive_of

if TYPE_CHECKING:
    from tunefront.bench.suites.grids import Grid
    from tunefront.bench.suites.overrides import Overrides


def without_unfetched(parts: Sequence[Grid], overrides: Overrides) -> tuple[list[Grid], list[str]]:
    """The parts without the suite's own tasks and backbones that were not fetched, and a sentence about these.

    What the call itself names stays, and so does everything if nothing else is left: looking it up is an error that
    says how to fetch it.
    """
    missing = [name for name, archive in _missing(parts, overrides).items() if not is_fetched(ARCHIVES[archive])]
    kept = []
    for grid in parts:
        backbones = tuple(name for name in grid.part.backbones if name not in missing)
        tasks = tuple(name for name in grid.part.tasks if name not in missing)
        if (backbones or not grid.part.backbones) and (tasks or not grid.part.tasks):
            kept.append(replace(grid, part=replace(grid.part, backbones=backbones, tasks=tasks)))
    if not kept or not missing:
        return list(parts), []
    return kept, [_sentence(missing)]


def _missing(parts: Sequence[Grid], overrides: Overrides) -> dict[str, str]:
    """The names that a suite needs an archive for: name -> archive."""
    names = [] if overrides.tasks else [name for grid in parts for name in grid.part.tasks]
    names += [] if overrides.backbones else [name for grid in parts for name in grid.part.backbones]
    archives = {name: archive_of(name) for name in dict.fromkeys(names)}
    return {name: archive.name for name, archive in archives.items() if archive is not None and not _is_made(name)}


def _is_made(name: str) -> bool:
    """Whether a backbone is converted already, so that its archive is not needed."""
    from tunefront.bench.errors import UserError
    from tunefront.bench.models.locate import check_downloaded, known_backbones

    if name not in known_backbones():
        return False
    try:
        check_downloaded(name)
    except UserError:
        return False
    return True


def _sentence(missing: Sequence[str]) -> str:
    archives = [archive for archive in ARCHIVES.values() if any(name in archive.provides for name in missing)]
    command = f"tunefront fetch {' '.join(archive.name for archive in archives)}"
    size = " + ".join(megabytes(archive) for archive in archives)
    return (
        f"not fetched yet, so left out: {', '.join(missing)}. Fetch once with `{command}` ({size} from the package "
        "index), then repeat this command: it adds their cells."
    )
