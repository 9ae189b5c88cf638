"""The manifest of a checkpoint: all that scoring new rows needs to know, except the tensors and the backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tunefront.bench.cells import Cell
from tunefront.bench.data.task import Kind, MetricSpec, Row, Task
from tunefront.bench.errors import UserError
from tunefront.bench.settings import RunConfig, Scalar, build
from tunefront.bench.templates.plain import Plain
from tunefront.bench.templates.promptsource import PromptSource
from tunefront.methods.base import Recipe
from tunefront.methods.registry import UnknownMethod
from tunefront.methods.spelling import parse

if TYPE_CHECKING:
    from tunefront.bench.templates import Template
    from tunefront.methods.base import Method


class _Part(BaseModel):
    """A part of a manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")


class StoredTemplate(_Part):
    """A prompt template; without sources the built-in one."""

    name: str
    original_task: bool = True
    jinja: str | None = None
    answer_choices: str | None = None

    @classmethod
    def of(cls, template: Template) -> StoredTemplate:
        """The template as it is stored."""
        if isinstance(template, PromptSource):
            return cls(
                name=template.name,
                original_task=template.original_task,
                jinja=template.jinja,
                answer_choices=template.answer_choices,
            )
        return cls(name=template.name)

    def template(self) -> Template:
        """The template; its sources run in the sandbox, as those of any file."""
        if self.jinja is None or self.answer_choices is None:
            return Plain()
        return PromptSource(self.name, self.original_task, self.jinja, self.answer_choices)


class StoredRow(_Part):
    """A row of the prompt's demonstrations."""

    id: str
    fields: dict[str, Any]  # Any: texts, numbers, and lists or mappings of them, for templates
    label: int | float

    @classmethod
    def of(cls, row: Row) -> StoredRow:
        """The row as it is stored."""
        return cls(id=row.id, fields=dict(row.fields), label=row.label)

    def row(self) -> Row:
        """The row of a task."""
        return Row(self.id, self.fields, self.label)


class StoredTask(_Part):
    """A task without its rows. `metrics` are their names, each with the classes that it averages over, if given."""

    name: str
    kind: Kind
    input_fields: tuple[str, ...]
    label_names: tuple[str, ...]
    metrics: tuple[tuple[str, tuple[str, ...] | None], ...]

    @field_validator("label_names")
    @classmethod
    def _differ(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError("two labels have the same name")
        return names

    @classmethod
    def of(cls, task: Task) -> StoredTask:
        """The task as it is stored."""
        return cls(
            name=task.name,
            kind=task.kind,
            input_fields=task.input_fields,
            label_names=task.label_names,
            metrics=tuple((metric.name, metric.labels) for metric in task.metrics),
        )

    def task(self, demonstrations: Sequence[Row] = ()) -> Task:
        """The task, whose training rows are the demonstrations."""
        metrics = tuple(MetricSpec(name, labels) for name, labels in self.metrics)
        splits: dict[str, Sequence[Row]] = {"train": tuple(demonstrations), "test": ()}
        return Task(self.name, self.kind, splits, self.input_fields, self.label_names, metrics)


class Manifest(_Part):
    """What a checkpoint is. A manifest of another `version` is refused.

    `key` and `label` are those of its record, `recipe`, `settings` and `versions` as there; `method` is spelled without
    the files that it read, whose content is in the tensors; `method_file` is the user's file that defines it;
    `sites_fingerprint` is that of the sites on which it acted, None in files that do not say it;
    `demonstrations` are the rows that prompts show, or from which training started, in drawn order, and `n_kept` how
    many of them were read for each prompt prefix; `servable` are the forms in which the fitted method can be exported.
    """

    version: Literal[1] = 1
    key: str
    label: str
    method: str
    method_file: str | None = None
    recipe: dict[str, Scalar]
    settings: dict[str, Scalar]
    seed: int
    backbone: str
    backbone_fingerprint: str
    sites_fingerprint: str | None = None
    architecture: str
    task: StoredTask
    template: StoredTemplate | None = None
    demonstrations: tuple[StoredRow, ...] = ()
    n_kept: tuple[int, ...] = ()
    servable: tuple[str, ...] = ()
    versions: dict[str, str] = Field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, source: str) -> Manifest:
        """The manifest in a file's metadata. UserError, which names `source`, if it is of another version, or none."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "its text"
            if first["loc"] == ("version",):
                ours = cls.model_fields["version"].default
                raise UserError(
                    f"{source} has a manifest of version {first['input']!s:.20}, and this tunefront reads version "
                    f"{ours}; use the tunefront that wrote it, or train again with --keep checkpoints."
                ) from error
            raise UserError(
                f"{source} has no usable manifest ({place}: {first['msg']}); it was changed after it was written. "
                "Train again with --keep checkpoints."
            ) from error

    def as_method(self) -> Method:
        """The method. UserError if it is not known here; a user's own is known once its file is imported."""
        try:
            return parse(self.method, files=False)
        except UnknownMethod as error:
            where = f"; it was defined in {self.method_file}: give that file with --method" if self.method_file else ""
            raise UserError(f"the method of the checkpoint is not known here: {error}{where}") from error
        except ValueError as error:
            raise UserError(f"the method of the checkpoint cannot be made here: {error}") from error

    def cell(self) -> Cell:
        """The cell, as far as scoring depends on it. UserError as `as_method`, and for settings that are none."""
        try:
            config: RunConfig = build(self.settings, RunConfig)
            recipe: Recipe = build(self.recipe, Recipe)
        except TypeError as error:  # a field that there is not
            raise UserError(f"the manifest of the checkpoint has settings that are none here: {error}.") from error
        template = None if self.template is None else self.template.name
        method = self.as_method()
        return Cell(method, self.backbone, self.task.name, recipe, seed=self.seed, template=template, config=config)

    @property
    def title(self) -> str:
        """The method, backbone and task, for a message."""
        return f"{self.label} on {self.backbone}, {self.task.name}"
