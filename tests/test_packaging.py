"""An installation by a new user: pinned versions, packaged files, the commands of tox and of the README."""

from __future__ import annotations

import ast
import fnmatch
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests import ROOT
from tunefront.bench.models.locate import NANO

PROJECT = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text(encoding="utf-8"))
CONSTRAINTS = ROOT.joinpath("constraints.txt").read_text(encoding="utf-8")
FOLDERS = ("tunefront", "bench", "methods", "reports")

# The text as published at https://www.apache.org/licenses/LICENSE-2.0.txt.
APACHE_SHA256 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"


def pinned() -> dict[str, Version]:
    lines = [line for line in CONSTRAINTS.splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in (line.split("==") for line in lines)}


def required() -> Iterator[Requirement]:
    project = PROJECT["project"]
    for text in [
        *project["dependencies"],
        *(requirement for extra in project["optional-dependencies"].values() for requirement in extra),
    ]:
        requirement = Requirement(text)
        if requirement.name != project["name"]:
            yield requirement


def test_constraints_name_public_versions_only() -> None:
    assert "+" not in CONSTRAINTS
    lines = [line for line in CONSTRAINTS.splitlines() if not line.startswith("#")]
    wrong = [line for line in lines if not re.fullmatch(r"[A-Za-z0-9][\w.-]*==[0-9][0-9A-Za-z.]*", line)]
    assert not wrong
    names = [canonicalize_name(line.split("==")[0]) for line in lines]
    assert names == sorted(set(names)), "each name once, in order"
    assert not {"pip", "setuptools", "tunefront"} & set(names)


@pytest.mark.parametrize("requirement", list(required()), ids=str)
def test_a_dependency_is_pinned_within_its_range(requirement: Requirement) -> None:
    version = pinned().get(canonicalize_name(requirement.name))
    assert version is not None, f"{requirement.name} is in pyproject.toml but not in constraints.txt"
    assert requirement.specifier, f"{requirement.name} has no lower bound"
    assert version in requirement.specifier


def test_the_changelog_begins_with_the_version_of_the_package() -> None:
    match = re.search(r"^## \[(.+?)\] - \d{4}-\d\d-\d\d$", ROOT.joinpath("CHANGELOG.md").read_text("utf-8"), re.M)
    assert match is not None
    assert match[1] == PROJECT["project"]["version"]


