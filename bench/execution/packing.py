"""Cells packed into jobs that end together, and the file that lists each job's cells for the machines that run them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from tunefront.bench.errors import UserError, printable
from tunefront.bench.execution.shards import Shard
from tunefront.bench.files import local_folder, url_errors
from tunefront.bench.records.environment import versions
from tunefront.bench.records.ordinary import read_regular
from tunefront.bench.records.record import Count

if TYPE_CHECKING:
    from tunefront.bench.cells import Cell
    from tunefront.bench.execution.identity import Identity

FILE = "packing.json"
"""The name of the file."""
VERSION = 1
"""Of the form of the file."""
COMPARED = 20
"""The most cells that are compared with all cells of a call, to name what differs."""
PRINT = "fingerprints."
"""Prefix of a fingerprint's name among the ingredients of a cell."""
NAMED = 3
"""The most cells, or differences of one kind, that an error names."""


def pack(seconds: Sequence[float], groups: Sequence[str], jobs: int) -> list[list[int]]:
    """The places of cells in each of at most `jobs` jobs, those of a job in ascending order; no job is empty.

    The longest cell goes first, each to the job that would end first (Graham 1969, at most a third later than the best
    packing). Cells of one of the `groups`, such as a backbone, are kept together if no job then ends later or is empty.

    >>> pack([5, 1, 4, 3, 3], ["a", "a", "b", "a", "b"], 2)
    [[0, 3], [1, 2, 4]]
    """
    order = sorted(range(len(seconds)), key=lambda place: (-seconds[place], place))
    packed = _longest_first(order, seconds, jobs)
    latest = max((sum(seconds[place] for place in job) for job in packed), default=0.0)
    together = _together(order, seconds, groups, jobs, latest)
    return [sorted(job) for job in (packed if together is None else together) if job]


def _longest_first(order: Sequence[int], seconds: Sequence[float], jobs: int) -> list[list[int]]:
    """Each place to the job with the fewest seconds so far, then with the fewest cells."""
    packed: list[list[int]] = [[] for _ in range(jobs)]
    loads = [0.0] * jobs
    for place in order:
        job = min(range(jobs), key=lambda number: (loads[number], len(packed[number]), number))
        packed[job].append(place)
        loads[job] += seconds[place]
    return packed


def _together(
    order: Sequence[int], seconds: Sequence[float], groups: Sequence[str], jobs: int, latest: float
) -> list[list[int]] | None:
    """Each place to a job that has its group already if that ends before `latest`; None if one ends later then, or more
    jobs are empty than need be."""
    packed: list[list[int]] = [[] for _ in range(jobs)]
    loads = [0.0] * jobs
    held: list[set[str]] = [set() for _ in range(jobs)]
    limit = latest * (1 + 1e-9)  # sums in another order are rounded otherwise
    for place in order:
        fitting = [job for job in range(jobs) if loads[job] + seconds[place] <= limit]
        if not fitting:
            return None
        job = min(fitting, key=lambda job: (groups[place] not in held[job], loads[job], len(packed[job]), job))
        packed[job].append(place)
        loads[job] += seconds[place]
        held[job].add(groups[place])
    return packed if sum(map(bool, packed)) == min(jobs, len(order)) else None


class _Head(BaseModel):
    """What every version of the file has: that of its form, and of the tunefront that wrote it."""

    model_config = ConfigDict(strict=True)

    version: int
    tunefront: str


class _Content(_Head):
    """The content of the file: keys per job, and the ingredients of each cell as places in `values` by name, since many
    cells have the same ones; null for an ingredient that it lacks."""

    model_config = ConfigDict(extra="forbid", strict=True)

    jobs: list[list[str]]
    values: dict[str, list[Any]]  # Any: scalars and mappings of them, as in JSON
    cells: dict[str, list[Count]]


