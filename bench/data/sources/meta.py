"""Reads meta.json, a folder's description of its task; all keys are optional, and unknown keys are allowed."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path  # pydantic reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tunefront.bench.data.metrics import METRICS
from tunefront.bench.data.sources.contents import decode, read_bytes
from tunefront.bench.data.sources.json_file import explain
from tunefront.bench.data.sources.limits import Budget, Unreadable
from tunefront.bench.data.task import Kind, MetricSpec

if TYPE_CHECKING:
    from tunefront.bench.data.sources.tables import Problems

FILE = "meta.json"
_LIMIT_BYTES = 2**26
_Names = Annotated[list[str], Field(min_length=1)]
_PROSE = "metric"
"""An unknown key that is allowed as free text: a description of the score."""
_OTHER_WORDS = {
    **dict.fromkeys(("labels", "classes", "class_names"), "label_names"),
    **dict.fromkeys(("label_column", "label_key", "target_field"), "label_field"),
    **dict.fromkeys(("inputs", "text_fields", "text_field", "text_columns", "text_column"), "input_fields"),
}
"""Other names of keys; an error only if the right key is absent."""


class Metric(BaseModel):
    """A metric and the labels that it averages over."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: str
    labels: _Names | None = None


class Meta(BaseModel):
    """The known keys.

    `label_names` may also be given as in a model's configuration, by `id2label` or `label2id`. `choices_field`: the
    column with the list of answers of multiple choice. `metrics`: names, or names with labels, the headline first; the
    free text `metric` is not read.
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
        """The metrics of the task; None if the file names none."""
        return self.metrics and tuple(_spec(metric) for metric in self.metrics)  # type: ignore[return-value]

    @property
    def named_columns(self) -> tuple[str, ...]:
        """The columns named by the file, which are always read."""
        return (self.label_field, *(self.input_fields or ()))


def read_meta(folder: Path, problems: Problems) -> Meta:
    """The folder's meta.json, or the defaults; each invalid key is added to `problems`."""
    file = folder / FILE
    try:
        if not os.path.lexists(file):
            return Meta()
        content = _object(file)
    except Unreadable as error:
        problems.add(str(error))
        return Meta()
    for key in content:
        if (near := _near(key, content)) is not None:
            problems.add(f"{file}: unknown key {key!r}; did you mean {near!r}? Known: {', '.join(_KNOWN)}.")
    try:
        names = _label_names(file, content)
        meta = Meta.model_validate({**content, "label_names": names} if names else content)
    except Unreadable as error:
        problems.add(str(error))
        return Meta()
    except ValidationError as error:
        for place, message in {_key(each["loc"]): each["msg"] for each in error.errors()}.items():
            problems.add(f"{file}{place}: {message[0].lower()}{message[1:]}.")
        return Meta()
    for name in ("label_names", "input_fields"):
        values = getattr(meta, name) or []
        for twice in dict.fromkeys(value for value in values if values.count(value) > 1):
            problems.add(f"{file}, {name}: {twice!r} occurs twice; list each name once.")
    return meta


_KNOWN = (*Meta.model_fields, "id2label", "label2id")


def _object(file: Path) -> dict[str, Any]:  # Any: as JSON has it
    """The object in the file. Errors: Unreadable, also if a known key occurs twice."""
    outermost: list[tuple[str, object]] = []

    def keep(pairs: list[tuple[str, object]]) -> dict[str, object]:
        outermost[:] = pairs
        return dict(pairs)

    text, _ = decode(file, read_bytes(file, Budget(_LIMIT_BYTES)), [])
    try:
        content = json.loads(text, object_pairs_hook=keep)
    except RecursionError:
        raise Unreadable(f"{file} is nested too deeply; it must be one JSON object with a few keys.") from None
    except ValueError as error:
        raise Unreadable(f"{file}: invalid JSON: {explain(error)}; it must be one JSON object.") from None
    if not isinstance(content, dict):
        raise Unreadable(f"{file}: expected a JSON object, got a {type(content).__name__}.")
    counts = Counter(key for key, _ in outermost)
    twice = [key for key in _KNOWN if counts[key] > 1]
    if twice:
        raise Unreadable(f"{file}: the key {twice[0]!r} occurs twice; keep only one of them.")
    return content


def _near(key: str, given: dict[str, Any]) -> str | None:
    """The known key that an unknown one probably means; None for a user's own key."""
    if key in _KNOWN:
        return None
    plain = re.sub(r"[\W_]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key)).strip("_").lower()
    if key == _PROSE:
        value = given[key]
        meant = "metrics" not in given and (isinstance(value, (list, dict)) or value in METRICS)
        return "metrics" if meant else None
    named = _OTHER_WORDS.get(plain) if isinstance(given[key], (str, list)) else None  # a number is a user's own count
    meant_key = named or next((name for name in _KNOWN if _is_slip(plain, name)), None)
    if meant_key in given or (meant_key == "label_names" and {"id2label", "label2id"} & given.keys()):
        return None
    return meant_key


def _is_slip(typed: str, name: str) -> bool:
    """Whether two keys differ by one letter or one transposition, ignoring word separators."""
    left, right = typed.replace("_", ""), name.replace("_", "")
    if left == right:
        return True
    if len(left) == len(right):
        differ = [place for place in range(len(left)) if left[place] != right[place]]
        swapped = len(differ) == 2 and differ[1] == differ[0] + 1 and left[differ[0]] == right[differ[1]]
        return len(differ) == 1 or (swapped and left[differ[1]] == right[differ[0]])
    short, long = sorted((left, right), key=len)
    return len(long) == len(short) + 1 and any(long[:cut] + long[cut + 1 :] == short for cut in range(len(long)))


def _label_names(file: Path, given: dict[str, Any]) -> list[str] | None:
    """The names from `id2label` or `label2id`; None without both. Errors: Unreadable."""
    named: dict[str, list[str]] = {}
    for key in ("id2label", "label2id"):
        table = given.get(key)
        if table is None:
            continue
        pairs = (
            []
            if not isinstance(table, dict)
            else [(number, name) if key == "id2label" else (name, number) for number, name in table.items()]
        )
        numbered = {str(number): name for number, name in pairs if not isinstance(number, bool)}
        names = [numbered.get(str(number)) for number in range(len(pairs))]
        if not names or not all(isinstance(name, str) for name in names):
            raise Unreadable(
                f'{file}, {key}: 0, 1 and so on need names, as in {{"id2label": {{"0": "no", "1": "yes"}}}}.'
            )
        named[key] = [str(name) for name in names]
    if isinstance(given.get("label_names"), list):
        named["label_names"] = given["label_names"]
    if len({tuple(map(str, names)) for names in named.values()}) > 1:
        raise Unreadable(f"{file}: {' and '.join(named)} give different names or another order; keep only one of them.")
    return next(iter(named.values()), None)


def _spec(metric: str | Metric) -> MetricSpec:
    if isinstance(metric, str):
        return MetricSpec(metric)
    return MetricSpec(metric.name, None if metric.labels is None else tuple(metric.labels))


def _key(place: tuple[int | str, ...]) -> str:
    """The path of a value, such as `metrics.1`, without the union variants that pydantic adds."""
    plain = [str(part) for part in place if part not in ("str", "Metric")]
    return f", {'.'.join(plain)}" if plain else ""
