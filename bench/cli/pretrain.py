"""`tunefront pretrain`: a method trained on a mixture of tasks, for others to start from."""

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

if TYPE_CHECKING:
    from tunefront.bench.training.mixture import MixtureTask
    from tunefront.bench.training.pretrain import Pretraining, PretrainingResult
    from tunefront.methods.base import Method


def pretrain(
    method: options.Method,
    backbone: options.Backbone,
    task: options.MixtureTasks,
    out: options.Start,
    template: options.MixtureTemplate = "all",
    cap: options.Cap = 500_000,
    seed: options.Seed = 0,
    set_: options.RecipeSettings = None,
    device: options.Device = None,
    debug: options.Debug = False,
) -> None:
    """Train a method on a mixture of tasks, for others to start from.

    Writes what was trained to OUT, which a method of the same kind on the same backbone starts from: ia3:start=OUT.
    Rows are drawn at random from all tasks by all their templates, of each template as many as CAP over the number of
    the task's templates. The recipe is T-Few's (Liu et al. 2022): 100,000 steps of 16 rows, Adafactor with a learning
    rate of 3e-4, 6 % warm-up, the likelihood of the right answers alone; --set changes it. The backbone is a language
    model, tasks are classification or multiple choice. Exit code: as of `run`; nothing is written before the end.
    """
    errors = Console(stderr=True)
    with handle_errors(errors, debug, f"Stopped; nothing was written to {out}."), warnings_on(errors):
        quiet_libraries()
        from tunefront.bench.cli.progress import TrainingDisplay

        out = expanded(out)
        with TrainingDisplay(errors) as display:
            asked = pretraining_from(
                method=method,
                backbone=backbone,
                tasks=task,
                template=template,
                settings=set_,
                device=device,
                cap=cap,
                seed=seed,
                out=out,
                tell=display.preparing,
            )
            if not asked.method.files:  # said before the hours that it takes
                note = (
                    f"note: no field of {asked.method.name} names a file to start from, so no run can start from {out}"
                )
                print_plain(errors, f"{note}.", "yellow")
            from tunefront.bench.training.pretrain import pretrain as train
            from tunefront.bench.training.step import NotFinite

            try:
                start = train(asked, out, display.step, display.preparing)
            except NotFinite as error:
                print_plain(errors, f"failed: {error}", "red")
                raise typer.Exit(FAILED) from None
        _tell(start, asked.method, out)


def pretraining_from(
    *,
    method: str,
    backbone: str,
    tasks: Sequence[str],
    template: str,
    settings: Sequence[str] | None,
    device: str | None,
    cap: int,
    seed: int,
    out: Path,
    tell: Callable[[str], None] = lambda _: None,
) -> Pretraining:
    """The pretraining that the options ask for; all that is wrong in them is told together."""
    wrong = ErrorCollector()
    tell("importing the libraries")
    from tunefront.bench.models.config import check_length, family_of
    from tunefront.bench.settings import RunConfig, build, overridden
    from tunefront.bench.suites.expand import look_up
    from tunefront.bench.suites.grids import read_settings
    from tunefront.bench.suites.lists import listed
    from tunefront.bench.suites.overrides import Overrides
    from tunefront.bench.suites.sweeps import method_of
    from tunefront.bench.suites.validate import check_device, check_files, check_template
    from tunefront.bench.templates.choose import applicable_rows, sample_rows
    from tunefront.bench.training.mixture import with_template
    from tunefront.bench.training.pretrain import CONFIG, RECIPE, SETTINGS, Pretraining
    from tunefront.methods.base import Recipe

    with wrong.collect():
        listed("--method", [method])
    with wrong.collect():
        listed("--backbone", [backbone])
    with wrong.collect():
        listed("--template", [template])
    with wrong.collect():
        tasks = listed("--task", tasks) or []
    wrong.raise_if_any()
    settled = Overrides.from_texts({"settings": settings, "device": device}, wrong).all_settings()
    of_recipe, of_run = read_settings(settled, wrong)
    for name in (name for name in of_run if name not in SETTINGS):
        wrong.messages.append(f"{name} plays no part in pretraining; of the run settings {', '.join(SETTINGS)} do.")
    recipe, config = RECIPE, CONFIG
    with wrong.collect():
        recipe = build(overridden(vars(RECIPE), of_recipe), Recipe)
    with wrong.collect():
        config = build({**vars(CONFIG), **of_run}, RunConfig)
        check_device(config.device)
    trained: list[Method] = []
    with wrong.collect():
        trained.append(method_of(method))
    loaded = look_up([backbone], tasks, wrong, tell)
    reading = []  # what would read the prompts: nothing, where the backbone is wrong
    with suppress(UserError):  # told where it was looked up
        reading = [backbone] if family_of(backbone) != "encoder" else []
        if not reading:
            wrong.messages.append(
                f"{backbone} is an encoder, whose tasks have a head each, so that nothing of use is learned from a "
                "mixture of them; give a language model."
            )
    mixture: list[MixtureTask] = []
    tell("trying templates on a few rows")
    for task in loaded:
        with wrong.collect():
            mixture.append(with_template(task, template))
            check_length(backbone, task, config.max_length)
            for one in mixture[-1].templates:
                check_template(task, one, reading, applicable_rows(task, one, sample_rows(task)), config, wrong)
    check_files(trained, [backbone], wrong)
    wrong.raise_if_any()
    check_writable(out)
    return Pretraining(trained[0], backbone, tuple(mixture), recipe, config, cap, seed)


def _tell(start: PretrainingResult, method: Method, out: Path) -> None:
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
