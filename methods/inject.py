"""Injects modules through forward hooks on leaf modules, without forking models (style guide, section 4)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrize import ParametrizationList, register_parametrization

from tunefront.methods.base import MERGES, Unsupported
from tunefront.methods.sites import SITES, Sites
from tunefront.methods.sites.fused import Fused
from tunefront.methods.torch_internals import FakeTensor, bare_copy, hooks_of, own_parameters

Where = Literal["before", "after", "parallel"]


class Tap(nn.Module):
    """Holds the input of a leaf until the plug of another leaf, a `Spanning`, takes it. It has no parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.input: Tensor | None = None

    def take(self) -> Tensor:
        """Returns the input and releases it."""
        x, self.input = self.input, None
        if x is None:
            raise RuntimeError("a plug that reads another leaf ran before that leaf did")
        return x


class Spanning(nn.Module):
    """A plug that reads the input of one leaf, through its tap, and adds to the output of another."""

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

    Args: site, a regex matched in full on module paths, None if the architecture has no such leaf; make receives
    (host, width), the width of the input for `before`, of the output otherwise; where, `before` f(plug(x)), `after`
    plug(f(x)), `parallel` f(x) + plug(x); reads, only for `parallel`, a site whose leaves' inputs the plugs read
    instead of their hosts' inputs: the i-th match of `reads` for the i-th host, before which it must run.
    Errors: Unsupported if the site is None or a host is no leaf; ValueError if nothing matches, the name is taken, or
    the two sites have different numbers of matches.
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
"""Suffix of the name of a plug's tap."""


class Rebuilt(nn.Module):
    """A parametrization that computes a weight by `source`, one module for many weights: source(original, place)."""

    def __init__(self, source: nn.Module, place: int):
        super().__init__()
        self.place = place
        self._source = (source,)  # not a child module, which would be saved and counted for every weight

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
    """Adds one module, the child `name` of the model, that recomputes every parameter whenever it is read.

    Args: make receives the parameters, each once (tied ones have one index); the module that it returns is called with
    a parameter and its index, and returns the replacement; without, a module whose parameters stay as they are.
    Errors: ValueError if the name is taken.
    """
    if hasattr(model, name):
        raise ValueError(f"{type(model).__name__} has an attribute {name!r} already; give the module another name")
    excluded = set(map(id, without.parameters())) if without is not None else set()
    weights = [parameter for parameter in model.parameters() if id(parameter) not in excluded]
    places = {id(weight): place for place, weight in enumerate(weights)}
    hosts = [(host, key) for host in model.modules() for key, own in own_parameters(host).items() if id(own) in places]
    source = make(weights)
    place(source, **_placement(model, model))
    for host, key in hosts:
        # unsafe=True only skips torch's check, which would rebuild every weight.
        register_parametrization(host, key, Rebuilt(source, places[id(own_parameters(host)[key])]), unsafe=True)
    model.add_module(name, source.train(model.training))
    return source


