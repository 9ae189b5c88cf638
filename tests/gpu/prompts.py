"""`icl:k=32` on a Llama of a billion parameters in bfloat16, and lm-evaluation-harness on the same prompts.

Here bfloat16 is autocast of float32 weights; there the weights themselves are bfloat16.

A failure: log-likelihoods in float32 that differ by more than `TOLERANCE` from lm-evaluation-harness's, other
predictions, a query that takes longer here than there, a cell that does not run.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.gpu.material import Material, Sizes
from tests.gpu.results import Outcome, Step
from tests.peers.scoring import TOLERANCE
from tunefront.bench.data.sources import load_task
from tunefront.bench.data.task import Task
from tunefront.bench.execution.run_cell import run_cell
from tunefront.bench.records import Record

if TYPE_CHECKING:
    import pandas as pd

    from tests.peers.lm_evaluation_harness import Answers, LmEval

SECTION = "prompts"
METHOD, SHOTS = "icl:k=32", 32
SIZES = Sizes(words=30, train=SHOTS, test=256, batch=64, steps=1)
TINY = Sizes(words=8, train=SHOTS, test=12, batch=4, steps=1)
SAMPLE = 32
"""Queries that lm-evaluation-harness scores, each with all of its demonstrations."""
BATCH_SIZES = (1, 8, 16)
"""Its batch sizes: the fastest is compared."""
ROUNDS = 3


@dataclass
class Ours:
    """The cells that ran here, by precision, and their scores."""

    records: dict[str, Record]
    frames: dict[str, pd.DataFrame]


def steps(material: Material) -> Iterator[Step]:
    """Our cells, then each peer that is installed."""
    ours = Ours({}, {})
    for dtype in ("float32", "bfloat16"):
        yield f"{METHOD} {dtype}", partial(_run, material, ours, dtype)
    yield "lm_eval hf", partial(_beside_hf, material, ours)
    yield "lm_eval vllm, prefix caching", partial(_beside_vllm, material, ours)


def _run(material: Material, ours: Ours, dtype: str) -> Outcome:
    """Seconds per query here, and what reuse gives by arithmetic: FLOPs without it over FLOPs with it."""
    sizes = TINY if material.tiny else SIZES
    cell = material.cell(METHOD, "llama-1b", SECTION, sizes, {"dtype": dtype}, normalization="none")
    run_cell(replace(cell, config=replace(cell.config, eval_rows=2)), session=material.session)  # warms kernels up
    record, frame = run_cell(cell, session=material.session)
    outcome = Outcome(record=record)
    outcome.check(record.status == "ok", f"the cell is {record.status}: {record.reason}")
    if frame is None:
        return outcome
    ours.records[dtype], ours.frames[dtype] = record, frame
    outcome.figures = {
        "queries": len(frame),
        "prefix_tokens": record.prompt.prefix_tokens,
        "seconds_per_query": _seconds_per_query(record),
        "reuse_gives_at_most": _limit(record),
        "kv_cache_bytes": record.prompt.kv_cache_bytes,
        "eval_peak_allocated_bytes": record.memory.eval_peak_allocated_bytes,
    }
    outcome.check(record.prompt.shortened_test == 0, "some queries do not keep all demonstrations")
    return outcome


def _seconds_per_query(record: Record) -> float:
    assert record.data.n_test is not None
    return ((record.seconds.prefix or 0) + (record.seconds.eval or 0)) / record.data.n_test


def _limit(record: Record) -> float | None:
    flops, queries = record.flops, record.data.n_test
    if not queries or flops.inference_per_example is None or flops.inference_per_example_without_reuse is None:
        return None
    return flops.inference_per_example_without_reuse / (flops.inference_per_example + (flops.prefix or 0) / queries)


def _beside_hf(material: Material, ours: Ours) -> Outcome:
    """Its log-likelihoods in float32 against ours, then its seconds per query in bfloat16."""
    outcome = Outcome()
    if importlib.util.find_spec("lm_eval") is None:
        outcome.left_out.append("lm_eval is not installed")
    elif set(ours.records) != {"float32", "bfloat16"}:
        outcome.left_out.append("our cells did not run")
    else:
        from tests.peers.lm_evaluation_harness import LmEval

        task = _same_rows(ours.records["float32"])
        for dtype in ("float32", "bfloat16"):
            peer = LmEval(material.folder / "llama-1b", material.folder, [task], material.device, dtype)
            answers = peer.evaluate(task, SHOTS, range(min(SAMPLE, len(task.splits["test"]))))
            _compare_scores(outcome, ours.frames[dtype], answers, dtype)
            if dtype == "bfloat16":
                outcome.figures["batch_size"], seconds = _fastest(peer, answers)
                _compare_seconds(outcome, material, ours, seconds)
            del peer
    return outcome


def _fastest(peer: LmEval, answers: Answers) -> tuple[int, float]:
    """The fastest of its batch sizes, and its seconds per query."""
    queries = len(answers.predictions)
    sizes = [size for size in BATCH_SIZES if size <= queries]
    times = {size: _median_seconds(lambda size=size: peer.run(answers, size)) / queries for size in sizes}
    return min(times.items(), key=lambda item: item[1])


def _beside_vllm(material: Material, ours: Ours) -> Outcome:
    """Seconds per query of the same requests in vLLM, which keeps prefixes by itself."""
    outcome = Outcome()
    missing = [name for name in ("lm_eval", "vllm") if importlib.util.find_spec(name) is None]
    if missing or not material.cuda or "bfloat16" not in ours.records:
        reasons = [f"{name} is not installed" for name in missing] + ([] if material.cuda else ["it needs CUDA"])
        outcome.left_out += reasons or ["our cell did not run"]
        return outcome
    from lm_eval.models.vllm_causallms import VLLM

    from tests.peers.lm_evaluation_harness import LmEval

    task, folder = _same_rows(ours.records["bfloat16"]), material.folder
    peer = LmEval(folder / "llama-1b", folder, [task], material.device, "bfloat16")
    answers = peer.evaluate(task, SHOTS, range(min(SAMPLE, len(task.splits["test"]))))
    del peer
    options: dict[str, Any] = {"enable_prefix_caching": True, "gpu_memory_utilization": 0.5, "max_model_len": 4096}
    model = VLLM(pretrained=str(folder / "llama-1b"), dtype="bfloat16", **options)
    seconds = _median_seconds(lambda: model._loglikelihood_tokens(answers.requests, disable_tqdm=True))
    _compare_seconds(outcome, material, ours, seconds / len(answers.predictions))
    return outcome


def _same_rows(record: Record) -> Task:
    """The task of a cell with its demonstrations in their order, under a name that is also a file's."""
    task = load_task(record.task)
    train = {row.id: row for row in task.splits["train"]}
    shown = [train[name] for name in record.data.train_ids or ()]
    return replace(task, name=SECTION, splits={"train": shown, "test": task.splits["test"]})


