"""The items of `pytest --benchmark`: they time a training step and an evaluation batch per cell."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from tunefront.bench.cells import Cell
from tunefront.bench.errors import ErrorCollector, printable
from tunefront.bench.models.session import Session
from tunefront.bench.papers.compared import compared
from tunefront.bench.quiet import quiet_libraries
from tunefront.bench.records import Record
from tunefront.bench.records.store import Store
from tunefront.bench.suites.expand import expand
from tunefront.bench.suites.optuna_search import check_all_known
from tunefront.bench.suites.overrides import OPTIONS, Overrides
from tunefront.methods.base import Method, Unsupported
from tunefront.methods.checking import check_class, check_instance, describe_error
from tunefront.methods.spelling import label

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

ROUNDS, WARMUP_ROUNDS = 10, 2
"""Timed steps, and the warm-up steps before them, which are not timed (the first one allocates)."""

EXTRA = (
    *("key", "method", "backbone", "task", "shots", "draw_seed", "seed", "scores.headline", "scores.test"),
    *("data.n_train", "data.n_test", "parameters.trainable", "parameters.head", "parameters.inserted"),
    *("parameters.backbone", "parameters.total", "storage.checkpoint_bytes", "training.steps"),
    *("flops.train", "flops.inference_per_example"),
    *("memory.train_peak_resident_bytes", "memory.eval_peak_resident_bytes"),
    *("memory.train_peak_allocated_bytes", "memory.eval_peak_allocated_bytes"),
    *("environment.device", "environment.threads", "environment.concurrent_cells"),
)
"""Record fields copied into `extra_info`."""


class Cells(pytest.Module):
    """The cells of a suite; each gives two items, `tunefront::<cell>[train_step]` and `...[evaluate]`."""

    cells: tuple[Cell, ...]
    store: Store
    summary: list[str]
    records: dict[Cell, Record]
    backbones: Session

    def collect(self) -> Iterator[pytest.Function]:
        """The items, in the cells' order; the first of a cell's two items runs the cell if it is not recorded yet."""
        tests: dict[str, Callable[..., None]] = {"train_step": test_train_step, "evaluate": test_evaluate}
        for cell in self.cells:
            for name, test in tests.items():
                bound = functools.partial(test, cell=cell, cells=self)
                item: pytest.Function = pytest.Function.from_parent(
                    self, name=f"{item_id(cell)}[{name}]", callobj=bound
                )
                item.add_marker(pytest.mark.filterwarnings("default"))  # a project's `error` filter is for its own code
                item.add_marker(pytest.mark.benchmark(group=f"{name} {cell.backbone} {cell.task}"))
                yield item

    def record_of(self, cell: Cell) -> Record:
        """The cell's record: read if it exists, else the cell is run and recorded now, in this process."""
        if cell not in self.records:
            from tunefront.bench.execution.engines.local import Local
            from tunefront.bench.execution.grid import run_grid

            # Its steps are timed in this process afterwards, so a separate process would not isolate the method.
            here = Local(alone=lambda _: False, session=self.backbones)
            outcome = run_grid([cell], self.store, here)
            if outcome.interrupted:
                raise KeyboardInterrupt
            self.records[cell] = outcome.records[0]
        return self.records[cell]

    def _getobj(self) -> ModuleType:
        return sys.modules[__name__]


