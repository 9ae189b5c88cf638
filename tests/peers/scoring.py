"""Scoring choices here and in lm-evaluation-harness, timed in turn, on one thread, in one table.

The timed part is an evaluation after tokenisation: batches, the model, log-probabilities. Times are per query. lm_eval
shares nothing between queries, so it scores only some of them, of all lengths; this suite scores all and reads the
demonstrations once per run. First both are checked for equal tokens, log-likelihoods and predictions. The settings of
a real model on real rows are left out, with the reason, where these are not fetched.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from tests.peers.arithmetic import Flops
from tests.peers.lm_evaluation_harness import Answers, LmEval
from tests.peers.material import ending_task, kind_task, make_backbone, movies_task, real_backbone
from tests.peers.tunefront import Evaluation
from tunefront.bench.data.archives.cached import NotFetched
from tunefront.bench.data.task import Task

ROUNDS = 5
BATCH_SIZES = (1, 8, 32)
"""Batch sizes of lm_eval; the fastest in a trial run is used."""
QUERIES = {"kind": 384, "ending": 160, "movies": 150}
"""150 of movies, as in the default suite."""
TOLERANCE = 1e-4
"""Largest difference of the log-likelihood of a choice, in float32."""


@dataclass(frozen=True)
class Setting:
    """Queries of a task after `shots` demonstrations; lm_eval scores `sample` of them, which fill its largest batch;
    `target` is the required speed-up of this suite."""

    task: str
    shots: int
    sample: int
    target: float


SETTINGS = (
    Setting("kind", 32, 32, 26),
    Setting("ending", 16, 8, 40),
    Setting("ending", 32, 8, 60),
    Setting("ending", 0, 64, 2.5),
    Setting("movies", 0, 32, 1.1),
    Setting("movies", 16, 8, 14),
    Setting("movies", 32, 8, 22),
)


@dataclass(frozen=True)
class Spent:
    """Seconds per query: wall-clock, and processor time, which other processes disturb less."""

    clock: float
    processor: float

    @classmethod
    def by(cls, run: Callable[[], object], queries: int) -> Spent:
        """The time of a run over `queries` queries."""
        clock, processor = time.perf_counter(), time.process_time()
        run()
        return cls((time.perf_counter() - clock) / queries, (time.process_time() - processor) / queries)


def main(rounds: int) -> None:
    """Measures every setting and prints the table."""
    torch.set_num_threads(1)
    rows: list[dict[str, str]] = []
    left_out: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        for prepare in (prepare_random, prepare_real):
            try:
                backbone, tasks = prepare(Path(scratch))
            except NotFetched as reason:
                left_out.append(f"Left out: {reason}")
                continue
            for row in _compared(backbone, tasks, Path(scratch), rounds):
                rows.append(row)
                print(*row.values(), sep="  ", file=sys.stderr, flush=True)
    caption = "\n".join([_caption(rounds), *left_out])
    table = Table(title=f"Tunefront and lm_eval {version('lm_eval')}: milliseconds per query", caption=caption)
    for column in rows[0]:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*row.values())
    Console(width=150).print(table)


def prepare_random(scratch: Path) -> tuple[Path, list[Task]]:
    return make_backbone(scratch / "backbone"), [kind_task(QUERIES["kind"]), ending_task(QUERIES["ending"])]


def prepare_real(scratch: Path) -> tuple[Path, list[Task]]:
    """Errors: NotFetched."""
    return real_backbone(), [movies_task(QUERIES["movies"])]


def _compared(backbone: Path, tasks: list[Task], scratch: Path, rounds: int) -> Iterator[dict[str, str]]:
    """The rows of the table for one backbone."""
    peer = LmEval(backbone, scratch, tasks)
    flops = Flops.of(peer.model.model)
    named = {task.name: task for task in tasks}
    for setting in (setting for setting in SETTINGS if setting.task in named):
        task = named[setting.task]
        yield _measured(setting, task, Evaluation(backbone, task, setting.shots), peer, flops, rounds)


def _measured(setting: Setting, task: Task, own: Evaluation, peer: LmEval, flops: Flops, rounds: int) -> dict[str, str]:
    """One row of the table, by the names of its columns."""
    queries = len(own.examples)
    rows = _of_all_lengths(own, setting.sample)
    answers = peer.evaluate(task, setting.shots, rows)
    difference = _check(own, rows, answers)
    sizes = [size for size in BATCH_SIZES if size <= len(rows)]
    trial = {size: Spent.by(lambda size=size: peer.run(answers, size), len(rows)) for size in sizes}
    fastest = min(sizes, key=lambda size: trial[size].processor)
    theirs, ours = [], []
    for _ in range(rounds):
        theirs.append(Spent.by(lambda: peer.run(answers, fastest), len(rows)))
        ours.append(Spent.by(own.run, queries))
    ratio, by_processor = (
        statistics.median(getattr(their, clock) / getattr(our, clock) for their, our in zip(theirs, ours, strict=True))
        for clock in ("clock", "processor")
    )
    plain = flops.plain(answers.computed) / len(rows)
    limit = plain / (flops.shared(len(own.before), own.lengths) / queries)
    return {
        "task": f"{task.name}, {setting.shots} shots, {len(task.label_names)} choices",
        "queries": f"{len(rows)} of {queries}",
        "batch": str(fastest),
        "lm_eval": f"{1000 * statistics.median(spent.clock for spent in theirs):.0f}",
        "Tunefront": f"{1000 * statistics.median(spent.clock for spent in ours):.1f}",
        "times faster": f"{ratio:.1f}",
        "target": f"{setting.target:g}",
        "by processor time": f"{by_processor:.1f}",
        "by arithmetic": f"{limit:.1f}",
        "share": f"{by_processor / limit:.0%}",
        "difference": f"{difference:.0e}",
    }


def _of_all_lengths(own: Evaluation, count: int) -> list[int]:
    """Rows at equal steps in the order of lengths."""
    lengths = own.examples.lengths
    ordered = sorted(range(len(lengths)), key=lambda row: (lengths[row], row))
    step = len(ordered) // count
    return sorted(ordered[step // 2 :: step])


def _check(own: Evaluation, rows: list[int], answers: Answers) -> float:
    """The largest difference of a log-likelihood. Errors: AssertionError if tokens, values or predictions differ."""
    for row, theirs in zip(rows, answers.token_ids, strict=True):
        ours = [[*own.before, *own.queries[row], *choice] for choice in own.choices[row]]
        assert ours == theirs, f"row {row} has different tokens: {ours} and {theirs}"
    scores = own.run()[rows]
    difference = float((scores - torch.tensor(answers.loglikelihoods)).abs().max())
    assert difference <= TOLERANCE, f"log-likelihoods differ by {difference:g}"
    assert scores.argmax(1).tolist() == answers.predictions, "predictions differ"
    return difference


def _caption(rounds: int) -> str:
    return (
        "An architecture that ignores the masks for queries in one row is scored like in lm_eval, with one row per "
        "choice and a warning.\n"
        f"Medians of {rounds} rounds in turn, one thread; torch {torch.__version__}, transformers "
        f"{version('transformers')}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
    )
