"""`pytest --benchmark`: the cells of a suite as benchmark items. It imports nothing of ours before it is used.

`--tunefront` always works; `--benchmark` works unless the project or another plugin declares an option of that name,
which then keeps its meaning.
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
"""The options that select the cells: our own, and a name that others may have declared."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declares all options except `--benchmark`; every destination starts with `tunefront`."""
    group = parser.getgroup("tunefront", "comparing ways to adapt a language model")
    group.addoption(
        OPTION,
        action="store_true",
        dest="tunefront",
        help="run the cells of a suite as benchmark items; no test files, unless paths are given",
    )
    texts = {
        "suite": ("S", "a shipped suite or a TOML file (default: quick, or own for your own tasks)"),
        "shots": ("K", "training rows to draw, or all; 16,64 for several values"),
        "draws": ("N,N", "seeds for drawing training rows"),
        "seeds": ("N,N", "training seeds"),
        "test": ("FILE", "the file of the test rows of --tunefront-data"),
        "validation": ("FILE", "the file of the validation rows of --tunefront-data"),
        "label": ("COLUMN", "the label column of --tunefront-data"),
        "id": ("COLUMN", "the column of --tunefront-data with an id for each row"),
        "group": ("COLUMN", "rows of --tunefront-data with the same value are in the same split"),
        "split": ("SHARE", "share of the rows of --tunefront-data held out for test, or the column of splits"),
        "kind": ("KIND", "classification, regression or `multiple choice`"),
        "header": ("yes|no", "whether the first row of --tunefront-data names its columns"),
        "prompts": ("FILE", "a file of prompt templates for --tunefront-data"),
        "trials": ("N", "trials per method, over the sizes and learning rates that it declares"),
        "sampler": ("SAMPLER", "how trials are chosen: grid or random"),
        "device": ("D", "cpu, cuda or cuda:N"),
        "out": ("DIR", "folder or URL for the records, as for `tunefront run` (default: results)"),
    }
    for name, (metavar, text) in texts.items():
        group.addoption(f"--tunefront-{name}", dest=f"tunefront_{name}", metavar=metavar, help=text)
    repeated = {
        "method": ("M", "a method, such as houlsby:bottleneck=8 or file.py:Class"),
        "backbone": ("B", "an embedded name, a folder or a Hub id"),
        "task": ("T", "docstrings/NAME, dir:FOLDER, hub:NAME or a FILE"),
        "data": ("FILE", "your own task: a file or a folder"),
        "text": ("COLUMN", "a column of --tunefront-data to read; several with commas"),
        "template": ("T", "a prompt template"),
        "sites": ("FILE", "a TOML file with records of sites"),
        "set": ("KEY=VALUE", "a field of the recipe or of the run settings"),
    }
    for name, (metavar, text) in repeated.items():
        group.addoption(
            f"--tunefront-{name}",
            dest=f"tunefront_{name}",
            metavar=metavar,
            action="append",
            help=f"{text}; repeatable",
        )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None, object, object]:
    """Reads `--benchmark` as `--tunefront`, unless it has been declared: plugins and the first conftest files have been
    read by now, the arguments have not.

    It is replaced in the arguments, as pytest documents ("Dynamically adding command line options"), and never
    declared: a conftest.py that is read later may declare it, and declaring an option twice is an error.
    """
    result = yield
    if SHARED in args:
        try:
            unknown = parser.parse_known_and_unknown_args(args, copy.copy(early_config.option))[1]
        except pytest.UsageError:  # pytest itself will report it
            return result
        if SHARED in unknown:
            end = args.index("--") if "--" in args else len(args)
            args[:end] = [OPTION if argument == SHARED else argument for argument in args[:end]]
    if {"-h", "--help"} & set(args) and _is_free(parser):  # declared only for the help text: nothing is collected now
        group = parser.getgroup("tunefront")
        group.addoption(SHARED, action="store_true", dest="tunefront", help=f"the same as {OPTION}")
    return result


def _is_free(parser: pytest.Parser) -> bool:
    """Whether `--benchmark` is not declared."""
    try:
        return SHARED in parser.parse_known_and_unknown_args([SHARED])[1]
    except (pytest.UsageError, SystemExit):  # it needs a value, or prints something and exits
        return False


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Excludes test files if no paths were given, and stops pytest-benchmark from skipping the cells."""
    if not config.getoption("tunefront"):
        return
    if not hasattr(config.option, "benchmark_skip"):
        raise pytest.UsageError(
            f"{OPTION} needs the plugin pytest-benchmark to time the cells; install it, or remove -p no:benchmark."
        )
    listing = config.getoption("collectonly")
    if config.getoption("dist", "no") != "no" and not listing:  # an option of pytest-xdist, also set by -n
        raise pytest.UsageError(
            f"{OPTION} times training steps, which parallel processes would disturb, so it does not run under "
            "pytest-xdist. Add -n 0. To run the cells in parallel, use `tunefront run --workers N` first: recorded "
            "cells are only timed here."
        )
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = []
    # A project's `--benchmark-skip` is for its own benchmarks, not for the cells: it is applied to them below.
    config.stash[SKIPS] = bool(config.option.benchmark_skip and not config.option.benchmark_only)
    config.option.benchmark_skip = False
    storage = str(config.option.benchmark_storage).removeprefix("file://")
    if listing and "://" not in storage and not Path(storage).exists():
        config.option.benchmark_storage = "."  # pytest-benchmark makes the folder even if nothing is timed


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Adds the cells to the collected items, as children of the session, so that no folder's conftest applies."""
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
    """Reports the number of cells and the warnings."""
    return config.stash[CELLS].summary if CELLS in config.stash else []
