"""The parts of a suite as a call asks for them: with the call's lists in the place of theirs."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tunefront.bench.cells import Cell
from tunefront.bench.errors import ErrorCollector, UserError
from tunefront.bench.models.folders import local
from tunefront.bench.models.gguf.names import is_gguf
from tunefront.bench.settings import SETTINGS, RunConfig, Scalar, build, parse_setting, resolve_recipe
from tunefront.bench.suites.overrides import Overrides
from tunefront.bench.suites.search import Trial, trials
from tunefront.bench.suites.sweeps import method_of, resolve_path, swept_methods
from tunefront.bench.suites.toml import Part, Suite
from tunefront.bench.suites.validate import Chosen, check_device
from tunefront.methods.base import Method, Recipe
from tunefront.methods.registry import source_file


@dataclass(frozen=True)
class Grid:
    """A part as it is asked for: its lists are the call's where it gives them, its paths start at the working
    directory.

    `recipe` are the call's fields of the recipe; `given`, what the call itself says: settings, and whether shots;
    `own_tasks`, the tasks that the part itself names; `sizes`, rows of train by task, as far as they are known;
    `strict`, whether a method that finds too few rows is a mistake: where the call named it, or the suite its rows.
    Else, as where a suite meets a small task, that is a skipped cell.
    """

    part: Part
    methods: tuple[Method, ...]
    recipe: Mapping[str, Scalar]
    config: RunConfig
    strict: bool
    given: Mapping[str, Scalar] = field(default_factory=dict)
    own_tasks: tuple[str, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)

    def made_for(self, task: str) -> bool:
        """Whether the part itself names a task, or none at all, so that its settings are meant for any."""
        return not self.own_tasks or _task_place(task) in {_task_place(own) for own in self.own_tasks}

    def config_of(self, task: str) -> RunConfig:
        """The run settings of a task: the part's max_length is for the texts of its own tasks, so that another task's
        rows are as long as they are, unless the call says otherwise."""
        if self.made_for(task) or "max_length" in self.given:
            return self.config
        return replace(self.config, max_length=None)

    def shots_of(self, task: str) -> tuple[int | None, ...]:
        """The shots of a task, no more than it has rows; those of published draws, which have sizes, as they are."""
        size = self.sizes.get(task)
        if size is None or self.config.published_draws:
            return self.part.shots
        return tuple(dict.fromkeys(None if count is None else min(count, size) for count in self.part.shots))

    def cells(self, templates: Chosen) -> Iterator[Cell]:
        """Its cells, grouped by backbone, then task, then draw, every method at the first seed before any at the next.

        A field's value comes from the call, else [search], [recipe.<method>], [recipe], the method's own recipe, the
        family's default.
        """
        part = self.part
        rows = [(task, shots) for task in part.tasks for shots in self.shots_of(task)]
        for backbone, (task, shots), draw in itertools.product(part.backbones, rows, part.draws):
            for template, seed in itertools.product(templates[backbone, task], part.seeds):
                for method, trial in self._trials():
                    file = source_file(method)
                    yield Cell(
                        method,
                        backbone,
                        task,
                        self._recipe(method, trial),
                        shots=shots,
                        draw_seed=draw,
                        seed=seed,
                        template=template,
                        config=self.config_of(task),
                        method_file=None if file is None else str(file),
                        paper=part.paper,
                    )

    def check_recipes(self, wrong: ErrorCollector) -> None:
        """Sees that each method's values make a recipe together."""
        for method, trial in self._trials():
            with wrong.collect():
                self._recipe(method, trial)

    def _recipe(self, method: Method, trial: Mapping[str, Scalar]) -> Recipe:
        part = self.part
        return resolve_recipe(method, part.recipe, part.recipes.get(method.name, {}), trial, self.recipe)

    def _trials(self) -> list[Trial]:
        """Every method with the values that are searched, in every combination, of a budget with as many trials; what
        the call gives is not searched."""
        search = {name: values for name, values in self.part.search.items() if name not in self.recipe}
        values = [dict(zip(search, each, strict=True)) for each in itertools.product(*search.values())]
        budget, elsewhere = self.part.budget, self.recipe.keys() | search.keys()
        tried: list[Trial] = [(method, {}) for method in self.methods]
        if budget is not None:
            tried = [trial for method in self.methods for trial in trials(method, budget, elsewhere)]
        return [(method, {**own, **each}) for (method, own), each in itertools.product(tried, values)]


