"""Our figures of docs/mixed.md: `python -m docs.scripts.mixed [equality] [throughput] [memory]` measures them here.

`equality` scores mixed batches of every method on a tiny random model of every architecture, and writes the largest
difference from each member alone to docs/examples/mixed_equality.txt. `throughput` scores the same rows in mixed
batches, one task after another and with a model per task, on minilm and nano, and writes docs/examples/
mixed_throughput.txt: rows per second of processor time, on one thread. `memory` follows the tensors of one batch of the
most tasks, and writes docs/examples/mixed_memory.txt.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from tests import ROOT
from tests.bench.models.routing.members import Fitted, fit, mixed
from tests.benchmarks.serving import BACKBONES, TASKS, largest_difference, serving
from tests.toys import shipped
from tunefront.bench.execution.mixing import largest_difference as between
from tunefront.bench.meters.ways import WAYS
from tunefront.bench.models.tiny import FAMILIES, LANGUAGE_MODELS, make_backbone, make_language_model
from tunefront.methods.base import Unsupported
from tunefront.reports import units

TEXTS = ROOT / "docs" / "examples"
PARTS = ("equality", "throughput", "memory")
ARCHITECTURES = (*FAMILIES, *LANGUAGE_MODELS)


def equality() -> str:
    """A table of methods and architectures."""
    found: dict[str, dict[str, str]] = {method.name: {} for method in shipped()}
    with tempfile.TemporaryDirectory() as place:
        for name in ARCHITECTURES:
            make = make_backbone if name in FAMILIES else make_language_model
            folder = str(make(Path(place) / name, name))
            fitted: dict[str, Fitted] = {}
            for method in shipped():
                try:
                    fitted[method.name] = fit(method, folder)
                except Unsupported as reason:
                    shares = "all rows of a mixed batch share" in str(reason)
                    found[method.name][name] = "refused" if shares else units.MISSING
            router, rows = mixed([*fitted.values()], folder)
            for member, scores in zip(fitted.items(), router.score_all(rows, len(rows.tags)), strict=True):
                found[member[0]][name] = f"{between(member[1].alone, scores):.0e}"
    return _markdown(
        ["method", *ARCHITECTURES], [[method, *(own[name] for name in ARCHITECTURES)] for method, own in found.items()]
    )


def throughput(rounds: int) -> str:
    """A table of backbones, methods and numbers of tasks."""
    pairs = [(backbone, method) for backbone, methods in BACKBONES.items() for method in methods]
    rows = [line for backbone, method in pairs for line in _lines(backbone, method, rounds)]
    head = ["backbone", "method", "tasks", "mixed", "switching", "a model per task", "mixed / switching"]
    return _markdown([*head, "weights", "weights, a model per task", "largest difference"], rows)


def _lines(backbone: str, method: str, rounds: int) -> Iterator[list[str]]:
    for n_tasks in TASKS:
        made = serving(backbone, method, n_tasks)
        served = made.measure(rounds, time.process_time)
        speeds = {way: each.rows_per_second for way, each in served.items()}
        yield [
            backbone,
            method,
            str(n_tasks),
            *(units.significant(speeds[way]) for way in ("mixed", "switching", "separate")),
            units.times(speeds["mixed"] / speeds["switching"]),
            units.si(served["mixed"].weights_bytes, "B"),
            units.si(served["separate"].weights_bytes, "B"),
            f"{largest_difference(made):.0e}",
        ]
        del made
        gc.collect()


def memory() -> str:
    """A table of peaks of memory for the most tasks."""
    rows = []
    for backbone, method in ((backbone, method) for backbone, methods in BACKBONES.items() for method in methods):
        made = serving(backbone, method, max(TASKS))
        peaks = {way: peak for way, (_, peak) in made.memory().items()}
        rows.append([backbone, method, str(max(TASKS)), *(units.si(peaks[way], "B") for way in WAYS)])
        del made
        gc.collect()
    return _markdown(["backbone", "method", "tasks", "mixed", "switching", "a model per task"], rows)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> None:
    """Writes the parts of the page that are named, by default all."""
    parser = argparse.ArgumentParser(prog="python -m docs.scripts.mixed", description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", help=f"any of {', '.join(PARTS)}; default: all")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    unknown = [part for part in chosen.parts if part not in PARTS]
    if unknown:
        parser.error(f"no part {unknown[0]}; there are {', '.join(PARTS)}")
    for part in chosen.parts or PARTS:
        text = equality() if part == "equality" else memory() if part == "memory" else throughput(chosen.rounds)
        TEXTS.joinpath(f"mixed_{part}.txt").write_text(text, encoding="utf-8")
        print(f"docs/examples/mixed_{part}.txt")


if __name__ == "__main__":
    main()
