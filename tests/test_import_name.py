"""One import name: the public names, the checkout they come from, and nothing under a bare name."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tunefront
from tests import ROOT
from tests.structure import PACKAGES
from tunefront.bench import files
from tunefront.bench.data import cache
from tunefront.bench.execution.engines import pool
from tunefront.bench.execution.identity import DECIDING, harness_fingerprint
from tunefront.bench.models.locate import NANO
from tunefront.bench.records import environment

WHERE = """
import json, sys
import tunefront, tunefront.bench, tunefront.reports
from tunefront.bench.execution.identity import harness_fingerprint
from tunefront.bench.files import ROOT
from tunefront.bench.suites.toml import known_suites
from tunefront.methods.registry import methods, source_fingerprint
modules = [tunefront.bench, tunefront.reports, *(sys.modules[cls.__module__] for cls in methods().values())]
places = [module.__file__ for module in modules]
fingerprints = {name: source_fingerprint(cls()) for name, cls in methods().items()}
print(json.dumps([str(ROOT), places, harness_fingerprint(), fingerprints, sorted(known_suites())]))
"""
"""Prints the origin of every module, and the ingredients of keys."""


@functools.cache  # each takes seconds
def where(folder: Path, *search: Path) -> tuple[str, list[str], list[object]]:
    """(root, origins, ingredients of keys) of a Python that starts in a folder."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, search)), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", WHERE], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    root, places, *rest = json.loads(done.stdout)
    return root, places, rest


