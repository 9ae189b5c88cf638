"""From a suite and what the call selects to the cells to run; every mistake in either is reported at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cells import Cell
from bench.errors import Gathered, Mistake, unknown
from bench.preflight import check_files, check_prompts, templates_for
from bench.rows import training_rows
from bench.settings import RunConfig, Scalar, resolve_recipe
from bench.suite import Suite, checked, read_suite, valid
from bench.sweeps import expand, method_of, placed
from methods.base import Method, Recipe
from methods.registry import methods, source_file
from methods.spelling import label

if TYPE_CHECKING:
    from bench.tasks import Task


@dataclass(frozen=True)
class Selectors:
    """What a call gives besides the suite; each list that is given replaces the suite's.

    `methods` are spelled or instances; `settings` are fields of the recipe or of the run settings, which no suite and
    no search overrides; `more_methods` join the methods of the suite or of the call. Relative paths
    start at the working directory.
    """

    methods: Sequence[str | Method] | None = None
    backbones: Sequence[str] | None = None
    tasks: Sequence[str] | None = None
    shots: Sequence[int | None] | None = None
    draws: Sequence[int] | None = None
    seeds: Sequence[int] | None = None
    templates: Sequence[str | None] | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    more_methods: Sequence[Method] = ()


@dataclass(frozen=True)
class Plan:
    """The cells to run, in order, and what their tasks warn of (rows that are in both train and test)."""

    cells: tuple[Cell, ...]
    warnings: tuple[str, ...] = ()


def plan(
    suite: str = "quick", selectors: Selectors | None = None, tell: Callable[[str], None] = lambda _: None
) -> Plan:
    """The cells of a suite under these selectors: no duplicates, grouped by backbone, then task, then draw.

    Within a draw, every method runs at the first seed before any runs at the second, so that an interrupted run has
    compared something. A field's value comes from the call, else the suite's [search], its [recipe.<method>], its
    [recipe], the method's own recipe, the family's default. `tell` hears what is being looked up.
    Errors: Mistakes with all that is wrong.
    """
    chosen = selectors or Selectors()
    wrong = Gathered()
    read = Suite(suite, Path.cwd())
    with wrong.any():
        read = read_suite(suite, wrong)
    tell("importing the libraries")
    asked = _methods(read.methods, chosen, read.folder, wrong)
    backbones = chosen.backbones or tuple(_from(name, read.folder) for name in read.backbones)
    tasks = chosen.tasks or tuple(_task_from(name, read.folder) for name in read.tasks)
    if not wrong.found:  # else that is why they are missing
        wrong.found += [
            f"suite {suite} names no {what}, and the call gives none; add --{what.removesuffix('s')}."
            for what, names in (("methods", asked), ("backbones", backbones), ("tasks", tasks))
            if not names
        ]
    loaded = look_up(backbones, tasks, wrong, tell)
    templates, skipping = templates_for(backbones, loaded, chosen.templates or read.templates, wrong)
    for name in read.recipes:
        if name not in methods():
            wrong.found.append(f"suite {suite}: [recipe.{name}] {unknown('method', name, methods())}")
    recipe, settings = given(chosen.settings, wrong)
    search = {name: values for name, values in read.search.items() if name not in recipe}
    config = RunConfig()
    with wrong.any():
        config = valid({**read.settings, **({"select": True} if search else {}), **settings}, RunConfig)
        check_device(config.device)
    _check_lengths(backbones, loaded, config.max_length, wrong)
    tell("trying templates on a few rows")
    check_prompts(templates, loaded, config, wrong)
    check_files(asked, backbones, wrong)
    _check_rows(loaded, asked, chosen.shots or read.shots, chosen.draws or read.draws, config, wrong)
    wrong.told()
    trials = [dict(zip(search, values, strict=True)) for values in itertools.product(*search.values())]
    cells = [
        Cell(
            method,
            backbone,
            task,
            resolve_recipe(method, read.recipe, read.recipes.get(method.name, {}), trial, recipe),
            shots=shots,
            draw_seed=draw_seed,
            seed=seed,
            template=template,
            config=config,
            method_file=_file_of(method),
        )
        for backbone in backbones
        for task in tasks
        for shots in chosen.shots or read.shots
        for draw_seed in chosen.draws or read.draws
        for template in templates[backbone, task]
        for seed in chosen.seeds or read.seeds
        for method in asked
        for trial in trials
    ]
    warnings = [*(text for task in loaded for text in task.warnings), *skipping]
    return Plan(tuple(dict.fromkeys(cells)), tuple(dict.fromkeys(warnings)))


def _methods(items: Iterable[object], chosen: Selectors, folder: Path, wrong: Gathered) -> list[Method]:
    """The methods asked for, by the call or else the suite."""
    found: list[Method] = []
    if chosen.methods is None:
        for item in items:
            with wrong.any():
                found += expand(item, folder)
    for given in chosen.methods or ():
        with wrong.any():
            found.append(method_of(given) if isinstance(given, str) else given)
    return list(dict.fromkeys([*found, *chosen.more_methods]))


def look_up(backbones: Iterable[str], tasks: Iterable[str], wrong: Gathered, tell: Callable[[str], None]) -> list[Task]:
    """Sees that each backbone and task is there; returns the tasks."""
    from bench.backbones import check_backbone
    from bench.sources import load_task

    for name in dict.fromkeys(backbones):
        tell(f"looking up {name}")
        with wrong.any():
            check_backbone(name)
    loaded: list[Task] = []
    for name in dict.fromkeys(tasks):
        tell(f"reading {name}")
        with wrong.any():
            loaded.append(load_task(name))
    return loaded


def _check_rows(
    tasks: Iterable[Task],
    asked: Iterable[Method],
    shots: Iterable[int | None],
    draws: Iterable[int],
    config: RunConfig,
    wrong: Gathered,
) -> None:
    """Draws and holds out as the cells will, and sees that every method gets as many rows as it needs, so that none
    finds too few after others have run."""
    neediest = max(asked, key=lambda method: method.fewest_rows, default=None)
    for task, count, seed in itertools.product(tasks, shots, draws):
        with wrong.any():
            held = len(task.splits["train"])
            drawn = held if count is None else min(count, held)
            if config.published_draws or config.balanced_draws or config.select:  # else nothing can go wrong
                drawn = len(training_rows(task, count, seed, config)[0])
            if neediest is not None and neediest.fewest_rows > drawn:
                left = "left of those drawn, once some are held out to select on" if config.select else "drawn"
                raise Mistake(
                    f"{label(neediest)} needs {neediest.fewest_rows} training rows, but {drawn} of {task.name} are "
                    f"{left} ({held} are in its train split); ask for fewer, or for more shots."
                )


def _check_lengths(backbones: Iterable[str], tasks: Iterable[Task], max_length: int | None, wrong: Gathered) -> None:
    from bench.backbones import check_length

    for backbone, task in itertools.product(dict.fromkeys(backbones), tasks):
        with wrong.any(f"{backbone}: "):
            check_length(backbone, task, max_length)


def given(settings: Mapping[str, object], wrong: Gathered) -> tuple[dict[str, Scalar], dict[str, Scalar]]:
    """The call's settings, each checked: those of the recipe, those of the run."""
    kinds = {known.name: kind for kind in (Recipe, RunConfig) for known in fields(kind)}
    sorted_out: dict[type, dict[str, Scalar]] = {Recipe: {}, RunConfig: {}}
    for name, value in settings.items():
        with wrong.any():
            if name not in kinds:
                raise Mistake(unknown("setting", name, kinds))
            sorted_out[kinds[name]] |= checked(name, value, kinds[name])
    return sorted_out[Recipe], sorted_out[RunConfig]


def _from(backbone: str, folder: Path) -> str:
    """A suite's backbone: a folder beside the suite file where there is one, else an embedded name or a Hub id."""
    looks_like_path = backbone.startswith((".", "~")) or (folder / backbone).is_dir()
    return placed(backbone, folder) if looks_like_path else backbone


def _task_from(task: str, folder: Path) -> str:
    return f"dir:{placed(task.removeprefix('dir:'), folder)}" if task.startswith("dir:") else task


def _file_of(method: Method) -> str | None:
    file = source_file(method)
    return None if file is None else str(file)


def check_device(device: str) -> None:
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (number and not (kind == "cuda" and number.isdecimal())):
        raise Mistake(f"there is no device {device!r}; give cpu, cuda or cuda:N.")
    if kind == "cuda":
        import torch

        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if found <= int(number or 0):
            raise Mistake(
                f"device {device} was asked for, but torch {torch.__version__} sees {found or 'no'} CUDA device"
                f"{'s' if found > 1 else ''} here; give --device cpu, or install a CUDA build of torch and its driver."
            )
