"""Predicted seconds against those of running the same cells one after another on this machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.benchmarks.side_by_side import show

SECONDS_TARGET, MEMORY_TARGET = 0.30, 0.10
CELLS = (
    *(("minilm", spelled) for spelled in ("full", "houlsby:bottleneck=8", "ia3", "features")),
    *(("nano", spelled) for spelled in ("full", "houlsby:bottleneck=8", "ia3", "features", "icl:k=16", "icl:k=0")),
)
LARGEST = """
import resource, sys, time
from tunefront import plan
start = time.perf_counter()
records = plan(methods=["ia3", "full", "houlsby", "icl"], backbones=["t0-11b"], length=103, answer_tokens=3, shots=[41],
    settings={"batch_size": 8, "steps": 1000}, seconds=sys.argv[1] == "with seconds")
kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
print(time.perf_counter() - start, sum(resource.getrusage(kind).ru_maxrss for kind in kinds) * 1024)
assert [record.status for record in records] == ["planned"] * 4, records
"""


def test_predicted_costs_are_near_those_of_a_run(benchmark: Any, task_name: str, tmp_path: Path) -> None:
    from tunefront.bench.execution.run_cell import run_cell
    from tunefront.bench.forecast.machine import machine
    from tunefront.bench.forecast.predict import predict
    from tunefront.bench.records import Record
    from tunefront.bench.suites.expand import expand
    from tunefront.bench.suites.overrides import Overrides

    def cell(backbone: str, spelled: str) -> Any:
        shots = [32] if backbone == "nano" else None
        return expand(
            "quick", Overrides(methods=[spelled], backbones=[backbone], tasks=[task_name], shots=shots, seeds=[0])
        ).cells[0]

    cells = [cell(backbone, spelled) for backbone, spelled in CELLS]
    planned = [predict(each, machine=machine(each.config.threads)) for each in cells]
    measured: list[Record] = []

    def grid() -> None:
        measured.extend(run_cell(each)[0] for each in cells)

    benchmark.pedantic(grid, rounds=1, iterations=1, warmup_rounds=0)
    rows: list[dict[str, object]] = []
    for prediction, record in zip(planned, measured, strict=True):
        rows.append(
            {
                "cell": f"{record.label}, {record.backbone}",
                "training, predicted / measured": _ratio(prediction.seconds.train, record.seconds.train),
                "scoring": _ratio(prediction.seconds.eval, record.seconds.eval),
                "peak memory": _ratio(prediction.peak_memory_bytes, record.peak_memory_bytes),
                "training FLOPs": _ratio(prediction.flops.train, record.flops.train),
            }
        )
    show(
        benchmark, f"predicted over measured; targets 1 ± {SECONDS_TARGET} of seconds, {MEMORY_TARGET} of memory", rows
    )


def test_the_largest_model_is_predicted_in_seconds(benchmark: Any) -> None:
    """T0-11B with four methods in a new process, including imports; target 20 s within 2 GiB."""
    rows: list[dict[str, object]] = []

    def run() -> None:
        for variant in ("without seconds", "with seconds"):
            command = [sys.executable, "-c", LARGEST, variant]
            result = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds, peak_bytes = result.stdout.split()
            rows.append({"predicted": variant, "seconds": seconds, "peak bytes": peak_bytes})

    benchmark.pedantic(run, rounds=1, iterations=1, warmup_rounds=0)
    show(benchmark, "four plans of T0-11B; target 20 s, 2 GiB", rows)


def _ratio(value: float | None, reference: float | None) -> float | None:
    return value / reference if value and reference else None
