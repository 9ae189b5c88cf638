"""meta.json: what a folder says about its task; everything in it is optional, and keys of one's own are allowed."""

from __future__ import annotations

from pathlib import Path  # pydantic reads the annotations
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tunefront.bench.data.task import Kind, MetricSpec

if TYPE_CHECKING:
    from tunefront.bench.data.sources.tables import Problems

FILE = "meta.json"
_Names = Annotated[list[str], Field(min_length=1)]


class Metric(BaseModel):
    """A metric with the labels that it averages over."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: str
    labels: _Names | None = None


class Meta(BaseModel):
    """The keys that are read.

    `choices_field`: the column with the list of answers of multiple choice. `metrics`: names, or names with labels, the
    headline first; the prose `metric` is not read.
    """

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    task_type: Kind | None = None
    label_names: list[str] | None = None
    label_field: str = "label"
    input_fields: _Names | None = None
    choices_field: str | None = None
    metrics: Annotated[list[str | Metric], Field(min_length=1)] | None = None

    @property
    def metric_specs(self) -> tuple[MetricSpec, ...] | None:
        """The metrics as a task has them; None where the file names none."""
        return self.metrics and tuple(_spec(metric) for metric in self.metrics)  # type: ignore[return-value]


def read_meta(folder: Path, problems: Problems) -> Meta:
    """The folder's meta.json, the defaults where it has none; what is wrong is noted, a sentence for each key."""
    file = folder / FILE
    if not file.is_file():
        return Meta()
    try:
        meta = Meta.model_validate_json(file.read_bytes())
    except ValidationError as error:
        for key, said in {_key(each["loc"]): each["msg"] for each in error.errors()}.items():
            problems.add(f"{file}{key}: {said[0].lower()}{said[1:]}.")
        return Meta()
    except OSError as error:
        problems.add(f"{file} cannot be read: {error.strerror or error}.")
        return Meta()
    for name in ("label_names", "input_fields"):
        given = getattr(meta, name) or []
        for twice in dict.fromkeys(value for value in given if given.count(value) > 1):
            problems.add(f"{file}, {name}: {twice!r} is there twice; name each once.")
    return meta


def _spec(metric: str | Metric) -> MetricSpec:
    if isinstance(metric, str):
        return MetricSpec(metric)
    return MetricSpec(metric.name, None if metric.labels is None else tuple(metric.labels))


def _key(place: tuple[int | str, ...]) -> str:
    """`metrics.1` for what stands there; the variants that pydantic tried are left out."""
    plain = [str(part) for part in place if part not in ("str", "Metric")]
    return f", {'.'.join(plain)}" if plain else ""
