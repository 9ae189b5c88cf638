"""Leaf modules and their plugs: the cost and the output of passing a state through them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import cast

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from tunefront.bench.meters.flops.analytic import elementwise
from tunefront.bench.meters.flops.analytic.tally import State, Tally
from tunefront.methods.base import Product, Unsupported
from tunefront.methods.inject import Rebuilt, Spanning, is_conv1d, plugged
from tunefront.methods.torch_internals import own_parameters


class Modules:
    """The leaf modules of one model, by path; `covered` are the ids of the parameters that were read.

    Args: tally, to which costs are added; places, cache of modules by path, shared between walks.
    """

    def __init__(self, model: nn.Module, tally: Tally, places: dict[str, nn.Module | None]):
        self.model, self.tally, self._places = model, tally, places
        self.covered: set[int] = set()
        self._tapped: dict[nn.Module, State] = {}

    def find(self, path: str) -> nn.Module | None:
        """The module at a path, None if this model has none there."""
        if path not in self._places:
            module: object = self.model
            for name in path.split("."):
                module = getattr(module, name, None)
            self._places[path] = module if path and isinstance(module, nn.Module) else None
        return self._places[path]

    def chain(self, paths: Iterable[str], x: State, part: str) -> State:
        """The output of one leaf after another; paths that this model lacks are skipped."""
        for path in paths:
            x = self.forward(path, x, part)
        return x

    def forward(self, path: str, x: State, part: str) -> State:
        """The output of the leaf at a path and its plugs, `x` itself if there is no such leaf; `part` is the entry of
        `Flops.parts` for its product. Raises Unsupported for an unknown kind of leaf or an input of another width."""
        host = self.find(path)
        return x if host is None else self.forward_module(host, x, part, path)

    def forward_module(self, host: nn.Module, x: State, part: str, path: str) -> State:
        """As `forward`, for a module."""
        plugs = plugged(host)
        for where, module in plugs:
            if where == "tap":
                self._tapped[module] = x
            if where == "before":
                x = self.forward_plug(module, x)
        y = self._forward_host(host, x, part, path)
        for where, module in plugs:
            if where == "after":
                y = self.forward_plug(module, y)
            if where == "parallel":
                added = self.forward_plug(module, x)
                self.tally.elementwise(elementwise.RESIDUAL * y.size)
                y = replace(y, grad=y.grad or added.grad)
        return y

    def forward_plug(self, module: nn.Module, x: State, part: str = "inserted") -> State:
        """The output of a plug or a head: its linear layers in order of registration, its vectors elementwise.

        Functions between them are not seen (see `elementwise.PLUGGED`). Raises Unsupported for other parameters: their
        use does not follow from their shapes.
        """
        if isinstance(module, Spanning):
            return self.forward_plug(module.module, self._tapped.pop(module.tap), part)
        if hasattr(module, "products"):
            return self._forward_declared(module, x, part)
        for child in module.modules():
            own = dict(child.named_parameters(recurse=False))
            if isinstance(child, nn.Linear):
                x = self._linear(child, x, part)
                self.tally.elementwise(elementwise.PLUGGED * x.size)
            elif isinstance(child, nn.LayerNorm) or "norm" in type(child).__name__.lower():
                x = self._norm(child, x)
            elif any(parameter.dim() > 1 for parameter in own.values()):
                name = next(name for name, parameter in own.items() if parameter.dim() > 1)
                raise Unsupported(
                    f"no analytic FLOPs: the use of {name} in {type(child).__name__} does not follow from its shape; "
                    "keep matrices in Linear layers"
                )
            else:
                x = self._read_parameters(child, x)
                self.tally.elementwise(elementwise.PLUGGED * x.size * len(own))
        return x

    def lead(self, module: nn.Module, tokens: int) -> bool:
        """Adds the cost of a module that makes a lead of `tokens` tokens; returns whether they need gradients. Its
        parameters are the lead, unless it declares products."""
        tokens_alone = State(1, tokens, 0)
        if hasattr(module, "products"):
            return self._forward_declared(module, tokens_alone, "inserted").grad
        parts = list(module.modules())
        if any(isinstance(part, nn.Linear) for part in parts):
            raise Unsupported(
                f"no analytic FLOPs: {type(module).__name__} makes its lead with Linear layers; declare its products()"
            )
        grads = [self._read_parameters(part, tokens_alone).grad for part in parts]
        return any(grads)

    def _forward_declared(self, module: nn.Module, x: State, part: str) -> State:
        """The output of a module that declares its products."""
        declared = module.products(x.tokens)  # type: ignore[operator]
        for product in declared if isinstance(declared, Iterable) else [declared]:
            if not isinstance(product, Product):
                raise ValueError(
                    f"products() of {type(module).__name__} must return `Product`s from tunefront.methods.base, got "
                    f"{product!r}"
                )
            left, right = (
                x.grad if factor == "input" else factor == "trained" for factor in (product.left, product.right)
            )
            self.tally.product(part, product.flops, int(left), int(right))
        self.tally.elementwise(elementwise.PLUGGED * x.size)
        for child in module.modules():
            x = self._read_parameters(child, x)
        return x

    def _forward_host(self, host: nn.Module, x: State, part: str, path: str) -> State:
        if isinstance(host, nn.Embedding):
            return replace(self._read_parameters(host, x), width=host.embedding_dim)
        if isinstance(host, nn.Linear) or is_conv1d(host):
            return self._linear(host, x, part, path)
        if "norm" in type(host).__name__.lower():
            return self._norm(host, x)
        if isinstance(host, nn.Dropout | nn.Identity):
            return x
        raise Unsupported(f"no analytic FLOPs: {path} is a {type(host).__name__}, an unknown kind of leaf")

    def _linear(self, host: nn.Module, x: State, part: str, path: str = "") -> State:
        weight = _original(host, "weight")
        if not isinstance(weight, nn.Parameter):
            raise Unsupported(
                f"no analytic FLOPs: a custom parametrization computes the weight of {path or type(host).__name__}"
            )
        out, inner = weight.shape if isinstance(host, nn.Linear) else (weight.shape[1], weight.shape[0])
        if path and inner != x.width:
            raise Unsupported(f"no analytic FLOPs: {path} reads {inner} numbers per token but gets {x.width}")
        self.tally.product(part, 2 * x.tokens * out * inner, int(x.grad), int(_trained(host, "weight")))
        y = State(x.rows, x.seq, out, self._read_parameters(host, x).grad)
        if _original(host, "bias") is not None:
            self.tally.elementwise(elementwise.BIAS * y.size)
        return y

    def _norm(self, host: nn.Module, x: State) -> State:
        flops_per_element = elementwise.LAYER_NORM if isinstance(host, nn.LayerNorm) else elementwise.RMS_NORM
        self.tally.elementwise(flops_per_element * x.size)
        return self._read_parameters(host, x)

    def _read_parameters(self, host: nn.Module, x: State) -> State:
        grad = x.grad
        for parameter in own_parameters(host).values():
            if parameter is not None:
                self.covered.add(id(parameter))
                grad = grad or parameter.requires_grad
        if is_parametrized(host):
            for name, parametrization in host.parametrizations.items():  # type: ignore[union-attr, operator]
                self.covered.update(map(id, parametrization.parameters()))
                grad = grad or _trained(host, name)
                for source in _sources(parametrization):
                    self.covered.update(map(id, source.parameters()))
        return State(x.rows, x.seq, x.width, grad)


def _original(host: nn.Module, name: str) -> object:
    """The parameter of that name before `rebuild`; None if other code computes it, with unknown products."""
    if is_parametrized(host, name):
        parametrization = cast(nn.Module, host.parametrizations[name])  # type: ignore[index]
        rebuilt = all(isinstance(child, Rebuilt) for child in parametrization.children())
        return parametrization.original if rebuilt else None
    return own_parameters(host).get(name)


def _trained(host: nn.Module, name: str) -> bool:
    """Whether the full tensor that the host computes with needs a gradient; a rebuilt tensor does if any of its sources
    is trained."""
    if not is_parametrized(host, name):
        own = own_parameters(host).get(name)
        return own is not None and own.requires_grad
    parametrization = cast(nn.Module, host.parametrizations[name])  # type: ignore[index]
    parts = [parametrization, *_sources(parametrization)]
    return any(parameter.requires_grad for part in parts for parameter in part.parameters())


def _sources(parametrization: nn.Module) -> list[nn.Module]:
    """The modules that rebuild a tensor without being children of its parametrization."""
    return [child.source for child in parametrization.children() if isinstance(child, Rebuilt)]
