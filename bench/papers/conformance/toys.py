"""A tiny model of a paper's architecture with a method attached: which tensors train, and what they start from."""

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
from tunefront.bench.forecast.synthetic import Bare, Lengths
from tunefront.bench.models.config_files import make
from tunefront.bench.models.families import Backbone, Prompting
from tunefront.bench.models.fit import auto_class
from tunefront.bench.models.pretrained import Pooled, family_for
from tunefront.bench.papers.conformance.practice import Inserted, Line
from tunefront.bench.papers.conformance.said import differs, few, one_of, written
from tunefront.methods.base import Method
from tunefront.methods.sites import sites_for

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SURE = 6
"""A mean or a standard deviation is another one from so many standard errors on."""
TRUNCATED = 0.8796256610342398
"""The standard deviation of standard normal numbers that are cut at two."""
NORMAL, UNIFORM = 3.0, 1.8
"""The fourth moment of these numbers, over the square of the second."""
CLOSE = 1e-6
"""How far numbers that are to be equal may be apart, as a share."""


@dataclass(frozen=True)
class Attached:
    """A toy with a method attached: the paths of the published model's modules, and by name the published tensors that
    train and those that were added, the head's left out."""

    modules: tuple[str, ...]
    published: Mapping[str, Tensor]
    trained: tuple[str, ...]
    inserted: Mapping[str, Tensor]


def attached(method: Method, preset: str, toy: Mapping[str, Any]) -> Attached:  # Any: as in a config.json
    """The method on a tiny model of a preset's architecture; torch's random numbers go on as if it had not been made.

    Errors: Unsupported, as the method says.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = _backbone(preset, tuple(sorted(toy.items())))
        modules = tuple(path for path, _ in backbone.model.named_modules())
        published = {name: tensor.detach().clone() for name, tensor in _without_head(backbone).items()}
        torch.manual_seed(0)  # making the model draws numbers, copying one that was made before draws none
        method.attach(backbone)
    named = {name: tensor for name, tensor in _without_head(backbone).items() if tensor.requires_grad}
    trained = tuple(name for name in named if name in published)
    return Attached(modules, published, trained, {n: t.detach() for n, t in named.items() if n not in published})


def _without_head(backbone: Backbone) -> dict[str, nn.Parameter]:
    head = set() if backbone.head is None else set(map(id, backbone.head.parameters()))
    return {name: tensor for name, tensor in backbone.model.named_parameters() if id(tensor) not in head}


def of_tensors(line: Line, found: Attached) -> Iterator[str]:
    """Which tensors train: published ones that the paper freezes, or the other way round, and those that are added."""
    expected = {name for name in found.published if any(re.fullmatch(regex, name) for regex in line.trained or ())}
    yield from _sets("trains", "freezes", set(found.trained), expected)
    added = {name: each for each in line.inserted for name in _names(each, found)}
    yield from _sets("adds", "does without", set(found.inserted), set(added))


def of_values(line: Line, found: Attached) -> Iterator[str]:
    """What the added tensors start from."""
    for each in line.inserted:
        tensors = [found.inserted[name] for name in _names(each, found) if name in found.inserted]
        if not tensors:
            continue
        ours, theirs = _start(each, tensors, found)
        if ours:
            yield differs(f"start of {each.name}", ours, theirs)


def _names(each: Inserted, found: Attached) -> list[str]:
    """The tensors that one description stands for."""
    paths = [path for path in found.modules if re.fullmatch(each.at, path)]
    return [f"{path}.{each.name}" if path else each.name for path in paths]


def _sets(does: str, does_not: str, ours: set[str], theirs: set[str]) -> Iterator[str]:
    more, fewer = _kinds(ours - theirs), _kinds(theirs - ours)
    if more:
        yield f"it {does} {few(more, 'kinds of weight')}, which the paper {does_not}"
    if fewer:
        yield f"it {does_not} {few(fewer, 'kinds of weight')}, which the paper {does}"


def _kinds(names: set[str]) -> list[str]:
    """Names with a star in the place of every number, each once: how many blocks a toy has is nobody's business."""
    return sorted({re.sub(r"\.\d+(?=\.)", ".*", name) for name in names})


def _start(each: Inserted, tensors: list[Tensor], found: Attached) -> tuple[str, str]:
    """What the tensors start from and what the paper's do, in words; ours empty where it is the same."""
    flat = torch.cat([tensor.flatten().double() for tensor in tensors])
    if each.values is not None:
        apart = (flat[:, None] - torch.tensor(each.values, dtype=flat.dtype)).abs().amin(1)
        return ("" if bool((apart <= CLOSE).all()) else _seen(flat)), f"every number {one_of(each.values)}"
    if each.rows is not None:
        known = {tuple(row) for row in found.published[each.rows].tolist()}
        rows = [tuple(row) for tensor in tensors for row in tensor.reshape(-1, tensor.shape[-1]).tolist()]
        return ("" if all(row in known for row in rows) else _seen(flat)), f"rows of {each.rows}"
    if each.glorot is not None:
        scaled = torch.cat([(tensor / _glorot(tensor, each.glorot)).flatten().double() for tensor in tensors])
        fits = float(scaled.abs().max()) <= 1 + CLOSE and _has_deviation(scaled, 1 / math.sqrt(3), UNIFORM)
        return ("" if fits else _seen(flat)), f"Glorot's uniform numbers times {written(each.glorot)}"
    if each.truncated is not None:
        within = float(flat.abs().max()) <= 2 * each.truncated * (1 + CLOSE)
        fits = within and _has_deviation(flat, TRUNCATED * each.truncated)
        return ("" if fits else _seen(flat)), f"normal, deviation {written(each.truncated)}, cut at two of them"
    if each.normal is not None:
        whole = len(flat) < _MANY or float(flat.abs().max()) > 2 * each.normal
        fits = whole and _has_deviation(flat, each.normal)
        return ("" if fits else _seen(flat)), f"normal, deviation {written(each.normal)}"
    return "", ""


_MANY = 500
"""Of so many normal numbers one lies beyond two standard deviations, but for a chance of 1e-10."""


def _has_deviation(numbers: Tensor, std: float, kurtosis: float = NORMAL) -> bool:
    """Whether the mean may be zero and the standard deviation this one, by their standard errors."""
    count = len(numbers)
    found = float(numbers.square().mean().sqrt())
    error = std * math.sqrt((kurtosis - 1) / (4 * count))
    return abs(float(numbers.mean())) <= SURE * std / math.sqrt(count) and abs(found - std) <= SURE * error


def _glorot(tensor: Tensor, gain: float) -> float:
    """The largest number of Glorot's uniform start."""
    inside, outside = (1, *tensor.shape)[-2:]
    return gain * math.sqrt(6 / (inside + outside))


def _seen(numbers: Tensor) -> str:
    """Numbers in words."""
    low, high = float(numbers.min()), float(numbers.max())
    if low == high:
        return f"every number {written(low)}"
    return f"{low:.2g} to {high:.2g}, deviation {float(numbers.std()):.2g}"


def _backbone(preset: str, toy: tuple[tuple[str, Any], ...]) -> Backbone:  # Any: as in a config.json
    """A pristine toy; its parameters are its own."""
    model, config = _model(preset, toy)
    sites = sites_for(config.model_type)
    pooled = Pooled(sites.pooling if sites.family == "encoder" else None, sites.head_activation)
    tokenizer = _LENGTHS.tokenizer(sites.family, config)
    return family_for(
        copy.deepcopy(model), tokenizer, sites, pooled, _LENGTHS.task(sites.family), Prompting(Bare()), None
    )


_LENGTHS = Lengths()


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
