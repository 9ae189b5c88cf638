"""The identity of a cell: everything that can change its numbers, and the key computed from it."""

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
from typing import Any, TypeVar

from tunefront.bench.cells import Cell
from tunefront.bench.data import sources
from tunefront.bench.data.sampling import published_fingerprint
from tunefront.bench.files import ROOT
from tunefront.bench.models import checkpoints, locate
from tunefront.bench.models.config import sites_fingerprint
from tunefront.bench.records import EARLIER, SCHEMA_VERSION
from tunefront.bench.records.environment import versions
from tunefront.bench.settings import as_scalars
from tunefront.bench.templates import find_template
from tunefront.methods.base import Method
from tunefront.methods.registry import source_fingerprint
from tunefront.methods.spelling import label, spell

T = TypeVar("T")

DECIDING = (
    *("methods/base.py", "methods/inject.py", "methods/torch_internals.py"),
    *("methods/unrecorded.py", "methods/sites/fused.py"),
    *("bench/data/task.py", "bench/data/sampling.py", "bench/data/quotas.py", "bench/data/metrics.py"),
    "bench/data/metric_classes.py",
    *("bench/templates/**/*.py", "bench/models/**/*.py", "bench/meters/**/*.py", "bench/training/**/*.py"),
    *("bench/execution/run_cell.py", "bench/execution/setup.py", "bench/execution/stages.py"),
    *("bench/execution/predictions.py", "bench/execution/collapse.py", "bench/execution/spans.py"),
)
"""Folders and files of the harness that affect numbers."""


@functools.cache
def harness_fingerprint() -> str:
    """sha256 over the code of the harness that affects numbers; comments, docstrings and layout do not count."""
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


class Shared:
    """What the identities of several cells have in common, such as the sources of a method: computed once, and kept as
    long as this object. Files that change meanwhile are not seen."""

    def __init__(self) -> None:
        self._known: dict[tuple[int | str, ...], tuple[Any, ...]] = {}  # Any: results of several types

    def once(self, compute: Callable[..., T], *arguments: object) -> T:
        """The result of a function of these immutable objects. Texts are known by their value, others by their ids, and
        so kept too: equal methods may be spelled differently."""
        place = (id(compute), *(known if isinstance(known, str) else id(known) for known in arguments))
        if place not in self._known:
            self._known[place] = (compute(*arguments), compute, arguments)
        result: T = self._known[place][0]
        return result


@dataclass(frozen=True)
class Identity:
    """The identity of a cell, computed once: the key of its record, and everything that can change its numbers.

    It has plain values only, so that it can be sent to a worker process; it does not contain the cell, because the
    class of a user's method cannot be pickled. `method_file` and `method_sources` are the origin of such a method.
    """

    key: str
    label: str
    ingredients: dict[str, Any]  # Any: nested dicts of scalars, as in JSON
    method_file: str | None
    method_sources: dict[str, str] | None

    @classmethod
    def of(cls, cell: Cell, shared: Shared | None = None) -> Identity:
        """The identity of a cell; moving a folder or file does not change the key. UserError if one cannot be found.

        `shared` is that of the other cells of the call.
        """
        shared = shared or Shared()
        parts_and_names = ingredients(cell, shared)
        parts = {name: value for name, value in parts_and_names.items() if name not in NAMES}
        parts["method"] = shared.once(_spelled_by_content, cell.method)
        return cls._build(_digest(parts), parts_and_names, cell, shared)

    @classmethod
    def of_no_files(cls, cell: Cell, *others: object) -> Identity:
        """The identity of a cell without files for its rows and backbone; `others` also determine its costs."""
        fields = cell_fields(cell)
        return cls._build(_digest([fields, *others], str), fields, cell, Shared())

    @classmethod
    def _build(cls, key: str, ingredients: dict[str, Any], cell: Cell, shared: Shared) -> Identity:  # Any: as the field
        """The identity of a cell with this key and these ingredients."""
        file, method_sources = shared.once(_method_origin, cell.method, cell.method_file)
        return cls(key, shared.once(label_of, cell.method), ingredients, file, method_sources)

    @property
    def versions(self) -> dict[str, str]:
        """Package name -> the version used by the cell."""
        return dict(self.ingredients["versions"])

    @property
    def fingerprints(self) -> dict[str, str]:
        """Name of a file-based ingredient -> its sha256; empty if the cell has none."""
        return dict(self.ingredients.get("fingerprints", {}))


def ingredients(cell: Cell, shared: Shared | None = None) -> dict[str, Any]:  # Any: nested dicts of scalars, as in JSON
    """Everything that can change the numbers of a cell; UserError if its task or backbone cannot be found."""
    shared = shared or Shared()
    own = {f"{FILE}{field}": digest for field, digest in shared.once(checkpoints.digests, cell.method).items()}
    prints = {"method": shared.once(source_fingerprint, cell.method), **own, **surroundings(cell, shared)}
    return {**cell_fields(cell, shared), "fingerprints": prints}


