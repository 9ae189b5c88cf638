"""The workers of a Ray cluster: started where nodes have room, kept from one run to the next, and lost with nodes."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from types import ModuleType
from typing import Any, TypeVar

from tunefront.bench.cells import Cell
from tunefront.bench.errors import UserError
from tunefront.bench.execution import interruption
from tunefront.bench.execution.engines import Progress, Work
from tunefront.bench.execution.engines.cluster.belongings import Belonging, contents
from tunefront.bench.execution.engines.cluster.joining import check_answers, head_lost, joined
from tunefront.bench.execution.engines.cluster.relay import Arrived, Relay, Surroundings
from tunefront.bench.execution.engines.worker import Message
from tunefront.bench.records.store import Store

T = TypeVar("T")
ANSWER_SECONDS = 1.0
"""Interval after which a head node that does not answer is looked for."""
NODES_SECONDS = 5.0
"""Interval after which nodes that have joined get workers."""
NO_NODE_SECONDS = 60.0
"""How long a run waits for a node with enough cores before it gives up."""
NO_WORKER_SECONDS = 300.0
"""How long a run waits for the first worker to start: on a busy machine, or from a slow disk, that takes minutes."""
END_SECONDS = 5.0
"""How long the workers have to end before their processes are killed."""
WHY_LETTERS = 300
"""The most letters of an error of Ray in a message."""
SENT_AT_MOST = 3
"""A node that asks so many times for the same files cannot keep them."""
STARTS = 2
"""A node on which so many workers could not be started gets no further one."""
VARIABLES = ("HF_HOME", "HF_HUB_OFFLINE", "TUNEFRONT_CACHE")
"""Variables of the driver's environment that a node takes over if it has not set them itself; folders only if they are
there too."""


@dataclass(eq=False)
class Member:
    """A worker of the cluster: its actor, node and host, what it does now, and the backbone that it keeps."""

    actor: Any  # Any: Ray's handle of a `Relay`
    node: str
    host: str
    pending: Any = None  # Any: Ray's reference to the next messages
    arrived: Arrived | None = None
    work: Work | None = None
    backbone: str | None = None
    claim: ExitStack = field(default_factory=ExitStack)
    sent: Counter[Belonging] = field(default_factory=Counter)

    @property
    def is_free(self) -> bool:
        """Whether it waits for a cell."""
        return self.arrived is not None and self.work is None


@dataclass(frozen=True)
class Needs:
    """The resources of a worker: cores and GPUs."""

    cores: int
    gpus: int

    @classmethod
    def of(cls, cells: Iterable[Cell]) -> Needs:
        """What every one of these cells can run with. Errors: UserError for a certain GPU of a machine."""
        cells = list(cells)
        certain = next((cell for cell in cells if cell.config.device.startswith("cuda:")), None)
        if certain is not None:
            raise UserError(
                f"--engine ray gives every worker a GPU of its own, but the cells run on {certain.config.device}; "
                "give --device cuda."
            )
        on_gpu = any(cell.config.device == "cuda" for cell in cells)
        return cls(max((cell.config.threads for cell in cells), default=1), int(on_gpu))

    def __str__(self) -> str:
        cores = "1 core" if self.cores == 1 else f"{self.cores} cores"
        return cores + (f" and {self.gpus} GPU" if self.gpus else "")

    def fit(self, resources: Mapping[str, float]) -> int:
        """How many workers a node with these resources has room for."""
        room = int(resources.get("CPU", 0.0)) // self.cores
        return min(room, int(resources.get("GPU", 0.0)) // self.gpus) if self.gpus else room


class Crew:
    """The workers of an engine, from one run to the next, and the cluster that is joined for them."""

    def __init__(self, address: str | None):
        self._address = address
        self._joined = ExitStack()
        self.workers: Fleet | None = None
        self._for: tuple[Needs, str] | None = None

    def fleet(self, needs: Needs, most: int, store: Store, progress: Progress) -> Fleet:
        """The workers for a run: those of the run before if they fit. Args: as those of `Fleet`."""
        if self.workers is None or self._for != (needs, store.location):
            self.end()
            progress.working("joining the Ray cluster")
            ray = self._joined.enter_context(joined(self._address))
            with interruption.deferred():
                mark = store.leave_mark()
                self._joined.callback(store.remove_mark, mark)
            surroundings = Surroundings(os.getcwd(), store.location, mark, _variables())
            self.workers, self._for = Fleet(ray, needs, surroundings), (needs, store.location)
            self._joined.callback(self.workers.stop)
        self.workers.allow(most)
        progress.working(self.workers.about)
        return self.workers

    def end(self) -> None:
        """Ends the workers, and leaves the cluster."""
        self.workers = None
        with interruption.deferred():
            self._joined.close()


class Fleet:
    """The workers of a run, on all nodes of a cluster. Args: needs, of each; surroundings, of the driver."""

    def __init__(self, ray: ModuleType, needs: Needs, surroundings: Surroundings):
        self.ray, self._needs, self._surroundings, self._most = ray, needs, surroundings, 0
        self.members: list[Member] = []
        self._head = ray.get_runtime_context().gcs_address
        self._looked = self._alive = time.monotonic()
        self._failed: Counter[str] = Counter()  # workers that could not be started, by node
        self._error = ""

    def allow(self, most: int) -> None:
        """Starts workers, where nodes have room, until there are so many. Errors: UserError if the head node is
        lost."""
        self._most = most
        self._looked = self._alive = time.monotonic()
        self._grow()

    def look(self) -> None:
        """Starts workers on nodes that have joined. Errors: UserError if the head node is lost, or if there has been no
        worker for a while."""
        now = time.monotonic()
        if now - self._looked > NODES_SECONDS or (not self.members and self._failed):
            self._looked = now
            self._grow()
        if any(member.arrived is not None for member in self.members):
            self._alive = now
        elif not self.members and self._failed:
            raise UserError(
                f"no worker could be started on any node of the Ray cluster; {self._error}. See `ray status` for its "
                "nodes; each needs the same version of tunefront, with its extra `ray`. Finished records are kept."
            )
        elif not self.members and now - self._alive > NO_NODE_SECONDS:
            raise UserError(
                f"no node of the Ray cluster has {self._needs}; see `ray status`: add a node that has, or ask for "
                "less with --set threads=1. Finished records are kept."
            )
        elif now - self._alive > NO_WORKER_SECONDS:
            raise UserError(
                f"no worker has started on the Ray cluster for {NO_WORKER_SECONDS / 60:.0f} minutes: no node may have "
                f"{self._needs} free, see `ray status`; add nodes, or wait until others have ended. Finished records "
                "are kept."
            )

    def _ask(self, call: Callable[[], T]) -> T:
        """What a call gives that the head node answers. Errors: those of the call; UserError if the head node is lost,
        before or meanwhile: Ray would wait for it, and then end this process without a word."""
        answer: Future[T] = Future()

        def ask() -> None:
            try:
                answer.set_result(call())
            except Exception as error:
                answer.set_exception(error)

        self._check_head()
        threading.Thread(target=ask, daemon=True, name="asking the Ray cluster").start()
        while not wait([answer], ANSWER_SECONDS).done:
            self._check_head()
        return answer.result()

    def _check_head(self) -> None:
        """UserError if the head node is lost."""
        try:
            check_answers(self._head)
        except UserError as error:
            raise UserError(head_lost(self._head)) from error

    @property
    def about(self) -> str:
        """What is waited for, in words; none if workers are there."""
        if not self.members:
            return f"waiting for a node of the Ray cluster with {self._needs}"
        if any(member.arrived is not None for member in self.members):
            return ""
        nodes = len({member.node for member in self.members})
        workers = "1 worker starts" if len(self.members) == 1 else f"{len(self.members)} workers start"
        return f"{workers} on {nodes} node{'' if nodes == 1 else 's'} of the Ray cluster"

    def messages(self, timeout: float) -> list[tuple[Member, list[Message] | Exception]]:
        """What workers have sent, after at most `timeout` seconds; an error for a worker that is lost."""
        pending = {member.pending: member for member in self.members if member.pending is not None}
        if not pending:
            time.sleep(timeout)
            return []
        ready, _ = self.ray.wait(list(pending), num_returns=1, timeout=timeout)
        more, _ = self.ray.wait(list(pending), num_returns=len(pending), timeout=0)
        received: list[tuple[Member, list[Message] | Exception]] = []
        for reference in dict.fromkeys([*ready, *more]):
            member = pending[reference]
            member.pending = None
            try:
                content = self.ray.get(reference)
            except self.ray.exceptions.RayError as error:
                received.append((member, error))
                continue
            if isinstance(content, Arrived):
                member.arrived, content = content, []
            received.append((member, content))
        return received

    def lose(self, member: Member, error: Exception) -> None:
        """A worker is gone; another one starts where there is room, but not on a node where none can be started.
        Errors: as `look`."""
        if member.arrived is None:
            self._failed[member.node] += 1
            self._error = f"on the host {member.host}: {why(error)}"
        self.members.remove(member)
        member.work = None
        member.claim.close()
        self._ask(partial(self.ray.kill, member.actor))
        self._looked = 0.0

    def send(self, member: Member, belonging: Belonging) -> None:
        """Sends the files of a belonging to a node. Errors: those of Ray if it is lost; UserError if it got them before
        and cannot keep them."""
        member.sent[belonging] += 1
        if member.sent[belonging] > SENT_AT_MOST:
            raise UserError(
                f"the host {member.host} got {belonging} {SENT_AT_MOST} times, but its copy is not the same; empty its "
                "cache, or give it another one with TUNEFRONT_CACHE."
            )
        for name, chunk in contents(belonging):
            self.ray.get(member.actor.receive.remote(belonging.fingerprint, name, chunk))
        self.ray.get(member.actor.finish.remote(belonging.fingerprint))

    def on_host(self, member: Member) -> int:
        """How many workers there are on the host of a worker, itself and those that start included: a machine may be
        several nodes."""
        return max(1, sum(other.host == member.host for other in self.members))

    @cached_property
    def memory_bytes(self) -> dict[str, int]:
        """The memory of each node, as Ray counts it."""
        return {node["NodeID"]: int(node["Resources"].get("memory", 0.0)) for node in self._ask(self.ray.nodes)}

    def stop(self) -> None:
        """Ends all workers; the actors of a cluster without its head node end with their nodes."""
        stopping = [member.actor.stop.remote() for member in self.members if member.arrived is not None]
        if stopping:
            self.ray.wait(stopping, num_returns=len(stopping), timeout=END_SECONDS)
        for member in self.members:
            member.claim.close()
        with suppress(UserError):
            for member in self.members:
                self._ask(partial(self.ray.kill, member.actor))

    def _grow(self) -> None:
        """Starts workers where nodes have room, those first that have the fewest."""
        nodes = {node["NodeID"]: node for node in self._ask(self.ray.nodes) if node["Alive"]}
        nodes = {name: node for name, node in nodes.items() if self._failed[name] < STARTS}
        room = {name: self._needs.fit(node["Resources"]) for name, node in nodes.items()}
        used = Counter(member.node for member in self.members)
        self.__dict__.pop("memory_bytes", None)
        while len(self.members) < self._most:
            free = [name for name in nodes if used[name] < room[name]]
            if not free:
                return
            node = min(free, key=lambda name: used[name])
            used[node] += 1
            self.members.append(self._ask(partial(self._start, node, nodes[node]["NodeManagerHostname"])))

    def _start(self, node: str, host: str) -> Member:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        remote = self.ray.remote(Relay).options(
            num_cpus=self._needs.cores,
            num_gpus=self._needs.gpus,
            max_restarts=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        )
        actor = remote.remote(self._surroundings, "spawn" if self._needs.gpus else "forkserver")
        return Member(actor, node, host, actor.arrived.remote())


def why(error: Exception) -> str:
    """The last line of an error of Ray, which is that of the error behind it, without what Ray guesses of its cause."""
    lines = str(error).partition(" Worker exit type:")[0].strip().splitlines() or [type(error).__name__]
    return lines[-1].strip().rstrip(".")[:WHY_LETTERS]


def _variables() -> dict[str, str]:
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}
