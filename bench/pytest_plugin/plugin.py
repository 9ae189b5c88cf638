"""`pytest --benchmark`: the cells of a suite as benchmark items. Nothing of ours is imported before it is asked for.

`--tunefront` asks for them everywhere, `--benchmark` wherever neither the project nor a plugin has such an option of
its own: theirs keeps its meaning.
"""

from __future__ import annotations

import copy
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tunefront.bench.pytest_plugin.items import Cells

CELLS: pytest.StashKey[Cells] = pytest.StashKey()
SKIPS: pytest.StashKey[bool] = pytest.StashKey()
OPTION, SHARED = "--tunefront", "--benchmark"
"""What asks for the cells: our own option, and a name that others may have taken."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declares the options but `--benchmark`; every destination starts with `tunefront`."""
    group = parser.getgroup("tunefront", "comparing ways of adapting a language model")
    group.addoption(
        OPTION,
        action="store_true",
        dest="tunefront",
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


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None, object, object]:
    """Reads `--benchmark` as `--tunefront` where no one has declared it by now: plugins and the first conftest files
    have been read, the arguments have not.

    It is replaced among the arguments, as pytest documents ("Dynamically adding command line options"), and never
    declared: a conftest.py that is read later may declare it, and two of a name are an error.
    """
    result = yield
    if SHARED in args:
        try:
            unknown = parser.parse_known_and_unknown_args(args, copy.copy(early_config.option))[1]
        except pytest.UsageError:  # pytest is about to say so itself
            return result
        if SHARED in unknown:
            end = args.index("--") if "--" in args else len(args)
            args[:end] = [OPTION if argument == SHARED else argument for argument in args[:end]]
    if {"-h", "--help"} & set(args) and _is_free(parser):  # declared to be listed: nothing is collected now
        group = parser.getgroup("tunefront")
        group.addoption(SHARED, action="store_true", dest="tunefront", help=f"the same as {OPTION}")
    return result


def _is_free(parser: pytest.Parser) -> bool:
    """Whether no one has declared `--benchmark`."""
    try:
        return SHARED in parser.parse_known_and_unknown_args([SHARED])[1]
    except (pytest.UsageError, SystemExit):  # it wants a value, or prints something and leaves
        return False


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Keeps test files out where no paths were given, and pytest-benchmark from skipping the cells."""
    if not config.getoption("tunefront"):
        return
    if not hasattr(config.option, "benchmark_skip"):
        raise pytest.UsageError(
            f"{OPTION} needs the plugin pytest-benchmark, to time the cells; install it, or leave out -p no:benchmark."
        )
    listing = config.getoption("collectonly")
    if config.getoption("dist", "no") != "no" and not listing:  # `dist` is of pytest-xdist, set by -n too
        raise pytest.UsageError(
            f"{OPTION} times training steps, which processes side by side would disturb: under pytest-xdist nothing is "
            "timed. Add -n 0; to run the cells side by side, give `tunefront run --workers N` first: what is recorded "
            "is only timed here."
        )
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = []
    # A project's own `--benchmark-skip` is about its benchmarks, not about the cells: it is applied to those below.
    config.stash[SKIPS] = bool(config.option.benchmark_skip and not config.option.benchmark_only)
    config.option.benchmark_skip = False
    storage = str(config.option.benchmark_storage).removeprefix("file://")
    if listing and "://" not in storage and not Path(storage).exists():
        config.option.benchmark_storage = "."  # pytest-benchmark makes the folder at once, even if nothing is timed


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Adds the cells to what was collected, below the session itself: no folder's rules apply to them."""
    if not config.getoption("tunefront"):
        return
    if config.stash[SKIPS]:
        skip = pytest.mark.skip(reason="Skipping benchmark (--benchmark-skip active).")
        for item in items:
            if "benchmark" in getattr(item, "fixturenames", ()):
                item.add_marker(skip)
    from tunefront.bench.errors import UserError, printable
    from tunefront.bench.files import explain_os_error
    from tunefront.bench.pytest_plugin.items import collect

    try:
        cells = collect(session)
    except UserError as error:
        raise pytest.UsageError(printable(str(error))) from error
    except OSError as error:
        raise pytest.UsageError(printable(explain_os_error(error))) from error
    config.stash[CELLS] = cells
    items += session.genitems(cells)


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """Says what was collected, and what the tasks warn of."""
    return config.stash[CELLS].told if CELLS in config.stash else []
