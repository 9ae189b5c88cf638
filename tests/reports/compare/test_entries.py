"""Methods are compared over the tasks, templates and draws that both ran on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.reports.factory import record
from tunefront.bench.records import Spread
from tunefront.reports.compare.entries import Entry, on_shared_cells
from tunefront.reports.compare.panels import build
from tunefront.reports.compare.recipe_choice import choose
from tunefront.reports.costs import memory, storage
from tunefront.reports.costs.step_ratios import ratios


def panel_of(records):
    (panel,) = build(choose(records))
    return panel


def timed(seconds):
    return {"forward": Spread(median=seconds, low=seconds, high=seconds, count=9)}


def entry_of(*records):
    return next(entry for entry in panel_of(records).entries)


def test_cells_are_those_that_each_has_the_measure_on():
    first = Entry("a", {"x": (record(task="x", flops__train=1),), "y": (record(task="y", flops__train=5),)})
    second = Entry("b", {"y": (record(task="y", flops__train=7),), "z": (record(task="z", flops__train=9),)})
    assert [list(entry.records) for entry in on_shared_cells([first, second], lambda r: r.flops.train)] == [
        ["y"],
        ["y"],
    ]
    none = replace(second, records={"y": (record(task="y", flops__train=None),)})
    assert [entry.all for entry in on_shared_cells([first, none], lambda r: r.flops.train)] == [[], []]


def test_a_step_is_not_compared_with_one_of_another_task():
    """The second task's steps are ten times as long, and only the reference ran on it."""
    records = [
        record(label="full", task="small", seconds__steps=timed(0.1)),
        record(label="full", task="large", seconds__steps=timed(1.0)),
        record(label="ia3", task="small", seconds__steps=timed(0.1)),
    ]
    panel = panel_of(records)
    full, ia3 = panel.entries
    assert ratios(ia3, full)["step"].value == pytest.approx(1)


def test_a_step_that_was_timed_in_some_runs_only_counts_there():
    records = [
        record(label="full", task="small", seconds__steps=timed(0.1)),
        record(label="full", task="large", seconds__steps=timed(1.0)),
        record(label="ia3", task="small", seconds__steps=timed(0.05)),
        record(label="ia3", task="large", seconds__steps=None),
    ]
    full, ia3 = panel_of(records).entries
    assert ratios(ia3, full)["forward"].value == pytest.approx(0.5)


def test_memory_and_files_are_compared_over_the_same_tasks():
    """A method that ran on the small task alone is not the one with the lowest peak."""
    sizes = {("full", "small"): 100, ("full", "large"): 1000, ("ia3", "small"): 90}
    records = [
        record(
            label=label,
            task=task,
            memory__phases={"forward": {"frozen_weights": size * 1000}},
            storage__checkpoint_bytes=size,
            storage__backbone_bytes=7,
            parameters__trainable=10 if label == "ia3" else 22_713_216,
            parameters__backbone=22_713_216,
            parameters__head=0,
            parameters__inserted=0,
        )
        for (label, task), size in sizes.items()
    ]
    panel = panel_of(records)
    sentences = {ledger.tag: ledger.short for ledger in (memory.ledger(panel, 0), storage.ledger(panel, 0)) if ledger}
    assert sentences["memory"].replace("\u00a0", " ") == "full needs 100 kB at its peak, ia3 90.0 kB"
    assert sentences["storage"].replace("\u00a0", " ") == "nine tasks: full 900 B, ia3 817 B"


def test_a_share_is_of_records_that_have_both_numbers():
    whole = entry_of(
        *(record(seed=seed, parameters__trainable=10 * (seed + 1), parameters__backbone=100) for seed in range(3))
    )
    assert whole.share == (20, 100)
    part = entry_of(
        record(seed=0, parameters__trainable=10, parameters__backbone=100),
        record(seed=1, parameters__trainable=90, parameters__backbone=None),
    )
    assert part.share is None
