"""Memory by owner against the allocator's own peaks, and a plan against the run: bytes and seconds.

A failure: a phase whose owners sum to another number than the allocator's peak by more than `LEDGER`; a planned peak
that differs from the run's by more than `PLANNED_BYTES`; seconds that the plan misses by more than a factor of
`PLANNED_SECONDS`; a cell that does not run.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product

from tests.gpu.material import Material, Sizes
from tests.gpu.results import Outcome, Step
from tunefront.bench.cells import Cell
from tunefront.bench.execution.run_cell import run_cell
from tunefront.bench.forecast.forecast import Predictor
from tunefront.bench.forecast.targets import cell_targets
from tunefront.bench.records import Record

SECTION = "memory"
METHODS = ("full", "ia3", "houlsby", "lora")
DTYPES = ("float32", "bfloat16")
TINY_CASES = (
    ("bert-large", "full", "float32"),
    ("bert-large", "ia3", "bfloat16"),
    ("t5-large", "houlsby", "float32"),
    ("t5-large", "lora", "bfloat16"),
)
"""With toys every shape, method and precision once."""
SIZES = {
    "bert-large": Sizes(words=126, train=256, test=64, batch=32, steps=8),
    "t5-large": Sizes(words=120, train=128, test=32, batch=16, steps=8),
}
TINY = Sizes(words=10, train=16, test=8, batch=4, steps=3)
LEDGER = 0.05
PLANNED_BYTES = 0.05
PLANNED_SECONDS = 2.0


def steps(material: Material) -> Iterator[Step]:
    """A step for each shape, method and precision."""
    predictor = Predictor(timed=True)
    for backbone, method, dtype in TINY_CASES if material.tiny else product(SIZES, METHODS, DTYPES):
        yield f"{backbone} {method} {dtype}", partial(_measure, material, predictor, backbone, method, dtype)


def _measure(material: Material, predictor: Predictor, backbone: str, method: str, dtype: str) -> Outcome:
    sizes = TINY if material.tiny else SIZES[backbone]
    cell = material.cell(method, backbone, f"memory-{backbone}", sizes, {"dtype": dtype})
    planned = planned_record(predictor, cell)
    record, _ = run_cell(cell, session=material.session)
    outcome = Outcome(record=record)
    outcome.check(record.status == "ok", f"the cell is {record.status}: {record.reason}")
    if record.status == "ok":
        against_allocator(outcome, record)
        against_plan(outcome, record, planned, timed=material.cuda)
    return outcome


def planned_record(predictor: Predictor, cell: Cell) -> Record:
    """What `tunefront plan --seconds` predicts of a cell."""
    (planned,) = predictor.forecast(cell_targets([cell])).records
    return planned


def against_allocator(outcome: Outcome, record: Record) -> None:
    """The owners of every phase against what the allocator handed out at its peak."""
    owners, cuda = record.memory.phases or {}, record.memory.cuda or {}
    if cuda:
        outcome.figures["train_peak_allocated_bytes"] = record.memory.train_peak_allocated_bytes
    else:
        outcome.left_out.append("the allocator's peaks need CUDA")
    for phase in (phase for phase in owners if phase in cuda):
        ratio = sum(owners[phase].values()) / cuda[phase]["allocated"]
        outcome.figures[f"{phase}_ledger_over_allocated"] = ratio
        outcome.check(abs(ratio - 1) <= LEDGER, f"in {phase} the owners are {ratio:.3f} of the allocator's peak")


def against_plan(outcome: Outcome, record: Record, planned: Record, timed: bool) -> None:
    """Planned bytes and seconds over those of the run; seconds are judged if `timed` (a toy's are all overhead)."""
    outcome.figures["peak_bytes"] = record.peak_memory_bytes
    peak = _over(planned.peak_memory_bytes, record.peak_memory_bytes)
    outcome.figures["peak_planned_over_run"] = peak
    near = peak is not None and abs(peak - 1) <= PLANNED_BYTES
    outcome.check(near, f"the planned peak is {peak} of the run's: {planned.reason}")
    for name in ("train", "eval"):
        seconds = getattr(record.seconds, name)
        ratio = _over(getattr(planned.seconds, name), seconds)
        outcome.figures |= {f"{name}_seconds": seconds, f"{name}_seconds_planned_over_run": ratio}
        near = ratio is not None and 1 / PLANNED_SECONDS <= ratio <= PLANNED_SECONDS
        outcome.check(near or not timed, f"the plan's {name} seconds are {ratio} of the run's")


def _over(planned: float | None, run: float | None) -> float | None:
    return None if planned is None or not run else planned / run
