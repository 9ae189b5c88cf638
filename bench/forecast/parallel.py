"""Predicts targets in forked processes, in the pool of workers that cells run in."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
from collections import deque
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from typing import Any

from tunefront.bench.errors import UserError, in_short
from tunefront.bench.execution import interruption
from tunefront.bench.execution.engines.processes import Pool, end_with_parent
from tunefront.bench.forecast.machine import machine
from tunefront.bench.forecast.predict import predict
from tunefront.bench.forecast.targets import Target
from tunefront.bench.records import Record

WAIT_SECONDS = 1.0

Shared = tuple[MutableMapping[str, float], AbstractContextManager[object]]
"""What processes share: the times of operators, and the lock under which one of them times an operator."""


def predict_target(target: Target, timed: bool, concurrent: int, shared: Shared | None = None) -> Record:
    """Predicts the costs of a target, seconds too if `timed`; `concurrent` cells will run at a time."""
    timing = machine(target.cell.config.threads, target.cell.config.device) if timed else None
    if timing is not None and shared is not None:
        timing.timer.use_shared_cache(*shared)
    return predict(target.cell, target.lengths, timing, concurrent)


def predict_in_parallel(
    targets: Sequence[Target], timed: bool, concurrent: int, known: MutableMapping[str, float], workers: int
) -> Iterator[tuple[Target, Record]]:
    """Predicts targets as `predict_target` does, each in one of `workers` forked processes, which share the fake models
    that exist by now; yields (target, record) as they are ready.

    Errors: those of the prediction; UserError, with the target's name, if its process dies.
    """
    lock = multiprocessing.get_context("fork").Lock()
    arguments = (targets, timed, concurrent, (known, lock))
    waiting = deque(range(len(targets)))
    pool: Pool[int] | None = None
    try:
        with interruption.deferred():  # until a started worker is in the list of workers to be ended
            pool = Pool(_serve, arguments, workers, "fork")
        while waiting or any(worker.item is not None for worker in pool.workers):
            interruption.check()
            for worker in pool.workers:
                if worker.item is None and waiting and worker.send(waiting[0], waiting[0]):
                    waiting.popleft()
            for worker, (kind, content) in pool.messages(WAIT_SECONDS):
                if worker.item is not None:
                    yield targets[worker.item], _result(targets[worker.item], kind, content)
                    worker.item = None
    finally:
        with interruption.deferred():
            if pool is not None:
                pool.stop()


def _result(target: Target, kind: str, content: Any) -> Record:  # Any: a record, an exception or a reason
    if kind == "predicted":
        assert isinstance(content, Record)
        return content
    if kind == "failed":
        raise content
    cause = "your own method may have ended it" if target.cell.method_file else "memory may have run out"
    raise UserError(f"{target.cell.title} cannot be predicted: {content}; {cause}.")


def _serve(
    connection: Connection,
    lifeline: Connection,
    lifeline_end: Connection,
    targets: Sequence[Target],
    timed: bool,
    concurrent: int,
    shared: Shared,
) -> None:
    """The main function of a worker: predicts one target after another until the parent closes the pipe or ends."""
    code = 1
    try:
        interruption.listen_in_worker()
        end_with_parent(lifeline, lifeline_end)
        gc.freeze()  # imported objects are never garbage; scanning them would take longer than the work
        while True:
            try:
                target = targets[connection.recv()]
            except (EOFError, OSError):
                break
            connection.send(_message(target, timed, concurrent, shared))
        code = 0
    except KeyboardInterrupt:
        pass
    finally:
        os._exit(code)


def _message(target: Target, timed: bool, concurrent: int, shared: Shared) -> tuple[str, object]:
    try:
        return "predicted", predict_target(target, timed, concurrent, shared)
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))  # not every exception survives the pipe
        except Exception:
            return "failed", RuntimeError(in_short(error))
        return "failed", error
