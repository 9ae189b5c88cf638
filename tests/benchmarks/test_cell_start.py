"""The start of a cell in a warm worker, against a new process."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from tests import ROOT
from tests.benchmarks.side_by_side import SideBySide, minilm, show

TARGET = 100
STARTS = 10
NEW_PROCESS = (
    "import torch, tunefront.bench.execution.run_cell\n"
    "from tunefront.bench.models.session import Session\n"
    "Session().pretrained('minilm')"
)


def test_a_warm_worker_starts_a_cell_much_faster_than_a_new_process(benchmark: Any, task_name: str) -> None:
    from tunefront.bench.data import sources
    from tunefront.methods.spelling import parse

    task, pretrained, method = sources.load_task(task_name), minilm(), parse("houlsby")

    def warm() -> None:
        for _ in range(STARTS):
            method.attach(pretrained.fresh_copy(task, 0))

    def new_process() -> None:
        subprocess.run([sys.executable, "-c", NEW_PROCESS], cwd=ROOT, check=True, capture_output=True)

    timed = SideBySide(benchmark, {"warm": warm, "new process": new_process}, rounds=3)
    ratio = timed.ratio("new process", "warm") * STARTS
    show(
        benchmark,
        "a cell's start: a pristine MiniLM with adapters attached",
        [
            {
                "where": "warm worker",
                "ms": timed.median("warm") * 1000 / STARTS,
                "times faster": ratio,
                "target": TARGET,
            },
            {"where": "new process", "ms": timed.median("new process") * 1000, "times faster": 1, "target": ""},
        ],
    )
    assert ratio > 20
