"""Allowed imports, checked in the sources: one ordered list of rooms, and a few more rules."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests import ROOT
from tests.structure import PACKAGES, back_imports, cycles, file_imports, imports, measured, room_imports

ORDER = (
    *("methods.torch_internals", "methods.sites", "methods.base", "methods.unrecorded", "methods.inject"),
    "methods.counterparts",
    *("methods.checking", "methods.registry", "methods.spelling", "methods"),
    *("bench", "bench.errors", "bench.files", "bench.quiet", "bench.collector", "bench.settings", "bench.cells"),
    *("bench.data", "bench.templates", "bench.records", "bench.models", "bench.meters", "bench.training"),
    "bench.checkpoints",
    *("bench.check", "bench.suites", "bench.execution", "bench.forecast", "bench.probe", "bench.papers", "bench.api"),
    *("reports.units", "reports.names", "reports.tables", "reports.trackers"),
    *("reports.compare", "reports.costs", "reports.sections", "reports.plots", "reports.formats", "reports"),
    *("bench.cli", "bench.pytest_plugin"),
)
"""Rooms from the ground up. A file imports its own room and those before it; `methods` also stands for the methods'
own files, `bench` and `reports` for their `__init__`."""
APART = frozenset({("bench.execution", "bench.suites")})
"""(room, earlier room that it may not import): the code that runs cells does not know where they come from."""
SHARED = ("base", "checking", "counterparts", "inject", "registry", "spelling", "torch_internals", "unrecorded")
"""The files of methods/ that are no method. Those of methods/sites/ are none either, with the imports of a method."""
METHOD_FILES = tuple(path.stem for path in sorted(ROOT.glob("methods/*.py")) if path.stem not in (*SHARED, "__init__"))
CONTRACT_WORDS = {"features", "peft"}
"""Names of methods that are also names in the contract: `Backbone.features` is the input of every head, and peft a
library for which a method can say its form."""
LAZY = {
    "methods/peft.py": ("peft",),
    "methods/peft_adapters.py": ("peft", "safetensors"),
    "methods/peft_configs.py": ("peft",),
}
"""Files of methods that run on an optional package or read files, and what they import only inside functions."""
IMPORT_BY_STRING = ("methods/registry.py", "bench/models/config.py")
"""Files that import modules by name: methods, and an architecture's code in transformers."""
FOR_REPORTS = ("records", "errors", "files")
"""Rooms of bench that reports may import: none of them needs torch."""
HEAVY = ("torch", "transformers", "datasets", "matplotlib")
LIGHT = {
    "tunefront": (*HEAVY, "pandas", "pydantic", "typer"),
    "tunefront.bench": (*HEAVY, "pandas", "pydantic", "typer"),
    "tunefront.bench.records": (*HEAVY, "typer"),
    "tunefront.bench.files": (*HEAVY, "pandas", "typer"),
    "tunefront.bench.templates": (*HEAVY, "pandas", "typer"),
    "tunefront.bench.errors": (*HEAVY, "pandas", "typer"),
    "tunefront.bench.pytest_plugin.plugin": (*HEAVY, "pandas", "pydantic", "typer", "rich", "tunefront.bench.errors"),
    "tunefront.bench.cli.main": (*HEAVY, "pandas", "rich.table"),
    "tunefront.reports": ("torch", "transformers"),
}
"""Modules that must stay fast to import, and the modules that they may therefore not load."""


def room_of(module: str) -> str:
    """The room of a module or of a name in it, both without `tunefront.`: the first entry of `ORDER` that fits."""
    parts = module.split(".")
    second = ".".join(parts[:2])
    return second if second in ORDER else parts[0]


