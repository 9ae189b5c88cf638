"""Another project with a tiny suite, in which the plugin runs."""

from __future__ import annotations

import pytest

from tests import ROOT


@pytest.fixture(autouse=True)
def only_these_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call names its plugins, so that it does not matter whether the package is installed."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # else pytest-benchmark believes that it runs in a worker


@pytest.fixture
def project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, backbones: dict[str, str], toy_folder: str
) -> pytest.Pytester:
    """A project with a test, its own benchmark, and a suite on a tiny backbone."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makefile(
        ".toml",
        tiny=f'methods = ["ia3"]\nbackbones = ["{backbones["bert"]}"]\ntasks = ["{toy_folder}"]\n'
        "[recipe]\nsteps = 3\nbatch_size = 8\n",
    )
    pytester.makepyfile(test_own="def test_own(): pass\n\ndef test_own_benchmark(benchmark): benchmark(int)\n")
    pytester.makeini("[pytest]\naddopts = --benchmark-skip --strict-markers\nfilterwarnings = error\n")
    return pytester
