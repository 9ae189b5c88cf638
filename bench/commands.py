"""The commands that neither run cells nor draw: listing, saying what is stale, pretraining."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from bench import flags
from bench.console import FAILED, quiet_libraries, say, told, warnings_on
from bench.errors import Mistake
from bench.files import local_folder

if TYPE_CHECKING:
    from bench.pretraining import Start
    from bench.records import Record
    from methods.base import Method


def list_(
    what: flags.What,
    as_json: flags.AsJson = False,
    debug: flags.Debug = False,
) -> None:
    """List methods, tasks, backbones or suites."""
    with told(Console(stderr=True), debug):
        quiet_libraries()
        from bench.listing import as_table, entries

        found = entries(what.value)
        if as_json:
            import json

            typer.echo(json.dumps(found, indent=2))
        else:
            Console().print(as_table(what.value, found))


def stale(
    results: flags.Results,
    debug: flags.Debug = False,
) -> None:
    """Say what changed since each record.

    Compares method source, backbone files, task rows, settings and package versions. Nothing is deleted.
    """
    errors = Console(stderr=True)
    with told(errors, debug), warnings_on(errors):
        quiet_libraries()
        records = records_of(results)
        from bench.stale import staleness, table

        found = [entry for entry in staleness(records) if entry.changes]
        if found:
            Console().print(table(found))
        stale_ones = f"{len(found)} of {len(records)} records are stale; `tunefront run` makes new ones beside them."
        fresh = f"nothing is stale: all {len(records)} records would be made again under the same key."
        say(Console(), stale_ones if found else fresh)


def pretrain(
    method: flags.Method,
    backbone: flags.Backbone,
    task: flags.MixtureTasks,
    out: flags.Start,
    template: flags.MixtureTemplate = "all",
    cap: flags.Cap = 500_000,
    seed: flags.Seed = 0,
    set_: flags.RecipeSettings = None,
    device: flags.Device = None,
    debug: flags.Debug = False,
) -> None:
    """Train a method on a mixture of tasks, for others to start from.

    Writes what was trained to OUT, which a method of the same kind on the same backbone starts from: ia3:start=OUT.
    Rows are drawn at random from all tasks by all their templates, of each template as many as CAP over the number of
    the task's templates. The recipe is T-Few's (Liu et al. 2022): 100,000 steps of 16 rows, Adafactor with a learning
    rate of 3e-4, 6 % warm-up, the likelihood of the right answers alone; --set changes it. The backbone is a language
    model, tasks are classification or multiple choice. Exit code: as of `run`; nothing is written before the end.
    """
    errors = Console(stderr=True)
    with told(errors, debug, f"Stopped; nothing was written to {out}."), warnings_on(errors):
        quiet_libraries()
        from bench.options import pretraining_from
        from bench.progress import Steps

        out = out.expanduser()
        with Steps(errors) as display:
            options = (method, backbone, task, template, set_, device, cap, seed, out)
            asked = pretraining_from(*options, tell=display.preparing)
            from bench.pretraining import pretrain as train
            from bench.trainer import NotFinite

            try:
                start = train(asked, out, display.step, display.preparing)
            except NotFinite as error:
                say(errors, f"failed: {error}", "red")
                raise typer.Exit(FAILED) from None
        _tell(start, asked.method, out)


def _tell(start: Start, method: Method, out: Path) -> None:
    from bench.progress import plural, span
    from methods.spelling import label

    loss = "" if start.loss is None else f", loss {start.loss:.4g} at the end"
    cut = f", {start.truncated} of them cut to max_length" if start.truncated else ""
    console = Console()
    say(
        console,
        f"{plural(start.steps, 'step')} over {plural(start.prompts, 'prompt')}{cut}, {start.flops:.3g} FLOPs, "
        f"{span(start.seconds)}{loss}.",
    )
    spelled = [shlex.quote(label(method, {name: str(out)})) for name in method.files]
    use = f"; start from it with --method {spelled[0]}" if spelled else ""
    say(console, f"{out}: {start.params:,} parameters in {plural(start.tensors, 'tensor')}{use}.")


def records_of(results: str) -> list[Record]:
    """The records of a folder or URL; Mistake where there are none."""
    from bench.records import load_records

    records = load_records(results)
    if not records:
        folder = local_folder(results)
        there = "has no records" if folder is None or folder.is_dir() else "is not there"
        raise Mistake(f"{results} {there}; give the folder that `tunefront run --out` wrote.")
    return records
