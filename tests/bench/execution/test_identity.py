"""The files of the harness in a key: every file that a cell imports is listed as affecting numbers or not."""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests import ROOT
from tests.bench.execution.grids import Grid
from tests.structure import file_imports
from tunefront.bench.cells import Cell
from tunefront.bench.execution import identity
from tunefront.methods.base import Method

NOT_DECIDING = (
    # Files that only hold, name or store a cell and its record.
    *(
        "bench/__init__.py",
        "bench/cells.py",
        "bench/settings.py",
        "bench/errors.py",
        "bench/files.py",
        "bench/quiet.py",
        "bench/collector.py",
    ),
    *("bench/execution/__init__.py", "bench/execution/identity.py", "bench/data/__init__.py", "bench/data/cache.py"),
    *("bench/execution/interruption.py", "bench/execution/unchanged.py", "bench/records/*.py"),
    # It times queries after everything that a key stands for; the record's version says what these seconds mean.
    "bench/execution/latency.py",
    # What is kept of a fitted cell, and where else it can be loaded.
    *("bench/checkpoints/__init__.py", "bench/checkpoints/[lms]*.py", "bench/checkpoints/exports/[!w]*.py"),
    # Files whose data has its own fingerprint: the rows of a task, methods, sites.
    *("bench/data/sources/*.py", "bench/data/archives/*.py", "bench/data/overlap.py", "bench/data/hashing.py"),
    "bench/data/reading.py",
    *(
        "methods/__init__.py",
        "methods/checking.py",
        "methods/counterparts.py",
        "methods/registry.py",
        "methods/spelling.py",
        *(f"methods/sites/{name}.py" for name in ("__init__", "patterns", "record", "encoders", "decoders", "seq2seq")),
    ),
)
"""Files that a cell imports and whose code is not part of its key."""


def files_of(patterns: tuple[str, ...]) -> set[str]:
    return {path.relative_to(ROOT).as_posix() for pattern in patterns for path in ROOT.glob(pattern)}


def run_through() -> set[str]:
    """The files that `run_cell` imports, directly or indirectly, and their packages."""
    graph = file_imports(ROOT)
    files, waiting = set(), ["bench/execution/run_cell.py"]
    while waiting:
        file = waiting.pop()
        if file not in files:
            files.add(file)
            waiting += graph[file]
            waiting += [f"{parent}/__init__.py" for parent in Path(file).parents if f"{parent}/__init__.py" in graph]
    return files


@pytest.mark.parametrize("pattern", [*identity.DECIDING, *NOT_DECIDING])
def test_each_entry_stands_for_a_file(pattern: str) -> None:
    assert list(ROOT.glob(pattern))


def test_every_file_that_a_cell_runs_through_is_known_to_decide_or_not() -> None:
    deciding, others = files_of(identity.DECIDING), files_of(NOT_DECIDING)
    assert not deciding & others
    assert run_through() <= deciding | others, sorted(run_through() - deciding - others)


def test_no_file_is_excused_that_no_cell_runs_through() -> None:
    unused = files_of(NOT_DECIDING) - run_through()
    assert not unused - files_of(("bench/records/*.py", "bench/data/sources/*.py"))


def test_what_a_cell_runs_through_is_followed_into_rooms() -> None:
    """The rows' order, a step, closed forms of attention and the sandbox: a change in any of them changes the key."""
    assert {
        "bench/data/task.py",
        "bench/training/step.py",
        "bench/meters/flops/analytic/attention.py",
        "bench/templates/sandbox/filters.py",
    } <= run_through() & files_of(identity.DECIDING)


def test_the_code_of_a_deciding_file_counts_and_its_comments_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "ROOT", tmp_path)
    folder = tmp_path / "bench" / "training"
    folder.mkdir(parents=True)

    def fingerprint(code: str) -> str:
        (folder / "step.py").write_text(code, encoding="utf-8")
        identity.harness_fingerprint.cache_clear()
        return identity.harness_fingerprint()

    one = fingerprint('"""A."""\n\ndef f(x):\n    """Doubles."""\n    return 2 * x  # twice\n')
    assert fingerprint('def f(x):\n    """Two times x."""\n    return (2 * x)\n') == one
    assert fingerprint("def f(x):\n    return 3 * x\n") != one
    identity.harness_fingerprint.cache_clear()


def test_shared_work_changes_no_key(grid: Callable[..., Grid]) -> None:
    """Keys against the plain computation: the method's sources parsed anew, every ingredient computed for each cell."""
    from tunefront.bench.data.sources import load_task
    from tunefront.bench.models import locate
    from tunefront.bench.models.config import sites_fingerprint
    from tunefront.bench.records import SCHEMA_VERSION
    from tunefront.bench.records.environment import versions

    def plain(cell: Cell) -> str:
        parts = {
            "schema_version": SCHEMA_VERSION,
            "method": "features" if cell.method.name == "features" else "houlsby:bottleneck=4,std=1.0,norms=true",
            **{name: getattr(cell, name) for name in ("shots", "draw_seed", "seed", "template")},
            "recipe": asdict(cell.recipe),
            "settings": asdict(cell.config),
            "versions": versions(),
            "fingerprints": {
                "method": plain_fingerprint(cell.method),
                "backbone": locate.fingerprint(cell.backbone),
                "task": load_task(cell.task).fingerprint,
                "sites": sites_fingerprint(cell.backbone),
                "harness": identity.harness_fingerprint(),
            },
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def plain_fingerprint(method: Method) -> str:
        own = {cls.__module__ for cls in type(method).__mro__}
        texts = [
            source(cls.__module__) for cls in type(method).__mro__ if issubclass(cls, Method) and cls is not Method
        ]
        imported: dict[str, str] = {}
        waiting = list(texts)
        while waiting:
            for node in ast.walk(ast.parse(waiting.pop())):
                module = str(node.module) if isinstance(node, ast.ImportFrom) else ""
                if is_method(module) and module not in imported:
                    imported[module] = source(module)
                    waiting.append(imported[module])
        texts += [imported[module] for module in sorted(imported.keys() - own)]
        return hashlib.sha256("".join(texts).encode()).hexdigest()

    def source(module: str) -> str:
        return Path(str(sys.modules[module].__file__)).read_text(encoding="utf-8")

    def is_method(module: str) -> bool:
        contract = ("base", "checking", "registry", "spelling", "inject", "torch_internals")
        package, _, stem = module.rpartition(".")
        return package == "tunefront.methods" and stem not in contract and (ROOT / "methods" / f"{stem}.py").is_file()

    shared = identity.Shared()
    cells = grid(methods=("features", "houlsby:bottleneck=4,std=1"), seeds=2).cells()
    cells += [replace(cell, shots=8, draw_seed=1) for cell in cells]
    keys = [identity.Identity.of(cell, shared).key for cell in cells]
    assert len(set(keys)) == 8
    assert keys == [identity.Identity.of(cell).key for cell in cells] == [plain(cell) for cell in cells]
