"""SIGKILL at random moments of `tunefront run`, which is repeated until it completes."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from tests.bench.execution.grids import alive, children
from tests.torture import forked
from tests.torture.figures import Figures
from tests.torture.forked import Ended, Running
from tests.torture.stores import Watch
from tests.torture.world import Share, Spans, World

PART = "kills"
OFTEN = {"encoder": 6, "decoder": 3, "own": 1, "few": 1}
"""How often each suite is run among the others."""
MOST_OF_A_GRID = 20
"""Kills after which a grid may complete, so that one that is always struck ends."""
AT_A_WRITE = 0.5
"""Share of the kills that wait until a file is being written; the others come at any moment."""
MOMENTS = (1, 7, 2)
"""How the other kills are spread: over the time before the first record, the time of the cells, all of the time with
the drawing of the report."""
FRESH = 0.02
"""Share of the grids whose commands are new processes rather than forks. Another engine than the local one starts
processes and threads of its own, so there all are."""
OF_THE_CELLS = 0.3
"""Part of the time of all cells within which a kill comes that comes among them: most of them are recorded before."""
MOST_WRITES = 4
"""The most files that are begun before a kill at a write."""
LEFT_ALONE = 0.3
"""Share of the commands that run on to their end after one of their workers was killed."""
IMPORT_SECONDS = 5.0
"""About what a new process takes before it reads its suite."""
LEAVE_SECONDS = 10.0
"""Seconds that the workers of a killed command have to end."""
DIED = "the worker process died (signal SIGKILL)"
OF_RAY = r"head node of the Ray cluster is lost|Ray cluster .*cannot be joined|node of the Ray cluster;|[Rr]aylet|GCS"
"""What is said of a cluster of which a process was killed: by the command, or by Ray where it ends the command."""


def drive(world: World, share: Share) -> Figures:
    """Grids one after another, each killed again and again."""
    generator, figures, number = random.Random(share.seed), Figures(), 0
    while share.goes_on(figures.total("tried")):
        suites = [suite for suite in OFTEN if suite in world.expected]
        (suite,) = generator.choices(suites, [OFTEN[suite] for suite in suites])
        workers = generator.choice((1, 2, 3))
        fresh = bool(share.engine) or generator.random() < FRESH
        out = share.folder / f"out{number}"
        words = world.command(suite, out, workers=workers, engine=share.engine)
        begin = forked.start_fresh if fresh else forked.start
        watch = Watch(
            out, PART, f"{'fresh' if fresh else 'forked'}, {workers} worker{'s' if workers > 1 else ''}", figures
        )
        left = min(MOST_OF_A_GRID, share.tries - figures.total("tried"))
        start = partial(begin, words, share.folder / "printed")
        Grid(watch, start, generator, world.spans[suite], fresh, bool(share.engine)).torture(left)
        watch.end(world, suite)
        for path in (out, share.folder / "printed"):
            shutil.rmtree(path, ignore_errors=True)
        number += 1
        figures.add(PART, watch.kind, grids=1)
    return figures


@dataclass
class Grid:
    """A grid whose command is started, killed and started again."""

    watch: Watch
    begin: Callable[[], Running]
    generator: random.Random
    spans: Spans
    fresh: bool
    on_cluster: bool

    def torture(self, kills: int) -> None:
        """Strikes up to so many times; the command completes then, or earlier if no kill struck it."""
        for _ in range(3 * MOST_OF_A_GRID):
            running = self.begin()
            struck = set[str]()
            with forked.stopping(running):
                while kills > 0 and not struck & {"parent", "group"} and (victim := self._strike(running)) is not None:
                    struck.add(victim)
                    kills -= 1
                    if self.generator.random() < LEFT_ALONE:
                        break
                ended = running.end()
            self._judge(ended, struck)
            self.watch.look()
            if ended.code == 0:
                return
        self._fault("lost", "the command does not complete")

    def _strike(self, running: Running) -> str | None:
        """Kills at a random moment; who was killed, None if the command had ended."""
        victim = self.generator.choice(("parent", "worker", "worker", "group"))
        if self.generator.random() < AT_A_WRITE:
            self._wait_for_write(running)
        else:
            spans, start = self.spans, self._imports
            moments = {
                "at the start": (0.0, start + spans.first),
                "among the cells": (start + spans.first / 2, start + spans.first + OF_THE_CELLS * spans.cells),
                "anywhere": (0.0, start + spans.whole),
            }
            (moment,) = self.generator.choices(list(moments), MOMENTS)
            running.sleep(self.generator.uniform(*moments[moment]))
        workers = children(running.pid)
        if running.poll():
            return None
        if victim == "worker" and not workers:
            victim = "parent"
        if victim == "worker":
            with suppress(ProcessLookupError):
                os.kill(self.generator.choice(workers), signal.SIGKILL)
        else:
            running.kill(group=victim == "group")
            ended = running.end()
            if ended.code != -signal.SIGKILL:
                return None
            self._see_them_end(workers)
        self.watch.figures.add(PART, self.watch.kind, tried=1, **{f"of the {victim}": 1})
        return victim

    def _wait_for_write(self, running: Running) -> None:
        """Waits until some more files have been begun, and then for as long as a part of a write takes."""
        before, wanted = self.watch.writes(), self.generator.randint(1, MOST_WRITES)
        end = time.monotonic() + self.spans.cells + self._imports
        while len(self.watch.writes() - before) < wanted and not running.poll() and time.monotonic() < end:
            time.sleep(0.0005)
        running.sleep(self.generator.choice((0.0, self.generator.uniform(0, 0.004))))

    @property
    def _imports(self) -> float:
        return IMPORT_SECONDS if self.fresh else 0.0

    def _see_them_end(self, workers: Sequence[int]) -> None:
        end = time.monotonic() + LEAVE_SECONDS
        while any(alive(worker) for worker in workers):
            if time.monotonic() > end:
                self._fault("left", "a worker outlives its command")
                return
            time.sleep(0.005)

    def _judge(self, ended: Ended, struck: set[str]) -> None:
        """What a command that was struck, or was not, may end in."""
        self.watch.figures.judge(PART, self.watch.kind, ended)
        killed = (-signal.SIGKILL,) if struck & {"parent", "group"} else (0, *self._of_a_child) if struck else (0,)
        if ended.code not in killed and not ended.hung:
            self._fault("codes", f"exit code {ended.code}, killed: {struck or 'nobody'}: {ended.said[-500:]}")
        if ended.code in self._of_a_child and DIED not in ended.said and not self._is_of_ray(ended):
            self._fault("words", f"no word of the worker that died: {ended.said[-500:]}")

    @property
    def _of_a_child(self) -> tuple[int, ...]:
        """Exit codes other than 0 after one of the command's processes was killed. If that is one of Ray's own, the
        cluster is gone: 2, or 1 if Ray ends the command itself."""
        return (1, 2) if self.on_cluster else (1,)

    def _is_of_ray(self, ended: Ended) -> bool:
        return self.on_cluster and re.search(OF_RAY, ended.said) is not None

    def _fault(self, name: str, text: str) -> None:
        self.watch.figures.fault(PART, self.watch.kind, name, text)