def literals(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """(text, line) of every string that is no docstring: the docstring of an attribute is none either."""
    prose = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in prose:
            yield node.value, node.lineno


def violations(path: str, source: str) -> list[str]:
    """The complaints about a source file at `path`, relative to the root."""
    tree = ast.parse(source)
    complaints = [
        f"{path}:{known.line} imports {known.module}: {why}"
        for known in imports(tree)
        if (why := _forbidden(path, known.module, known.inside))
        and not (known.inside and known.module.split(".")[0] in LAZY.get(path, ()))
    ]
    if path not in IMPORT_BY_STRING:
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        names = [(ast.unparse(call.func).split(".")[-1], call.lineno) for call in calls]
        complaints += [
            f"{path}:{line} imports by a string" for name, line in names if name in ("import_module", "__import__")
        ]
    if path.startswith("bench/"):
        known = {name for name in METHOD_FILES if name not in CONTRACT_WORDS}
        named = [(text, line) for text, line in literals(tree) if text.split(":")[0].split("(")[0] in known]
        complaints += [f"{path}:{line} names a method: {text!r}" for text, line in named]
    return complaints


def _forbidden(path: str, module: str, inside: bool) -> str | None:
    own = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    package = own.split(".")[0]
    top, *rest = module.split(".")
    if top == "<relative>":
        return "relative imports hide the direction"
    if top in PACKAGES:
        return f"it is called tunefront.{top}"
    if top != "tunefront":
        return _forbidden_library(package, top)
    if not rest or rest[0] not in PACKAGES:
        return "tunefront names what is public: import it from where it stands"
    if len(rest) == 1:
        return f"all of {rest[0]} could be reached through it: import a module"
    room, other, second = room_of(own), room_of(".".join(rest)), rest[1] if rest[1:] else ""
    if rest[0] == "methods" and package == "bench" and second in METHOD_FILES:
        return "bench knows no method"
    if rest[0] == "methods" and package == "reports":
        return "reports are drawn from stored records"
    if rest[0] == "bench" and package == "reports" and second not in FOR_REPORTS:
        return "reports import bench.records, bench.errors and bench.files only"
    if rest[0] == "reports" and package == "bench" and room != "bench.cli":
        return "only bench.cli imports reports"
    if rest[0] == "reports" and package == "bench" and not inside:
        return "reports are imported inside a command"
    for_methods = ("base", "counterparts", "inject", "sites", "unrecorded", *METHOD_FILES)
    if room == "methods" and own != "methods" and second not in for_methods:
        return "a method imports methods.base, .counterparts, .inject, .sites, .unrecorded and what methods share only"
    if (room, other) in APART:
        return f"{room} does not know {other}"
    if ORDER.index(other) > ORDER.index(room):
        return f"{other} stands above {room}"
    return None


def _forbidden_library(package: str, top: str) -> str | None:
    if package == "methods" and top not in ("torch", "transformers") and top not in sys.stdlib_module_names:
        return "methods import torch, transformers, the standard library and methods"
    if package == "reports" and top in ("torch", "transformers"):
        return "reports are drawn from stored records"
    return None


SOURCES = [path.relative_to(ROOT).as_posix() for name in PACKAGES for path in sorted(ROOT.glob(f"{name}/**/*.py"))]


@pytest.mark.parametrize("path", SOURCES)
def test_no_import_goes_against_the_layers(path: str) -> None:
    assert not violations(path, ROOT.joinpath(path).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("path", "source", "complaint"),
    [
        ("methods/lora.py", "import tunefront.bench", "import a module"),
        ("methods/lora.py", "def f():\n    from tunefront.bench.training.harness import MeasuringHarness", "only"),
        ("methods/base.py", "from tunefront.bench.errors import UserError", "stands above"),
        ("methods/lora.py", "import numpy", "methods import"),
        ("methods/peft.py", "import peft", "methods import"),
        ("methods/lora.py", "def f():\n    import peft", "methods import"),
        ("methods/lora.py", "import methods.base", "called tunefront.methods"),
        ("methods/sites/decoders.py", "from tunefront.methods.registry import find", "stands above"),
        ("methods/inject.py", "from tunefront.methods.houlsby import Bottleneck", "stands above"),
        ("methods/lora.py", "from tunefront.methods.spelling import spell", "a method imports"),
        ("methods/inject.py", "from tunefront.reports import write", "stands above"),
        ("methods/lora.py", "from .base import Method", "relative"),
        ("bench/execution/run_cell.py", "from tunefront.methods.houlsby import Houlsby", "knows no method"),
        ("bench/execution/run_cell.py", "from tunefront.methods import houlsby", "knows no method"),
        ("bench/meters/time.py", "import tunefront.methods.ia3 as ia3", "knows no method"),
        ("bench/meters/time.py", "def f(method):\n    return method.name == 'ia3'", "names a method"),
        ("bench/suites/expand.py", "DEFAULT = ['houlsby:bottleneck=8']", "names a method"),
        ("bench/suites/expand.py", "SPECIAL = {'full(x=1)': 1}", "names a method"),
        ("bench/data/task.py", "from tunefront.bench.models.locate import locate", "stands above"),
        ("bench/models/examples.py", "from tunefront.bench.meters.flops.counted import Shape", "stands above"),
        ("bench/execution/grid.py", "from tunefront.bench.suites.expand import expand", "does not know"),
        ("bench/files.py", "from tunefront.bench.cells import Cell", "stands above"),
        ("bench/new.py", "from tunefront.bench.cells import Cell", "stands above"),
        ("bench/api.py", "from tunefront.bench.cli import console", "stands above"),
        ("bench/api.py", "from tunefront import run", "names what is public"),
        ("bench/execution/run_cell.py", "def f():\n    from tunefront.reports import write", "only bench.cli"),
        ("bench/cli/run.py", "from tunefront.reports import write", "inside a command"),
        ("bench/cli/run.py", "if True:\n    import tunefront.reports.plots", "inside a command"),
        ("reports/plots/bars.py", "import torch.nn", "stored records"),
        ("reports/plots/bars.py", "def f():\n    import transformers", "stored records"),
        ("reports/plots/bars.py", "from tunefront.methods.spelling import label", "stored records"),
        ("reports/plots/bars.py", "from tunefront.bench import api", "bench.records"),
        ("reports/plots/bars.py", "import tunefront.bench", "import a module"),
        ("bench/data/task.py", "from tunefront import bench", "import a module"),
        ("bench/data/task.py", "import tunefront.bench as b", "import a module"),
        ("bench/execution/run_cell.py", "from tunefront import methods", "import a module"),
        ("bench/data/task.py", "import importlib\nimportlib.import_module('tunefront.reports')", "by a string"),
        ("reports/plots/bars.py", "def f():\n    __import__('torch')", "by a string"),
        ("reports/costs/memory.py", "from tunefront.reports.sections import scores", "stands above"),
        ("reports/units.py", "from tunefront.reports.tables import Table", "stands above"),
    ],
)
def test_the_check_finds_what_it_looks_for(path: str, source: str, complaint: str) -> None:
    (complaints,) = violations(path, source)
    assert complaint in complaints


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("methods/peft.py", "def f():\n    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING"),
        ("methods/lora.py", "import math\nimport torch\nfrom transformers import T5Model"),
        ("methods/lora.py", "from tunefront.methods.base import Method\nfrom tunefront.methods.inject import plug"),
        ("methods/lora.py", "from tunefront.methods.houlsby import Bottleneck"),
        ("methods/registry.py", "from tunefront.methods.base import Method"),
        ("methods/sites/decoders.py", "from tunefront.methods.sites.record import Sites"),
        ("methods/spelling.py", "from tunefront.methods.registry import find"),
        ("bench/execution/run_cell.py", "from tunefront.methods import Method\nimport tunefront.bench.records.store"),
        ("bench/execution/run_cell.py", '"""Like `houlsby`."""\ndef f():\n    "ia3"\n    return inputs["features"]'),
        ("bench/cli/run.py", "def report():\n    from tunefront.reports import write"),
        ("reports/plots/bars.py", "import pandas\nfrom tunefront.bench.records import Record"),
        ("reports/formats/writing.py", "from tunefront.bench.files import writing"),
    ],
)
def test_the_check_lets_what_is_right_pass(path: str, source: str) -> None:
    assert not violations(path, source)


