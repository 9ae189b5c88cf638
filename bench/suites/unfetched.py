"""What a suite does without archives that were not fetched: it leaves out what is made from them, or another runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tunefront.bench.data.archives.cached import megabytes
from tunefront.bench.data.archives.catalog import ARCHIVES, archive_of
from tunefront.bench.models.gguf.converted import is_unfetched

if TYPE_CHECKING:
    from tunefront.bench.suites.grids import Grid
    from tunefront.bench.suites.overrides import Overrides
    from tunefront.bench.suites.toml import Suite


def without_unfetched(parts: Sequence[Grid], overrides: Overrides) -> tuple[list[Grid], list[str]]:
    """The parts without the suite's own tasks and backbones that were not fetched, and a sentence about these.

    What the call itself names stays, and so does everything if nothing else is left: looking it up is an error that
    says how to fetch it.
    """
    names = [] if overrides.tasks else [name for grid in parts for name in grid.part.tasks]
    names += [] if overrides.backbones else [name for grid in parts for name in grid.part.backbones]
    missing = [name for name in dict.fromkeys(names) if is_unfetched(name)]
    kept, instead = [], {}
    for grid in parts:
        fallback = grid.part.fallback_backbone
        if fallback is not None and grid.part.backbones and {*grid.part.backbones} <= {*missing}:
            instead.update(dict.fromkeys(grid.part.backbones, fallback))
            kept.append(replace(grid, part=replace(grid.part, backbones=(fallback,))))
            continue
        backbones = tuple(name for name in grid.part.backbones if name not in missing)
        tasks = tuple(name for name in grid.part.tasks if name not in missing)
        if (backbones or not grid.part.backbones) and (tasks or not grid.part.tasks):
            kept.append(replace(grid, part=replace(grid.part, backbones=backbones, tasks=tasks)))
    if not kept or not missing:
        return list(parts), []
    left_out = [name for name in missing if name not in instead]
    return kept, [
        *(
            f"{name} was not fetched, so {other} runs in its place. Fetch once with {_command([name])}, then repeat "
            "this command."
            for name, other in instead.items()
        ),
        *([_sentence(left_out)] if left_out else []),
    ]


def fallback_of(suite: Suite, overrides: Overrides) -> tuple[str, str] | None:
    """The suite to run instead, and a sentence about it, if a suite needs fetched archives and has none of them.

    What the call itself names is not the suite's need.
    """
    names = [] if overrides.tasks else [name for part in suite.parts for name in part.tasks]
    names += [] if overrides.backbones else [name for part in suite.parts for name in part.backbones]
    needed = [name for name in dict.fromkeys(names) if archive_of(name) is not None]
    if suite.fallback is None or not needed or not all(map(is_unfetched, needed)):
        return None
    return suite.fallback, (
        f"suite {suite.name} needs {', '.join(needed)}; nothing of that was fetched, so suite {suite.fallback} runs. "
        f"Fetch once with {_command(needed)}, then repeat this command."
    )


def _sentence(missing: Sequence[str]) -> str:
    return (
        f"not fetched yet, so left out: {', '.join(missing)}. Fetch once with {_command(missing)}, then repeat this "
        "command: it adds their cells."
    )


def _command(names: Sequence[str]) -> str:
    """The command that fetches what these tasks and backbones are made from, with the size of the download."""
    archives = [archive for archive in ARCHIVES.values() if any(name in archive.provides for name in names)]
    chosen = [] if len(archives) == len(ARCHIVES) else [archive.name for archive in archives]
    size = " + ".join(map(megabytes, archives))
    return f"`{' '.join(['tunefront fetch', *chosen])}` ({size} from the package index)"
