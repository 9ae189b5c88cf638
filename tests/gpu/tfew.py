"""T-Few's recipe for (IA)^3 on T5-large's shape: seconds, memory, and FLOPs per second over the device's peak.

The peak is that of a large product of matrices in the same precision, measured in the same run. A failure: a run that
is not ok, a loss that is not finite, more FLOPs per second than the peak.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from functools import partial

import torch

from tests.gpu.material import Material, Sizes
from tests.gpu.results import Outcome, Step
from tunefront.bench.execution.run_cell import run_cell
from tunefront.bench.suites.expand import expand
from tunefront.bench.suites.overrides import Overrides
from tunefront.bench.templates import PLAIN

SECTION = "tfew"
SIZES = Sizes(words=90, train=32, test=64, batch=8, steps=100)
TINY = Sizes(words=10, train=32, test=8, batch=8, steps=4)
"""32 rows in batches of 8, as the paper; it takes 1,000 steps."""
PEAK_SIDE, PEAK_ROUNDS = 8192, 20
TINY_SIDE = 512


def steps(material: Material) -> Iterator[Step]:
    """A step for each precision."""
    for dtype in ("float32", "bfloat16"):
        yield f"ia3 {dtype}", partial(_train, material, dtype)


def _train(material: Material, dtype: str) -> Outcome:
    sizes = TINY if material.tiny else SIZES
    overrides = Overrides(
        methods=["ia3"],
        backbones=[material.backbone("t5-large")],
        tasks=[material.task(SECTION, sizes)],
        templates=[PLAIN],
        draws=[0],
        settings={"steps": sizes.steps, "dtype": dtype},
        device=material.device,
    )
    (cell,) = expand("tfew2022", overrides).cells
    record, _ = run_cell(cell, session=material.session)
    outcome = Outcome(record=record)
    outcome.check(record.status == "ok", f"the cell is {record.status}: {record.reason}")
    if record.status != "ok":
        return outcome
    peak = peak_flops(material, getattr(torch, dtype))
    flops, seconds = record.flops, record.seconds
    used = (flops.train or 0) / (seconds.train or math.nan) / peak
    scored = (flops.inference_per_example or 0) * (record.examples_per_second.eval or math.nan)
    outcome.figures = {
        "steps": record.training.steps,
        "train_seconds": seconds.train,
        "step_seconds": seconds.train / (record.training.steps or 1),
        "eval_seconds": seconds.eval,
        "train_flops": flops.train,
        "peak_flops_per_second": peak,
        "train_utilisation": used,
        "eval_utilisation": scored / peak,
        "peak_bytes": record.peak_memory_bytes,
        "train_peak_allocated_bytes": record.memory.train_peak_allocated_bytes,
        "final_loss": record.training.final_loss,
    }
    loss = record.training.final_loss
    outcome.check(loss is not None and math.isfinite(loss), f"the loss is {loss}")
    outcome.check(0 < used <= 1, f"it would use {used:.2f} of the device's peak: FLOPs or seconds are wrong")
    return outcome


def peak_flops(material: Material, dtype: torch.dtype) -> float:
    """FLOPs per second of the fastest of some large products of matrices."""
    side = TINY_SIDE if material.tiny else PEAK_SIDE
    first, second = (torch.ones(side, side, device=material.device, dtype=dtype) for _ in range(2))
    fastest = math.inf
    for _ in range(PEAK_ROUNDS):
        start = _now(material)
        first @ second
        fastest = min(fastest, _now(material) - start)
    return 2 * side**3 / fastest


def _now(material: Material) -> float:
    if material.cuda:
        torch.cuda.synchronize()
    return time.perf_counter()
