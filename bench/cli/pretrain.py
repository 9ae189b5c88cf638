"""`tunefront pretrain`: trains a method on a mixture of tasks, as a start for other runs."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tunefront.bench.cli import options
from tunefront.bench.cli.console import FAILED, Console, handle_errors, print_plain, quiet_libraries, warnings_on
from tunefront.bench.errors import ErrorCollector, UserError
from tunefront.bench.files import check_writable, expanded
from tunefront.bench.suites.overrides import Overrides, Texts

if TYPE_CHECKING:
    from tunefront.bench.training.mixture import MixtureTask
    from tunefront.bench.training.pretrain import Pretraining, PretrainingResult
    from tunefront.methods.base import Method


@options.add_data_options
def pretrain(
    method: options.Method,
    backbone: options.Backbone,
    out: options.Start,
    texts: Texts,
    task: options.MixtureTasks = None,
    template: options.MixtureTemplate = "all",
    cap: options.Cap = 500_000,
    seed: options.Seed = 0,
    set_: options.RecipeSettings = None,
    device: options.Device = None,
    debug: options.Debug = False,
) -> None:
    """Train a method on a mixture of tasks, as a start for other runs.

    Writes the trained parameters to OUT; the same method on the same backbone can start from them: ia3:start=OUT.
    Rows are drawn at random from all tasks and all their templates; each template of a task gives at most CAP divided
    by the task's number of templates. The recipe is T-Few's (Liu et al. 2022): 100,000 steps of 16 rows, Adafactor
    with a learning rate of 3e-4, 6 % warm-up, the likelihood of the right answers alone; --set changes it. The backbone
    must be a language model, the tasks classification or multiple choice. Exit code: as for `run`; nothing is written
    before the end.
    """
    errors = Console(stderr=True)
    with handle_errors(errors, debug, f"Stopped; nothing was written to {out}."), warnings_on(errors):
        quiet_libraries()
        from tunefront.bench.cli.progress import TrainingDisplay

        out = expanded(out)
        with TrainingDisplay(errors) as display:
            pretraining = pretraining_from(
                method=method,
                backbone=backbone,
                tasks=task or (),
                data=texts,
                template=template,
                settings=set_,
                device=device,
                cap=cap,
                seed=seed,
                out=out,
                on_status=display.preparing,
            )
            if not pretraining.method.files:  # a note before training, which takes hours
                name = pretraining.method.name
                note = f"note: no field of {name} names a file to start from, so no run can start from {out}."
                print_plain(errors, note, "yellow")
            from tunefront.bench.training.pretrain import pretrain as train
            from tunefront.bench.training.step import NotFinite

            try:
                start = train(pretraining, out, display.step, display.preparing)
            except NotFinite as error:
                print_plain(errors, f"failed: {error}", "red")
                raise typer.Exit(FAILED) from None
        _print_summary(start, pretraining.method, out)


def pretraining_from(
    *,
    method: str,
    backbone: str,
    tasks: Sequence[str],
    data: Texts | None = None,
    template: str,
    settings: Sequence[str] | None,
    device: str | None,
    cap: int,
    seed: int,
    out: Path,
    on_status: Callable[[str], None] = lambda _: None,
) -> Pretraining:
    """The pretraining that the options describe; UserErrors with all their mistakes."""
    wrong = ErrorCollector()
    on_status("importing the libraries")
    from tunefront.bench.models.config import check_length, family_of
    from tunefront.bench.settings import RunConfig, build, overridden
    from tunefront.bench.suites.expand import look_up
    from tunefront.bench.suites.grids import read_settings
    from tunefront.bench.suites.lists import parse_values
    from tunefront.bench.suites.sweeps import method_of
    from tunefront.bench.suites.validate import check_device, check_files, check_template
    from tunefront.bench.templates.choose import applicable_rows, sample_rows
    from tunefront.bench.training.mixture import with_template
    from tunefront.bench.training.pretrain import CONFIG, RECIPE, SETTINGS, Pretraining
    from tunefront.methods.base import Recipe

    with wrong.collect():
        parse_values("--method", [method])
    with wrong.collect():
        parse_values("--backbone", [backbone])
    with wrong.collect():
        parse_values("--template", [template])
    if not tasks and not (data or {}).get("data"):
        wrong.messages.append(
            "there is no task to train on; name one or more with --task, or your own file with --data."
        )
    wrong.raise_if_any()
    typed = {"tasks": tasks or None, **(data or {}), "settings": settings, "device": device}
    overrides = Overrides.from_texts(typed, wrong)
    all_settings, names = overrides.all_settings(), overrides.tasks or ()
    recipe_settings, run_settings = read_settings(all_settings, wrong)
    for name in (name for name in run_settings if name not in SETTINGS):
        wrong.messages.append(
            f"pretraining does not use {name}; the run settings that it uses are {', '.join(SETTINGS)}."
        )
    recipe, config = RECIPE, CONFIG
    with wrong.collect():
        recipe = build(overridden(vars(RECIPE), recipe_settings), Recipe)
    with wrong.collect():
        config = build({**vars(CONFIG), **run_settings}, RunConfig)
        check_device(config.device)
    trained: list[Method] = []
    with wrong.collect():
        trained.append(method_of(method))
    loaded = look_up([backbone], names, wrong, on_status)
    reading = []  # the backbones that read prompts: none, if the backbone is wrong
    with suppress(UserError):  # reported when it was looked up
        reading = [backbone] if family_of(backbone) != "encoder" else []
        if not reading:
            wrong.messages.append(
                f"{backbone} is an encoder, which has a separate head for each task, so a mixture of tasks trains "
                "nothing useful; give a language model."
            )
    mixture: list[MixtureTask] = []
    on_status("trying templates on a few rows")
    for task in loaded:
        with wrong.collect():
            mixture.append(with_template(task, template))
            check_length(backbone, task, config.max_length)
            for chosen in mixture[-1].templates:
                rows = applicable_rows(task, chosen, sample_rows(task))
                check_template(task, chosen, reading, rows, config, wrong)
    check_files(trained, [backbone], wrong)
    wrong.raise_if_any()
    check_writable(out)
    return Pretraining(trained[0], backbone, tuple(mixture), recipe, config, cap, seed)


def _print_summary(start: PretrainingResult, method: Method, out: Path) -> None:
    from tunefront.bench.cli.progress import format_duration, plural
    from tunefront.methods.spelling import label

    loss = "" if start.loss is None else f", loss {start.loss:.4g} at the end"
    cut = f", {start.truncated} of them cut to max_length" if start.truncated else ""
    console = Console()
    print_plain(
        console,
        f"{plural(start.steps, 'step')} over {plural(start.prompts, 'prompt')}{cut}, {start.flops:.3g} FLOPs, "
        f"{format_duration(start.seconds)}{loss}.",
    )
    spelled = [shlex.quote(label(method, {name: str(out)})) for name in method.files]
    use = f"; start from it with --method {spelled[0]}" if spelled else ""
    print_plain(console, f"{out}: {start.params:,} parameters in {plural(start.tensors, 'tensor')}{use}.")
