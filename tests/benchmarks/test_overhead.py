"""The overhead of the meters and of the harness in a run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
import torch

from tests.benchmarks.side_by_side import SideBySide, minilm, show, trainer

METER_TARGET, HARNESS_TARGET = 0.01, 0.05
METHODS = ("full", "features", "houlsby:bottleneck=8", "ia3")
"""Part of the suite `quick`, on one task: all of it would take minutes."""


def test_counting_flops_takes_a_small_part_of_a_run(
    benchmark: Any, task_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first cell of a method counts, its second seed reuses the counts, as in `tunefront run` with one worker."""
    from tunefront.bench.execution.run_cell import run_cell
    from tunefront.bench.meters.flops.counted import FlopMeter
    from tunefront.bench.models.shapes import Shape
    from tunefront.bench.suites.expand import expand
    from tunefront.bench.suites.overrides import Overrides
    from tunefront.methods.spelling import label

    cells = expand("quick", Overrides(methods=METHODS, backbones=["minilm"], tasks=[task_name], seeds=[0, 1])).cells
    counting, total = [0.0], FlopMeter.total

    def timed_total(self: FlopMeter, shapes: Mapping[Shape, int]) -> int:
        start = time.perf_counter()
        try:
            return total(self, shapes)
        finally:
            counting[-1] += time.perf_counter() - start

    monkeypatch.setattr(FlopMeter, "total", timed_total)
    seconds: list[float] = []

    def grid() -> None:
        for cell in cells:
            start = time.perf_counter()
            record, _ = run_cell(cell)
            assert record.status == "ok", record.reason
            seconds.append(time.perf_counter() - start)
            counting.append(0.0)

    benchmark.pedantic(grid, rounds=1, iterations=1, warmup_rounds=0)
    rows: list[dict[str, object]] = [
        {
            "cell": f"{label(cell.method)}, seed {cell.seed}",
            "seconds": run,
            "counting, seconds": spent,
            "share": spent / run,
        }
        for cell, run, spent in zip(cells, seconds, counting, strict=False)
    ]
    share = sum(counting) / sum(seconds)
    rows.append({"cell": "all", "seconds": sum(seconds), "counting, seconds": sum(counting), "share": share})
    show(benchmark, f"FLOP meter, cells of suite quick; target {METER_TARGET:.0%} of all", rows)
    assert share < 0.05


@pytest.mark.parametrize("method_name", ["houlsby:bottleneck=8", "ia3"])
def test_the_harness_adds_little_to_a_bare_loop(benchmark: Any, task_name: str, method_name: str) -> None:
    from tunefront.bench.data import sampling, sources
    from tunefront.bench.models.examples import training_order
    from tunefront.bench.training.optimizers import adamw
    from tunefront.methods.base import Recipe
    from tunefront.methods.spelling import parse

    task, steps = sources.load_task(task_name), 12
    recipe = replace(Recipe(), steps=steps, batch_size=16)
    pretrained = {"harness": minilm(), "bare loop": minilm()}
    backbones = {name: source.fresh_copy(task, 0) for name, source in pretrained.items()}
    for backbone in backbones.values():
        parse(method_name).attach(backbone)
    examples = backbones["harness"].encode(task, sampling.draw(task, 600, 0), 64)
    order = training_order(examples, recipe.batch_size, torch.Generator().manual_seed(0))
    batches = [examples.batch(rows) for rows in islice(order, steps)]

    def harness() -> None:
        backbone = backbones["harness"]
        trainer(backbone.model, recipe, method_name).train(backbone.trainable(), backbone.loss, examples)

    def bare_loop() -> None:
        backbone = backbones["bare loop"]
        parameters = backbone.trainable()
        optimizer = adamw(parameters, recipe)
        backbone.model.train()
        for batch in batches:
            backbone.loss(batch).backward()
            torch.nn.utils.clip_grad_norm_(list(parameters.values()), recipe.clip_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    timed = SideBySide(benchmark, {"harness": harness, "bare loop": bare_loop}, rounds=5)
    overhead = timed.ratio("harness", "bare loop") - 1
    show(
        benchmark,
        f"{steps} steps of {method_name}, batches of {recipe.batch_size}",
        [
            {"loop": "harness", "seconds": timed.median("harness"), "more": overhead, "target": HARNESS_TARGET},
            {"loop": "bare", "seconds": timed.median("bare loop"), "more": 0.0, "target": ""},
        ],
    )
    assert overhead < 0.3
