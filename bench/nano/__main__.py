"""Trains `nano`, and measures it: `python -m tunefront.bench.nano train`, `export`, `tasks`, `measure`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tunefront.bench.cli.console import handle_errors

STOPPED = "Stopped; finished work is kept, and the same command resumes from there."
app = typer.Typer(add_completion=False, no_args_is_help=True)

Out = Annotated[Path, typer.Option(help="Folder of all outputs; existing ones are reused.")]
Packages = Annotated[
    Path | None,
    typer.Option(help="Further packages: pip install --no-deps --target PACKAGES -r bench/nano/requirements.txt"),
]


@app.command()
def train(
    out: Out = Path("nano"), packages: Packages = None, device: str = "cpu", threads: int = 0, seed: int = 0
) -> None:
    """Prepares the text and trains, resuming from the last checkpoint."""
    with handle_errors(Console(stderr=True), stopped=STOPPED):
        import torch

        from tunefront.bench.nano.curriculum import PROBES, probes
        from tunefront.bench.nano.preparation import prepare
        from tunefront.bench.nano.shape import Nano
        from tunefront.bench.nano.start import begin
        from tunefront.bench.nano.teacher import WIDTH
        from tunefront.bench.nano.training import Training

        if threads:
            torch.set_num_threads(threads)
        where = torch.device(device)
        material = prepare(out, where, packages)
        torch.manual_seed(seed)
        nano = Nano.new(material, WIDTH)
        begin(nano.model, material.train.ids, material.train.embeddings, seed)
        probe_rows = {name: probes(material, probe) for name, probe in PROBES.items()}
        Training(nano, material, probe_rows, out, where, seed=seed).run()


@app.command()
def export(out: Out = Path("nano"), to: Annotated[Path | None, typer.Option(help="Another folder.")] = None) -> None:
    """Writes the checkpoint's model and its tokenizer to the folder from which `nano` is loaded."""
    with handle_errors(Console(stderr=True), stopped=STOPPED):
        from tunefront.bench.nano import FOLDER
        from tunefront.bench.nano.shipping import ship

        typer.echo(f"{ship(out, to or FOLDER)} bytes")


@app.command()
def tasks(out: Out = Path("nano"), packages: Packages = None) -> None:
    """Writes tasks from the held-out libraries, and suites that measure `nano` on them."""
    with handle_errors(Console(stderr=True), stopped=STOPPED):
        from tunefront.bench.nano.trials import write_all

        for suite in write_all(out / "trials", packages):
            typer.echo(f"tunefront run {suite}")


@app.command()
def measure(out: Out = Path("nano"), packages: Packages = None, workers: int = 2) -> None:
    """Measures the shipped model with this project's own methods, and writes its card."""
    with handle_errors(Console(stderr=True), stopped=STOPPED):
        from tunefront.bench.api import run
        from tunefront.bench.nano import FIGURES, FOLDER, holdout, measuring
        from tunefront.bench.nano.card import keep_training, write
        from tunefront.bench.nano.corpus import read_versions
        from tunefront.bench.nano.shipping import facts, fresh
        from tunefront.bench.nano.trials import DRAWS, ORDERS, write_all

        suites, results = write_all(out / "trials", packages), out / "results"
        records = [record for suite in suites for record in run(str(suite), out=results / "trials", workers=workers)]
        few_shot = run(str(out / "trials" / "few_shot.toml"), out=results / "few_shot", workers=workers)
        fresh(out / "trials" / "fresh")
        against = run(str(out / "trials" / "against_fresh.toml"), out=results / "fresh", workers=workers)
        measured = {
            **facts(),
            "draws": len(DRAWS),
            "orders": len(ORDERS),
            "trials": measuring.gather({record.key: record for record in records}.values()),
            "fixed": measuring.fixed(records),
            "few_shot_draws": len({record.draw_seed for record in few_shot}),
            "few_shot_steps": min(int(record.training.steps or 0) for record in few_shot if record.training.steps),
            "few_shot_rows": max(record.data.n_test or 0 for record in few_shot),
            "few_shot": measuring.few_shot(few_shot),
            "fresh_epochs": against[0].recipe["epochs"],
            "against_fresh": measuring.against_fresh(against),
        }
        read = read_versions(packages)
        measuring.keep(measured, {library: read[library] for library in holdout.LIBRARIES}, records[0], FIGURES)
        keep_training(out, FIGURES)
        typer.echo(f"{write(FIGURES, FOLDER)}")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    app()
