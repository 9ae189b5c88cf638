"""A training step of a method here, in peft and in AdapterHub, in turn, on MiniLM's own weights and on one thread.

On the clock are the forward pass, the backward pass and AdamW with the same settings, in short blocks that take turns,
in the opposite order in every other round; ratios are of blocks of the same round. A step of full fine-tuning in each
environment is the yardstick. Each side is checked first: the same loss and gradients from the same values, or there is
no figure. Nothing is dropped out, which would only be the same work on all sides.
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
from tests.peers.parity import Difference, Found, difference
from tests.peers.ratios import Ratio, block_length
from tests.toys import shake, toy_task
from tunefront.bench.meters.flops.counted import counted_flops
from tunefront.bench.models.families import Backbone
from tunefront.bench.models.locate import locate
from tunefront.methods.base import Batch
from tunefront.methods.spelling import parse

ROUNDS = 15
SHAPES = ((32, 64), (8, 32))
"""Rows and tokens of a batch; where there is little to compute, what a side does beside it shows."""
METHODS = ("ia3", "lora", "houlsby", "houlsby:norms=false")
TARGET = 1.0
"""Times the peer's step."""
BLOCK = 0.4
"""Seconds of a block, about."""
LEARNING_RATE = 1e-5


@dataclass(frozen=True)
class Spent:
    """Seconds of a block: of the clock, and of the processor, which others on the machine disturb less."""

    clock: float
    processor: float


class Steps:
    """Training steps of what a backbone trains, all on one batch."""

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

    def gradients(self) -> Found:
        """The loss, and the gradients of what is trained."""
        parameters = self.backbone.trainable()
        loss = self.backbone.loss(self.batch)
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        return Found(loss.detach(), dict(zip(parameters, gradients, strict=True)))

    def flops(self) -> int:
        """Of the forward and the backward pass, counted."""
        return counted_flops(lambda: self.backbone.loss(self.batch).backward())


Run = Callable[[int], Spent]


def main(rounds: int, environment: str | None) -> None:
    """Measures every method and shape, and prints the table; AdapterHub is left out where it has no environment."""
    torch.set_num_threads(1)
    python = adapterhub.python_of(environment)
    table = Table(title="A training step on MiniLM, beside peft's and AdapterHub's of the same method")
    with tempfile.TemporaryDirectory() as scratch:
        if python is None:
            found, versions = _all(rounds, Path(scratch), None), {}
        else:
            with AdapterHub(python) as hub:
                versions = hub.ask("versions")
                found = _all(rounds, Path(scratch), hub)
    for column in found[0]:
        table.add_column(column, justify="right", no_wrap=column == "method")
    for row in found:
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
    """A row for each peer that has the method."""
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
    for peer, found in checked.items():
        assert found.small, f"{name}: {peer} computes something else: {found}"
    seconds = in_turn(runs, rounds)
    clock = {run: [one.clock for one in spent] for run, spent in seconds.items()}
    processor = {run: [one.processor for one in spent] for run, spent in seconds.items()}
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
            "difference": f"{max(found.outputs, found.gradients):.0e}",
        }
        for peer, found in checked.items()
    ]


def in_turn(runs: Mapping[str, Run], rounds: int) -> dict[str, list[Spent]]:
    """Seconds a step of each in each round: blocks of about equal times, one after another, and in the opposite order
    in every other round."""
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
    """A method here, its values moved off where they start."""
    pretrained = minilm()
    backbone = pretrained.fresh_copy(toy_task(), 0, dropout=0.0)
    parse(name).attach(backbone)
    if name != "full":
        shake(backbone.trainable(), scale=0.02)
    backbone.model.train()
    return Steps(backbone, random_tokens(pretrained.tokenizer.model_input_names, *shape).batch(range(shape[0])))


def _in_peft(name: str, ours: Steps) -> tuple[Steps, Difference]:
    """peft's implementation, with our values, and how far it is from ours."""
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
    here, found = ours.gradients(), theirs.gradients()
    return theirs, difference(Found(here.outputs, there(here.gradients)), found)


def _in_hub(hub: AdapterHub, name: str, ours: Steps, scratch: Path) -> tuple[Run, Difference]:
    """AdapterHub's implementation, with our values, and how far it is from ours."""
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
    hub.ask(
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
    loss = torch.tensor(hub.ask("gradients", name=name, file=gradients))
    found, expected = load_file(gradients), adapterhub.renamed(counterpart, here.gradients)
    assert found.keys() == expected.keys(), f"AdapterHub trains {sorted(found)}, and this suite {sorted(expected)}"
    alike = [key for key in found if counterpart.other is None or counterpart.other not in key]
    both = difference(
        Found(here.outputs, {key: expected[key].reshape(found[key].shape) for key in alike}),
        Found(loss, {key: found[key] for key in alike}),
    )
    return lambda count: Spent(*hub.ask("steps", name=name, count=count)), both


def _of_other_function(counterpart: adapterhub.Counterpart, ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in ours.items() if str(counterpart.other) in counterpart.name(name)}


def _caption(rounds: int, versions: Mapping[str, str]) -> str:
    theirs = ", ".join(f"{name} {number}" for name, number in versions.items())
    return (
        f"Batches in rows x tokens. Medians (quartiles) of {rounds} rounds in turn, one thread, no dropout; the target "
        f"is at most {TARGET:g} by processor time, and met where a quarter of the rounds came to it.\n"
        "AdapterHub's (IA)^3 scales what goes into the feed-forward's nonlinearity: as much work, another function.\n"
        f"Here and peft {version('peft')}: torch {torch.__version__}, transformers {version('transformers')}. There: "
        f"{theirs or 'no AdapterHub; tox -e adapterhub makes its environment'}. Load {os.getloadavg()[0]:.1f} on "
        f"{os.cpu_count()} processors."
    )