def _compare_scores(outcome: Outcome, frame: pd.DataFrame, answers: Answers, dtype: str) -> None:
    """The largest difference of a log-likelihood; only that of float32 is judged."""
    rows = frame.head(len(answers.predictions))
    ours = rows[["score_0", "score_1"]].to_numpy()
    difference = float(abs(ours - answers.loglikelihoods).max())
    agree = sum(int(a == b) for a, b in zip(rows["prediction"], answers.predictions, strict=True))
    outcome.figures |= {f"largest_difference_{dtype}": difference, f"equal_predictions_{dtype}": agree}
    if dtype == "float32":
        outcome.check(difference <= TOLERANCE, f"log-likelihoods differ by {difference:g}")
        outcome.check(agree == len(rows), f"{len(rows) - agree} of {len(rows)} predictions differ")


def _compare_seconds(outcome: Outcome, material: Material, ours: Ours, there: float) -> None:
    """Seconds per query there over those here, judged on a GPU."""
    record = ours.records["bfloat16"]
    here = _seconds_per_query(record)
    outcome.figures |= {
        "seconds_per_query": there,
        "times_faster_here": there / here,
        "reuse_gives_at_most": _limit(record),
    }
    outcome.check(there >= here or not material.cuda, f"a query takes {here:g} s here and {there:g} s there")


def _median_seconds(run: Callable[[], object]) -> float:
    """Results are on the CPU at the end of a run, so nothing is left on the device to wait for."""
    run()
    laps = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        run()
        laps.append(time.perf_counter() - start)
    return statistics.median(laps)
