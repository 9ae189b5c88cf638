"""Injection without forking: forward hooks on leaf modules (style guide, section 4)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList, register_parametrization

from tunefront.methods.base import Unsupported
from tunefront.methods.sites import SITES
from tunefront.methods.torch_internals import FakeTensor, hooks_of, own_parameters

Where = Literal["before", "after", "parallel"]


class Tap(nn.Module):
    """Holds what went into a leaf until another leaf's plug, a `Spanning`, takes it. It has no parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.input: Tensor | None = None

    def take(self) -> Tensor:
        """The input, which is not held any longer."""
        held, self.input = self.input, None
        if held is None:
            raise RuntimeError("a plug that reads another leaf ran before that leaf did")
        return held


class Spanning(nn.Module):
    """A plug that reads the input of one leaf, by its tap, and adds to the output of another."""

    def __init__(self, module: nn.Module, tap: Tap):
        super().__init__()
        self.module, self.tap = module, tap

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.module(self.tap.take()))


def plug(
    model: nn.Module,
    site: str | None,
    name: str,
    make: Callable[[nn.Module, int], nn.Module],
    where: Where,
    reads: str | None = None,
) -> list[nn.Module]:
    """Gives each leaf that matches `site` a child module `name` and one forward hook; returns the new modules.

    Args: site, a regex matched in full on module paths, None where the architecture has no such leaf; make receives
    (host, width), the width of the input for `before`, of the output otherwise; where, `before` f(plug(x)), `after`
    plug(f(x)), `parallel` f(x) + plug(x); reads, for `parallel` alone, a site whose leaves' inputs the plugs take in
    place of their hosts' own, each the leaf of its host's place among the matches, which must run before it.
    Errors: Unsupported where the site is None or a host is no leaf; ValueError where nothing matches, the name is
    taken, or the two sites do not match equally often.
    """
    if where not in _HOOKS:
        raise ValueError(f"a plug goes before, after or parallel to its host, got {where!r}")
    if reads is not None and where != "parallel":
        raise ValueError(f"only a parallel plug reads another leaf, got where={where!r}")
    hosts = matching(model, site)
    readers = [None] * len(hosts) if reads is None else list(matching(model, reads).values())
    if len(readers) != len(hosts):
        raise ValueError(f"{site!r} matches {len(hosts)} leaves and {reads!r} {len(readers)}; plugs join one to one")
    plugs = []
    for (path, host), reader in zip(hosts.items(), readers, strict=True):
        if hasattr(host, name) or (reader is not None and hasattr(reader, f"{name}{_TAP}")):
            raise ValueError(f"{path} has an attribute {name!r} already; give the plug another name")
        module = make(host, width(model, host, "in" if where == "before" else "out"))
        place(module, **_placement(model, host))
        module.train(host.training)
        plugs.append(module)
        if reader is not None:
            tap = Tap().train(host.training)
            reader.add_module(f"{name}{_TAP}", tap)
            reader.register_forward_pre_hook(partial(_tap, f"{name}{_TAP}"))
            module = Spanning(module, tap).train(host.training)
        host.add_module(name, module)
        _HOOKS[where](host, name)
    return plugs


_TAP = "_tap"
"""What the name of a plug's tap ends with."""


class Rebuilt(nn.Module):
    """A parametrization by which a weight is what `source`, one module for many weights, makes of it: source(original,
    place)."""

    def __init__(self, source: nn.Module, place: int):
        super().__init__()
        self.place = place
        self._source = (source,)  # no child: it would be saved and counted under the name of every weight

    @property
    def source(self) -> nn.Module:
        """The module that rebuilds the weight."""
        return self._source[0]

    def forward(self, original: Tensor) -> Tensor:
        made = self.source(original, self.place)
        if not isinstance(made, Tensor) or made.shape != original.shape:  # torch would broadcast some
            got = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
            raise ValueError(
                f"{type(self.source).__name__} must make a tensor {tuple(original.shape)} of the weight in place "
                f"{self.place}, got {got}"
            )
        return made


def rebuild(
    model: nn.Module, name: str, make: Callable[[list[nn.Parameter]], nn.Module], without: nn.Module | None = None
) -> nn.Module:
    """Lets one new module, the child `name` of the model, rebuild every parameter of the model whenever it is read.

    Args: make receives the parameters, each once (tied ones have one place); the module that it returns is called with
    a parameter and its place among them, and returns what is used instead; without, a module that is left as it is.
    Errors: ValueError where the name is taken.
    """
    if hasattr(model, name):
        raise ValueError(f"{type(model).__name__} has an attribute {name!r} already; give the module another name")
    left = set(map(id, without.parameters())) if without is not None else set()
    weights = [parameter for parameter in model.parameters() if id(parameter) not in left]
    places = {id(weight): place for place, weight in enumerate(weights)}
    hosts = [(host, key) for host in model.modules() for key, own in own_parameters(host).items() if id(own) in places]
    source = make(weights)
    place(source, **_placement(model, model))
    for host, key in hosts:
        # Unsafe only in that torch does not try it at once, which rebuilds every weight.
        register_parametrization(host, key, Rebuilt(source, places[id(own_parameters(host)[key])]), unsafe=True)
    model.add_module(name, source.train(model.training))
    return source