@dataclass(frozen=True)
class Packing:
    """The keys of the cells of each job, and the ingredients of every cell by key; `location` is that of the file."""

    jobs: tuple[tuple[str, ...], ...]
    ingredients: Mapping[str, Mapping[str, Any]]  # Any: as in `Identity.ingredients`
    location: str = ""

    @classmethod
    def of(cls, jobs: Iterable[Iterable[Identity]]) -> Self:
        """The packing of cells with these identities."""
        listed = [list(job) for job in jobs]
        return cls(
            tuple(tuple(identity.key for identity in job) for job in listed),
            {identity.key: flat(identity.ingredients) for job in listed for identity in job},
        )

    @classmethod
    def read(cls, location: str) -> Self:
        """The packing in a file, given by its path or fsspec URL; UserError if it cannot be read, or is none."""
        written, shown = _bytes(location), printable(location, single_line=True)
        try:
            head = _Head.model_validate_json(written)
            content = _Content.model_validate_json(written) if head.version == VERSION else None
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            why = f"{'.'.join(map(str, first['loc']))[:200]}: {first['msg']}".lstrip(": ")
            raise UserError(f"{shown} is not a packing file of `tunefront submit` ({why}).") from error
        if content is None:
            raise UserError(
                f"{shown} was written by tunefront {head.tunefront[:40]} in another form (version {head.version}, this "
                f"one reads {VERSION}); install the same tunefront on every machine."
            )
        names = list(content.values)
        try:
            ingredients = {
                key: {
                    name: content.values[name][place]
                    for name, place in zip(names, places, strict=True)
                    if place is not None
                }
                for key, places in content.cells.items()
            }
        except (IndexError, ValueError) as error:
            raise UserError(f"{shown} is damaged: its cells do not fit its values; submit again.") from error
        listed = {key for job in content.jobs for key in job}
        if unknown := [key for key in listed if not _describes_a_cell(ingredients.get(key, {}))]:
            raise UserError(f"{shown} is damaged: it does not describe cell {min(unknown)[:12]}; submit again.")
        return cls(tuple(map(tuple, content.jobs)), ingredients, location)

    def content(self) -> bytes:
        """The content of the file."""
        names = sorted({name for ingredients in self.ingredients.values() for name in ingredients})
        values: dict[str, list[Any]] = {name: [] for name in names}  # Any: as in `_Content`
        places: dict[tuple[str, str], int] = {}
        cells: dict[str, list[int | None]] = {}
        for key, ingredients in self.ingredients.items():
            row: list[int | None] = []
            for name in names:
                if name not in ingredients:
                    row.append(None)
                    continue
                place = places.setdefault((name, repr(ingredients[name])), len(values[name]))
                if place == len(values[name]):
                    values[name].append(ingredients[name])
                row.append(place)
            cells[key] = row
        tunefront = versions().get("tunefront", "unknown")
        jobs = list(map(list, self.jobs))
        content = _Content(version=VERSION, tunefront=tunefront, jobs=jobs, values=values, cells=cells)
        return content.model_dump_json().encode()

    def job(self, shard: Shard) -> PackedJob:
        """One job; UserError unless the shard counts as many as there are."""
        if shard.count != len(self.jobs):
            raise UserError(
                f"{self.location} lists the cells of {len(self.jobs):,} jobs, but --shard is {shard}; the jobs are "
                f"1/{len(self.jobs)} to {len(self.jobs)}/{len(self.jobs)}."
            )
        return PackedJob(self, shard)


@dataclass(frozen=True)
class PackedJob:
    """The cells that a packing lists for one job."""

    packing: Packing
    shard: Shard

    def select(self, cells: Iterable[Cell]) -> tuple[Cell, ...]:
        """The listed cells, in their order here. UserError, with what differs, if one of them is not here; as
        `Identity.of`."""
        from tunefront.bench.execution.identity import Identity, Shared  # imports the libraries

        shared, keys = Shared(), self.packing.jobs[self.shard.number - 1]
        identities = [(cell, Identity.of(cell, shared)) for cell in cells]
        here = {identity.key for _, identity in identities}
        missing = [key for key in keys if key not in here]
        if missing:
            raise UserError(self._why_missing(missing, [flat(identity.ingredients) for _, identity in identities]))
        listed = set(keys)
        return tuple(cell for cell, identity in identities if identity.key in listed)

    def _why_missing(self, missing: Sequence[str], here: Iterable[Mapping[str, Any]]) -> str:
        """The message about listed cells that are not here: in what these differ, or which are not asked for."""
        here = list(here)
        same = {_asked(ingredients): ingredients for ingredients in here}
        differing: dict[str, None] = {}
        unknown: list[Mapping[str, Any]] = []
        for key in missing:
            there = self.packing.ingredients[key]
            found = same.get(_asked(there))
            if found is None:
                unknown.append(there)
            else:
                differing |= dict.fromkeys(differences(there, found))
        reasons = list(differing)
        if unknown:
            names = list(dict.fromkeys(_named(cell, here) for cell in unknown[:COMPARED]))
            more = " and others" if len(names) > NAMED or len(unknown) > COMPARED else ""
            reasons.append(f"the suite and the options of this call do not have {', '.join(names[:NAMED])}{more}")
        count = f"{len(missing):,} of the {len(self.packing.jobs[self.shard.number - 1]):,} cells"
        return (
            f"{count} that {self.packing.location} lists for job {self.shard} would be other cells on this machine: "
            f"{'; '.join(reasons) or 'keys are computed in another way'}. Give every machine the same code, data, "
            "weights and package versions, or submit again from a machine that has these."
        )


