"""The parts of a suite with the overrides of a call applied."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.bench.cells import Cell, Sampler, Trial
from tunefront.bench.data.sampling import FEWEST_HELD_OUT
from tunefront.bench.data.sources.file_name import FileName, is_file_name, spelled
from tunefront.bench.errors import ErrorCollector, UserError
from tunefront.bench.models.folders import local
from tunefront.bench.models.gguf.names import is_gguf
from tunefront.bench.settings import SETTINGS, RunConfig, Scalar, build, parse_setting, resolve_recipe
from tunefront.bench.suites.optuna_search import check_installed
from tunefront.bench.suites.overrides import Overrides
from tunefront.bench.suites.search import RATE, Space, Tried, random_trials, trials
from tunefront.bench.suites.sweeps import method_of, resolve_path, swept_methods
from tunefront.bench.suites.toml import Part, Suite
from tunefront.bench.suites.validate import Chosen, check_device
from tunefront.methods.base import Method, Recipe
from tunefront.methods.registry import source_file
from tunefront.methods.spelling import label

if TYPE_CHECKING:
    from tunefront.bench.data.task import Task


@dataclass(frozen=True)
class Lengths:
    """Tokens of the rows of a task: of `looked_at` rows max_length leaves `uncut` as they are; the longest row has
    `longest` tokens."""

    max_length: int
    uncut: int
    looked_at: int
    longest: int


@dataclass(frozen=True)
class Grid:
    """A part after the overrides: the call's lists replace its own, and paths are relative to the working directory.

    `recipe` has the recipe fields of the call; `given`, all settings of the call, and `shots` if the call sets them;
    `own_tasks`, the tasks that the part itself names; `sizes`, known numbers of train rows by task; `only_train`, tasks
    without a split to select on, so that training rows would be held out; `lengths`, what was fitted to the rows of its
    task; `strict`, whether a method with too few rows is an error: if the call named the method, or the suite's own
    rows are used. Otherwise, as when the call gives a suite a small task, it is a skipped cell.
    """

    part: Part
    methods: tuple[Method, ...]
    recipe: Mapping[str, Scalar]
    config: RunConfig
    strict: bool
    given: Mapping[str, Scalar] = field(default_factory=dict)
    own_tasks: tuple[str, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    only_train: frozenset[str] = frozenset()
    lengths: Lengths | None = None

    def made_for(self, task: str) -> bool:
        """Whether the part itself names this task, or no task at all, so that its settings suit any task."""
        return not self.own_tasks or _task_location(task) in {_task_location(own) for own in self.own_tasks}

    def config_of(self, task: str) -> RunConfig:
        """The run settings for a task: the part's max_length applies to its own tasks only; rows of other tasks keep
        their length, unless the call sets max_length."""
        if self.made_for(task) or "max_length" in self.given:
            return self.config
        return replace(self.config, max_length=None)

    def config_for(self, task: str, shots: int | None) -> RunConfig:
        """The run settings of the cells of a task with these shots."""
        return replace(self.config_of(task), select=self.selects(task, shots))

    def selects(self, task: str, shots: int | None) -> bool:
        """Whether rows are held out to choose among trials. A part for a kind of backbones, or that is fitted to the
        call's own task, goes without where there are too few rows for it; other parts stop with an error."""
        for_any = self.part.backbone_kind is not None or self.part.fitted
        if not for_any or "select" in self.given or task not in self.only_train:
            return self.config.select
        rows = self.sizes[task] if shots is None else min(shots, self.sizes[task])
        return self.config.select and not self.config.published_draws and rows >= 2 * FEWEST_HELD_OUT

    def shots_of(self, task: str) -> tuple[int | None, ...]:
        """The shots for a task, at most its number of rows; unchanged for published draws, whose sizes are fixed."""
        size = self.sizes.get(task)
        if size is None or self.config.published_draws:
            return self.part.shots
        return tuple(dict.fromkeys(None if count is None else min(count, size) for count in self.part.shots))

    def cells(self, templates: Chosen) -> Iterator[Cell]:
        """The cells, grouped by backbone, then task, then draw; every method runs at the first seed before the next.
        A method that uses no training rows has one cell for all draws and seeds.

        A recipe field comes from the call, else [search], [recipe.<method>], [recipe], the method's own recipe, the
        family's default.
        """
        part = self.part
        rows = [(task, shots) for task in part.tasks for shots in self.shots_of(task)]
        tried = {
            row: [(*each, self._recipe(each[0], each[1]), source_file(each[0])) for each in self._placed(*row)]
            for row in rows
        }
        configs = {row: self.config_for(*row) for row in rows}
        for backbone, (task, shots), draw in itertools.product(part.backbones, rows, part.draws):
            for template, seed in itertools.product(templates[backbone, task], part.seeds):
                first = (draw, seed) == (part.draws[0], part.seeds[0])
                for method, values, trial, recipe, file in tried[task, shots]:
                    if method.fewest_rows == 0 and not first:
                        continue
                    yield Cell(
                        method,
                        backbone,
                        task,
                        recipe,
                        shots=shots,
                        draw_seed=draw,
                        seed=seed,
                        template=template,
                        config=configs[task, shots],
                        method_file=None if file is None else str(file),
                        searched=tuple(values),
                        trial=trial,
                        paper=part.paper,
                    )

    @property
    def searches(self) -> bool:
        """Whether rows are held out to choose among trials: for every method, if any is searched.

        Not if the call sets all that would be searched, or names only methods that train nothing.
        """
        if not any(method.trains for method in self.methods):
            return False
        if self.part.search.keys() - self.recipe.keys():
            return True
        return self.part.trials is not None and (RATE not in self.recipe or len(self._trials()) > len(self.methods))

    def trials_for(self, task: str, shots: int | None) -> list[Tried]:
        """The trials on a task with these shots."""
        return self._trials(self.selects(task, shots))

    def recipe_of(self, method: Method) -> Recipe:
        """The recipe of a method apart from what is searched."""
        return self._recipe(method, {})

    def check_recipes(self, wrong: ErrorCollector) -> None:
        """Checks that the values for each method make a valid recipe."""
        for method, trial in self._trials():
            with wrong.collect():
                self._recipe(method, trial)

    def _recipe(self, method: Method, trial: Mapping[str, Scalar]) -> Recipe:
        part = self.part
        return resolve_recipe(method, part.recipe, part.recipes.get(method.name, {}), trial, self.recipe)

    def _trials(self, searched: bool = True) -> list[Tried]:
        """The trials of every method. Without a search each has one, by the part's recipe."""
        if self.config.select and not searched:
            return [(method, {}) for method in self.methods]
        return [trial for method in self.methods for trial in self._trials_of(method)]

    def _placed(self, task: str, shots: int | None) -> Iterator[tuple[Method, dict[str, Scalar], Trial | None]]:
        """The trials on a task with these shots, each with its place in its search."""
        if not (self.searches and self.selects(task, shots)):
            yield from ((*trial, None) for trial in self.trials_for(task, shots))
            return
        seed = None if self.sampler == "grid" else self.part.search_seed or 0
        for method in self.methods:
            for number, trial in enumerate(self._trials_of(method), 1):
                yield *trial, Trial(label(method), self.sampler, seed, number)

    @property
    def sampler(self) -> Sampler:
        """How the trials are chosen."""
        return self.part.sampler or "grid"

    def space_of(self, method: Method) -> Space:
        """What a search may change of a method. Fields that the call sets are not searched."""
        return Space.of(method, self.recipe.keys(), self._listed)

    @property
    def _listed(self) -> dict[str, tuple[Scalar, ...]]:
        """The searched recipe fields with listed values."""
        return {name: values for name, values in self.part.search.items() if name not in self.recipe}

    def _trials_of(self, method: Method) -> list[Tried]:
        """A method with every combination of the listed values; with a number of trials, that many over its sizes and
        rates; if these are drawn, listed values are too. A method that trains nothing has one trial.

        Those of Optuna depend on scores; until there are any, and in a plan, random ones stand for them.
        """
        listed, count = self._listed, self.part.trials
        if count is not None and self.sampler != "grid":
            return list(itertools.islice(random_trials(self.space_of(method), self.part.search_seed or 0), count))
        combinations = [dict(zip(listed, values, strict=True)) for values in itertools.product(*listed.values())]
        tried: Iterable[Tried] = [(method, {})] if count is None else trials(method, count, {*self.recipe, *listed})
        return [
            (sized, {**own, **values}) for sized, own in tried for values in (combinations if sized.trains else [{}])
        ]


