"""Projects with names and options like ours keep working, and so does ours in their folders."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.bench.pytest_plugin.projects import PLUGIN, TIMER, ids, run, suite

pytest_plugins = ["pytester"]

LIST = ("--collect-only", "-q")
METHODS = """
from dataclasses import dataclass
from tunefront import Method

@dataclass(frozen=True)
class HeadOnly(Method):
    name = "head_only"

    def attach(self, backbone):
        backbone.freeze(keep=backbone.head)
"""
APP = "import bench, methods, reports\nprint(bench.WHOSE, methods.HeadOnly.name, reports.WHOSE)\n"
OWN = "parser.addoption('--benchmark', {}, help='mine and nobody else\\'s')"
DECLARED = {
    "flag": ("action='store_true', default=False", ["--benchmark"], True, False),
    "value": ("metavar='KIND'", ["--benchmark", "fast"], "fast", None),
    "value-after-equals": ("metavar='KIND'", ["--benchmark=fast"], "fast", None),
    "value-or-not": ("nargs='?', const='all'", ["--benchmark"], "all", None),
    "repeated": ("action='append', default=[]", ["--benchmark=a", "--benchmark=b"], ["a", "b"], []),
    "elsewhere": ("action='count', dest='tempo', default=0", ["--benchmark"], 1, 0),
}
"""A project's declaration of --benchmark, the arguments, its value with them, and its default."""


def make_own_names(project: pytest.Pytester) -> None:
    """Folders and files of the project with the names of ours, and a test that imports them."""
    project.makepyfile(
        **{"bench/__init__": "WHOSE = 'mine'", "reports/__init__": "WHOSE = 'mine'", "app": APP},
        methods=METHODS,
        test_mine="import app\n\ndef test_app():\n    assert app.bench.WHOSE == app.reports.WHOSE == 'mine'\n",
    )


def test_a_project_with_our_names_runs_its_tests_and_our_cells(project: pytest.Pytester) -> None:
    make_own_names(project)
    project.makeconftest("from methods import HeadOnly\nfrom tunefront.methods.houlsby import Houlsby\n")
    plain = run(project)
    plain.assert_outcomes(passed=2, skipped=1)
    both = run(project, *suite("test_mine.py", option="--tunefront"))
    both.assert_outcomes(passed=1 + 2 * 2)
    listed = ids(run(project, *suite(*LIST)))
    assert [line.partition("-")[0] for line in listed] == [*["tunefront::ia3"] * 2, *["tunefront::head_only"] * 2]


@pytest.mark.parametrize("module", ["bench.py", "bench/__init__.py"])
def test_scripts_next_to_folders_of_our_names_import_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    for name, text in {
        module: "WHOSE = 'mine'",
        "reports/__init__.py": "WHOSE = 'mine'",
        "methods.py": METHODS,
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    ours = "from tunefront import Method, load_records\nfrom tunefront.reports import names\nimport tunefront.methods\n"
    (tmp_path / "app.py").write_text(APP + ours, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for command in (["app.py"], ["-c", APP + ours], ["-m", "app"]):
        done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True)
        assert done.stdout == "mine head_only mine\n", done.stderr


@pytest.mark.parametrize("place", ["conftest", "plugin before", "plugin after"])
@pytest.mark.parametrize("kind", DECLARED)
def test_a_benchmark_option_of_others_keeps_its_meaning(pytester: pytest.Pytester, kind: str, place: str) -> None:
    how, given, meant, absent = DECLARED[kind]
    hook = f"def pytest_addoption(parser):\n    {OWN.format(how)}\n"
    pytester.makepyfile(**{"conftest" if place == "conftest" else "speedy": hook})
    own = [] if place == "conftest" else ["-p", "speedy"]
    plugins = [*own, *PLUGIN] if place == "plugin before" else [*PLUGIN, *own]
    pytester.syspathinsert()
    for arguments, value in ((given, meant), ([], absent)):
        pytester.makepyfile(f"def test_it(request): assert request.config.getoption('--benchmark') == {value!r}\n")
        result = pytester.runpytest_inprocess(*plugins, *TIMER, "-p", "no:cacheprovider", *arguments)
        result.assert_outcomes(passed=1)
        assert "cells of suite" not in result.stdout.str()


@pytest.mark.parametrize("own", [True, False])
def test_help_shows_which_plugin_has_the_benchmark_option(pytester: pytest.Pytester, own: bool) -> None:
    if own:
        pytester.makeconftest("def pytest_addoption(parser):\n    " + OWN.format("metavar='KIND'"))
    shown = pytester.runpytest_inprocess(*PLUGIN, *TIMER, "--help").stdout.str()
    assert "--tunefront  " in shown
    assert ("mine and nobody else's" in shown) is own
    assert ("the same as --tunefront" in shown) is not own


def test_our_cells_run_although_the_project_has_a_benchmark_option(project: pytest.Pytester) -> None:
    project.makeconftest("def pytest_addoption(parser):\n    " + OWN.format("action='store_true'"))
    result = run(project, *suite(*LIST, option="--tunefront"))
    assert len(ids(result)) == 2
    assert not ids(run(project, *suite(*LIST)))


@pytest.mark.usefixtures("world")
def test_a_conftest_that_is_read_later_may_declare_it(pytester: pytest.Pytester) -> None:
    folder = pytester.path / "src" / "deep"
    folder.mkdir(parents=True)
    hook = "def pytest_addoption(parser):\n    " + OWN.format("action='store_true', default=False")
    (folder / "conftest.py").write_text(hook, encoding="utf-8")
    text = "def test_it(request): assert request.config.getoption('--benchmark') is False\n"
    (folder / "test_deep.py").write_text(text, encoding="utf-8")
    pytester.runpytest_inprocess(*PLUGIN, *TIMER).assert_outcomes(passed=1)
    result = pytester.runpytest_inprocess(*PLUGIN, *TIMER, "--benchmark", *LIST, ".")
    assert ids(result)
    assert "src/deep/test_deep.py::test_it" in result.stdout.str()


@pytest.mark.parametrize("where", ["addopts", "environment", "command line"])
@pytest.mark.usefixtures("world")
def test_benchmark_is_ours_wherever_it_is_given(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    if where == "addopts":
        pytester.makeini("[pytest]\naddopts = --benchmark\n")
    elif where == "environment":
        monkeypatch.setenv("PYTEST_ADDOPTS", "--benchmark")
    given = ["--benchmark"] if where == "command line" else []
    assert ids(pytester.runpytest_inprocess(*PLUGIN, *TIMER, *LIST, *given))


@pytest.mark.parametrize(
    ("arguments", "unknown"), [(["--benchmark=3"], "--benchmark=3"), (["--benchmark", "--no"], "--no")]
)
def test_what_no_one_declared_is_still_unknown(pytester: pytest.Pytester, arguments: list[str], unknown: str) -> None:
    result = pytester.runpytest_inprocess(*PLUGIN, *TIMER, *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.stderr.str().split("unrecognized arguments: ")[1].splitlines()[0] == unknown


def test_strict_and_with_warnings_as_errors_it_is_quiet(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): pass\n")
    result = pytester.runpytest_subprocess(*PLUGIN, *TIMER, "-W", "error", "--strict-config", "--strict-markers")
    result.assert_outcomes(passed=1)


def test_processes_side_by_side_are_refused_with_a_reason(pytester: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    result = pytester.runpytest_subprocess(*PLUGIN, *TIMER, "-p", "xdist.plugin", "-n", "2", "--benchmark")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "Add -n 0" in result.stderr.str()