def originals(model: nn.Module, source: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that a module of `rebuild` rebuilds, by name (tied ones by the first), in their places' order."""
    found: dict[int, tuple[str, nn.Parameter]] = {}
    for path, module in model.named_modules():
        if isinstance(module, ParametrizationList) and isinstance(module[0], Rebuilt) and module[0].source is source:
            found.setdefault(module[0].place, (f"{path}.original", cast(nn.Parameter, module.original)))
    return dict(found[place] for place in sorted(found))


def has_values(tensor: Tensor) -> bool:
    """Whether a tensor holds numbers. In a plan none does, and methods are attached and fitted there too: what depends
    on numbers has to do without them."""
    return not (isinstance(tensor, FakeTensor) or tensor.is_meta)


def plugged(host: nn.Module) -> list[tuple[Where | Literal["tap"], nn.Module]]:
    """The modules that `plug` gave a leaf and where each acts, in the order in which they run; a tap only holds what
    goes into its leaf."""
    wheres: dict[object, Where | Literal["tap"]] = {
        _before: "before",
        _after: "after",
        _parallel: "parallel",
        _tap: "tap",
    }
    ours = [hook for hook in hooks_of(host) if isinstance(hook, partial) and hook.func in wheres]
    return [(wheres[hook.func], getattr(host, hook.args[0])) for hook in ours]


def matching(model: nn.Module, site: str | None) -> dict[str, nn.Module]:
    """The modules whose whole path matches the regex `site`.

    Errors: Unsupported where the site is None, saying what is fused; ValueError naming the nearest paths where nothing
    matches.
    """
    if site is None:
        raise Unsupported(_absence(model))
    found = {path: module for path, module in model.named_modules() if re.fullmatch(site, path)}
    if not found:
        paths = [path for path, _ in model.named_modules() if path]
        near = difflib.get_close_matches(site.replace("\\", ""), paths, n=3, cutoff=0) or paths[:3]
        raise ValueError(
            f"no module of {type(model).__name__} matches the site {site!r}; nearest paths: {near}. "
            "Give the backbone its own Sites(...) (see methods/sites)."
        )
    return found


def named(model: nn.Module, regex: str) -> list[nn.Module | nn.Parameter]:
    """The modules whose whole path matches, and the parameters whose whole name does, each tensor once.

    Errors: as `matching`, where neither matches.
    """
    parameters = [value for name, value in model.named_parameters() if re.fullmatch(regex, name)]
    return [*parameters, *(() if parameters else matching(model, regex).values())]


def is_conv1d(host: nn.Module) -> bool:
    """Whether it is transformers' transposed linear layer of GPT-2, weight (in, out); torch gives one whose weight is
    rebuilt a class of its own."""
    return any(kind.__name__ == "Conv1D" for kind in type(host).__mro__)


def width(model: nn.Module, host: nn.Module, side: Literal["in", "out"]) -> int:
    """The size of the last dimension that goes into or comes out of a leaf; a dropout's is taken to be the model's."""
    if isinstance(host, nn.Linear):
        return host.in_features if side == "in" else host.out_features
    if isinstance(host, nn.Embedding) and side == "out":
        return host.embedding_dim
    if is_conv1d(host):
        return int(host.weight.shape[0 if side == "in" else 1])  # type: ignore[index]
    is_norm, weight = "norm" in type(host).__name__.lower(), getattr(host, "weight", None)
    if is_norm and weight is not None:  # of Qwen3's keys, say: narrower than the model
        return int(weight.shape[-1])
    if is_norm or isinstance(host, nn.Dropout | nn.Identity):
        return int(model.config.hidden_size)  # type: ignore[union-attr, arg-type]
    raise Unsupported(f"cannot plug into a {type(host).__name__}; plug into a Linear, Conv1D, Dropout or Embedding")


def _absence(model: nn.Module) -> str:
    """Why a site is None: `gpt2 has no query or key or value projection of its own: attn.c_attn fuses them`."""
    architecture = str(getattr(getattr(model, "config", None), "model_type", None))
    sites = SITES.get(architecture)
    if sites is None or sites.fused is None:
        return f"{type(model).__name__} has no such site: the projection is fused or absent"
    projections = ("query", "key", "value", "attention_output", "ffn_up", "ffn_down")
    names = " or ".join(name for name in projections if getattr(sites, name) is None)
    return f"{architecture} has no {names} projection of its own: {sites.fused} fuses them"


def _placement(model: nn.Module, host: nn.Module) -> dict[str, Any]:  # Any: keyword arguments of Module.to
    reference = next(host.parameters(), None)
    reference = next(model.parameters()) if reference is None else reference
    return {"device": reference.device, "dtype": reference.dtype if reference.is_floating_point() else torch.float32}


def place(module: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Moves the module unless it is there already: one without values (a fake tensor's) cannot be moved."""
    parts = list(module.parameters()) + list(module.buffers())
    if any(part.device != device or (part.is_floating_point() and part.dtype != dtype) for part in parts):
        module.to(device=device, dtype=dtype)


# The hooks look their plug up on the host they are called with: a closure would make deepcopy share the original's.


def _before(name: str, host: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (getattr(host, name)(args[0]), *args[1:])


def _after(name: str, host: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return getattr(host, name)(output)


def _parallel(name: str, host: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output + getattr(host, name)(args[0])


def _tap(name: str, host: nn.Module, args: tuple[Tensor, ...]) -> None:
    getattr(host, name).input = args[0]


_HOOKS: dict[str, Callable[[nn.Module, str], object]] = {
    "before": lambda host, name: host.register_forward_pre_hook(partial(_before, name)),
    "after": lambda host, name: host.register_forward_hook(partial(_after, name)),
    "parallel": lambda host, name: host.register_forward_hook(partial(_parallel, name)),
}
