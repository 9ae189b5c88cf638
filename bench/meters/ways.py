"""Rows of several tasks, scored in three ways: in mixed batches, one task after another, and with a model per task."""

from __future__ import annotations

import copy
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Literal, get_args

from torch import Tensor

from tunefront.bench.meters.memory.tracker import Ledger
from tunefront.bench.meters.time import Clock
from tunefront.bench.models.families import Backbone
from tunefront.bench.models.routing.member import Member
from tunefront.bench.models.routing.router import Router
from tunefront.bench.models.routing.rows import MixedRows, Tag
from tunefront.methods.torch_internals import storage_key

ServingWay = Literal["mixed", "switching", "separate"]
"""`mixed`: rows of all tasks share passes through one backbone; `switching`: one backbone, rows of one task after those
of another, each through that task's modules; `separate`: so too, but every task has a copy of the backbone."""
Run = Callable[[Sequence[Sequence[Tag]]], None]
"""Scores batches of rows in one way."""
WAYS: tuple[ServingWay, ...] = get_args(ServingWay)


@dataclass(frozen=True)
class Served:
    """What a way of scoring took: `rows_per_second`, the median of several rounds; `weights_bytes` of the backbones and
    of all small modules; `peak_bytes`, these and the most that tensors took beside them."""

    rows_per_second: float
    weights_bytes: int
    peak_bytes: int


@dataclass(frozen=True)
class Serving:
    """Batches of rows as they might arrive, of all members in any order, and the ways to score them.

    Args: published, a pristine backbone; members; rows, theirs; batch_size, rows that arrive together; most_rows, the
    most that are scored in a round; separate, whether every member gets a copy of the backbone as well.
    """

    published: Backbone
    members: Sequence[Member]
    rows: MixedRows
    batch_size: int = 64
    most_rows: int = 128
    separate: bool = True

    @cached_property
    def arrivals(self) -> list[list[Tag]]:
        """Batches of rows, the same in every way: the members in turn, each one's rows in an order drawn once."""
        drawn = random.Random(0)
        own = [drawn.sample(range(len(rows)), len(rows)) for rows in self.rows.examples]
        turns = [(turn, member) for member, rows in enumerate(own) for turn in range(len(rows))]
        tags = [(member, own[member][turn]) for turn, member in sorted(turns)][: self.most_rows]
        return [tags[start : start + self.batch_size] for start in range(0, len(tags), self.batch_size)]

    def measure(self, rounds: int = 3, now: Callable[[], float] = time.perf_counter) -> dict[ServingWay, Served]:
        """Runs one batch in every way, for warming up and memory, then rounds of all batches in each way in turn, so
        that all of them see the same machine. `now` is the function that clocks read."""
        runs = self.runs()
        device = self.published.model.device
        memory = self.memory()
        clocks = {way: Clock(device, now) for way in runs}
        for _ in range(rounds):
            for way, run in runs.items():
                with clocks[way].running():
                    run(self.arrivals)
        n_rows = sum(map(len, self.arrivals))
        return {way: Served(n_rows / statistics.median(clocks[way].laps), *memory[way]) for way in runs}

    @cached_property
    def _copies(self) -> list[Router]:
        """A router of each member alone, on a copy of the backbone of its own."""
        return [Router(self._copied(), [member]) for member in self.members]

    @cached_property
    def router(self) -> Router:
        """The router of all members."""
        return Router(self._copied(), self.members)

    def _copied(self) -> Backbone:
        copied = copy.copy(self.published)
        copied.model = copy.deepcopy(self.published.model)
        return copied

    def runs(self) -> dict[ServingWay, Run]:
        """What scores batches of rows, by way."""
        router, rows = self.router, self.rows

        def mixed(arrivals: Sequence[Sequence[Tag]]) -> None:
            for batch in arrivals:
                for tags in rows.order(self.batch_size, batch):
                    router.score_rows(rows, tags)

        def by_task(score: Callable[[int, list[Tag]], object], arrivals: Sequence[Sequence[Tag]]) -> None:
            for batch in arrivals:
                for member in dict.fromkeys(member for member, _ in batch):
                    for tags in rows.order(self.batch_size, [tag for tag in batch if tag[0] == member]):
                        score(member, tags)

        def switched(member: int, tags: list[Tag]) -> list[Tensor]:
            return router.score_rows(rows, tags)

        def alone(member: int, tags: list[Tag]) -> list[Tensor]:
            own = replace(rows, examples=[rows.examples[member]])
            return self._copies[member].score_rows(own, [(0, row) for _, row in tags])

        runs: dict[ServingWay, Run] = {"mixed": mixed, "switching": partial(by_task, switched)}
        return {**runs, "separate": partial(by_task, alone)} if self.separate else runs

    def memory(self) -> dict[ServingWay, tuple[int, int]]:
        """The bytes of all weights, and the peak of tensors with them in the first batch, by way."""
        return {way: self._memory(way, run) for way, run in self.runs().items()}

    def _memory(self, way: ServingWay, run: Run) -> tuple[int, int]:
        routers = self._copies if way == "separate" else [self.router]
        weights = sum(map(weights_bytes, routers))
        with Ledger(routers[0].backbone.model, device=routers[0].backbone.model.device) as ledger, ledger.phase("run"):
            run(self.arrivals[:1])
        peak: Mapping[str, int] = ledger.peaks["run"]
        return weights, weights + peak.get("temporary", 0)


def weights_bytes(router: Router) -> int:
    """The bytes of a router's backbone, of the small modules and heads of its members, and of their demonstrations and
    leads, each storage once."""
    tensors = [*router.backbone.model.parameters(), *router.backbone.model.buffers()]
    for member in router.members:
        lead = member.parts.lead
        tensors += [*lead.prompts.values(), *(part for states in lead.keys.values() for part in states)]
        tensors += [] if member.backbone.head is None else list(member.backbone.head.parameters())
    sizes = {storage_key(tensor): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(sizes.values())