def without_method(cell: Cell, shared: Shared | None = None) -> dict[str, Any]:  # Any: as `ingredients`
    """The ingredients of a cell without those of its method, which is not read; errors as in `ingredients`."""
    return {**_fields_without_method(cell), "fingerprints": surroundings(cell, shared)}


def surroundings(cell: Cell, shared: Shared | None = None) -> dict[str, str]:
    """Fingerprints of a cell's backbone, rows, templates and harness; errors as in `ingredients`."""
    shared = shared or Shared()
    return {
        "backbone": shared.once(locate.fingerprint, cell.backbone),
        "task": shared.once(_task_fingerprint, cell.task),
        "sites": shared.once(sites_fingerprint, cell.backbone),
        "harness": harness_fingerprint(),
        **shared.once(_template, cell.task, cell.template),
        **_published(cell),
        **_earlier(cell, shared),
    }


def without_method_and_files(cell: Cell) -> dict[str, Any]:  # Any: as `ingredients`
    """`without_method` for a cell whose task or backbone is missing."""
    return {**_fields_without_method(cell), "fingerprints": {"harness": harness_fingerprint()}}


def cell_fields(cell: Cell, shared: Shared | None = None) -> dict[str, Any]:  # Any: as `ingredients`
    """The cell's own fields and package versions, without reading any file."""
    shared = shared or Shared()
    return {"method": shared.once(spell, cell.method), **_fields_without_method(cell)}


def _fields_without_method(cell: Cell) -> dict[str, Any]:  # Any: as `ingredients`
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
        "versions": versions(cell.method.packages if cell.method is not None else ()),  # None: of an unknown class
        **({} if cell.stage is None else {"stage": {"way": cell.stage.way, "replay_share": cell.stage.replay_share}}),
    }


def _spelled_by_content(method: Method) -> str:
    """The method with every field, and instead of the path of a file the sha256 of its content."""
    return spell(method, checkpoints.digests(method))


def _task_fingerprint(task: str) -> str:
    return sources.load_task(task).fingerprint


def _template(task: str, template: str | None) -> dict[str, str]:
    if template is None:
        return {}
    return {"template": find_template(sources.load_task(task), template).fingerprint}


def _published(cell: Cell) -> dict[str, str]:
    if not cell.config.published_draws:
        return {}
    drawn = published_fingerprint(cell, sources.load_task(cell.task))
    return {} if drawn is None else {"draw": drawn}


def _earlier(cell: Cell, shared: Shared) -> dict[str, str]:
    """Fingerprints of the earlier tasks of a stream, with their templates and published draws."""
    prints: dict[str, str] = {}
    for number, other in enumerate(cell.tasks[:-1] if cell.stage else (), 1):
        prints |= {
            f"{EARLIER}{number}": shared.once(_task_fingerprint, other.task),
            **{f"{name} of {EARLIER}{number}": value for name, value in _template(other.task, other.template).items()},
            **{f"{name} of {EARLIER}{number}": value for name, value in _published(other).items()},
        }
    return prints


FILE = "file:"
"""Prefix of the fingerprint of a file that a method reads, before the name of its field."""
NAMES = ("backbone", "task")
"""Ingredients that are only locations; the fingerprints identify the content."""


def _digest(parts: object, default: Callable[[object], str] | None = None) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=default).encode()).hexdigest()


def label_of(method: Method) -> str:
    """The method's short form, with the name and the start of the sha256 of each file, to distinguish contents."""
    names = {field: Path(path).stem for field, path in checkpoints.files_of(method).items()}
    digests = checkpoints.digests(method).items()
    return label(method, {field: f"{names[field]}@{digest[:8]}" for field, digest in digests})


def _method_origin(method: Method, method_file: str | None) -> tuple[str | None, dict[str, str] | None]:
    """The origin of a user's own method: its file, without folders above the working directory, and the sha256 of each
    source file."""
    if method_file is None:
        return None, None
    digests = {}
    for cls in type(method).__mro__:
        file = getattr(sys.modules.get(cls.__module__), "__file__", None)
        if file is not None and cls is not Method and issubclass(cls, Method):
            with suppress(OSError):  # defined interactively, or deleted since: the source fingerprint covers it
                digests[_origin(Path(file), cls.__module__)] = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    return _from_here(Path(method_file)), digests


def _origin(file: Path, module: str) -> str:
    """The name of a source file in a record: the module for installed files, the path for a user's files."""
    folders = [ROOT / "methods", *(Path(sysconfig.get_path(place)) for place in ("purelib", "platlib", "stdlib"))]
    return module if any(file.is_relative_to(folder) for folder in folders) else _from_here(file)


def _from_here(file: Path) -> str:
    """A file's path from the working directory; only its name if it lies elsewhere, to keep other paths private."""
    try:
        return file.resolve().relative_to(Path.cwd().resolve()).as_posix()
    except (ValueError, OSError):
        return file.name
