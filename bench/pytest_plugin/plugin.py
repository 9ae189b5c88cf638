"""`pytest --benchmark`: the cells of a suite as benchmark items. Nothing heavy is imported before it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tunefront.bench.pytest_plugin.items import Cells

CELLS: pytest.StashKey[Cells] = pytest.StashKey()
SKIPS: pytest.StashKey[bool] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declares the options; every destination starts with `tunefront_`."""
    group = parser.getgroup("tunefront", "comparing ways of adapting a language model")
    group.addoption(
        "--benchmark",
        action="store_true",
        dest="tunefront_benchmark",
        help="run the cells of a suite as benchmark items, and no test files unless paths are given",
    )
    texts = {
        "suite": ("S", "a shipped suite or a TOML file (default: quick)"),
        "shots": ("K", "training rows to draw, or all; 16,64 for several"),
        "draws": ("N,N", "seeds of the draws of training rows"),
        "seeds": ("N,N", "training seeds"),
        "device": ("D", "cpu, cuda or cuda:N"),
        "out": ("DIR", "folder or URL of the records, the same as of `tunefront run` (default: results)"),
    }
    for name, (metavar, told) in texts.items():
        group.addoption(f"--tunefront-{name}", dest=f"tunefront_{name}", metavar=metavar, help=told)
    repeated = {
        "method": ("M", "a method as spelled, houlsby:bottleneck=8 or file.py:Class"),
        "backbone": ("B", "an embedded name, a folder or a Hub id"),
        "task": ("T", "docstrings/NAME, dir:FOLDER or hub:NAME"),
        "template": ("T", "a prompt template"),
        "set": ("KEY=VALUE", "a field of the recipe or of the run settings"),
    }
    for name, (metavar, told) in repeated.items():
        group.addoption(
            f"--tunefront-{name}",
            dest=f"tunefront_{name}",
            metavar=metavar,
            action="append",
            help=f"{told}; repeatable",
        )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Keeps test files out where no paths were given, and pytest-benchmark from skipping the cells."""
    if not config.getoption("tunefront_benchmark"):
        return
    if not hasattr(config.option, "benchmark_skip"):
        raise pytest.UsageError(
            "--benchmark needs the plugin pytest-benchmark; install it, or leave out -p no:benchmark."
        )
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = []
    # A project's own `--benchmark-skip` is about its benchmarks, not about the cells: it is applied to those below.
    config.stash[SKIPS] = bool(config.option.benchmark_skip and not config.option.benchmark_only)
    config.option.benchmark_skip = False


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Adds the cells to what was collected, below the session itself: no folder's rules apply to them."""
    if not config.getoption("tunefront_benchmark"):
        return
    if config.stash[SKIPS]:
        skip = pytest.mark.skip(reason="Skipping benchmark (--benchmark-skip active).")
        for item in items:
            if "benchmark" in getattr(item, "fixturenames", ()):
                item.add_marker(skip)
    from tunefront.bench.errors import Mistake
    from tunefront.bench.pytest_plugin.items import collect

    try:
        cells = collect(session)
    except Mistake as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[CELLS] = cells
    items += session.genitems(cells)


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """Says what was collected, and what the tasks warn of."""
    return config.stash[CELLS].told if CELLS in config.stash else []
