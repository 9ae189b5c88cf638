"""What the commands run on: tiny models, a task of few rows, suites of fast cells, and the records of an undisturbed
run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.execution.grids import deterministic
from tests.conftest import make_toy
from tests.torture import forked
from tunefront.bench.models.tiny import make_backbone, make_language_model
from tunefront.bench.records.store import Store

SEEDS = 6
OWN = '''
"""A user's own method: its cells run in processes of their own."""
from __future__ import annotations
from dataclasses import dataclass
from typing import ClassVar
from tunefront.methods.base import Backbone, Method

@dataclass(frozen=True)
class Mine(Method):
    name: ClassVar[str] = "tortured"

    def attach(self, backbone: Backbone) -> None:
        backbone.freeze(keep=backbone.head)
'''
SUITE = """# Tiny models and a few steps: a cell takes a fraction of a second.
methods = {methods}
backbones = ["{backbone}"]
tasks = ["dir:{task}"]
shots = [8]
draws = [0]
seeds = {seeds}

[recipe]
steps = 2
batch_size = 4

[settings]
eval_rows = 8
latency_queries = 0
"""
ENCODER = ("features", "full", "houlsby:bottleneck=4", "ia3", "top_layers:n=1")
DECODER = ("icl:k=2", "ia3")


SUITES = ("encoder", "decoder", "own", "few")


@dataclass(frozen=True)
class Spans:
    """Seconds after which the command of a suite has written its first record, then its last, and has ended."""

    first: float
    cells: float
    whole: float


@dataclass(frozen=True)
class World:
    """A folder with models, a task and suites; by suite, the deterministic fields by key of the records that an
    undisturbed run writes, and how long that took."""

    root: Path
    expected: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    spans: dict[str, Spans] = field(default_factory=dict)

    def suite(self, name: str) -> Path:
        """The file of a suite: encoder, decoder or own."""
        return self.root / f"{name}.toml"

    def command(self, suite: str, out: Path, *more: str, workers: int = 2, engine: Sequence[str] = ()) -> list[str]:
        """The words of a `tunefront run` of a suite into a folder."""
        words = ["run", str(self.suite(suite)), "--out", str(out), "--workers", str(workers), "--no-plan"]
        return [*words, *engine, *more]

    def results(self, out: Path) -> dict[str, dict[str, Any]]:
        """The deterministic fields by key of the ok records in a folder."""
        return forked.in_child(lambda: _results(out))


def make(root: Path, suites: Sequence[str] = SUITES) -> World:
    """Makes models, a task and suites in a folder, and runs the suites once, undisturbed."""
    forked.in_child(lambda: _make(root))
    world = World(root)
    for suite in suites:
        world.expected[suite], world.spans[suite] = _undisturbed(world, suite)
    return world


@dataclass(frozen=True)
class Share:
    """What one of several processes is to do: how often it tries something, until when, with which words for the
    engine, in which folder; and its place among the others."""

    seed: int
    tries: int
    until: float
    engine: Sequence[str]
    folder: Path
    number: int = 0
    of: int = 1

    def goes_on(self, tried: int) -> bool:
        """Whether there is more to do."""
        return tried < self.tries and time.monotonic() < self.until


def cache(world: World, name: str) -> Callable[[], None]:
    """Gives a command a cache folder of this name."""

    def change() -> None:
        os.environ["TUNEFRONT_CACHE"] = str(world.root / "caches" / name)

    return change


def _make(root: Path) -> None:
    import torch

    torch.set_num_threads(1)
    root.mkdir(parents=True, exist_ok=True)
    models = {
        "encoder": make_backbone(root / "bert", "bert"),
        "decoder": make_language_model(root / "gpt2", "gpt2"),
    }
    task = make_toy(root / "toy", rows=(16, 8, 8))
    (root / "mine.py").write_text(OWN, encoding="utf-8")
    suites = {
        "encoder": (ENCODER, SEEDS),
        "decoder": (DECODER, SEEDS),
        "own": ((f"{root / 'mine.py'}:Mine", "ia3"), 1),
        "few": (ENCODER, 1),
    }
    for name, (methods, seeds) in suites.items():
        backbone = models["decoder" if name == "decoder" else "encoder"]
        text = SUITE.format(methods=_toml(methods), backbone=backbone, task=task, seeds=list(range(seeds)))
        (root / f"{name}.toml").write_text(text, encoding="utf-8")


def _toml(texts: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{text}"' for text in texts) + "]"


def _undisturbed(world: World, suite: str) -> tuple[dict[str, dict[str, Any]], Spans]:
    out, times = world.root / "undisturbed" / suite, list[float]()
    running = forked.start(world.command(suite, out), out.parent / f"{suite}.printed", cache(world, "undisturbed"))
    with forked.stopping(running):
        while not running.poll():
            if len(list(out.glob("records/[!.]*.json"))) > len(times):
                times.append(time.monotonic() - running.began)
            time.sleep(0.002)
        ended = running.end()
    if ended.code != 0:
        raise RuntimeError(f"the undisturbed run ended with exit code {ended.code}:\n{ended.said}")
    return world.results(out), Spans(times[0], times[-1], ended.seconds)


def _results(out: Path) -> dict[str, dict[str, Any]]:
    return {key: fields for key, fields in deterministic(Store(out)).items() if fields["status"] == "ok"}
