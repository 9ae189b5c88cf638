"""meta.json: what a folder says about its task; everything in it is optional, and keys of one's own are allowed."""

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
"""A key of one's own all the same: what the score is, in words."""
_OTHER_WORDS = {
    **dict.fromkeys(("labels", "classes", "class_names"), "label_names"),
    **dict.fromkeys(("label_column", "label_key", "target_field"), "label_field"),
    **dict.fromkeys(("inputs", "text_fields", "text_field", "text_columns", "text_column"), "input_fields"),
}
"""What others call a key; taken for a mistake only where the right key is not there too."""


class Metric(BaseModel):
    """A metric with the labels that it averages over."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: str
    labels: _Names | None = None


class Meta(BaseModel):
    """The keys that are read.

    `label_names` may also be given as a model's configuration does, by `id2label` or `label2id`. `choices_field`: the
    column with the list of answers of multiple choice. `metrics`: names, or names with labels, the headline first; the
    prose `metric` is not read.
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

    @property
    def named_columns(self) -> tuple[str, ...]:
        """The columns that it names, which are read whatever they look like."""
        return (self.label_field, *(self.input_fields or ()))


def read_meta(folder: Path, problems: Problems) -> Meta:
    """The folder's meta.json, the defaults where it has none; what is wrong is noted, a sentence for each key."""
    file = folder / FILE
    try:
        if not os.path.lexists(file):
            return Meta()
        given = _object(file)
    except Unreadable as error:
        problems.add(str(error))
        return Meta()
    for key in given:
        if (near := _near(key, given)) is not None:
            problems.add(f"{file}: no key {key!r} is read; did you mean {near!r}? Known: {', '.join(_KNOWN)}.")
    try:
        names = _label_names(file, given)
        meta = Meta.model_validate({**given, "label_names": names} if names else given)
    except Unreadable as error:
        problems.add(str(error))
        return Meta()
    except ValidationError as error:
        for place, said in {_key(each["loc"]): each["msg"] for each in error.errors()}.items():
            problems.add(f"{file}{place}: {said[0].lower()}{said[1:]}.")
        return Meta()
    for name in ("label_names", "input_fields"):
        values = getattr(meta, name) or []
        for twice in dict.fromkeys(value for value in values if values.count(value) > 1):
            problems.add(f"{file}, {name}: {twice!r} is there twice; name each once.")
    return meta


_KNOWN = (*Meta.model_fields, "id2label", "label2id")


def _object(file: Path) -> dict[str, Any]:  # Any: as JSON has it
    """The object in the file. Errors: Unreadable, also where a key that is read stands there twice."""
    outermost: list[tuple[str, object]] = []

    def keep(pairs: list[tuple[str, object]]) -> dict[str, object]:
        outermost[:] = pairs
        return dict(pairs)

    text, _ = decode(file, read_bytes(file, Budget(_LIMIT_BYTES)), [])
    try:
        given = json.loads(text, object_pairs_hook=keep)
    except RecursionError:
        raise Unreadable(f"{file} is nested too deeply; it holds one JSON object with a few keys.") from None
    except ValueError as error:
        raise Unreadable(f"{file}: invalid JSON: {explain(error)}; it holds one JSON object.") from None
    if not isinstance(given, dict):
        raise Unreadable(f"{file}: a JSON object was expected, a {type(given).__name__} was found.")
    counts = Counter(key for key, _ in outermost)
    twice = [key for key in _KNOWN if counts[key] > 1]
    if twice:
        raise Unreadable(f"{file}: the key {twice[0]!r} is there twice; leave the one that is meant.")
    return given


def _near(key: str, given: dict[str, Any]) -> str | None:
    """The key that was meant by one that is not read; None for those of one's own."""
    if key in _KNOWN:
        return None
    plain = re.sub(r"[\W_]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key)).strip("_").lower()
    if key == _PROSE:
        value = given[key]
        meant = "metrics" not in given and (isinstance(value, (list, dict)) or value in METRICS)
        return "metrics" if meant else None
    named = _OTHER_WORDS.get(plain) if isinstance(given[key], (str, list)) else None  # a number is a count of one's own
    meant_key = named or next((name for name in _KNOWN if _is_slip(plain, name)), None)
    if meant_key in given or (meant_key == "label_names" and {"id2label", "label2id"} & given.keys()):
        return None
    return meant_key


def _is_slip(typed: str, name: str) -> bool:
    """Whether a key is another but for one letter, or two that changed places; marks between words are nothing."""
    one, other = typed.replace("_", ""), name.replace("_", "")
    if one == other:
        return True
    if len(one) == len(other):
        apart = [place for place in range(len(one)) if one[place] != other[place]]
        swapped = len(apart) == 2 and apart[1] == apart[0] + 1 and one[apart[0]] == other[apart[1]]
        return len(apart) == 1 or (swapped and one[apart[1]] == other[apart[0]])
    short, long = sorted((one, other), key=len)
    return len(long) == len(short) + 1 and any(long[:cut] + long[cut + 1 :] == short for cut in range(len(long)))


def _label_names(file: Path, given: dict[str, Any]) -> list[str] | None:
    """The names that `id2label` or `label2id` give; None where neither is there. Errors: Unreadable."""
    found: dict[str, list[str]] = {}
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
                f'{file}, {key}: names are needed for 0, 1 and so on, as in {{"id2label": {{"0": "no", "1": "yes"}}}}.'
            )
        found[key] = [str(name) for name in names]
    if isinstance(given.get("label_names"), list):
        found["label_names"] = given["label_names"]
    if len({tuple(map(str, names)) for names in found.values()}) > 1:
        raise Unreadable(f"{file}: {' and '.join(found)} give different names or another order; leave one of them.")
    return next(iter(found.values()), None)


def _spec(metric: str | Metric) -> MetricSpec:
    if isinstance(metric, str):
        return MetricSpec(metric)
    return MetricSpec(metric.name, None if metric.labels is None else tuple(metric.labels))


def _key(place: tuple[int | str, ...]) -> str:
    """`metrics.1` for what stands there; the variants that pydantic tried are left out."""
    plain = [str(part) for part in place if part not in ("str", "Metric")]
    return f", {'.'.join(plain)}" if plain else ""
