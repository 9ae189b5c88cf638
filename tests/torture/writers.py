"""Two to eight commands at once in one results folder, on the same cells; some of them are killed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from tests.bench.execution.grids import children
from tests.torture import forked
from tests.torture.figures import Figures
from tests.torture.forked import Running
from tests.torture.stores import Watch
from tests.torture.world import Share, World

PART, SUITES = "writers", ("encoder", "few")
FEWEST, MOST = 2, 8
KILLED = 0.4
"""Share of the commands that are killed, each at its own moment."""
LOOK_SECONDS = 0.01


def drive(world: World, share: Share) -> Figures:
    """Groups of commands, one group after another."""
    generator, figures = random.Random(share.seed), Figures()
    while share.goes_on(tried := figures.total("tried", PART)):
        count = max(FEWEST, min(share.tries - tried, generator.randint(FEWEST, MOST)))
        _together(world, generator, count, share.engine, share.folder / "out", figures)
        shutil.rmtree(share.folder)
    return figures


def _together(
    world: World, generator: random.Random, count: int, engine: Sequence[str], out: Path, figures: Figures
) -> None:
    kind, suite = f"{count} at once", next(suite for suite in SUITES if suite in world.expected)
    watch = Watch(out, PART, kind, figures)
    with ExitStack() as stack:
        running = [_start(world, suite, generator, engine, out) for _ in range(count)]
        for command in running:
            stack.enter_context(forked.stopping(command))
        struck = {command for command in running if generator.random() < KILLED}
        moments = {command: generator.uniform(0, world.spans[suite].cells * count / 2) for command in struck}
        done = set[Running]()
        while not all(command.poll() for command in running):
            for command in running:
                if command in moments and command not in done and time.monotonic() - command.began > moments[command]:
                    done.add(command)
                    _strike(command, generator)
            if time.monotonic() - running[0].began > forked.LONGEST_SECONDS:
                break
            watch.look()
            time.sleep(LOOK_SECONDS)
        for command in running:
            ended = command.end(within=1.0)
            figures.add(PART, kind, tried=1, killed=int(command in done))
            figures.judge(PART, kind, ended)
            # A command whose own worker was killed, or that waits for a cell that failed in another, ends with 1.
            allowed = (0, 1, -signal.SIGKILL) if command in done else (0, 1) if done else (0,)
            if ended.code not in allowed and not ended.hung:
                figures.fault(PART, kind, "codes", f"exit code {ended.code}: {ended.said[-500:]}")
    last = forked.run(world.command(suite, out, engine=engine), out.parent / "printed")
    if last.code != 0:
        figures.fault(PART, kind, "codes", f"exit code {last.code} of the last command: {last.said[-500:]}")
    figures.judge(PART, kind, last)
    watch.end(world, suite)


def _start(world: World, suite: str, generator: random.Random, engine: Sequence[str], out: Path) -> Running:
    words = world.command(suite, out, workers=generator.choice((1, 2)), engine=engine)
    return forked.start(words, out.parent / "printed")


def _strike(command: Running, generator: random.Random) -> None:
    """Kills the command, its group, or one of its workers."""
    victim = generator.choice(("parent", "group", "worker"))
    workers = children(command.pid)
    if victim == "worker" and workers:
        with suppress(ProcessLookupError):
            os.kill(generator.choice(workers), signal.SIGKILL)
    else:
        command.kill(group=victim == "group")