def build_grids(
    suite: Suite, overrides: Overrides, wrong: ErrorCollector, listing: bool = False, elsewhere: bool = False
) -> list[Grid]:
    """The selected parts; errors in methods, recipes and settings are collected. With `listing` nothing is downloaded
    to select them; with `elsewhere` the device is that of another machine."""
    recipe, settings = read_settings(overrides.all_settings(), wrong)
    strict = bool(overrides.methods) or not (overrides.tasks or overrides.shots)
    selected = []
    own_tasks = {part.title: tuple(_task_from(name, suite.folder) for name in part.tasks) for part in suite.parts}
    parts = [_with_lists(part, overrides, suite.folder) for part in suite.parts]
    for part in _select_parts(parts, overrides.backbones, listing):
        methods = _methods(part, overrides, suite.folder, wrong)
        given = {**recipe, **settings, **({"shots": True} if overrides.shots else {})}
        grid = Grid(part, methods, recipe, RunConfig(), strict, given, own_tasks.get(part.title, ()))
        select = {"select": True} if grid.searches else {}
        with wrong.collect(f"{part.title}: "):
            _check_search(part)
        with wrong.collect():
            grid = replace(grid, config=build({**part.settings, **select, **settings}, RunConfig))
            check_device(grid.config.device, elsewhere)
        selected.append(grid)
        grid.check_recipes(wrong)
    return selected


