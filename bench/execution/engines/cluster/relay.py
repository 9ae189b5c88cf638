"""An actor on a node: it keeps one worker process, and passes messages between that and the driver."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from tunefront.bench.execution.engines.cluster.received import Received
from tunefront.bench.execution.engines.processes import PRELOAD, Pool
from tunefront.bench.records.store import Store


@dataclass(frozen=True)
class Surroundings:
    """What the driver has around it: its working folder, the store and a mark that it left there, and variables of its
    environment."""

    folder: str
    location: str
    mark: str
    variables: Mapping[str, str]


@dataclass(frozen=True)
class Arrived:
    """A node that is ready: whether it sees the driver's store."""

    sees_store: bool


def serve_remote(connection: Connection, lifeline: Connection, lifeline_end: Connection, location: str | None) -> None:
    """The main function of a worker on a node. What it needs is imported there: the actor computes nothing."""
    from tunefront.bench.execution.engines.cluster.remote import RemoteRunner
    from tunefront.bench.execution.engines.worker import serve

    serve(connection, lifeline, lifeline_end, RemoteRunner, location)


class Relay:
    """Runs cells one after another in a worker process, so that neither a dead process nor a patched library ends it.

    Args: surroundings, of the driver; start_method, of the worker, as in multiprocessing.
    """

    def __init__(self, surroundings: Surroundings, start_method: str):
        if os.path.isdir(surroundings.folder):
            os.chdir(surroundings.folder)  # relative paths of the call then mean the same, if the folder is shared
        for name, value in surroundings.variables.items():
            if not os.path.isabs(value) or os.path.isdir(value):
                os.environ.setdefault(name, value)
        sees = Store(surroundings.location).has_mark(surroundings.mark)
        self._arrived = Arrived(sees)
        arguments = (surroundings.location if sees else None,)
        self._received: Received | None = None
        self._alone = False
        self._pool: Pool[str] = Pool(serve_remote, arguments, 1, start_method, PRELOAD, without_main=True)

    def arrived(self) -> Arrived:
        """Where this is."""
        return self._arrived

    def exchange(self, order: bytes | None, alone: bool, timeout: float) -> list[tuple[Any, ...]]:  # Any: as in a pipe
        """Gives the worker a pickled order, if there is one; returns its messages as soon as there are any. `alone`:
        the worker must end after it."""
        if order is not None:
            if self._alone:
                self._pool.retire(self._pool.workers[0], replace=True)
            self._alone = alone
            while not self._pool.workers[0].send("a cell", order):
                list(self._pool.messages(timeout))  # replaces the worker that has died meanwhile
        messages = []
        for worker, message in self._pool.messages(timeout):
            if worker.item is not None:
                messages.append(message)
            if message[0] != "step":
                worker.item = None
        return messages

    def receive(self, fingerprint: str, name: str, chunk: bytes) -> None:
        """Takes the next bytes of a file from the driver."""
        self._received = self._received or Received()
        self._received.add(fingerprint, name, chunk)

    def finish(self, fingerprint: str) -> None:
        """All files of a belonging are here."""
        if self._received is not None:
            self._received.finish(fingerprint)

    def stop(self) -> None:
        """Ends the worker; unfinished files are removed first."""
        self._pool.stop()