def collect(session: pytest.Session) -> Cells:
    """The collector of the cells that the options select; UserError if they are wrong or nothing can be written.

    With `--collect-only` the cells are only listed: nothing is written, built or downloaded.
    """
    quiet_libraries()
    option, config = session.config.option, session.config
    if option.collectonly:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read once, when the libraries are imported
    out = "results" if option.tunefront_out is None else option.tunefront_out
    own, left_out = own_methods(config) if not option.tunefront_method else ([], [])
    wrong = ErrorCollector()
    typed = {name: getattr(option, f"tunefront_{declared.name}") for name, declared in OPTIONS.items()}
    overrides = Overrides.from_texts(typed, wrong, more_methods=own)
    cells: Cells = Cells.from_parent(session, path=Path(__file__), nodeid="tunefront")
    expansion = expand(option.tunefront_suite, overrides, listing=option.collectonly, wrong=wrong)
    check_all_known(expansion.cells, "pytest")
    cells.cells = expansion.cells
    cells.store, cells.records, cells.backbones = Store(out), {}, Session()
    if not option.collectonly:
        cells.store.prepare()
        cells.cells = tuple(compared(cells.cells)[0])
    cells.summary = [f"tunefront: {len(cells.cells)} cells of suite {expansion.suite}, records in {out}", *left_out]
    cells.summary += [f"tunefront: warning: {warning}" for warning in expansion.warnings]
    cells.summary = [printable(line) for line in cells.summary]
    return cells


def test_train_step(benchmark: BenchmarkFixture, cell: Cell, cells: Cells) -> None:
    """Times single optimiser steps on a fresh attach of the cell."""
    _time(benchmark, _step_timer(benchmark, cell, cells).train_step)


def test_evaluate(benchmark: BenchmarkFixture, cell: Cell, cells: Cells) -> None:
    """Times the scoring of single batches on a fresh attach of the cell."""
    _time(benchmark, _step_timer(benchmark, cell, cells).evaluate)


def _step_timer(benchmark: BenchmarkFixture, cell: Cell, cells: Cells) -> Any:
    """A fresh attach of the cell, with its record in `extra_info`; skips or fails the item if the record says so."""
    from tunefront.bench.execution.step_timer import StepTimer

    record = cells.record_of(cell)
    if record.status == "skipped":
        pytest.skip(printable(record.reason or "no reason recorded"))
    if record.status == "failed":
        pytest.fail(printable(record.reason or "no reason recorded"), pytrace=False)
    benchmark.extra_info.update({name: attrgetter(name)(record) for name in EXTRA})
    return StepTimer(cell, cells.backbones)


def _time(benchmark: BenchmarkFixture, step: Callable[[], object]) -> None:
    try:
        benchmark.pedantic(step, rounds=ROUNDS, warmup_rounds=WARMUP_ROUNDS)
    except Unsupported as reason:
        pytest.skip(str(reason))


def item_id(cell: Cell) -> str:
    """Identifies a cell: method, backbone, task, shots, draw, seed, template, and recipe fields that differ from the
    method's own."""
    parts = [label(cell.method), cell.backbone, cell.task]
    parts += [f"shots={'all' if cell.shots is None else cell.shots}", f"draw={cell.draw_seed}", f"seed={cell.seed}"]
    parts += [cell.template] if cell.template else []
    return printable("-".join(parts + [f"{name}={value}" for name, value in cell.changed_recipe.items()]))


def own_methods(config: pytest.Config) -> tuple[list[Method], list[str]]:
    """The methods that the project's conftest files define or import, and a line for each that cannot be used."""
    own: list[Method] = []
    left_out: list[str] = []
    for plugin in config.pluginmanager.get_plugins():
        if not isinstance(plugin, ModuleType) or Path(plugin.__file__ or "").name != "conftest.py":
            continue
        for value in vars(plugin).values():
            shipped = getattr(value, "__module__", "").startswith("tunefront.")
            if not inspect.isclass(value) or not issubclass(value, Method) or inspect.isabstract(value) or shipped:
                continue
            try:
                check_class(value)
            except ValueError as error:
                left_out.append(f"tunefront: skipped: {error}")
                continue
            needs = [field.name for field in fields(value) if field.default is field.default_factory is MISSING]
            if needs:
                left_out.append(f"tunefront: add {value.name} with --tunefront-method {value.name}:{needs[0]}=VALUE")
                continue
            try:
                own.append(value())
                check_instance(own[-1])
            except Exception as error:
                own = [method for method in own if type(method) is not value]
                left_out.append(f"tunefront: skipped: {value.name}: {describe_error(error)}")
    return own, left_out
