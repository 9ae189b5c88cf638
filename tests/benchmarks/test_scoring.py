"""Scoring choices after demonstrations that are read once, against one forward pass per choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.side_by_side import SideBySide, show

TARGETS = {0: 2.5, 16: 40.0}
QUERIES, ALONE = 96, {0: 24, 16: 2}
"""Shared work scores all queries; the plain computation, which is linear in them, only those of median length."""


@pytest.mark.parametrize("shots", TARGETS)
def test_shared_work_is_faster_than_one_pass_per_choice(benchmark: Any, shots: int, tmp_path: Path) -> None:
    import torch

    from tests.peers.arithmetic import Flops
    from tests.peers.material import ending_task, make_backbone
    from tests.peers.tunefront import Evaluation

    own = Evaluation(make_backbone(tmp_path / "backbone"), ending_task(QUERIES), shots)
    ordered = sorted(range(QUERIES), key=lambda row: own.examples.lengths[row])
    alone = ordered[(QUERIES - ALONE[shots]) // 2 :][: ALONE[shots]]
    torch.testing.assert_close(own.run()[alone], own.run_plainly(alone), atol=1e-4, rtol=0)
    timed = SideBySide(benchmark, {"shared": own.run, "plain": lambda: own.run_plainly(alone)}, rounds=5, warmup=0)
    ratio = timed.ratio("plain", "shared") * QUERIES / len(alone)
    flops, before, lengths = Flops.of(own.backbone.model), len(own.before), own.lengths
    plain = flops.plain(before + query + choice - 1 for query, choices in lengths for choice in choices)
    limit = plain / flops.shared(before, lengths)
    show(
        benchmark,
        f"a query with 4 choices of several tokens after {shots} demonstrations",
        [
            {
                "computation": name,
                "queries": queries,
                "ms per query": timed.median(name) * 1000 / queries,
                "times faster": ratio if name == "shared" else 1.0,
                "target": TARGETS[shots] if name == "shared" else "",
                "by arithmetic": limit if name == "shared" else 1.0,
            }
            for name, queries in (("shared", QUERIES), ("plain", len(alone)))
        ],
    )
    assert ratio > limit / 2
