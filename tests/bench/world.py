"""A fake harness that trains nothing: known names, instant cells, and synthetic records."""

from __future__ import annotations

import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

import tunefront.bench.suites.expand  # whole, before `world` puts others in the place of what it imports
import tunefront.reports
from tunefront.bench.cells import Cell
from tunefront.bench.data.archives.catalog import ARCHIVES
from tunefront.bench.data.sources import TaskEntry
from tunefront.bench.data.task import MetricSpec, Row, Task
from tunefront.bench.errors import UserError, unknown
from tunefront.bench.execution import identity
from tunefront.bench.execution.engines.local import Local
from tunefront.bench.execution.identity import Identity
from tunefront.bench.execution.run_cell import Costs, Results, record_of
from tunefront.bench.records import Environment, Parameters, Record, Scores, Seconds
from tunefront.bench.records.store import Store
from tunefront.bench.records.urls import output_folder
from tunefront.methods.registry import methods
from tunefront.reports import names, units
from tunefront.reports.compare import filters

methods()  # all imported now: a pytester removes modules that are imported while it runs

BACKBONES = ["minilm", "tiny", "nano", "smollm2"]
DECODERS = ["nano", "smollm2"]
TASKS = ["docstrings/library", "docstrings/match", "docstrings/kind", "docstrings/param_type"]
FETCHED = [name for archive in ARCHIVES.values() for name in archive.tasks]


@dataclass(frozen=True)
class Outcome:
    records: tuple[Record, ...]
    ran: int = 0
    reused: int = 0
    failed: int = 0
    skipped: int = 0
    interrupted: bool = False


@dataclass(frozen=True)
class Grid:
    """Stands in for a grid: its cells, run by what stands in for `run_grid`."""

    cells: Sequence[Cell]

    def run(self, *arguments: Any, **named: Any) -> Outcome:
        run_grid = vars(sys.modules["tunefront.bench.execution.grid"])["run_grid"]
        outcome: Outcome = run_grid(self.cells, *arguments, **named)
        return outcome


