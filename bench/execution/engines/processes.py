"""Persistent worker processes, which end when their parent ends: cells run in them, and costs are predicted."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from typing import Any, Generic, TypeVar

from tunefront.bench.errors import UserError
from tunefront.bench.execution import interruption

log = logging.getLogger("tunefront")

Item = TypeVar("Item")

PRELOAD = ["tunefront.bench.execution.run_cell", "transformers.models.bert.modeling_bert"]
"""What a forkserver imports, so that the workers forked from it start at once."""
END_SECONDS = 5.0
"""Seconds that a worker has to end before it is killed."""
END_POLL_SECONDS = 0.005


@dataclass(eq=False)
class Worker(Generic[Item]):
    """A worker process, the pipe to it, the item that it works on, and all that it ever got."""

    process: Any  # Any: multiprocessing's process classes differ by context
    connection: Connection
    item: Item | None = None
    items: list[Item] = field(default_factory=list)

    def send(self, item: Item, message: object) -> bool:
        """Sends an item to the worker, as a message; False if the worker has died since its last message."""
        try:
            self.connection.send(message)
        except OSError:
            return False
        self.item = item
        self.items.append(item)
        return True

    def end(self) -> None:
        """Waits for the process to end, then kills it if it still runs. It does not use `join`, which also waits for
        processes that the worker forked."""
        deadline = time.monotonic() + END_SECONDS
        while self.process.is_alive():
            if time.monotonic() > deadline:
                self.process.kill()
            time.sleep(END_POLL_SECONDS)


def end_with_parent(lifeline: Connection, lifeline_end: Connection) -> None:
    """In a worker: ends its process when the parent ends."""
    lifeline_end.close()  # else this copy would keep the lifeline open

    def end() -> None:
        wait([lifeline])  # readable only at its end: nothing is ever sent
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()


def _death(exit_code: int) -> str:
    names = {int(number): number.name for number in signal.Signals}
    cause = f"signal {names.get(-exit_code, -exit_code)}" if exit_code < 0 else f"exit {exit_code}"
    hint = "; the machine may have run out of memory, use fewer --workers" if exit_code == -signal.SIGKILL else ""
    return f"the worker process died ({cause}){hint}"


class Pool(Generic[Item]):
    """Persistent workers with a pipe each, and a lifeline pipe that closes when the parent ends.

    Args: serve, the main function of a worker, called with its end of the pipe, both ends of the lifeline and
    `arguments`; size, number of workers; start_method, as in multiprocessing; preload, modules that a forkserver
    imports; without_main, whether workers must not import the running script.
    """

    def __init__(
        self,
        serve: Callable[..., None],
        arguments: Sequence[object],
        size: int,
        start_method: str,
        preload: Sequence[str] = (),
        without_main: bool = False,
    ):
        self._context: BaseContext = multiprocessing.get_context(start_method)
        if start_method != "fork":
            resource_tracker.ensure_running()  # starting it later would unblock signals in a worker that is not ready
        if start_method == "forkserver":
            self._context.set_forkserver_preload(list(preload))
        self._serve, self._arguments, self._without_main = serve, tuple(arguments), without_main
        self._lifeline, self._lifeline_end = self._context.Pipe(duplex=False)
        self.workers: list[Worker[Item]] = []
        while len(self.workers) < size and self._add():
            pass

    def messages(self, timeout: float) -> Iterator[tuple[Worker[Item], tuple[Any, ...]]]:
        """Received messages; a dead worker gives ("died", reason) and is replaced."""
        ready = wait([worker.connection for worker in self.workers], timeout)
        for worker in list(self.workers):
            if worker.connection not in ready:
                continue
            try:
                message = worker.connection.recv()
            except Exception:  # end of the pipe, or garbage that a method wrote to it
                message = self._died(worker)
            yield worker, message
        for worker in list(self.workers):  # a process that a method started may keep the pipe open
            if worker.connection not in ready and not worker.process.is_alive() and not worker.connection.poll():
                yield worker, self._died(worker)

    def retire(self, worker: Worker[Item], replace: bool) -> None:
        """Ends a worker between two items; `replace` starts another one."""
        with interruption.deferred():
            self.workers.remove(worker)
            worker.connection.close()
            worker.end()
            if replace:
                self._add()

    def _died(self, worker: Worker[Item]) -> tuple[str, str]:
        with interruption.deferred():
            self.workers.remove(worker)
            worker.connection.close()
            worker.end()
            self._add()
        return "died", _death(worker.process.exitcode)

    def stop(self) -> None:
        """Ends all workers at once."""
        for worker in self.workers:
            worker.connection.close()
            worker.process.terminate()
        for worker in self.workers:
            worker.end()
        self._lifeline_end.close()
        self._lifeline.close()

    def _add(self) -> bool:
        """Starts another worker; False, with a warning, if no more can be started, and UserError if there is none at
        all."""
        try:
            self.workers.append(self._start())
        except OSError as error:  # no more processes, files or memory
            reason = error.strerror or error
            if not self.workers:
                raise UserError(
                    f"no worker process could be started ({reason}); use --workers 1, or raise the limit (see "
                    "`ulimit -a`). Finished records are kept: repeat the command to continue."
                ) from error
            log.warning("only %d worker(s) could be started (%s)", len(self.workers), reason)
            return False
        return True

    def _start(self) -> Worker[Item]:
        ours, theirs = self._context.Pipe()
        arguments = (theirs, self._lifeline, self._lifeline_end, *self._arguments)
        process = self._context.Process(target=self._serve, args=arguments, daemon=True)  # type: ignore[attr-defined]
        with interruption.blocked(), _without_main(self._without_main):
            process.start()
        theirs.close()
        return Worker(process, ours)


@contextmanager
def _without_main(wanted: bool) -> Iterator[None]:
    """If `wanted`, processes that the block spawns do not import the running script: with one worker it needs no
    `if __name__ == "__main__":`."""
    main = sys.modules["__main__"]
    if wanted:
        sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
