"""The members of a router: what a fitted method added to its backbone, and what it changed there."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from tunefront.bench.models.families import Backbone, Decoder
from tunefront.bench.models.routing.hosts import Step
from tunefront.bench.models.scoring.prefix import KeysValues
from tunefront.methods.base import Scorer, Unsupported
from tunefront.methods.inject import is_conv1d, plugged
from tunefront.methods.torch_internals import bare_copy, hooks_of, own_parameters


class Shift(nn.Module):
    """x + shift, (width,): the difference of a member's bias from the published one."""

    shift: Tensor

    def __init__(self, shift: Tensor):
        super().__init__()
        self.register_buffer("shift", shift)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.shift


@dataclass(frozen=True)
class Leading:
    """A member's lead, computed once: `prompts` (n, width) by stack, `keys` by the path of their attention, and the
    positions that it takes, by stack."""

    prompts: Mapping[str, Tensor] = field(default_factory=dict)
    keys: Mapping[str, KeysValues] = field(default_factory=dict)
    positions: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, backbone: Backbone) -> Leading:
        """The lead of a backbone, in memory of its own."""
        if not backbone.lead_lengths:
            return cls()
        backbone.model.eval()
        with torch.no_grad():
            led = backbone.kept_lead or backbone.make_lead()
        paths = {module: path for path, module in backbone.model.named_modules()}
        states = {} if led.keys is None else led.keys.states
        return cls(
            {name: prompt.detach().clone() for name, prompt in led.prompts.items()},
            {paths[module]: (key.detach().clone(), value.detach().clone()) for module, (key, value) in states.items()},
            dict(backbone.lead_lengths.positions),
        )


@dataclass(frozen=True)
class Parts:
    """Copies of the small modules of a fitted backbone: `steps` by the path of their leaf; `biases`, trained ones of
    linear layers, by path; `lead`."""

    steps: Mapping[str, Sequence[Step]]
    biases: Mapping[str, Tensor]
    lead: Leading


@dataclass(frozen=True)
class Member:
    """A method fitted to a backbone, for a router: rows of its task go through its parts.

    Args: name, for messages; backbone, encodes rows, and has the head and the prompts; scorer, what `fit` returned;
    parts, copied from the backbone, which may be used for another cell afterwards.
    """

    name: str
    backbone: Backbone
    scorer: Scorer
    parts: Parts

    @classmethod
    def of(cls, name: str, backbone: Backbone, scorer: Scorer) -> Member:
        """A member made of a backbone after `fit`; Unsupported if its rows cannot share the backbone with others."""
        return cls(name, backbone, scorer, parts_of(backbone))


def parts_of(backbone: Backbone) -> Parts:
    """Copies of what a method added to a backbone and trained of it; errors as `check_parts`."""
    found = _find(backbone)
    return Parts(*copy.deepcopy((found.steps, found.biases)), Leading.of(backbone))


def check_parts(backbone: Backbone) -> None:
    """Unsupported if rows cannot share the backbone with those of other methods: if the method trains a matrix of the
    backbone, rebuilds its weights, replaces its modules by those of another package, or acts on it by other means than
    `plug`, a lead, a head and its scorer; and for a model that cannot score rows of several lengths side by side."""
    _find(backbone)


@dataclass(frozen=True)
class _Found:
    steps: dict[str, list[Step]]
    biases: dict[str, Tensor]


def _find(backbone: Backbone) -> _Found:
    model = backbone.model
    if backbone.needs_separate_rows or (isinstance(backbone, Decoder) and not backbone.side_by_side):
        raise Unsupported(f"{type(model).__name__} scores rows apart from each other, so that others cannot share them")
    if any(isinstance(module, ParametrizationList) for module in model.modules()):
        raise Unsupported("it computes the weights of the backbone anew, which all rows of a mixed batch share")
    plugs = {path: plugged(host) for path, host in model.named_modules() if plugged(host)}
    apart = [*(module for own in plugs.values() for _, module in own), backbone.head, getattr(model, "lead", None)]
    own = {id(part) for module in apart if module is not None for part in module.modules()}
    steps: dict[str, list[Step]] = {}
    biases: dict[str, Tensor] = {}
    for path, host in model.named_modules():
        if id(host) in own:
            continue
        if not type(host).__module__.startswith(_KNOWN_MODULES):
            raise Unsupported(
                f"it puts a {type(host).__name__} of {type(host).__module__} in place of {path} of the backbone, which "
                "all rows of a mixed batch share"
            )
        if any(not _is_known(hook) for hook in hooks_of(host)):
            raise Unsupported(
                f"it has hooks of its own on {path or type(model).__name__}; only those of `plug` can be routed"
            )
        trained = {
            name: parameter
            for name, parameter in own_parameters(host).items()
            if parameter is not None and parameter.requires_grad
        }
        steps[path] = [*plugs.get(path, [])]
        if not trained:
            continue
        matrices = [name for name, parameter in trained.items() if parameter.dim() > 1]
        if matrices:
            size = " x ".join(map(str, trained[matrices[0]].shape))
            raise Unsupported(
                f"it trains weights of the backbone itself ({path}.{matrices[0]}, {size}), which all rows of a mixed "
                "batch share"
            )
        if trained.keys() == {"bias"} and (isinstance(host, nn.Linear) or is_conv1d(host)):
            biases[path] = trained["bias"].detach()
        elif all(parameter is None or parameter.dim() == 1 for parameter in own_parameters(host).values()):
            steps[path].insert(0, ("instead", bare_copy(host)))
        else:
            raise Unsupported(f"it trains {', '.join(trained)} of {path}, a {type(host).__name__}, in the backbone")
    return _Found({path: own for path, own in steps.items() if own}, biases)


_KNOWN_MODULES = ("torch.", "transformers.", "tunefront.")
"""Packages whose modules a model may have: others replace a backbone's own."""


def _is_known(hook: Callable[..., object]) -> bool:
    """Whether a hook belongs to `plug` or to a family, and not to a method."""
    return isinstance(hook, partial) and hook.func.__module__.startswith(
        ("tunefront.methods.inject", "tunefront.bench.")
    )
