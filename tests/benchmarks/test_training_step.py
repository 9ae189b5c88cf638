"""A training step of each parameter-efficient method against full fine-tuning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.benchmarks.side_by_side import SideBySide, minilm, random_tokens, show, trainer

TARGETS = {"ia3": 0.72, "houlsby:bottleneck=8": 0.72, "houlsby:bottleneck=64": 0.78}
ROWS, LENGTH = 16, 64


@pytest.mark.parametrize(("dropout", "rounds"), [(0.0, 15), (None, 5)], ids=["no dropout", "dropout on"])
def test_a_step_costs_less_than_in_full_fine_tuning(
    benchmark: Any, task_name: str, dropout: float | None, rounds: int
) -> None:
    from tunefront.bench.data import sources
    from tunefront.bench.meters.flops.counted import counted_flops, undisturbed
    from tunefront.methods.base import Recipe
    from tunefront.methods.spelling import parse

    task = sources.load_task(task_name)
    recipe = replace(Recipe(), batch_size=ROWS, dropout=dropout)
    steps, flops, kept = {}, {}, []
    for name in ("full", *TARGETS):
        pretrained = minilm()
        backbone = pretrained.fresh_copy(task, 0, dropout)
        parse(name).attach(backbone)
        examples = random_tokens(pretrained.tokenizer.model_input_names, 8 * ROWS, LENGTH)
        harness = trainer(backbone.model, recipe, name)
        stream = harness.tools.steps(backbone.trainable(), backbone.loss, examples, total=10_000)
        next(stream)
        batch = examples.batch(range(ROWS))
        with undisturbed(backbone.model):
            flops[name] = counted_flops(lambda backbone=backbone, batch=batch: backbone.loss(batch).backward())
        steps[name] = lambda stream=stream: next(stream)
        kept.append(pretrained)
    timed = SideBySide(benchmark, steps, rounds, warmup=1)
    show(
        benchmark,
        f"training step, {ROWS} x {LENGTH} tokens, {'dropout 0' if dropout == 0 else 'dropout on'}",
        [
            {
                "method": name,
                "ms": timed.median(name) * 1000,
                "ratio to full": timed.ratio(name, "full"),
                "its FLOPs allow": flops[name] / flops["full"],
                "target": TARGETS.get(name, "") if dropout == 0 else "",
            }
            for name in steps
        ],
    )
    for name in TARGETS:
        assert timed.ratio(name, "full") < 1, name
