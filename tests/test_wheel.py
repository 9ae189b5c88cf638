"""A wheel, built and installed: it shows errors that an editable installation hides, such as a forgotten package."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests import ROOT
from tests.structure import PACKAGES

if "CI" not in os.environ:  # it is installed there, with torch
    setuptools = pytest.importorskip("setuptools", minversion="77", reason="builds a wheel, without a network")

KEYS = """
import json
from tunefront.bench.execution.identity import harness_fingerprint
from tunefront.bench.forecast.presets import presets
from tunefront.bench.models.locate import locate
from tunefront.bench.papers.reading import known_papers
from tunefront.bench.records.environment import git_commit
from tunefront.methods.registry import methods, source_fingerprint
sources = {name: source_fingerprint(cls()) for name, cls in methods().items()}
papers, shapes = sorted(known_papers()), sorted(presets())
print(json.dumps([str(locate("nano")), git_commit(), [harness_fingerprint(), sources, papers, shapes]]))
"""


def build(folder: Path, source: Path, hook: str) -> Path:
    """Runs a hook of the checkout's build backend, without a network; installs the result into a new environment,
    which also sees the libraries that run these tests."""
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, source)
    for name in (".ci", "nano", "tunefront", *PACKAGES):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    code = f"import sys; sys.path.insert(0, '.ci'); import build_backend; build_backend.{hook}({str(folder)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "env"], cwd=folder, check=True)
    python = folder / "env" / "bin" / "python"
    (wheel,) = folder.glob("*.whl")
    install = ["-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([sys.executable, *install], check=True)
    # The libraries without their .pth files, so that no editable installation is included.
    site(folder).joinpath("libraries.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder


def site(folder: Path) -> Path:
    """The site-packages of the environment in a folder."""
    (site_packages,) = folder.joinpath("env", "lib").glob("python*/site-packages")
    return site_packages


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout, installed; its source is gone."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    build(folder, source, "build_wheel")
    shutil.rmtree(source)
    return folder


@pytest.fixture(scope="module")
def editable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds a clone called `tunefront`, which is installed as `pip install -e` does."""
    folder = tmp_path_factory.mktemp("editable")
    (folder / "tunefront").mkdir()
    return build(folder, folder / "tunefront", "build_editable")


def run(installed: Path, *command: str, within: Path | None = None) -> str:
    """The output of a command of the environment, run in an empty or a given folder."""
    empty = within or installed / "empty"
    empty.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TUNEFRONT"))}
    environment |= {"HF_HUB_OFFLINE": "1", "XDG_CACHE_HOME": str(installed / "cache")}
    program, *arguments = command
    command = (str(installed / "env" / "bin" / program), *arguments)
    done = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_command_runs(installed: Path) -> None:
    assert {suite["name"] for suite in json.loads(run(installed, "tunefront", "list", "suites", "--json"))} >= {"quick"}
    assert "plan" in run(installed, "python", "-m", "tunefront", "--help")


def test_a_plan_is_made(installed: Path, backbones: dict[str, str], toy_folder: str) -> None:
    options = ["--method", "ia3", "--backbone", backbones["bert"], "--task", toy_folder, "--no-seconds", "--json"]
    records = json.loads(run(installed, "tunefront", "plan", *options, "--shots", "8"))["records"]
    assert records
    assert all(record["parameters"]["trainable"] > 0 for record in records)


def test_a_wheel_and_a_checkout_give_equal_keys(installed: Path) -> None:
    nano, commit, keys = json.loads(run(installed, "python", "-c", KEYS))
    assert Path(nano) == site(installed) / "tunefront" / "bench" / "models" / "nano"
    assert commit is None
    here = subprocess.run([sys.executable, "-c", KEYS], cwd=ROOT, capture_output=True, text=True, check=True)
    assert keys == json.loads(here.stdout)[-1]


def test_nothing_is_importable_but_tunefront(installed: Path) -> None:
    names = {path.name for path in site(installed).iterdir() if not path.name.endswith((".dist-info", ".pth"))}
    assert names - {"__pycache__"} == {"tunefront"}


@pytest.mark.parametrize("how", ["installed", "editable"])
def test_pytest_has_the_plugin_and_warns_of_nothing(how: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(how)
    own = folder / "own"
    own.mkdir(exist_ok=True)
    (own / "test_own.py").write_text("def test_own(): pass\n", encoding="utf-8")
    assert "1 passed" in run(folder, "python", "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", within=own)
    assert "--tunefront-suite" in run(folder, "python", "-m", "pytest", "--help", within=own)


SCRIPT = "import tunefront.bench; from tunefront import load_records, plug; print(tunefront.bench.__file__)"


@pytest.mark.parametrize("place", ["the folder of the clone", "a folder next to a folder of the name", "an empty one"])
def test_an_editable_installation_is_found_despite_a_folder_of_its_name(editable: Path, place: str) -> None:
    """Python imports a folder without an __init__.py as a package, unless it finds a real one first."""
    within = editable / place.replace(" ", "-")
    within.mkdir(exist_ok=True)
    if place == "the folder of the clone":
        within = editable
    elif "next to" in place:
        (within / "tunefront").mkdir(exist_ok=True)
    bench = editable / "tunefront" / "bench" / "__init__.py"
    assert run(editable, "python", "-c", SCRIPT, within=within).strip() == str(bench)
    assert "quick" in run(editable, "python", "-m", "tunefront", "list", "suites", within=within)


def test_another_checkout_at_hand_comes_before_the_one_that_is_installed(editable: Path) -> None:
    assert run(editable, "python", "-c", SCRIPT, within=ROOT).strip() == str(ROOT / "bench" / "__init__.py")


def test_an_editable_installation_whose_checkout_is_gone_is_not_found(editable: Path, tmp_path: Path) -> None:
    moved = shutil.move(editable / "tunefront", tmp_path / "moved")
    try:
        code = "try:\n    import tunefront\nexcept ModuleNotFoundError as error:\n    print(error.name)"
        assert run(editable, "python", "-c", code).strip() == "tunefront"
    finally:
        shutil.move(moved, editable / "tunefront")


def test_an_editable_installation_leaves_two_files_and_takes_them_along(editable: Path) -> None:
    names = {path.name for path in site(editable).iterdir()} - {"libraries.pth", "__pycache__"}
    (info,) = (name for name in names if name.endswith(".dist-info"))
    assert names - {info} == {"__editable___tunefront_finder.py", "__editable___tunefront_finder.pth"}
    recorded = site(editable).joinpath(info, "RECORD").read_text(encoding="utf-8")
    assert all(f"{name}," in recorded for name in names - {info})
    assert "tunefront.bench.pytest_plugin.plugin" in site(editable).joinpath(info, "entry_points.txt").read_text(
        "utf-8"
    )