def _check_search(part: Part) -> None:
    """UserError for a sampler or its seed without a number of trials to draw, and for Optuna if it is not installed."""
    if part.trials is None and (part.sampler not in (None, "grid") or part.search_seed is not None):
        named = f"the sampler {part.sampler}" if part.sampler else "the seed of a search"
        raise UserError(
            f"{named} needs a number of trials per method; add trials = 8 to [search], or --trials 8 to the call."
        )
    if part.search_seed is not None and part.sampler in (None, "grid"):
        raise UserError(
            "[search] has a seed, but the trials of a grid are not drawn; add sampler = 'random', or drop the seed."
        )
    if part.sampler == "optuna":
        check_installed()


def space_for(cell: Cell, parts: Iterable[Grid]) -> Space:
    """What the search of a cell may change, by the first of the parts that searches its method there."""
    name = None if cell.trial is None else cell.trial.method
    for grid in parts:
        lists = grid.part
        here = cell.backbone in lists.backbones and cell.task in lists.tasks and cell.shots in grid.shots_of(cell.task)
        for method in grid.methods if here else ():
            if label(method) == name:
                return grid.space_of(method)
    raise ValueError(f"no part searches {cell.title}")


def for_kinds(grids: Sequence[Grid], tasks: Iterable[Task]) -> list[Grid]:
    """The parts of a call that names no backbone: each with the tasks of the kinds that it runs by default."""
    kinds = {task.name: task.kind for task in tasks}
    kept = []
    for grid in grids:
        wanted = grid.part.default_for
        names = tuple(name for name in grid.part.tasks if not wanted or kinds.get(name, wanted[0]) in wanted)
        if names or not grid.part.tasks:
            kept.append(replace(grid, part=replace(grid.part, tasks=names)))
    return kept


def read_settings(settings: Mapping[str, object], wrong: ErrorCollector) -> tuple[dict[str, Scalar], dict[str, Scalar]]:
    """Checks the settings of a call and splits them into those of the recipe and those of the run."""
    read: dict[str, Scalar] = {}
    for name, value in settings.items():
        with wrong.collect():
            read |= parse_setting(name, value)
    recipe = {name: value for name, value in read.items() if SETTINGS[name].table == "recipe"}
    return recipe, {name: value for name, value in read.items() if name not in recipe}


def _with_lists(part: Part, overrides: Overrides, folder: Path) -> Part:
    """The part with the call's lists, except backbones, which select parts (`_select_parts`), and methods, which a call
    spells in a narrower way (`_methods`)."""
    return replace(
        part,
        backbones=tuple(backbone_from(name, folder) for name in part.backbones),
        tasks=tuple(overrides.tasks or (_task_from(name, folder) for name in part.tasks)),
        shots=tuple(overrides.shots or part.shots),
        draws=tuple(overrides.draws or part.draws),
        seeds=tuple(overrides.seeds or part.seeds),
        templates=tuple(overrides.templates or part.templates),
        trials=overrides.trials or part.trials,
        sampler=overrides.sampler or part.sampler,
    )


def _select_parts(parts: Sequence[Part], backbones: Sequence[str] | None, listing: bool) -> list[Part]:
    """The parts that run the call's backbones, each with its share of them; if the call names none, all parts that name
    backbones themselves.

    A backbone that no part names runs the parts for its kind (encoder or language model).
    """
    if not backbones:
        return [part for part in parts if part.backbone_kind is None] or list(parts)
    named = [{_location(name) for name in part.backbones} for part in parts]
    known = set().union(*named)
    unnamed = {name: _parts_like(name, parts, named, listing) for name in backbones if _location(name) not in known}

    def runs(index: int, name: str) -> bool:
        if name in unnamed:
            return index in unnamed[name]
        return _location(name) in named[index] or not (named[index] or parts[index].backbone_kind)

    kept = [tuple(name for name in backbones if runs(index, name)) for index in range(len(parts))]
    return [replace(part, backbones=names) for part, names in zip(parts, kept, strict=True) if names]