def originals(model: nn.Module, source: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters rebuilt by a module of `rebuild`, by name (the first of tied ones), in index order."""
    by_place: dict[int, tuple[str, nn.Parameter]] = {}
    for path, module in model.named_modules():
        if isinstance(module, ParametrizationList) and isinstance(module[0], Rebuilt) and module[0].source is source:
            by_place.setdefault(module[0].place, (f"{path}.original", cast(nn.Parameter, module.original)))
    return dict(by_place[place] for place in sorted(by_place))


def has_values(tensor: Tensor) -> bool:
    """Whether a tensor has values. In a forecast none has, and methods are attached and fitted there too, so code that
    depends on values must work without them."""
    return not (isinstance(tensor, FakeTensor) or tensor.is_meta)


def plugged(host: nn.Module) -> list[tuple[Where | Literal["tap"], nn.Module]]:
    """The modules that `plug` added to a leaf and where each acts, in execution order; a tap only holds its leaf's
    input."""
    wheres: dict[object, Where | Literal["tap"]] = {
        _before: "before",
        _after: "after",
        _parallel: "parallel",
        _tap: "tap",
    }
    ours = [hook for hook in hooks_of(host) if isinstance(hook, partial) and hook.func in wheres]
    return [(wheres[hook.func], getattr(host, hook.args[0])) for hook in ours]


class Nothing(nn.Module):
    """The stand-in of a parallel plug that is left out: adds zero, whatever its input."""

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(())


@contextmanager
def without_plugs(within: Iterable[nn.Module]) -> Iterator[int]:
    """Leaves out the plugs of all leaves in these modules; gives their number.

    In the block, a plug `before` or `after` its host passes its input on, and a `parallel` one adds nothing; hosts and
    everything else stay as they are. Afterwards each plug is in its place again, also after an error.
    """
    hosts = {id(host): host for module in within for host in module.modules()}.values()
    plugs = [(host, hook.args[0], _STAND_INS[hook.func]) for host in hosts for hook in _plug_hooks(host)]
    kept = [(host, name, getattr(host, name)) for host, name, _ in plugs]
    try:
        for host, name, stand_in in plugs:
            setattr(host, name, stand_in())
        yield len(plugs)
    finally:
        for host, name, module in kept:
            setattr(host, name, module)


@contextmanager
def merged_plugs(model: nn.Module) -> Iterator[int]:
    """Merges what was inserted into the weights of the model; gives the number of modules whose weights are merged ones
    in the block, 0 if nothing can be merged. Call it in evaluation mode.

    A leaf with plugs is replaced by a plain one, without hooks, that computes the same. Weights that parametrizations
    compute are computed once in the block. If a plug does not declare that it can be merged (see `base.MERGES`), or
    a leaf has hooks that are no plugs, nothing is merged. Afterwards everything is as before.
    """
    hosts = {path: host for path, host in model.named_modules(remove_duplicate=False) if plugged(host)}
    rebuilt = [module for module in model.modules() if parametrize.is_parametrized(module)]
    if what_cannot_merge(model) is not None:
        yield 0
        return
    plain = {id(host): _plain_leaf(host) for host in hosts.values()}
    try:
        for path, host in hosts.items():
            model.set_submodule(path, plain[id(host)])
        with parametrize.cached():
            yield len(plain) + len(rebuilt)
    finally:
        for path, host in hosts.items():
            model.set_submodule(path, host)


def what_cannot_merge(model: nn.Module) -> str | None:
    """Why what was inserted is no part of the model's weights: the first plug that does not merge; None if all do."""
    for path, host in model.named_modules():
        plugs = plugged(host)
        if plugs and not _can_merge(host):
            odd = next((plug for _, plug in plugs if not getattr(plug, MERGES, False)), None)
            what = type(host).__name__ if odd is None else type(odd).__name__
            return f"{path} has a {what}, which cannot be merged into a weight"
    return None


def _can_merge(host: nn.Module) -> bool:
    """Whether a linear leaf with its plugs is W x + b, and the plugs are all that hooks add to it."""
    plugs = plugged(host)
    declared = all(getattr(plug, MERGES, False) for _, plug in plugs)
    linear = isinstance(host, nn.Linear) or is_conv1d(host)
    return declared and linear and len(plugs) == len(hooks_of(host)) and not parametrize.is_parametrized(host)


def _plain_leaf(host: nn.Module) -> nn.Module:
    """A linear leaf without plugs that computes what `host` does with them: its weight and bias are the host's outputs
    for unit vectors and for zero."""
    plain, inner = bare_copy(host), width(host, host, "in")
    with torch.no_grad():
        weight = cast(Tensor, host.weight)
        bias = host(weight.new_zeros(1, inner))[0]
        columns = host(torch.eye(inner, device=weight.device, dtype=weight.dtype)) - bias
        plain.weight = nn.Parameter(columns if is_conv1d(host) else columns.T.contiguous(), requires_grad=False)
        if host.bias is not None or bias.any():
            plain.bias = nn.Parameter(bias, requires_grad=False)
    return plain


def matching(model: nn.Module, site: str | None) -> dict[str, nn.Module]:
    """The modules whose whole path matches the regex `site`.

    Errors: Unsupported if the site is None, with what takes its place; ValueError with the nearest paths if nothing
    matches.
    """
    if site is None:
        raise Unsupported(_absence(model))
    matches = {path: module for path, module in model.named_modules() if re.fullmatch(site, path)}
    if not matches:
        paths = [path for path, _ in model.named_modules() if path]
        near = difflib.get_close_matches(site.replace("\\", ""), paths, n=3, cutoff=0) or paths[:3]
        raise ValueError(
            f"no module of {type(model).__name__} matches the site {site!r}; nearest paths: {near}. "
            "Give the backbone its own Sites(...) (see methods/sites)."
        )
    return matches


def named(model: nn.Module, regex: str) -> list[nn.Module | nn.Parameter]:
    """The parameters whose whole name matches; if there are none, the modules whose whole path matches.

    Errors: as in `matching`, if neither matches.
    """
    parameters = [value for name, value in model.named_parameters() if re.fullmatch(regex, name)]
    return [*parameters, *(() if parameters else matching(model, regex).values())]


def is_conv1d(host: nn.Module) -> bool:
    """Whether it is transformers' Conv1D, the transposed linear layer of GPT-2, weight (in, out); compares names in the
    MRO, since torch changes the class of a parametrized module."""
    return any(kind.__name__ == "Conv1D" for kind in type(host).__mro__)


def is_norm(module: nn.Module) -> bool:
    """Whether a module is a norm with parameters, by the name of its class: architectures have norms of their own."""
    return "norm" in type(module).__name__.lower() and next(module.parameters(recurse=False), None) is not None


def width(model: nn.Module, host: nn.Module, side: Literal["in", "out"]) -> int:
    """The last dimension of a leaf's input or output; for dropout, the hidden size of the model."""
    if isinstance(host, nn.Linear):
        return host.in_features if side == "in" else host.out_features
    if isinstance(host, nn.Embedding) and side == "out":
        return host.embedding_dim
    if is_conv1d(host):
        return int(host.weight.shape[0 if side == "in" else 1])  # type: ignore[index]
    named_norm, weight = "norm" in type(host).__name__.lower(), getattr(host, "weight", None)
    if named_norm and weight is not None:  # may be narrower than the model, as for Qwen3's keys
        return int(weight.shape[-1])
    if named_norm or isinstance(host, nn.Dropout | nn.Identity):
        return int(model.config.hidden_size)  # type: ignore[union-attr, arg-type]
    raise Unsupported(f"cannot plug into a {type(host).__name__}; plug into a Linear, Conv1D, Dropout or Embedding")


def fused_layouts(model: nn.Module, sites: Sites) -> dict[nn.Module, Fused]:
    """Where each fused projection of the model has its queries, keys and values.

    The attention's output projection, which reads as many numbers as there are queries, gives their width.
    Errors: Unsupported for other shapes.
    """
    heads = int(model.config.num_attention_heads)  # type: ignore[union-attr, arg-type]
    projections = matching(model, sites.fused_projection)
    outputs = matching(model, sites.attention_output).values()
    layouts = {}
    for (path, host), output in zip(projections.items(), outputs, strict=True):
        try:
            layouts[host] = Fused.of(width(model, host, "out"), width(model, output, "in"), heads, sites.fused_by_head)
        except ValueError as reason:
            raise Unsupported(f"{path}: {reason}") from reason
    return layouts


def _absence(model: nn.Module) -> str:
    """Why a site is None: `gpt2 has no query or key or value projection of its own: attn.c_attn fuses them`."""
    architecture = str(getattr(getattr(model, "config", None), "model_type", None))
    sites = SITES.get(architecture)
    reasons = None if sites is None else sites.absent or (sites.fused and f"{sites.fused} fuses them")
    if sites is None or reasons is None:
        return f"{type(model).__name__} has no such site: the projection is fused or absent"
    projections = ("query", "key", "value", "attention_output", "ffn_up", "ffn_down")
    names = " or ".join(name for name in projections if getattr(sites, name) is None)
    return f"{architecture} has no {names} projection of its own: {reasons}"


def _placement(model: nn.Module, host: nn.Module) -> dict[str, Any]:  # Any: keyword arguments of Module.to
    reference = next(host.parameters(), None)
    reference = next(model.parameters()) if reference is None else reference
    return {"device": reference.device, "dtype": reference.dtype if reference.is_floating_point() else torch.float32}


def place(module: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Moves the module unless it is there already, since fake tensors cannot be moved."""
    parts = list(module.parameters()) + list(module.buffers())
    if any(part.device != device or (part.is_floating_point() and part.dtype != dtype) for part in parts):
        module.to(device=device, dtype=dtype)


# The hooks find their plug on the host that they are called with: with a closure, deepcopy would share the original's.


def _before(name: str, host: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (getattr(host, name)(args[0]), *args[1:])


def _after(name: str, host: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return getattr(host, name)(output)


def _parallel(name: str, host: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output + getattr(host, name)(args[0])


def _tap(name: str, host: nn.Module, args: tuple[Tensor, ...]) -> None:
    getattr(host, name).input = args[0]


_STAND_INS: dict[object, Callable[[], nn.Module]] = {_before: nn.Identity, _after: nn.Identity, _parallel: Nothing}
"""What takes the place of a plug that is left out."""


def _plug_hooks(host: nn.Module) -> list[partial[Any]]:  # Any: hooks of several types
    """The hooks of a leaf that call plugs; a tap, which only holds an input, is none."""
    return [hook for hook in hooks_of(host) if isinstance(hook, partial) and hook.func in _STAND_INS]


_HOOKS: dict[str, Callable[[nn.Module, str], object]] = {
    "before": lambda host, name: host.register_forward_pre_hook(partial(_before, name)),
    "after": lambda host, name: host.register_forward_hook(partial(_after, name)),
    "parallel": lambda host, name: host.register_forward_hook(partial(_parallel, name)),
}
