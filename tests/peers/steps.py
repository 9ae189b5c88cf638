"""A training step of a method here, in peft and in AdapterHub, timed in turn, with MiniLM's weights on one thread.

The timed part is the forward pass, the backward pass and AdamW with equal settings, in short blocks that take turns, in
reverse order in every other round; ratios compare blocks of one round. A step of full fine-tuning in each environment
is the yardstick. First each side is checked for equal loss and gradients from equal values. There is no dropout, which
would add equal work to all sides.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.benchmarks.side_by_side import minilm, random_tokens
from tests.peers import adapterhub, peft_methods
from tests.peers.adapterhub import AdapterHub
from tests.peers.parity import Difference, Result, difference
from tests.peers.ratios import Ratio, block_length
from tests.toys import shake, toy_task
from tunefront.bench.meters.flops.counted import counted_flops
from tunefront.bench.models.families import Backbone
from tunefront.bench.models.locate import locate
from tunefront.methods.base import Batch
from tunefront.methods.spelling import parse

ROUNDS = 15
SHAPES = ((32, 64), (8, 32))
"""Rows and tokens of a batch; small batches show the overhead of a side."""
METHODS = ("ia3", "lora", "houlsby", "houlsby:norms=false")
TARGET = 1.0
"""Required ratio to the step of the peer."""
BLOCK = 0.4
"""Approximate seconds of a block."""
LEARNING_RATE = 1e-5


@dataclass(frozen=True)
class Spent:
    """Seconds of a block: wall-clock, and processor time, which other processes disturb less."""

    clock: float
    processor: float


class Steps:
    """Training steps of a backbone, all on one batch."""

    def __init__(self, backbone: Backbone, batch: Batch):
        self.backbone, self.batch = backbone, batch
        self._optimizer = torch.optim.AdamW(
            backbone.trainable().values(), lr=LEARNING_RATE, weight_decay=0.0, fused=True
        )

    def __call__(self, count: int) -> Spent:
        clock, processor = time.perf_counter(), time.process_time()
        for _ in range(count):
            self.backbone.loss(self.batch).backward()
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)
        return Spent(time.perf_counter() - clock, time.process_time() - processor)

    def gradients(self) -> Result:
        """The loss and the gradients of the trained tensors."""
        parameters = self.backbone.trainable()
        loss = self.backbone.loss(self.batch)
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        return Result(loss.detach(), dict(zip(parameters, gradients, strict=True)))

    def flops(self) -> int:
        """Counted FLOPs of the forward and backward pass."""
        return counted_flops(lambda: self.backbone.loss(self.batch).backward())


Run = Callable[[int], Spent]


def main(rounds: int, environment: str | None) -> None:
    """Measures every method and shape and prints the table; without its environment, AdapterHub is left out."""
    torch.set_num_threads(1)
    python = adapterhub.python_of(environment)
    table = Table(title="A training step on MiniLM here, in peft and in AdapterHub")
    with tempfile.TemporaryDirectory() as scratch:
        if python is None:
            rows, versions = _all(rounds, Path(scratch), None), {}
        else:
            with AdapterHub(python) as hub:
                versions = hub.call("versions")
                rows = _all(rounds, Path(scratch), hub)
    for column in rows[0]:
        table.add_column(column, justify="right", no_wrap=column == "method")
    for row in rows:
        table.add_row(*row.values())
    table.caption = _caption(rounds, versions)
    Console(width=160).print(table)


def _all(rounds: int, scratch: Path, hub: AdapterHub | None) -> list[dict[str, str]]:
    rows = []
    for shape in SHAPES:
        full = _steps("full", shape)
        hub_full = None if hub is None else _in_hub(hub, "full", full, scratch)[0]
        for name in METHODS:
            for row in _measured(name, shape, rounds, full, hub, hub_full, scratch):
                print(*row.values(), sep="  ", file=sys.stderr, flush=True)
                rows.append(row)
    return rows


def _measured(
    name: str,
    shape: tuple[int, int],
    rounds: int,
    full: Steps,
    hub: AdapterHub | None,
    hub_full: Run | None,
    scratch: Path,
) -> list[dict[str, str]]:
    """One row per peer that has the method."""
    method = parse(name)
    ours = _steps(name, shape)
    runs: dict[str, Run] = {"Tunefront": ours, "full": full}
    checked: dict[str, Difference] = {}
    if method.name in peft_methods.COUNTERPARTS:
        runs["peft"], checked["peft"] = _in_peft(name, ours)
    if hub is not None and hub_full is not None:
        runs["AdapterHub's full"] = hub_full
        if method.name in adapterhub.COUNTERPARTS:
            runs["AdapterHub"], checked["AdapterHub"] = _in_hub(hub, name, ours, scratch)
    for peer, comparison in checked.items():
        assert comparison.small, f"{name}: {peer} computes something else: {comparison}"
    seconds = in_turn(runs, rounds)
    clock = {run: [each.clock for each in spent] for run, spent in seconds.items()}
    processor = {run: [each.processor for each in spent] for run, spent in seconds.items()}
    full_of = {"peft": "full", "AdapterHub": "AdapterHub's full"}
    over_full = {
        peer: Ratio.over_yardsticks(*(processor[run] for run in ("Tunefront", "full", peer, full_of[peer])))
        for peer in checked
    }
    by_processor = {peer: Ratio.between(processor["Tunefront"], processor[peer]) for peer in checked}
    return [
        {
            "method": name,
            "batch": f"{shape[0]} x {shape[1]}",
            "peer": peer,
            "here, ms": f"{1000 * statistics.median(clock['Tunefront']):.0f}",
            "there, ms": f"{1000 * statistics.median(clock[peer]):.0f}",
            "ratio": str(Ratio.between(clock["Tunefront"], clock[peer])),
            "by processor": str(by_processor[peer]),
            "met": "yes" if by_processor[peer].within(TARGET) else "no",
            "each over its full": str(over_full[peer]),
            "here / full": f"{Ratio.between(processor['Tunefront'], processor['full']).median:.2f}",
            "there / full": f"{Ratio.between(processor[peer], processor[full_of[peer]]).median:.2f}",
            "FLOPs / full": f"{ours.flops() / full.flops():.2f}",
            "difference": f"{max(comparison.outputs, comparison.gradients):.0e}",
        }
        for peer, comparison in checked.items()
    ]


def in_turn(runs: Mapping[str, Run], rounds: int) -> dict[str, list[Spent]]:
    """Seconds per step of each run in each round: blocks of about equal times, one after another, in reverse order in
    every other round."""
    lengths = {}
    for name, run in runs.items():
        run(1)
        lengths[name] = block_length(run(1).clock, BLOCK)
    seconds: dict[str, list[Spent]] = {name: [] for name in runs}
    for number in range(rounds):
        for name in list(runs) if number % 2 == 0 else list(reversed(runs)):
            spent = runs[name](lengths[name])
            seconds[name].append(Spent(spent.clock / lengths[name], spent.processor / lengths[name]))
    return seconds


def _steps(name: str, shape: tuple[int, int]) -> Steps:
    """A method here, with values moved away from the initial ones."""
    pretrained = minilm()
    backbone = pretrained.fresh_copy(toy_task(), 0, dropout=0.0)
    parse(name).attach(backbone)
    if name != "full":
        shake(backbone.trainable(), scale=0.02)
    backbone.model.train()
    return Steps(backbone, random_tokens(pretrained.tokenizer.model_input_names, *shape).batch(range(shape[0])))


def _in_peft(name: str, ours: Steps) -> tuple[Steps, Difference]:
    """peft's implementation with our values, and its difference from ours."""
    method, pretrained = parse(name), minilm()
    backbone = pretrained.fresh_copy(toy_task(), 0, dropout=0.0)
    counterpart = peft_methods.COUNTERPARTS[method.name]

    def there(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        head = {key: tensor for key, tensor in tensors.items() if key.startswith("head.")}
        return counterpart.rearrange(ours.backbone, {k: v for k, v in tensors.items() if k not in head}) | head

    model = peft_methods.peft_model(backbone, method)
    backbone.head.requires_grad_(True)
    peft_methods.copy_values(model, there(ours.backbone.trainable()))
    backbone.model.train()
    theirs = Steps(backbone, ours.batch)
    here, peers = ours.gradients(), theirs.gradients()
    return theirs, difference(Result(here.outputs, there(here.gradients)), peers)


def _in_hub(hub: AdapterHub, name: str, ours: Steps, scratch: Path) -> tuple[Run, Difference]:
    """AdapterHub's implementation with our values, and its difference from ours."""
    method, backbone = parse(name), ours.backbone
    counterpart = adapterhub.COUNTERPARTS[method.name]
    if counterpart.other is not None:
        with torch.no_grad():
            for tensor in _of_other_function(counterpart, backbone.trainable()).values():
                tensor.fill_(1.0)
    here = ours.gradients()
    values, batch, gradients = (str(scratch / f"{kind}.safetensors") for kind in ("values", "batch", "gradients"))
    save_file(adapterhub.renamed(counterpart, backbone.trainable()), values)
    save_file({**ours.batch.inputs, "labels": ours.batch.labels}, batch)
    hub.call(
        "make",
        name=name,
        folder=str(locate("minilm")),
        config=counterpart.config_class,
        arguments=counterpart.arguments(method, backbone),
        also=counterpart.also(method),
        values=values,
        batch=batch,
        learning_rate=LEARNING_RATE,
    )
    loss = torch.tensor(hub.call("gradients", name=name, file=gradients))
    actual, expected = load_file(gradients), adapterhub.renamed(counterpart, here.gradients)
    assert actual.keys() == expected.keys(), f"AdapterHub trains {sorted(actual)}, but we train {sorted(expected)}"
    comparable = [key for key in actual if counterpart.other is None or counterpart.other not in key]
    both = difference(
        Result(here.outputs, {key: expected[key].reshape(actual[key].shape) for key in comparable}),
        Result(loss, {key: actual[key] for key in comparable}),
    )
    return lambda count: Spent(*hub.call("steps", name=name, count=count)), both


def _of_other_function(counterpart: adapterhub.Counterpart, ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in ours.items() if str(counterpart.other) in counterpart.name(name)}


def _caption(rounds: int, versions: Mapping[str, str]) -> str:
    theirs = ", ".join(f"{name} {number}" for name, number in versions.items())
    return (
        f"Batches in rows x tokens. Medians (quartiles) of {rounds} rounds in turn, one thread, no dropout; the target "
        f"is at most {TARGET:g} by processor time, met if a quarter of the rounds met it.\n"
        "AdapterHub's (IA)^3 scales the input of the nonlinearity in the feed-forward: equal work, another function.\n"
        f"Here and peft {version('peft')}: torch {torch.__version__}, transformers {version('transformers')}. There: "
        f"{theirs or 'no AdapterHub; make its environment with tox -e adapterhub'}. Load {os.getloadavg()[0]:.1f} on "
        f"{os.cpu_count()} processors."
    )