@dataclass
class World:
    """The calls of the fake harness, and its answers: `answers` maps a word of the method to a status."""

    calls: list[dict[str, Any]] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    raises: BaseException | None = None
    interrupt_after: int | None = None
    overlap: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=lambda: {"torch": "2.6.0"})
    task_rows: str = "t0"
    fetched: bool = True

    def record(self, cell: Cell) -> Record:
        status = next((answer for word, answer in self.answers.items() if word in cell.spelled), "ok")
        ok = status == "ok"
        return record_of(
            cell,
            Identity.of(cell),
            Environment(),
            status,  # type: ignore[arg-type]
            None if ok else f"{cell.spelled} is {status} [here]",
            Costs(parameters=Parameters(trainable=1234 if ok else None, backbone=100_000), seconds=Seconds(train=1.5)),
            Results(Scores(headline="accuracy", test={"accuracy": 0.75} if ok else None)),
        )

    def run_grid(
        self,
        cells: Sequence[Cell],
        store: Store,
        engine: Local,
        progress: Any = None,
    ) -> Outcome:
        self.calls.append({"cells": tuple(cells), "workers": engine.workers, "fork": engine.fork})
        if self.raises is not None:
            raise self.raises
        store.prepare()
        known = {cell: store.read(Identity.of(cell).key) for cell in cells}
        reused = sum(record is not None and record.status != "failed" for record in known.values())
        records: list[Record] = []
        if progress is not None:
            progress.planned(len(cells), reused)
        for place, cell in enumerate(cells):
            if place == self.interrupt_after:
                return Outcome(tuple(records), place, interrupted=True)
            record = known[cell]
            if record is None or record.status == "failed":
                record = self.record(cell)
                if progress is not None:
                    progress.started(cell)
                    progress.step(cell, "train", 3, 10)
                    progress.finished(cell, record)
                store.write(record, pd.DataFrame({"id": ["0"]}) if record.status == "ok" else None)
            records.append(record)
        statuses = [record.status for record in records]
        return Outcome(tuple(records), len(cells) - reused, reused, statuses.count("failed"), statuses.count("skipped"))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Stands in for backbones, sources and the grid."""
    made = World()

    def check_backbone(name: str) -> None:
        if name not in BACKBONES:
            raise UserError(unknown("backbone", name, BACKBONES))

    def check_length(name: str, task: Task, max_length: int | None) -> None:
        if max_length is not None and max_length < 3:
            raise UserError(f"max_length is {max_length}; give at least 3.")

    def load_task(name: str) -> Task:
        if name not in (*TASKS, *FETCHED) and not name.startswith("dir:"):
            raise UserError(unknown("task", name, TASKS))
        train = [Row(str(place), {"text": f"a {place}"}, place % 2) for place in range(400)]
        rows = {"train": train, "test": [Row("0", {"text": "b"}, 1)]}
        if name in FETCHED:
            rows["validation"] = train[:50]
        metrics = (MetricSpec("accuracy"),)
        return Task(name, "classification", rows, ("text",), ("x", "y"), metrics, warnings=made.overlap)

    fakes: dict[str, dict[str, object]] = {
        "tunefront.bench.models.config": {
            "check_backbone": check_backbone,
            "warnings_of": lambda name: [],
            "check_length": check_length,
            "check_encoding": lambda *_: None,
            "cut_rows": lambda *_: None,
            "row_tokens": lambda name, task, template, rows, config: [(5, 5)] * len(rows),
            "family_of": lambda name: "decoder" if name in DECODERS else "encoder",
            "block_count": lambda name: 6,
        },
        "tunefront.bench.models.locate": {
            "known_backbones": lambda: {name: f"{name}, a model" for name in BACKBONES},
            "check_downloaded": lambda _: None,
            "EMBEDDED_FAMILIES": {},
            "stored_weights": lambda _: None,
        },
        "tunefront.bench.data.sources": {
            "load_task": load_task,
            "preview_task": load_task,
            "known_tasks": lambda: list(TASKS),
            "names_a_task": lambda text, is_read: text in TASKS,
            "describe_tasks": lambda: [TaskEntry(name, "A task.", "here", "none") for name in TASKS],
        },
        "tunefront.bench.execution.grid": {
            "run_grid": made.run_grid,
            "Outcome": Outcome,
            "Grid": Grid,
        },
    }
    monkeypatch.setattr("tunefront.bench.models.gguf.converted.is_fetched", lambda archive: made.fetched)
    for name, content in fakes.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(identity, "surroundings", lambda *_: {"backbone": "b0", "task": made.task_rows})
    monkeypatch.setattr(identity, "versions", lambda _: dict(made.versions))
    return made


class Summary(str):
    """Stands in for the summary of a run."""

    warnings = ("the summary warns",)


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for the reports: writes one file, prints the number of records."""
    takes = signature(tunefront.reports.write)

    def write(*arguments: Any, **named: Any) -> list[Path] | list[str]:
        given = takes.bind(*arguments, **named)
        given.apply_defaults()
        records, out, formats, where, plans = (
            given.arguments[name] for name in ("records", "out", "formats", "where", "plans")
        )
        if where == ["dtype=odd"]:
            raise UserError("no record has dtype=odd")
        name, text = f"report.{formats[0]}", f"{len(records)} {where}" + (f", {len(plans)} planned" if plans else "")
        with output_folder(out) as folder:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        return [Path(out) / name] if "://" not in out else [f"{out.rstrip('/')}/{name}"]

    package, summary = types.ModuleType("tunefront.reports"), types.ModuleType("tunefront.reports.sections.summary")
    package.write = write  # type: ignore[attr-defined]
    summary.summary_table = lambda records, predictions: Summary(f"SUMMARY of {len(records)}")  # type: ignore[attr-defined]
    collect = types.ModuleType("tunefront.reports.sections.studies.collect")
    collect.studies_of = lambda records, answers: ()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tunefront.reports", package)
    monkeypatch.setitem(sys.modules, "tunefront.reports.sections.studies.collect", collect)
    monkeypatch.setitem(sys.modules, "tunefront.reports.sections.summary", summary)
    monkeypatch.setitem(sys.modules, "tunefront.reports.compare.filters", filters)
    monkeypatch.setitem(sys.modules, "tunefront.reports.names", names)
    monkeypatch.setitem(sys.modules, "tunefront.reports.units", units)


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls the command in an empty folder; returns click's result."""
    monkeypatch.chdir(tmp_path)

    def called(*arguments: str) -> Any:
        from tunefront.bench.cli.main import app

        monkeypatch.setattr(sys, "argv", ["tunefront", *arguments])
        return CliRunner().invoke(app, list(arguments))

    return called