def grids(suite: Suite, overrides: Overrides, wrong: ErrorCollector) -> list[Grid]:
    """The parts that are asked for; what is wrong with methods, recipes and settings is gathered."""
    recipe, settings = read_settings(overrides.all_settings(), wrong)
    strict = bool(overrides.methods) or not (overrides.tasks or overrides.shots)
    found = []
    own = {part.title: tuple(_task_from(name, suite.folder) for name in part.tasks) for part in suite.parts}
    for part in _chosen([_with_lists(part, overrides, suite.folder) for part in suite.parts], overrides.backbones):
        select = {"select": True} if part.budget or part.search.keys() - recipe.keys() else {}
        config = RunConfig()
        with wrong.collect():
            config = build({**part.settings, **select, **settings}, RunConfig)
            check_device(config.device)
        methods = _methods(part, overrides, suite.folder, wrong)
        named = {**recipe, **settings, **({"shots": True} if overrides.shots else {})}
        found.append(Grid(part, methods, recipe, config, strict, named, own.get(part.title, ())))
        found[-1].check_recipes(wrong)
    return found


def read_settings(settings: Mapping[str, object], wrong: ErrorCollector) -> tuple[dict[str, Scalar], dict[str, Scalar]]:
    """The call's settings, each checked: those of the recipe, those of the run."""
    read: dict[str, Scalar] = {}
    for name, value in settings.items():
        with wrong.collect():
            read |= parse_setting(name, value)
    recipe = {name: value for name, value in read.items() if SETTINGS[name].table == "recipe"}
    return recipe, {name: value for name, value in read.items() if name not in recipe}


def _with_lists(part: Part, overrides: Overrides, folder: Path) -> Part:
    """The part with the call's lists. Backbones choose between parts (`_chosen`); methods are spelled in a narrower way
    in a call (`_methods`)."""
    return replace(
        part,
        backbones=tuple(_backbone_from(name, folder) for name in part.backbones),
        tasks=tuple(overrides.tasks or (_task_from(name, folder) for name in part.tasks)),
        shots=tuple(overrides.shots or part.shots),
        draws=tuple(overrides.draws or part.draws),
        seeds=tuple(overrides.seeds or part.seeds),
        templates=tuple(overrides.templates or part.templates),
    )


def _chosen(parts: Sequence[Part], asked: Sequence[str] | None) -> list[Part]:
    """The parts with those of the backbones that the call asks of them; all as they are where it asks for none."""
    if not asked:
        return list(parts)
    named = [{_place(name) for name in part.backbones} for part in parts]
    known = set().union(*named)

    def takes(own: set[str], name: str) -> bool:
        return not own or name in own or (name not in known and own == named[0])

    kept = [tuple(name for name in asked if takes(own, _place(name))) for own in named]
    return [replace(part, backbones=names) for part, names in zip(parts, kept, strict=True) if names]


def _place(backbone: str) -> str:
    """What names of one backbone have in common: the place of a folder or a GGUF file, else the name."""
    with contextlib.suppress(UserError):  # told where it is looked up
        folder = local(backbone)
        return str(folder.resolve()) if folder.is_dir() or is_gguf(backbone) else backbone
    return backbone


def _methods(part: Part, overrides: Overrides, folder: Path, wrong: ErrorCollector) -> tuple[Method, ...]:
    """The methods asked for, by the call or else by the part."""
    found: list[Method] = []
    items: Iterable[object] = part.methods if overrides.methods is None else ()
    for item in items:
        with wrong.collect():
            found += swept_methods(item, folder)
    return tuple(dict.fromkeys([*found, *named_methods(overrides, wrong)]))


def named_methods(overrides: Overrides, wrong: ErrorCollector) -> list[Method]:
    """The methods that the call names."""
    found: list[Method] = []
    for method in overrides.methods or ():
        with wrong.collect():
            found.append(method_of(method) if isinstance(method, str) else method)
    return [*found, *overrides.more_methods]


def _task_place(task: str) -> str:
    """What names of one task have in common: the place of a folder, else the name."""
    path = Path(task.removeprefix("dir:"))
    try:
        return f"dir:{path.expanduser().resolve()}" if task.startswith("dir:") else task
    except (OSError, RuntimeError):  # no such user, a link that leads to itself: told where the task is read
        return task


def _backbone_from(backbone: str, folder: Path) -> str:
    """A suite's backbone: a folder or GGUF file beside the suite file, else an embedded name or a Hub id."""
    with contextlib.suppress(OSError, RuntimeError, ValueError):  # no path at all: told where it is looked up
        if backbone.startswith((".", "~")) or (folder / backbone).is_dir() or is_gguf(str(folder / backbone)):
            return resolve_path(backbone, folder)
    return backbone


def _task_from(task: str, folder: Path) -> str:
    return f"dir:{resolve_path(task.removeprefix('dir:'), folder)}" if task.startswith("dir:") else task
