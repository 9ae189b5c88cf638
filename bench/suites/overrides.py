"""Overrides of a suite: the lists and settings that a call replaces, and their command-line options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from tunefront.bench.data.sources.file_name import OPTIONS as READING
from tunefront.bench.data.sources.file_name import spelled
from tunefront.bench.data.sources.own_names import names_of
from tunefront.bench.errors import ErrorCollector, UserError
from tunefront.bench.models.sites_file import use_sites
from tunefront.bench.suites.lists import parse_values
from tunefront.bench.suites.values import read_draw, read_sampler, read_seed, read_shots, read_trials
from tunefront.methods.base import Method

Text = str | Sequence[str] | None
"""An option as typed: once, several times, or not at all."""
Texts = Mapping[str, Text]
"""Options as typed, by the names of the fields of `Overrides`."""


@dataclass(frozen=True)
class Option:
    """The command-line option of a field of `Overrides`: --NAME, or --tunefront-NAME with pytest.

    Args: metavar and help, for --help; repeatable, whether it may be given several times; commas, whether a text is a
    list of values; read, converts one value and raises UserError if it is wrong.
    """

    name: str
    metavar: str
    help: str
    repeatable: bool = True
    commas: bool = False
    read: Callable[[object], object] = str

    @property
    def is_list(self) -> bool:
        """Whether its field holds several values."""
        return self.repeatable or self.commas

    def values(self, text: Text, wrong: ErrorCollector) -> list[Any] | None:  # Any: each option has values of its own
        """The converted values; None if nothing was typed, or nothing valid."""
        values: list[Any] = []
        with wrong.collect():
            texts = parse_values(f"--{self.name}", [text] if isinstance(text, str) else text, self.commas)
            values = self.read_all(texts or (), wrong)
        return values or None

    def read_all(self, values: Iterable[object], wrong: ErrorCollector) -> list[Any]:  # Any: as above
        """The converted valid values; errors in the others are collected."""
        valid: list[Any] = []
        for value in values:
            with wrong.collect():
                valid.append(self.read(value))
        return valid


def _optional(**option: Any) -> Any:  # Any: as for `dataclasses.field`
    """An optional field with its command-line option."""
    return field(default=None, metadata={"option": Option(**option)})


def _read_method(value: object) -> object:
    if isinstance(value, str | Method):
        return value
    raise UserError(
        f"methods must be texts or instances, as in methods=['houlsby:bottleneck=8', MyMethod()], got {value!r}."
    )


def _read_name(value: object) -> str:
    if isinstance(value, str):
        return value
    raise UserError(f"names of backbones, tasks and templates must be texts, got {value!r}.")


def _read_task(value: object) -> str:
    return spelled(_read_name(value))


def _read_template(value: object) -> str | None:
    return None if value is None else _read_name(value)


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """Overrides of a suite: each list given here replaces the list of every part.

    `backbones` instead selects parts: a part keeps the backbones that it names, or takes all if it names none, and is
    left out if none remain; a backbone that no part names runs the parts for its kind (`grids._parts_like`).
    `data` are files, folders or DataFrames, each a task; `test`, `validation`, `text`, `label`, `id`, `group`, `split`,
    `kind` and `header` say how to read them, `prompts` which templates they have; all are part of the names that they
    add to `tasks`.
    `methods` are texts or instances; None in `shots` means all training rows; `trials` and `sampler` are those of
    [search]; `sites` are files with records of sites, which this process uses from now on; `settings` are fields of the
    recipe or of the run settings, which no suite and no search overrides, and `device` is one of them; `more_methods`
    are added to the methods of the suite or of the call. Relative paths start at the working directory.

    Each field declares its command-line option here: `tunefront run`, `tunefront plan` and the pytest plugin have these
    options. Errors: UserErrors with all wrong values.
    """

    methods: Sequence[str | Method] | None = _optional(
        name="method",
        metavar="M",
        help="A method as spelled in records, houlsby:bottleneck=8, or file.py:Class:field=value.",
        read=_read_method,
    )
    backbones: Sequence[str] | None = _optional(
        name="backbone",
        metavar="B",
        help="An embedded name, a folder or a Hub id; only parts of SUITE that use it are run.",
        read=_read_name,
    )
    tasks: Sequence[str] | None = _optional(
        name="task", metavar="T", help="docstrings/NAME, dir:FOLDER, hub:NAME or a FILE.", read=_read_task
    )
    data: Sequence[object] | None = _optional(
        name="data",
        metavar="FILE",
        help="Your own task: a file (CSV, TSV, JSON, Parquet, Excel; compressed or not) or a folder.",
        read=lambda value: value,
    )
    test: object = _optional(name="test", metavar="FILE", help="The file of the test rows of --data.", repeatable=False)
    validation: object = _optional(
        name="validation",
        metavar="FILE",
        help="The file of the validation rows of --data, which choose among settings.",
        repeatable=False,
    )
    text: Sequence[str] | None = _optional(
        name="text", metavar="COLUMN,COLUMN", help="The columns of --data to read; default: those with texts."
    )
    label: str | None = _optional(
        name="label",
        metavar="COLUMN",
        help="The label column of --data; default: by its name, then its few values.",
        repeatable=False,
    )
    id: str | None = _optional(
        name="id", metavar="COLUMN", help="The column of --data with an id for each row.", repeatable=False
    )
    group: str | None = _optional(
        name="group",
        metavar="COLUMN",
        help="Rows of --data with the same value are in the same split.",
        repeatable=False,
    )
    split: str | float | None = _optional(
        name="split",
        metavar="SHARE",
        help="Share of the rows of --data that are held out for test, by hash (default 0.2), or the column that names "
        "each row's split.",
        repeatable=False,
    )
    kind: str | None = _optional(
        name="kind",
        metavar="KIND",
        help="classification, regression or `multiple choice`; default: by the labels of --data.",
        repeatable=False,
    )
    header: str | None = _optional(
        name="header", metavar="yes|no", help="Whether the first row of --data names its columns.", repeatable=False
    )
    prompts: object = _optional(
        name="prompts",
        metavar="FILE",
        help="A file of prompt templates for --data; default: tickets.templates.yaml next to tickets.csv.",
        repeatable=False,
    )
    shots: Sequence[int | None] | None = _optional(
        name="shots",
        metavar="K",
        help="Training rows to draw, or `all`; 16,64 for several values.",
        commas=True,
        read=read_shots,
    )
    draws: Sequence[int] | None = _optional(
        name="draws",
        metavar="N,N",
        help="Seeds for drawing training rows, such as 0,1.",
        commas=True,
        repeatable=False,
        read=read_draw,
    )
    seeds: Sequence[int] | None = _optional(
        name="seeds",
        metavar="N,N",
        help="Training seeds, such as 0,1.",
        commas=True,
        repeatable=False,
        read=read_seed,
    )
    templates: Sequence[str | None] | None = _optional(
        name="template",
        metavar="T",
        help="A prompt template by name, or `all` of the task's own; encoders take none.",
        read=_read_template,
    )
    trials: int | None = _optional(
        name="trials",
        metavar="N",
        help="Trials per method, over the sizes and learning rates that it declares; the best on held-out rows counts.",
        repeatable=False,
        read=read_trials,
    )
    sampler: Literal["grid", "random", "optuna"] | None = _optional(
        name="sampler",
        metavar="SAMPLER",
        help="How --trials are chosen: grid (spread evenly, the default), random, or optuna (by the scores so far).",
        repeatable=False,
        read=read_sampler,
    )
    settings: Mapping[str, object] | None = _optional(
        name="set", metavar="KEY=VALUE", help="A field of the recipe or the run settings, such as learning_rate=1e-3."
    )
    sites: Sequence[str] | None = _optional(
        name="sites",
        metavar="FILE",
        help="A TOML file with the places in a model where methods act, as `tunefront probe` prints them.",
    )
    device: str | None = _optional(name="device", metavar="D", help="cpu, cuda or cuda:N.", repeatable=False)
    more_methods: Sequence[Method] = ()

    def __post_init__(self) -> None:
        wrong = ErrorCollector()
        for name, option in OPTIONS.items():
            values = getattr(self, name)
            if values is None or not option.is_list or name == SETTINGS:
                continue
            with wrong.collect():
                if isinstance(values, str) or not isinstance(values, Iterable):
                    raise UserError(f"{name} must be a list, as in {name}=[{values!r}], got {values!r}.")
                object.__setattr__(self, name, tuple(option.read_all(values, wrong)))
        for name in ("trials", "sampler"):
            with wrong.collect():
                if getattr(self, name) is not None:
                    object.__setattr__(self, name, OPTIONS[name].read(getattr(self, name)))
        for file in self.sites or ():
            with wrong.collect():
                use_sites(file)
        with wrong.collect():
            self.all_settings()
        with wrong.collect():
            reading = {name: getattr(self, name) for name in READING}
            tasks = names_of(self.data or (), {name: value for name, value in reading.items() if value is not None})
            object.__setattr__(self, "tasks", tuple(dict.fromkeys((*(self.tasks or ()), *tasks))) or None)
        wrong.raise_if_any()

    def all_settings(self) -> dict[str, object]:
        """The settings and the device; UserError if the device is given twice."""
        settings = dict(self.settings or {})
        if self.device is not None and "device" in settings:
            raise UserError(_twice("device", self.device, settings["device"]))
        return settings if self.device is None else {"device": self.device, **settings}

    @classmethod
    def from_texts(cls, texts: Texts, wrong: ErrorCollector, *, more_methods: Sequence[Method] = ()) -> Overrides:
        """The overrides of a command line, by field name; wrong values are collected as errors and left out."""
        values: dict[str, Any] = {name: option.values(texts.get(name), wrong) for name, option in OPTIONS.items()}
        for name in (name for name, option in OPTIONS.items() if not option.is_list):
            values[name] = next(iter(values[name] or ()), None)
        settings = split_settings(values.pop(SETTINGS) or (), values["device"], wrong)
        return cls(**values, settings=settings, more_methods=more_methods)


OPTIONS: Mapping[str, Option] = {
    declared.name: declared.metadata["option"] for declared in fields(Overrides) if "option" in declared.metadata
}
"""The command-line options of `Overrides`, by field name."""
SETTINGS = "settings"
"""The field that is a mapping, though its option may be repeated."""


def split_settings(texts: Iterable[str], device: str | None, wrong: ErrorCollector) -> dict[str, object]:
    """`key=value` texts -> value by key; an error if the device is among them and also given separately."""
    settings: dict[str, object] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name or not value:
            wrong.messages.append(f"--set needs key=value, such as --set learning_rate=1e-3; got {text!r}.")
        elif name in settings:
            wrong.messages.append(_twice(name, settings[name], value))
        elif name == "device" and device is not None:
            wrong.messages.append(_twice(name, device, value))
        else:
            settings[name] = value
    return settings


def _twice(name: str, first: object, second: object) -> str:
    return f"{name} is set twice, to {first} and {second}; give one of them."
