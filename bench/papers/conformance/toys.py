"""Compares a method on a tiny model of a paper's architecture: trained tensors and initial values."""

from __future__ import annotations

import copy
import functools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tunefront.bench.forecast.presets import presets, unties
from tunefront.bench.forecast.synthetic import PlainTextTemplate, SyntheticRows
from tunefront.bench.models.config_files import make
from tunefront.bench.models.families import Backbone, Prompting
from tunefront.bench.models.fit import auto_class
from tunefront.bench.models.pretrained import Pooled, family_for
from tunefront.bench.papers.conformance.practice import Inserted, Line
from tunefront.bench.papers.conformance.wording import count_of, differs, one_of, written
from tunefront.methods.base import Method
from tunefront.methods.sites import sites_for

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SURE = 6
"""Number of standard errors from which a mean or a standard deviation counts as different."""
TRUNCATED = 0.8796256610342398
"""Standard deviation of standard normal numbers truncated at two."""
NORMAL, UNIFORM = 3.0, 1.8
"""Kurtosis of these distributions: the fourth moment over the square of the second."""
CLOSE = 1e-6
"""Relative tolerance for equal numbers."""


@dataclass(frozen=True)
class Attached:
    """A toy model with a method attached: module paths of the published model, its tensors, the names of trained ones,
    and the tensors that were added, without the head."""

    modules: tuple[str, ...]
    published: Mapping[str, Tensor]
    trained: tuple[str, ...]
    inserted: Mapping[str, Tensor]


