"""What can change a cell's numbers, and the key made of it."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import sys
import sysconfig
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunefront.bench.cells import Cell
from tunefront.bench.data import sources
from tunefront.bench.data.sampling import published_fingerprint
from tunefront.bench.files import ROOT
from tunefront.bench.models import checkpoints, locate
from tunefront.bench.models.config import sites_fingerprint
from tunefront.bench.records import SCHEMA_VERSION
from tunefront.bench.records.environment import versions
from tunefront.bench.settings import as_scalars
from tunefront.bench.templates import find_template
from tunefront.methods.base import Method
from tunefront.methods.registry import source_fingerprint
from tunefront.methods.spelling import label, spell

DECIDING = (
    *("methods/base.py", "methods/inject.py", "methods/torch_internals.py"),
    *("bench/data/task.py", "bench/data/sampling.py", "bench/data/metrics.py", "bench/data/metric_classes.py"),
    *("bench/templates/**/*.py", "bench/models/**/*.py", "bench/meters/**/*.py", "bench/training/**/*.py"),
    *("bench/execution/run_cell.py", "bench/execution/setup.py", "bench/execution/predictions.py"),
)
"""Rooms and files of the harness that decide about numbers."""


@functools.cache
def harness_fingerprint() -> str:
    """sha256 over the code of the harness that decides about numbers; comments, docstrings and layout do not count."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in DECIDING for path in ROOT.glob(pattern)):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                node.body = [part for part in body if not _is_text(part)]  # type: ignore[attr-defined]
        digest.update(path.relative_to(ROOT).as_posix().encode() + ast.dump(tree).encode())
    return digest.hexdigest()


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


@dataclass(frozen=True)
class Identity:
    """What a cell is, found out once: the key of its record, and everything that can change its numbers.

    Plain values, so that it travels to a worker process; the cell itself is not among them, since the class of a user's
    own method cannot. `method_file` and `method_sources` say where such a method comes from.
    """

    key: str
    label: str
    ingredients: dict[str, Any]  # Any: nested dicts of scalars, as JSON has them
    method_file: str | None
    method_sources: dict[str, str] | None

    @classmethod
    def of(cls, cell: Cell) -> Identity:
        """The identity of a cell; a moved folder or file keeps its key. UserError where it cannot be found."""
        found = ingredients(cell)
        parts = {name: value for name, value in found.items() if name not in NAMES}
        parts["method"] = spell(cell.method, checkpoints.digests(cell.method))
        return cls._known(_digest(parts), found, cell)

    @classmethod
    def of_no_files(cls, cell: Cell, *beside: object) -> Identity:
        """The identity of a cell whose rows and backbone are no files, `beside` what else its costs follow from."""
        found = cell_fields(cell)
        return cls._known(_digest([found, *beside], str), found, cell)

    @classmethod
    def _known(cls, key: str, ingredients: dict[str, Any], cell: Cell) -> Identity:  # Any: as the field
        """The identity of a cell whose key and ingredients are known."""
        file, sources_of = _method_origin(cell)
        return cls(key, label_of(cell.method), ingredients, file, sources_of)

    @property
    def versions(self) -> dict[str, str]:
        """Package name -> the version that the cell runs with."""
        return dict(self.ingredients["versions"])

    @property
    def fingerprints(self) -> dict[str, str]:
        """What is made of files -> its sha256; nothing where the cell has none."""
        return dict(self.ingredients.get("fingerprints", {}))


def ingredients(cell: Cell) -> dict[str, Any]:  # Any: nested dicts of scalars, as JSON has them
    """Everything that can change the numbers of a cell; UserError where its task or backbone cannot be found."""
    own = {f"{FILE}{field}": digest for field, digest in checkpoints.digests(cell.method).items()}
    prints = {"method": source_fingerprint(cell.method), **own, **surroundings(cell)}
    return {**cell_fields(cell), "fingerprints": prints}