def test_every_third_party_import_is_a_dependency() -> None:
    """All imports are declared dependencies, so that nothing relies on those of another package."""
    distributions = {"sklearn": "scikit-learn", "yaml": "pyyaml", "mlflow": "mlflow-skinny"}
    extras = PROJECT["project"]["optional-dependencies"]
    said = [
        text for name in ("excel", "mlflow", "optuna", "peft", "prices", "ray", "tensorboard") for text in extras[name]
    ]  # who needs one says so
    core = {canonicalize_name(Requirement(text).name) for text in [*PROJECT["project"]["dependencies"], *said]}
    known = set(sys.stdlib_module_names) | {"tunefront", "pip"}  # without pip, `tunefront fetch` says so
    missing: dict[str, str] = {}
    for path in (path for package in FOLDERS for path in ROOT.joinpath(package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            for top in {name.split(".")[0] for name in names} - known:
                if canonicalize_name(distributions.get(top, top)) not in core:
                    missing[top] = path.relative_to(ROOT).as_posix()
    assert not missing


def packaged(path: Path) -> bool:
    """Whether setuptools includes a data file: by a pattern of its package, or of every package."""
    patterns = PROJECT["tool"]["setuptools"]["package-data"]
    package = module_of(path.parent)
    names = [package, package.rpartition(".")[0]]  # data may be in a folder without code, below a package
    folders = [path.parent, path.parent.parent]
    return any(
        fnmatch.fnmatch(path.relative_to(folder).as_posix(), pattern)
        for name, folder in zip(names, folders, strict=True)
        if name in PROJECT["tool"]["setuptools"]["packages"]
        for pattern in (*patterns["*"], *patterns.get(name, ()))
    )


def module_of(folder: Path) -> str:
    """The installed name of a folder, relative to the root."""
    parts = folder.parts
    return ".".join(parts if parts[:1] == ("tunefront",) else ("tunefront", *parts))


def test_every_file_of_the_packages_is_packaged() -> None:
    """A data file that no pattern covers would be missing from an installed copy."""
    files = [path for package in FOLDERS for path in ROOT.joinpath(package).rglob("*") if path.is_file()]
    data_files = [path.relative_to(ROOT) for path in files if path.suffix not in (".py", ".pyc")]
    assert not [path.as_posix() for path in data_files if not packaged(path)]


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors", "README.md"])
def test_a_file_of_the_shipped_model_is_packaged(name: str) -> None:
    assert packaged(NANO.relative_to(ROOT) / name)


def test_every_folder_with_code_is_a_package_that_is_installed() -> None:
    folders = {path.parent for package in FOLDERS for path in ROOT.joinpath(package).rglob("*.py")}
    assert not [folder for folder in sorted(folders) if not folder.joinpath("__init__.py").is_file()]
    listed = PROJECT["tool"]["setuptools"]["packages"]
    assert sorted(listed) == listed
    assert set(listed) == {module_of(folder.relative_to(ROOT)) for folder in folders}


def test_the_package_is_typed() -> None:
    assert ROOT.joinpath("tunefront", "py.typed").is_file()


def test_the_license_is_the_whole_apache_license() -> None:
    assert hashlib.sha256(ROOT.joinpath("LICENSE").read_bytes()).hexdigest() == APACHE_SHA256


def test_hooks_need_no_network() -> None:
    text = ROOT.joinpath(".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert re.findall(r"repo: (\S+)", text) == ["local"]
    assert set(re.findall(r"language: (\S+)", text)) == {"system"}


def test_no_file_names_a_registry_but_pytorch_s_cpu_index() -> None:
    files = [*ROOT.glob("*.md"), *ROOT.glob("*.t*"), *ROOT.glob(".ci/*"), ROOT / ".pre-commit-config.yaml"]
    for path in filter(Path.is_file, files):  # .tox is a folder
        urls = re.findall(r"(?:https?|file)://[^\s`'\")>]+", path.read_text(encoding="utf-8"))
        registries = {url for url in urls if re.search(r"pypi|/simple|/whl|index", url)}
        assert registries <= {"https://download.pytorch.org/whl/cpu"}, path.name


bash_script = pytest.mark.skipif(os.name == "nt", reason="a bash script")


def ci_in_a_copy(folder: Path, commands: str, checks_fail: bool = False) -> subprocess.CompletedProcess[str]:
    """`.ci/run` with a README of these commands, and substitutes for the linter, the types and `python -m venv`."""
    bin_ = folder / "bin"
    for path in (folder / ".ci", bin_):
        path.mkdir()
    shutil.copy(ROOT / ".ci" / "run", folder / ".ci" / "run")
    (folder / ".ci" / "typed").write_text("print('types')\n", encoding="utf-8")
    stand_ins = {"ruff": f'echo "ruff $*"; exit {int(checks_fail)}\n', "venv": 'mkdir -p "$3/bin"\n'}
    for name, text in stand_ins.items():
        (bin_ / name).write_text(f"#!/bin/sh\n{text}", encoding="utf-8")
        (bin_ / name).chmod(0o755)
    (bin_ / "python").symlink_to(sys.executable)
    blocks = f"```bash\n{commands}```\n\n```bash\nfalse\n```\n"
    (folder / "README.md").write_text(f"# T\n\n## Quick start\n\n{blocks}", encoding="utf-8")
    environment = {**os.environ, "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}", "PYTHON": str(bin_ / "venv")}
    return subprocess.run(["bash", ".ci/run"], cwd=folder, capture_output=True, text=True, env=environment)


@bash_script
def test_ci_runs_the_second_command_of_the_quick_start_then_lint_and_types(tmp_path: Path) -> None:
    """In a separate environment, here a folder."""
    ours = 'echo "prefix $VIRTUAL_ENV" && echo "== 3 passed in 0.1s =="'
    done = ci_in_a_copy(tmp_path, f"# one\nfalse\n\n# two\n{ours}\n")
    assert done.returncode == 0, done.stderr
    command, prefix, *rest = done.stdout.splitlines()
    assert command == f"+ {ours}"
    assert prefix.startswith("prefix /")
    assert not prefix.endswith(sys.prefix)
    assert rest == [
        "== 3 passed in 0.1s ==",
        *("+ ruff check", "ruff check", "+ ruff format --check", "ruff format --check"),
        *("+ python .ci/typed", "types"),
    ]


@bash_script
def test_ci_fails_when_the_tests_fail(tmp_path: Path) -> None:
    done = ci_in_a_copy(tmp_path, "true\nexit 3\n")
    assert done.returncode == 3
    assert "ruff" not in done.stdout


@bash_script
def test_ci_fails_when_a_rule_is_broken(tmp_path: Path) -> None:
    assert ci_in_a_copy(tmp_path, "false\ntrue\n", checks_fail=True).returncode == 1


def test_tox_installs_with_the_constraints() -> None:
    text = ROOT.joinpath("tox.ini").read_text(encoding="utf-8")
    assert re.search(r"install_command = .* -c \S*constraints\.txt ", text)
    own = re.findall(r"^\[(testenv:.*)\]\n(?:.+\n)*?install_command", text, re.M)
    assert own == ["testenv:adapterhub", "testenv:mlflow"], "an environment with its own would not use the constraints"
    blocks = re.findall(r"^commands =((?: \S.*|(?:\n    \S.*)+))$", text, re.M)
    commands = [shlex.split(line)[0] for block in blocks for line in block.strip().splitlines()]
    assert {"pytest", "tunefront"} <= set(commands)
    assert ".ci/typed" in text