@pytest.fixture(scope="module")
def other_checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of this checkout in another place."""
    folder = tmp_path_factory.mktemp("checkouts") / "other"
    folder.mkdir()
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name in ("tunefront", *PACKAGES):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    return folder


@pytest.mark.parametrize("name", PACKAGES)
def test_a_bare_name_says_what_to_import(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", f"import {name}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ImportError: ")
    assert f"import tunefront.{name}" in done.stderr


def test_every_public_name_is_there() -> None:
    calls, kinds = (
        {"run", "stream", "ablate", "mix", "mixed_model", "plan", "check", "report", "diff", "push"}
        | {"predict", "export", "probe", "load_records"},
        {"Record", "Records", "Method", "Recipe", "Sites"},
    )
    public = calls | kinds | {"Unsupported", "plug"}
    assert set(tunefront.__all__) == public
    assert all(getattr(tunefront, name).__name__ for name in public - {"report"})
    assert tunefront.report is tunefront.reports.write
    assert public <= set(dir(tunefront))
    with pytest.raises(AttributeError, match="nothing_such"):
        tunefront.nothing_such  # noqa: B018


def test_what_the_checker_sees_is_what_there_is() -> None:
    tree = ast.parse(Path(str(tunefront.__file__)).read_text(encoding="utf-8"))
    (typed,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    declared = {
        alias.asname: (node.module, alias.name)
        for node in typed.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert declared == tunefront._FROM


@pytest.mark.parametrize("name", ["tunefront", "tunefront.bench", "tunefront.methods", "tunefront.reports"])
def test_what_is_tested_is_this_checkout(name: str) -> None:
    assert Path(str(importlib.import_module(name).__file__)).is_relative_to(ROOT)


def test_of_two_checkouts_the_one_at_hand_is_whole(other_checkout: Path) -> None:
    """Another checkout is on the path, as if installed; and the other way round."""
    for here, there in ((other_checkout, ROOT), (ROOT, other_checkout)):
        root, places, _ = where(here, there)
        assert root == str(here)
        assert len(places) > 5
        assert all(Path(place).is_relative_to(here) for place in places), places


def test_paths_and_keys_of_a_checkout_do_not_depend_on_where_it_stands(other_checkout: Path) -> None:
    assert where(other_checkout, ROOT)[2] == where(ROOT, other_checkout)[2]


def test_an_installed_package_does_not_claim_its_neighbours(other_checkout: Path, tmp_path: Path) -> None:
    """In site-packages another package may be called bench, and there may be a pyproject.toml."""
    site = tmp_path / "site"
    shutil.copytree(other_checkout / "tunefront", site / "tunefront")
    for name in PACKAGES:
        shutil.copytree(other_checkout / name, site / "tunefront" / name)
    (site / "bench").mkdir()
    (site / "bench" / "__init__.py").write_text("raise SystemExit('another bench was imported')\n", encoding="utf-8")
    (site / "pyproject.toml").touch()
    assert where(site)[2] == where(ROOT, other_checkout)[2], "a checkout and an installed copy give equal keys"


def test_the_root_is_one_and_what_hangs_on_it_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert files.ROOT == ROOT
    assert NANO.joinpath("model.safetensors").is_file()
    monkeypatch.delenv("TUNEFRONT_CACHE", raising=False)
    assert cache.folder() == ROOT / "data_cache"
    if (ROOT / ".git").exists():
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
        assert str(environment.git_commit()).rstrip("+") == head.stdout.strip()


def test_the_fingerprint_of_the_harness_covers_the_rooms_that_decide() -> None:
    assert all(list(ROOT.glob(pattern)) for pattern in DECIDING)
    covered = {path.relative_to(ROOT).as_posix() for pattern in DECIDING for path in ROOT.glob(pattern)}
    expected = {"bench/data/task.py", "bench/models/families/decoder.py", "bench/meters/flops/analytic/passes.py"}
    assert expected | {"bench/training/step.py", "bench/templates/sandbox/filters.py", "methods/inject.py"} <= covered
    assert re.fullmatch("[0-9a-f]{64}", harness_fingerprint())


@pytest.mark.parametrize("module", pool.PRELOAD)
def test_what_a_fork_server_is_to_import_is_there(module: str) -> None:
    """It silently skips a module that it does not find."""
    assert importlib.util.find_spec(module) is not None


ROOMS = "|".join(sorted({path.stem for name in PACKAGES for path in ROOT.joinpath(name).iterdir()} - {"__init__"}))
NAMES = "(?:bench|methods|reports)"
BARE = re.compile(
    rf"(?<![\w./-]){NAMES}\.(?:{ROOMS})\b(?!\()"  # a module
    rf"|(?:^\s*|[\"'`;]\s*|\\n\s*|>>> )(?:import|from) {NAMES}\b"  # an import, in a text too
    rf"|\b(?:files|import_module|find_spec|__import__)\(f?[\"']{NAMES}[\"'.]"  # a name that is looked up
    rf"|-m {NAMES}\b|[\"']-m[\"'], [\"']{NAMES}\b"
    rf"|`{NAMES}\.\w+(?:\.\w+)*`",
    re.MULTILINE,
)
"""A package under its bare name, in texts where a wrong name fails only when it is used."""


@pytest.mark.parametrize(
    "path",
    [
        *(path.relative_to(ROOT).as_posix() for name in PACKAGES for path in sorted(ROOT.glob(f"{name}/**/*.py"))),
        *(path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("docs/**/*.md"))),
        *("pyproject.toml", "tox.ini", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"),
        *(".pre-commit-config.yaml", ".ci/run", "data_cache/README.md"),
        "nano/requirements.txt",
    ],
)
def test_no_string_names_a_bare_package(path: str) -> None:
    """A wrong name in a string fails only when it is used: by a fork server, an entry point, a reader."""
    text = ROOT.joinpath(path).read_text(encoding="utf-8")
    assert not BARE.findall(text)


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ('PRELOAD = ["bench.execution.run_cell"]', True),
        ("`methods.base.Method`", True),
        ("import reports", True),
        ('files("bench").joinpath("suites")', True),
        ('importlib.import_module(f"methods.{path.stem}")', True),
        ('find_spec("reports")', True),
        ("run `python -m bench run`", True),
        ('[sys.executable, "-m", "bench"]', True),
        (">>> from bench import run", True),
        ("what `bench.plan` gives", True),
        ('("methods", grid.methods)', False),
        ("files(__package__), python -m tunefront", False),
        ('code = "import sys\\nfrom bench import run"', True),
        ("from tunefront.methods.registry import methods", False),
        ("see `tunefront.bench.records`; bench/records/io.py", False),
        ("self.methods.base", False),
    ],
)
def test_a_bare_name_is_found_in_a_string(text: str, matches: bool) -> None:
    assert bool(BARE.search(text)) == matches