def test_every_room_is_in_the_order() -> None:
    rooms = {room_of(path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")) for path in SOURCES}
    assert rooms == set(ORDER)


def test_no_import_runs_back_and_nothing_goes_round() -> None:
    files = file_imports(ROOT)
    assert back_imports(room_imports(files)) == 0
    assert not cycles(files)


def test_the_house_stays_small() -> None:
    """Fourteen rooms and an annex in bench, and the few files that a reader must know anyway."""
    complaints = measured(ROOT)
    assert complaints["loose files in bench"] <= 8
    assert (complaints["folders in bench"], complaints["folders in reports"]) == (15, 6)


def test_what_is_measured_of_a_structure_is_right() -> None:
    ring = {1: {2}, 2: {3}, 3: {1}, 4: {1, 5}, 5: set()}
    assert cycles(ring) == [{1, 2, 3}]
    assert back_imports(ring) == 1
    both = {1: {2, 3}, 2: {1, 3}, 3: {1, 2}}
    assert back_imports(both) == 3
    assert back_imports({1: {2}, 2: {3}, 3: set()}) == 0


def test_tests_mirror_the_rooms() -> None:
    """Each room has its own folder of tests; other tests are only at the top, for what concerns every room."""
    folders = {
        path.parent.relative_to(ROOT).as_posix() for package in PACKAGES for path in ROOT.glob(f"{package}/**/*.py")
    }
    tests = {path.relative_to(ROOT / "tests") for path in ROOT.glob("tests/**/test_*.py")}
    mirrored = {path.parent.as_posix() for path in tests}
    assert mirrored - {"."} <= folders | {"benchmarks", "fuzz", "gpu", "nano", "peers", "torture"}
    rooms = {"/".join(folder.split("/")[:2]) for folder in folders if "/" in folder}
    assert rooms - {"/".join(folder.split("/")[:2]) for folder in mirrored} <= {"methods/sites"}
    loose = {path.stem for path in ROOT.glob("bench/*.py")} | {path.stem for path in ROOT.glob("reports/*.py")}
    top_level = {path.stem.removeprefix("test_") for path in tests if path.parent.as_posix() in ("bench", "reports")}
    assert top_level <= loose


@pytest.mark.parametrize("module", LIGHT)
def test_a_light_module_stays_light(module: str) -> None:
    code = f"import sys, {module}; print(*[name for name in {LIGHT[module]!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stdout.split()


def test_help_imports_neither_torch_nor_transformers() -> None:
    code = (
        "import sys\nfrom tunefront.bench.cli.main import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        "print('LOADED', *[name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "run" in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1].split() == ["LOADED"]
