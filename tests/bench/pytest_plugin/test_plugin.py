"""`pytest --benchmark` in another project: what it collects, runs, reads and does not touch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench.pytest_plugin.projects import PLUGIN, TIMER, ids, run, suite
from tunefront.bench.records import load_records

pytest_plugins = ["pytester"]

MINE = """
from dataclasses import dataclass
from tunefront import Method

@dataclass(frozen=True)
class HeadOnly(Method):
    name = "head_only"

    def attach(self, backbone):
        backbone.freeze(keep=backbone.head)
"""
BROKEN = """
from dataclasses import dataclass
from tunefront import Method, Unsupported

@dataclass(frozen=True)
class Nowhere(Method):
    name = "nowhere"

    def attach(self, backbone):
        raise Unsupported("runs [nowhere]")

@dataclass(frozen=True)
class Breaks(Method):
    name = "breaks"
    size: int

    def attach(self, backbone):
        raise RuntimeError("broken on purpose")
"""


def test_a_plain_pytest_imports_nothing_of_ours_but_the_plugin(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_own="import sys\n\ndef test_own():\n"
        "    ours = {name for name in sys.modules if name.partition('.')[0] == 'tunefront'}\n"
        "    plugin = 'tunefront.bench.pytest_plugin.plugin'.split('.')\n"
        "    assert ours == {'.'.join(plugin[:end]) for end in range(1, 5)}\n"
        "    heavy = {'torch', 'transformers', 'datasets', 'pandas', 'numpy', 'pydantic', 'typer', 'rich.live'}\n"
        "    assert not heavy & set(sys.modules)\n"
    )
    run(project).assert_outcomes(passed=1)


def test_a_plain_pytest_collects_none_of_it(project: pytest.Pytester) -> None:
    result = run(project)
    result.assert_outcomes(passed=1, skipped=1)
    assert "tunefront" not in result.stdout.str()


def test_benchmark_alone_times_the_cells_and_collects_no_test_files(project: pytest.Pytester) -> None:
    result = run(project, *suite("--benchmark-json", "timed.json", "-v"))
    result.assert_outcomes(passed=2)
    assert "test_own" not in result.stdout.str()
    (record,) = load_records(project.path / "results")
    timed = json.loads((project.path / "timed.json").read_text(encoding="utf-8"))["benchmarks"]
    assert [entry["name"].rpartition("[")[2] for entry in timed] == ["train_step]", "evaluate]"]
    for entry in timed:
        assert entry["fullname"].startswith("tunefront::ia3-")
        assert entry["stats"]["rounds"] == 10
        extra: dict[str, Any] = entry["extra_info"]
        assert extra["key"] == record.key
        assert extra["scores.test"] == record.scores.test
        assert extra["parameters.trainable"] == record.parameters.trainable
        assert extra["flops.train"] == record.flops.train
        assert extra["environment.concurrent_cells"] == record.environment.concurrent_cells == 1
        assert extra["memory.train_peak_resident_bytes"] == record.memory.train_peak_resident_bytes


def test_what_the_command_recorded_is_not_run_again_and_the_projects_methods_and_paths_take_part(
    project: pytest.Pytester,
) -> None:
    command = [sys.executable, "-m", "tunefront", "run", "tiny.toml"]
    done = subprocess.run(command, cwd=project.path, capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    before = {path: path.read_bytes() for path in (project.path / "results" / "records").iterdir()}
    assert len(before) == 1
    project.makeconftest(MINE + BROKEN)
    result = run(project, *suite("-rs", "test_own.py"))
    ia3, head_only, nowhere, own = {"passed": 2}, {"passed": 2}, {"skipped": 2}, {"passed": 1, "skipped": 1}
    result.assert_outcomes(
        **{kind: sum(part.get(kind, 0) for part in (ia3, head_only, nowhere, own)) for kind in ("passed", "skipped")}
    )
    assert "runs [nowhere]" in result.stdout.str()
    assert "--tunefront-method breaks:size=VALUE" in result.stdout.str()
    records = {record.method: record for record in load_records(project.path / "results")}
    assert {name: record.status for name, record in records.items()} == {
        "ia3:start=none": "ok",
        "head_only": "ok",
        "nowhere": "skipped",
    }
    assert Path(str(records["head_only"].method_file)).name == "conftest.py"
    assert {path: path.read_bytes() for path in before} == before


def test_a_failed_cell_of_a_conftest_below_testpaths_fails_with_its_reason(project: pytest.Pytester) -> None:
    (project.path / "checks").mkdir()
    (project.path / "checks" / "conftest.py").write_text(BROKEN, encoding="utf-8")
    failing = run(project, *suite("--tunefront-method", "breaks:size=1", "-o", "testpaths=checks"))
    failing.assert_outcomes(failed=2)
    assert "broken on purpose" in failing.stdout.str()


@pytest.mark.usefixtures("world")
def test_options_replace_the_lists_of_the_suite(pytester: pytest.Pytester) -> None:
    options = ["--tunefront-method=full", "--tunefront-method=houlsby:bottleneck=8", "--tunefront-seeds=0,4"]
    options += ["--tunefront-shots=8", "--tunefront-set=learning_rate=0.5", "--tunefront-backbone=minilm"]
    listed = collected(pytester, *options)
    assert len(listed) == 2 * 2 * 2 * 2
    assert all("-shots=8-draw=0-seed=" in line and "learning_rate=0.5" in line for line in listed)
    assert sum("houlsby:bottleneck=8" in line for line in listed) == 8
    assert len(collected(pytester, *options, "-k", "full and evaluate")) == 4


def collected(pytester: pytest.Pytester, *arguments: str) -> list[str]:
    """Ids of the cells, with the fake harness in this process."""
    options = ["-p", "no:cacheprovider", "--benchmark", "--collect-only", "-q", *arguments]
    return ids(pytester.runpytest_inprocess(*PLUGIN, *TIMER, *options))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--tunefront-method", "houlsbi"), "did you mean 'houlsby'?"),
        (("--tunefront-suite", "qick"), "did you mean 'quick'?"),
        (("--tunefront-out", "taken/results"), "cannot be written"),
        (("--tunefront-set", "epochs"), "key=value"),
    ],
)
@pytest.mark.usefixtures("world")
def test_a_mistake_is_one_paragraph_and_a_usage_error(
    pytester: pytest.Pytester, arguments: tuple[str, ...], message: str
) -> None:
    (pytester.path / "taken").write_text("a file", encoding="utf-8")
    result = pytester.runpytest_inprocess(*PLUGIN, *TIMER, "--benchmark", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in result.stderr.str()
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_without_pytest_benchmark_it_says_what_is_missing(project: pytest.Pytester) -> None:
    project.makeini("[pytest]\n")
    result = run(project, "--benchmark", benchmark=False)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "needs the plugin pytest-benchmark" in result.stderr.str()