def around(cell: Cell) -> dict[str, Any]:  # Any: as `ingredients`
    """The ingredients of a cell but those of its method, which is not looked at; errors as in `ingredients`."""
    return {**_told(cell), "fingerprints": surroundings(cell)}


def surroundings(cell: Cell) -> dict[str, str]:
    """What a cell's backbone, rows and templates are, and the harness; errors as in `ingredients`."""
    return {
        "backbone": locate.fingerprint(cell.backbone),
        "task": sources.load_task(cell.task).fingerprint,
        "sites": sites_fingerprint(cell.backbone),
        "harness": harness_fingerprint(),
        **_template(cell),
        **_published(cell),
    }


def around_unfound(cell: Cell) -> dict[str, Any]:  # Any: as `ingredients`
    """What `around` has of a cell whose task or backbone is not found."""
    return {**_told(cell), "fingerprints": {"harness": harness_fingerprint()}}


def cell_fields(cell: Cell) -> dict[str, Any]:  # Any: as `ingredients`
    """What a cell is called and told, and the versions it would run with; no file is looked at."""
    return {"method": cell.spelled, **_told(cell)}


def _told(cell: Cell) -> dict[str, Any]:  # Any: as `ingredients`
    return {
        "schema_version": SCHEMA_VERSION,
        "backbone": cell.backbone,
        "task": cell.task,
        "shots": cell.shots,
        "draw_seed": cell.draw_seed,
        "seed": cell.seed,
        "template": cell.template,
        "recipe": as_scalars(cell.recipe),
        "settings": as_scalars(cell.config),
        "versions": versions(),
    }


def _template(cell: Cell) -> dict[str, str]:
    if cell.template is None:
        return {}
    return {"template": find_template(sources.load_task(cell.task), cell.template).fingerprint}


def _published(cell: Cell) -> dict[str, str]:
    drawn = published_fingerprint(cell, sources.load_task(cell.task))
    return {} if drawn is None else {"draw": drawn}


FILE = "file:"
"""What the fingerprint of a file that a method reads is called, before the name of its field."""
NAMES = ("backbone", "task")
"""Ingredients that only say where something lies; what it is, is in the fingerprints."""


def _digest(parts: object, default: Callable[[object], str] | None = None) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=default).encode()).hexdigest()


def label_of(method: Method) -> str:
    """The method's short form, its files by name and the start of their sha256: other content is another method."""
    names = {field: Path(path).stem for field, path in checkpoints.files_of(method).items()}
    found = checkpoints.digests(method).items()
    return label(method, {field: f"{names[field]}@{digest[:8]}" for field, digest in found})


def _method_origin(cell: Cell) -> tuple[str | None, dict[str, str] | None]:
    """Where a user's own method comes from, without a folder above the working one: its file, and the sha256 of each
    source file."""
    if cell.method_file is None:
        return None, None
    found = {}
    for cls in type(cell.method).__mro__:
        file = getattr(sys.modules.get(cls.__module__), "__file__", None)
        if file is not None and cls is not Method and issubclass(cls, Method):
            with suppress(OSError):  # typed in, or gone since: the fingerprint of the source has it
                found[_origin(Path(file), cls.__module__)] = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    return _from_here(Path(cell.method_file)), found


def _origin(file: Path, module: str) -> str:
    """What a source file is called in a record: installed ones as modules, those of a user by their path."""
    folders = [ROOT / "methods", *(Path(sysconfig.get_path(place)) for place in ("purelib", "platlib", "stdlib"))]
    return module if any(file.is_relative_to(folder) for folder in folders) else _from_here(file)


def _from_here(file: Path) -> str:
    """A file's path from the working folder; its name alone where it lies elsewhere, for where is nobody's business."""
    try:
        return file.resolve().relative_to(Path.cwd().resolve()).as_posix()
    except (ValueError, OSError):
        return file.name