def flat(ingredients: Mapping[str, Any]) -> dict[str, Any]:  # Any: as in `Identity.ingredients`
    """Ingredients with each fingerprint by a name of its own."""
    flat = {name: value for name, value in ingredients.items() if name != "fingerprints"}
    return flat | {f"{PRINT}{name}": value for name, value in ingredients.get("fingerprints", {}).items()}


def _describes_a_cell(ingredients: Mapping[str, Any]) -> bool:  # Any: as in `_Content`
    """Whether these ingredients have what a message about a cell names."""
    named = all(isinstance(ingredients.get(name), str) for name in ("method", "backbone", "task"))
    return named and isinstance(ingredients.get("versions"), dict)


def _asked(ingredients: Mapping[str, Any]) -> str:
    """What a call asks for: the ingredients that do not depend on the machine."""
    fixed = {name for name in ingredients if name in ("versions", "schema_version") or name.startswith(PRINT)}
    return repr(sorted((name, _sorted(value)) for name, value in ingredients.items() if name not in fixed))


def _named(cell: Mapping[str, Any], here: Iterable[Mapping[str, Any]]) -> str:  # Any: as in `_Content`
    """A cell that no call here asks for, with its values that the most similar one here does not have."""
    place, asked = ("method", "backbone", "task"), _values(cell)
    similar = [_values(other) for other in here if all(other[name] == cell[name] for name in place)]
    missing = min(
        ([name for name, value in asked.items() if other.get(name) != value] for other in similar), key=len, default=[]
    )
    text = f"{cell['method']} on {cell['backbone']} and {cell['task']}"
    return f"{text} with {' '.join(f'{name}={asked[name]}' for name in missing[:NAMED])}" if missing else text


def _values(ingredients: Mapping[str, Any]) -> dict[str, Any]:  # Any: as in `_Content`
    """What a call asks for, with the fields of the recipe and of the settings beside the others."""
    groups = [ingredients.get(name) for name in ("recipe", "settings")]
    single = {name: ingredients.get(name) for name in ("shots", "draw_seed", "seed", "template")}
    return single | {name: value for group in groups if isinstance(group, Mapping) for name, value in group.items()}


def _sorted(value: object) -> object:
    """A mapping as sorted pairs: JSON does not keep the order of a program."""
    return sorted(value.items()) if isinstance(value, Mapping) else value


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[str]:
    """The ingredients in which a cell differs there and here, in words."""
    from tunefront.bench.execution.stale import FINGERPRINTS

    for name in dict.fromkeys([*there, *here]):
        if not name.startswith(PRINT) or there.get(name) == here.get(name):
            continue
        kind = name.removeprefix(PRINT)
        of = f" ({there[kind]})" if kind in ("method", "backbone", "task", "template") and there.get(kind) else ""
        yield f"{FINGERPRINTS.get(kind, kind)}{of} differs"
    then, now = there.get("versions", {}), here.get("versions", {})
    for package in dict.fromkeys([*then, *now]):
        if then.get(package) != now.get(package):
            yield f"{package} is {now.get(package, 'absent')}, not {then.get(package, 'absent')}"
    if there.get("schema_version") != here.get("schema_version"):
        yield f"records have version {here.get('schema_version')}, not {there.get('schema_version')}"


def _bytes(location: str) -> bytes:
    """The bytes of a file or URL; UserError if there is none, or if it cannot be read."""
    folder = local_folder(location)
    with nullcontext() if folder is not None else url_errors(location, "read"):
        try:
            return read_regular(folder) if folder is not None else _fetched(location)
        except FileNotFoundError as error:
            raise UserError(
                f"there is no packing file {printable(location, single_line=True)} here; `tunefront submit` writes it, "
                "and every job needs the same path to it."
            ) from error


def _fetched(url: str) -> bytes:
    import fsspec

    with fsspec.open(url, "rb") as file:
        content: bytes = file.read()
    return content