def attach_to_toy(method: Method, preset: str, toy: Mapping[str, Any]) -> Attached:  # Any: as in a config.json
    """The method on a tiny model of a preset's architecture; torch's random state is restored afterwards.

    Errors: Unsupported, as raised by the method.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = _backbone(preset, tuple(sorted(toy.items())))
        modules = tuple(path for path, _ in backbone.model.named_modules())
        published = {name: tensor.detach().clone() for name, tensor in _without_head(backbone).items()}
        torch.manual_seed(0)  # making the model draws numbers, copying a cached one does not
        method.attach(backbone)
    named = {name: tensor for name, tensor in _without_head(backbone).items() if tensor.requires_grad}
    trained = tuple(name for name in named if name in published)
    return Attached(modules, published, trained, {n: t.detach() for n, t in named.items() if n not in published})


def _without_head(backbone: Backbone) -> dict[str, nn.Parameter]:
    head = set() if backbone.head is None else set(map(id, backbone.head.parameters()))
    return {name: tensor for name, tensor in backbone.model.named_parameters() if id(tensor) not in head}


def of_tensors(line: Line, toy: Attached) -> Iterator[str]:
    """Differences in the trained published tensors and in the added tensors."""
    expected = {name for name in toy.published if any(re.fullmatch(regex, name) for regex in line.trained or ())}
    yield from _sets("trains", "freezes", set(toy.trained), expected)
    added = {name: entry for entry in line.inserted for name in _names(entry, toy)}
    yield from _sets("adds", "does without", set(toy.inserted), set(added))


def of_values(line: Line, toy: Attached) -> Iterator[str]:
    """Differences in the initial values of added tensors."""
    for entry in line.inserted:
        tensors = [toy.inserted[name] for name in _names(entry, toy) if name in toy.inserted]
        if not tensors:
            continue
        ours, theirs = _start(entry, tensors, toy)
        if ours:
            yield differs(f"start of {entry.name}", ours, theirs)


def _names(entry: Inserted, toy: Attached) -> list[str]:
    """The names of the tensors that an entry describes."""
    paths = [path for path in toy.modules if re.fullmatch(entry.at, path)]
    return [f"{path}.{entry.name}" if path else entry.name for path in paths]


def _sets(does: str, does_not: str, ours: set[str], theirs: set[str]) -> Iterator[str]:
    more, fewer = _kinds(ours - theirs), _kinds(theirs - ours)
    if more:
        yield f"it {does} {count_of(more, 'kinds of weight')}, which the paper {does_not}"
    if fewer:
        yield f"it {does_not} {count_of(fewer, 'kinds of weight')}, which the paper {does}"


def _kinds(names: set[str]) -> list[str]:
    """Distinct names with every number replaced by a star, since the toy has few blocks."""
    return sorted({re.sub(r"\.\d+(?=\.)", ".*", name) for name in names})


def _start(entry: Inserted, tensors: list[Tensor], toy: Attached) -> tuple[str, str]:
    """(our initial values, the paper's) in words; ours is empty if they agree."""
    flat = torch.cat([tensor.flatten().double() for tensor in tensors])
    if entry.values is not None:
        distance = (flat[:, None] - torch.tensor(entry.values, dtype=flat.dtype)).abs().amin(1)
        return ("" if bool((distance <= CLOSE).all()) else _seen(flat)), f"every number {one_of(entry.values)}"
    if entry.rows is not None:
        known = {tuple(row) for row in toy.published[entry.rows].tolist()}
        rows = [tuple(row) for tensor in tensors for row in tensor.reshape(-1, tensor.shape[-1]).tolist()]
        return ("" if all(row in known for row in rows) else _seen(flat)), f"rows of {entry.rows}"
    if entry.glorot is not None:
        scaled = torch.cat([(tensor / _glorot(tensor, entry.glorot)).flatten().double() for tensor in tensors])
        fits = float(scaled.abs().max()) <= 1 + CLOSE and _has_deviation(scaled, 1 / math.sqrt(3), UNIFORM)
        return ("" if fits else _seen(flat)), f"Glorot's uniform numbers times {written(entry.glorot)}"
    if entry.truncated is not None:
        within = float(flat.abs().max()) <= 2 * entry.truncated * (1 + CLOSE)
        fits = within and _has_deviation(flat, TRUNCATED * entry.truncated)
        return ("" if fits else _seen(flat)), f"normal, deviation {written(entry.truncated)}, cut at two of them"
    if entry.normal is not None:
        whole = len(flat) < _MANY or float(flat.abs().max()) > 2 * entry.normal
        fits = whole and _has_deviation(flat, entry.normal)
        return ("" if fits else _seen(flat)), f"normal, deviation {written(entry.normal)}"
    return "", ""


_MANY = 500
"""Among this many normal numbers one lies beyond two standard deviations, except with probability 1e-10."""


def _has_deviation(numbers: Tensor, std: float, kurtosis: float = NORMAL) -> bool:
    """Whether a mean of zero and this standard deviation are plausible, by their standard errors."""
    count = len(numbers)
    observed = float(numbers.square().mean().sqrt())
    error = std * math.sqrt((kurtosis - 1) / (4 * count))
    return abs(float(numbers.mean())) <= SURE * std / math.sqrt(count) and abs(observed - std) <= SURE * error


def _glorot(tensor: Tensor, gain: float) -> float:
    """The bound of Glorot's uniform initialisation."""
    inside, outside = (1, *tensor.shape)[-2:]
    return gain * math.sqrt(6 / (inside + outside))


def _seen(numbers: Tensor) -> str:
    """A description of the numbers."""
    low, high = float(numbers.min()), float(numbers.max())
    if low == high:
        return f"every number {written(low)}"
    return f"{low:.2g} to {high:.2g}, deviation {float(numbers.std()):.2g}"


def _backbone(preset: str, toy: tuple[tuple[str, Any], ...]) -> Backbone:  # Any: as in a config.json
    """A fresh copy of the toy model, as a backbone."""
    model, config = _model(preset, toy)
    sites = sites_for(config.model_type)
    pooled = Pooled(sites.pooling if sites.family == "encoder" else None, sites.head_activation)
    tokenizer = _LENGTHS.tokenizer(sites.family, config)
    return family_for(
        copy.deepcopy(model),
        tokenizer,
        sites,
        pooled,
        _LENGTHS.task(sites.family),
        Prompting(PlainTextTemplate()),
        None,
    )


_LENGTHS = SyntheticRows()


@functools.cache
def _model(preset: str, toy: tuple[tuple[str, Any], ...]) -> tuple[PreTrainedModel, Any]:  # Any: as above
    known = presets()[preset]
    config = make(known.model_type, {**known.config, **dict(toy)}, f"the toy of {preset}")
    sites = sites_for(known.model_type)
    model = auto_class(sites.family).from_config(config, dtype=torch.float32)
    if sites.pooling != "pooler" and getattr(model, "pooler", None) is not None:
        model.pooler = None
    if unties(config):
        output = model.get_output_embeddings()
        output.weight = nn.Parameter(torch.randn_like(output.weight))
    return model.requires_grad_(True).eval(), config
