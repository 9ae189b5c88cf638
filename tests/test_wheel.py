"""A wheel, built and installed: what an editable installation hides, such as a package that was forgotten."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from packaging.version import Version

from tests import ROOT
from tests.structure import PACKAGES

setuptools = pytest.importorskip("setuptools", reason="builds a wheel, without a network")
pytestmark = pytest.mark.skipif(Version(setuptools.__version__) < Version("77"), reason="setuptools 77 or newer")

KEYS = """
import json
from tunefront.bench.execution.identity import harness_fingerprint
from tunefront.bench.forecast.papers.catalog import known_papers
from tunefront.bench.forecast.presets import presets
from tunefront.bench.models.locate import locate
from tunefront.bench.records.environment import git_commit
from tunefront.methods.registry import methods, source_fingerprint
sources = {name: source_fingerprint(cls()) for name, cls in methods().items()}
papers, shapes = sorted(known_papers()), sorted(presets())
print(json.dumps([str(locate("nano")), git_commit(), [harness_fingerprint(), sources, papers, shapes]]))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of its own with the wheel of this checkout, and the libraries that run these tests."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("tunefront", *PACKAGES):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = "from setuptools import build_meta; build_meta.build_wheel('..')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "env"], cwd=folder, check=True)
    python = folder / "env" / "bin" / "python"
    (wheel,) = folder.glob("*.whl")
    install = ["-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([sys.executable, *install], check=True)
    # The libraries without their .pth files, so that no editable installation comes with them.
    (site,) = folder.joinpath("env", "lib").glob("python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    shutil.rmtree(source)
    return folder


def run(installed: Path, *command: str) -> str:
    """What a command of the environment prints, run in an empty folder."""
    empty = installed / "empty"
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
    assert all(record["trainable_params"] > 0 for record in records)


def test_a_wheel_and_a_checkout_give_equal_keys(installed: Path) -> None:
    nano, commit, keys = json.loads(run(installed, "python", "-c", KEYS))
    assert Path(nano).is_relative_to(installed / "env")
    assert commit is None
    here = subprocess.run([sys.executable, "-c", KEYS], cwd=ROOT, capture_output=True, text=True, check=True)
    assert keys == json.loads(here.stdout)[-1]


def test_nothing_is_importable_but_tunefront(installed: Path) -> None:
    (site,) = installed.joinpath("env", "lib").glob("python*/site-packages")
    names = {path.name for path in site.iterdir() if not path.name.endswith((".dist-info", ".pth"))}
    assert names - {"__pycache__"} == {"tunefront"}


def test_pytest_has_the_plugin(installed: Path) -> None:
    assert "--tunefront-suite" in run(installed, "python", "-m", "pytest", "--help")