def _parts_like(name: str, parts: Sequence[Part], named: Sequence[set[str]], listing: bool) -> set[int]:
    """The indices of the parts for a backbone that no part names: those with its `backbone_kind`, else the first that
    names a backbone of its kind (the first of all, if the kind is not known) and those that name the same ones.

    A part that names neither backbones nor a kind runs any backbone.
    """
    matters = len(parts) > 1 or any(part.backbone_kind for part in parts)
    kind = kind_of(name, listing) if matters else None
    any_backbone = {index for index, part in enumerate(parts) if not (part.backbones or part.backbone_kind)}
    of_kind = {index for index, part in enumerate(parts) if kind is not None and part.backbone_kind == kind}
    if of_kind:
        return of_kind | any_backbone
    own = [index for index, part in enumerate(parts) if part.backbones]
    alike = (index for index in own if kind is not None and kind in _kinds_of(parts[index]))
    first = next(alike, own[0] if own else None)
    chosen = any_backbone | {index for index in own if first is not None and named[index] == named[first]}
    return chosen or {0}


def _kinds_of(part: Part) -> set[str | None]:
    return {kind_of(name, listing=True) for name in part.backbones}


def kind_of(name: str, listing: bool = False) -> str | None:
    """The kind of a backbone, one of `KINDS`; None if it is not known, because the backbone is not there (reported
    later) or, with `listing`, would have to be downloaded."""
    from tunefront.bench.models.config import family_of
    from tunefront.bench.models.locate import EMBEDDED_FAMILIES, check_downloaded

    family = EMBEDDED_FAMILIES.get(name)
    if family is None:
        with contextlib.suppress(UserError, OSError):
            if listing:
                check_downloaded(name)
            family = family_of(name)
    return None if family is None else "encoder" if family == "encoder" else "language model"


def _location(backbone: str) -> str:
    """Identifies a backbone under different spellings: the resolved path of a folder or GGUF file, else the name."""
    with contextlib.suppress(UserError):  # reported when it is looked up
        folder = local(backbone)
        return str(folder.resolve()) if folder.is_dir() or is_gguf(backbone) else backbone
    return backbone


def _methods(part: Part, overrides: Overrides, folder: Path, wrong: ErrorCollector) -> tuple[Method, ...]:
    """The methods of the call, else of the part."""
    own: list[Method] = []
    items: Iterable[object] = part.methods if overrides.methods is None else ()
    for item in items:
        with wrong.collect():
            own += swept_methods(item, folder)
    return tuple(dict.fromkeys([*own, *named_methods(overrides, wrong)]))


def named_methods(overrides: Overrides, wrong: ErrorCollector) -> list[Method]:
    """The methods that the call names."""
    named: list[Method] = []
    for method in overrides.methods or ():
        with wrong.collect():
            named.append(method_of(method) if isinstance(method, str) else method)
    return [*named, *overrides.more_methods]


def _task_location(task: str) -> str:
    """Identifies a task under different spellings: with the resolved path of a file or folder, else the name."""
    try:
        if is_file_name(task):
            return str(FileName.parse(task).at(lambda path: str(Path(path).expanduser().resolve())))
        path = Path(task.removeprefix("dir:"))
        return f"dir:{path.expanduser().resolve()}" if task.startswith("dir:") else task
    except (OSError, RuntimeError, UserError):  # unknown user, circular link: reported when the task is read
        return task


def backbone_from(backbone: str, folder: Path) -> str:
    """A suite's backbone: a folder or GGUF file relative to the suite file if it exists, else an embedded name or a Hub
    id."""
    with contextlib.suppress(OSError, RuntimeError, ValueError):  # an invalid path: reported when it is looked up
        if backbone.startswith((".", "~")) or (folder / backbone).is_dir() or is_gguf(str(folder / backbone)):
            return resolve_path(backbone, folder)
    return backbone


def _task_from(task: str, folder: Path) -> str:
    """A suite's task: files and folders relative to the suite file."""
    with contextlib.suppress(UserError):  # reported when it is read
        name = spelled(task, folder)
        if is_file_name(name):
            return str(FileName.parse(name).at(lambda path: resolve_path(path, folder)))
    return f"dir:{resolve_path(task.removeprefix('dir:'), folder)}" if task.startswith("dir:") else task
