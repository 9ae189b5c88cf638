"""Calls pytest for the tests of the plugin, and reads its output."""

from __future__ import annotations

import pytest

PLUGIN = ("-p", "tunefront.bench.pytest_plugin.plugin")
TIMER = ("-p", "pytest_benchmark.plugin")


def run(project: pytest.Pytester, *arguments: str, benchmark: bool = True) -> pytest.RunResult:
    """Runs pytest in a separate process, with this plugin and, unless `benchmark` is False, pytest-benchmark."""
    return project.runpytest_subprocess(*PLUGIN, *(TIMER if benchmark else ()), *arguments)


def suite(*arguments: str, option: str = "--benchmark") -> tuple[str, ...]:
    """Options that select the cells of the project's suite."""
    return (option, "--tunefront-suite", "tiny.toml", *arguments)


def ids(result: pytest.RunResult) -> list[str]:
    """Ids of the cells that a quiet listing names, in order."""
    return [line for line in result.stdout.lines if line.startswith("tunefront::")]
