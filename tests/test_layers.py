"""Who may import whom (the layout in CONTRIBUTING.md), read from the sources."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("bench", "methods", "reports")
SHARED = ("base", "inject", "sites", "registry")
"""The files of methods/ that are no method."""
METHOD_FILES = tuple(path.stem for path in sorted(ROOT.glob("methods/*.py")) if path.stem not in (*SHARED, "__init__"))
CONTRACT_WORDS = {"features"}
"""Methods' names that are words of the contract too: `Backbone.features` is what every head reads."""
LIGHT = {
    "bench": ("torch", "transformers", "datasets", "pandas", "matplotlib", "typer"),
    "bench.records": ("torch", "transformers", "datasets", "matplotlib", "typer"),
    "bench.files": ("torch", "transformers", "datasets", "pandas", "matplotlib", "typer"),
    "bench.templates": ("torch", "transformers", "datasets", "pandas", "matplotlib", "typer"),
    "bench.errors": ("torch", "transformers", "datasets", "pandas", "matplotlib", "typer"),
    "bench.pytest_plugin": ("torch", "transformers", "datasets", "pandas", "matplotlib", "typer"),
    "bench.cli": ("torch", "transformers", "datasets", "pandas", "matplotlib"),
    "reports": ("torch", "transformers"),
}
"""Modules that must stay quick to import, and what they may therefore not load."""


def imports(tree: ast.Module) -> Iterator[tuple[str, int, bool]]:
    """(module, line, whether inside a function); `from package import name` gives `package.name`."""
    inside = {
        child
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno, node in inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield "<relative>", node.lineno, node in inside
            else:
                yield from ((f"{node.module}.{alias.name}", node.lineno, node in inside) for alias in node.names)


def literals(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """(text, line) of every string that is no docstring: the docstring of an attribute is none either."""
    prose = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in prose:
            yield node.value, node.lineno


def violations(path: str, source: str) -> list[str]:
    """What is wrong with a source file at `path`, relative to the root."""
    tree = ast.parse(source)
    package, *_, stem = path.removesuffix(".py").split("/")
    found = [
        f"{path}:{line} imports {module}: {why}"
        for module, line, inside in imports(tree)
        if (why := _forbidden(package, path, stem, module, inside))
    ]
    if package == "bench":
        known = {name for name in METHOD_FILES if name not in CONTRACT_WORDS}
        named = [(text, line) for text, line in literals(tree) if text.split(":")[0].split("(")[0] in known]
        found += [f"{path}:{line} names a method: {text!r}" for text, line in named]
    return found


def _forbidden(package: str, path: str, stem: str, module: str, inside: bool) -> str | None:
    top, *rest = module.split(".")
    second = rest[0] if rest else None
    if top == "<relative>":
        return "relative imports hide the direction"
    if package == "methods":
        if top in ("torch", "transformers") or top in sys.stdlib_module_names:
            return None
        if top != "methods":
            return "methods import torch, transformers, the standard library and methods"
        is_method = stem not in SHARED and stem != "__init__"
        if is_method and second not in ("base", "inject", "sites"):
            return "a method imports methods.base, .inject and .sites only"
        return None
    if package == "bench":
        if top == "methods" and second in METHOD_FILES:
            return "bench knows no method"
        if top == "reports" and path != "bench/cli.py":
            return "only bench/cli.py imports reports"
        if top == "reports" and not inside:
            return "reports are imported inside a command"
        return None
    if top in ("torch", "transformers", "methods"):
        return "reports are drawn from stored records"
    if top == "bench" and second not in (
        "records",
        "errors",
        "files",
    ):  # files: writing whole or not at all, torch-free
        return "reports import bench.records, bench.errors and bench.files only"
    return None


@pytest.mark.parametrize(
    "path",
    [path.relative_to(ROOT).as_posix() for package in PACKAGES for path in sorted(ROOT.glob(f"{package}/**/*.py"))],
)
def test_no_import_goes_against_the_layers(path: str) -> None:
    assert not violations(path, ROOT.joinpath(path).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("path", "source", "complaint"),
    [
        ("methods/lora.py", "import bench", "methods import"),
        ("methods/lora.py", "def f():\n    from bench.trainer import Trainer", "methods import"),
        ("methods/lora.py", "import numpy", "methods import"),
        ("methods/lora.py", "from methods.houlsby import Bottleneck", "a method imports"),
        ("methods/lora.py", "from methods.registry import spell", "a method imports"),
        ("methods/inject.py", "from reports import write_report", "methods import"),
        ("methods/lora.py", "from .base import Method", "relative"),
        ("bench/runner.py", "from methods.houlsby import Houlsby", "knows no method"),
        ("bench/runner.py", "from methods import houlsby", "knows no method"),
        ("bench/meters/flops.py", "import methods.ia3 as ia3", "knows no method"),
        ("bench/runner.py", "def f(method):\n    return method.name == 'ia3'", "names a method"),
        ("bench/planning.py", "DEFAULT = ['houlsby:bottleneck=8']", "names a method"),
        ("bench/planning.py", "SPECIAL = {'full(x=1)': 1}", "names a method"),
        ("bench/runner.py", "def f():\n    from reports import write_report", "only bench/cli.py"),
        ("bench/cli.py", "from reports import write_report", "inside a command"),
        ("bench/cli.py", "if True:\n    import reports.plots", "inside a command"),
        ("reports/plots.py", "import torch.nn", "stored records"),
        ("reports/plots.py", "def f():\n    import transformers", "stored records"),
        ("reports/plots.py", "from methods.registry import label", "stored records"),
        ("reports/plots.py", "from bench.store import Store", "bench.records"),
        ("reports/plots.py", "from bench import api", "bench.records"),
        ("reports/plots.py", "import bench", "bench.records"),
    ],
)
def test_the_check_finds_what_it_looks_for(path: str, source: str, complaint: str) -> None:
    (found,) = violations(path, source)
    assert complaint in found


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (
            "methods/lora.py",
            "import math\nimport torch\nfrom transformers import T5Model\nfrom methods.base import Method",
        ),
        ("methods/registry.py", "from methods.base import Method\nfrom methods.inject import plug"),
        ("bench/runner.py", "from methods import Method\nfrom methods.registry import spell\nimport bench.store"),
        ("bench/runner.py", '"""Like `houlsby`."""\ndef f():\n    "ia3"\n    return batch.inputs["features"]'),
        ("bench/cli.py", "def report():\n    from reports import write_report"),
        ("reports/plots.py", "import pandas\nfrom bench.records import Record\nfrom bench.errors import Mistake"),
        ("reports/files.py", "from bench.files import writing"),
    ],
)
def test_the_check_lets_what_is_right_pass(path: str, source: str) -> None:
    assert not violations(path, source)


@pytest.mark.parametrize("module", LIGHT)
def test_a_light_module_stays_light(module: str) -> None:
    code = f"import sys, {module}; print(*[name for name in {LIGHT[module]!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stdout.split()


def test_help_imports_neither_torch_nor_transformers() -> None:
    code = (
        "import sys\nfrom bench.cli import app\ntry:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        "print('LOADED', *[name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "run" in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1].split() == ["LOADED"]
