"""Batches of rows with similar lengths, against random batches padded to their longest row."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks.side_by_side import SideBySide, minilm, show

TARGET = 1.8
ROWS, BATCH, EVERY = 2000, 32, 7
"""Every seventh batch, by length, represents the epoch, which would take minutes."""


def test_length_buckets_save_an_epoch_s_padding(benchmark: Any, task_name: str) -> None:
    from tunefront.bench.data import sampling, sources
    from tunefront.bench.models.examples import training_order

    task = sources.load_task(task_name)
    backbone = minilm().fresh_copy(task, 0)
    examples = backbone.encode(task, sampling.draw(task, ROWS, 0), 128)
    generator = torch.Generator().manual_seed(0)
    shuffled = torch.randperm(len(examples), generator=generator).tolist()
    count = -(-len(examples) // BATCH)
    orders = {
        "bucketed": list(islice(training_order(examples, BATCH, generator), count)),
        "random": [shuffled[start : start + BATCH] for start in range(0, len(examples), BATCH)],
    }

    def tokens(batch: list[int]) -> int:
        return len(batch) * max(examples.lengths[row] for row in batch)

    padded = {name: sum(map(tokens, order)) for name, order in orders.items()}

    def epoch(order: list[list[int]]) -> None:
        for rows in sorted(order, key=tokens)[EVERY // 2 :: EVERY]:
            backbone.loss(examples.batch(rows)).backward()
            backbone.model.zero_grad()

    backbone.model.train()
    variants = {name: lambda order=order: epoch(order) for name, order in orders.items()}
    timed = SideBySide(benchmark, variants, rounds=3, warmup=0)
    show(
        benchmark,
        f"an epoch over {len(examples)} rows of {Path(task_name).name}, batches of {BATCH}",
        [
            {
                "batches": name,
                "seconds": timed.median(name) * EVERY,
                "random takes times": timed.ratio("random", name),
                "target": TARGET if name == "bucketed" else "",
                "padded tokens": padded[name],
                "of them padding": 1 - sum(examples.lengths) / padded[name],
                "random has times": padded["random"] / padded[name],
            }
            for name in orders
        ],
    )
    assert sorted(row for batch in orders["bucketed"] for row in batch) == list(range(len(examples)))
    assert timed.ratio("random", "bucketed") > 1.2
