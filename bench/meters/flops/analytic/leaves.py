"""Leaf modules and what is plugged into them: what a state that goes through one costs, and what comes out."""

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


class Leaves:
    """The leaves of one model, told by path; `covered` are the ids of the parameters that were come across.

    Args: tally, where costs go; places, modules that earlier walks found by their paths.
    """

    def __init__(self, model: nn.Module, tally: Tally, places: dict[str, nn.Module | None]):
        self.model, self.tally, self._places = model, tally, places
        self.covered: set[int] = set()
        self._tapped: dict[nn.Module, State] = {}

    def find(self, path: str) -> nn.Module | None:
        """The module at a path, None where this model has none there."""
        if path not in self._places:
            found: object = self.model
            for name in path.split("."):
                found = getattr(found, name, None)
            self._places[path] = found if path and isinstance(found, nn.Module) else None
        return self._places[path]

    def chain(self, paths: Iterable[str], x: State, part: str) -> State:
        """Through one leaf after another; those that this model lacks change nothing."""
        for path in paths:
            x = self.through(path, x, part)
        return x

    def through(self, path: str, x: State, part: str) -> State:
        """Through the leaf at a path with its plugs, as it is where there is none; `part` is what its product belongs
        to. Unsupported where it is no leaf that is known, or reads another width."""
        host = self.find(path)
        return x if host is None else self.leaf(host, x, part, path)

    def leaf(self, host: nn.Module, x: State, part: str, path: str) -> State:
        """As `through`, given the module."""
        plugs = plugged(host)
        for where, module in plugs:
            if where == "tap":
                self._tapped[module] = x
            if where == "before":
                x = self.inserted(module, x)
        y = self._own(host, x, part, path)
        for where, module in plugs:
            if where == "after":
                y = self.inserted(module, y)
            if where == "parallel":
                beside = self.inserted(module, x)
                self.tally.elementwise(elementwise.RESIDUAL * y.size)
                y = replace(y, grad=y.grad or beside.grad)
        return y

    def inserted(self, module: nn.Module, x: State, part: str = "inserted") -> State:
        """Through a plug or a head: its linear layers one after another as registered, its vectors elementwise.

        Functions between them are not seen (see `elementwise.PLUGGED`). Unsupported for other parameters, whose use
        cannot be told from their shapes.
        """
        if isinstance(module, Spanning):
            return self.inserted(module.module, self._tapped.pop(module.tap), part)
        if hasattr(module, "products"):
            return self._declared(module, x, part)
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
                    f"no analytic FLOPs: what {type(child).__name__} does with its {name} cannot be told from its "
                    "shape; keep matrices in Linear layers"
                )
            else:
                x = self._uses(child, x)
                self.tally.elementwise(elementwise.PLUGGED * x.size * len(own))
        return x

    def lead(self, module: nn.Module, tokens: int) -> bool:
        """What makes `tokens` tokens that lead; whether they need gradients. Its parameters lead as they are, unless it
        declares products."""
        nothing = State(1, tokens, 0)
        if hasattr(module, "products"):
            return self._declared(module, nothing, "inserted").grad
        parts = list(module.modules())
        if any(isinstance(part, nn.Linear) for part in parts):
            raise Unsupported(
                f"no analytic FLOPs: {type(module).__name__} makes what leads with Linear layers; declare its products"
            )
        grads = [self._uses(part, nothing).grad for part in parts]
        return any(grads)

    def _declared(self, module: nn.Module, x: State, part: str) -> State:
        """Through a module that says itself which products it computes."""
        declared = module.products(x.tokens)  # type: ignore[operator]
        for product in declared if isinstance(declared, Iterable) else [declared]:
            if not isinstance(product, Product):
                raise ValueError(
                    f"products() of {type(module).__name__} must give the `Product`s of tunefront.methods.base, got "
                    f"{product!r}"
                )
            left, right = (
                x.grad if factor == "input" else factor == "trained" for factor in (product.left, product.right)
            )
            self.tally.product(part, product.flops, int(left), int(right))
        self.tally.elementwise(elementwise.PLUGGED * x.size)
        for child in module.modules():
            x = self._uses(child, x)
        return x

    def _own(self, host: nn.Module, x: State, part: str, path: str) -> State:
        if isinstance(host, nn.Embedding):
            return replace(self._uses(host, x), width=host.embedding_dim)
        if isinstance(host, nn.Linear) or is_conv1d(host):
            return self._linear(host, x, part, path)
        if "norm" in type(host).__name__.lower():
            return self._norm(host, x)
        if isinstance(host, nn.Dropout | nn.Identity):
            return x
        raise Unsupported(f"no analytic FLOPs: {path} is a {type(host).__name__}, which is no known leaf")

    def _linear(self, host: nn.Module, x: State, part: str, path: str = "") -> State:
        weight = _original(host, "weight")
        if not isinstance(weight, nn.Parameter):
            raise Unsupported(f"no analytic FLOPs: the weight of {path or type(host).__name__} is made by other code")
        out, inner = weight.shape if isinstance(host, nn.Linear) else (weight.shape[1], weight.shape[0])
        if path and inner != x.width:
            raise Unsupported(f"no analytic FLOPs: {path} reads {inner} numbers a token, but {x.width} come to it")
        self.tally.product(part, 2 * x.tokens * out * inner, int(x.grad), int(_trained(host, "weight")))
        y = State(x.rows, x.seq, out, self._uses(host, x).grad)
        if _original(host, "bias") is not None:
            self.tally.elementwise(elementwise.BIAS * y.size)
        return y

    def _norm(self, host: nn.Module, x: State) -> State:
        each = elementwise.LAYER_NORM if isinstance(host, nn.LayerNorm) else elementwise.RMS_NORM
        self.tally.elementwise(each * x.size)
        return self._uses(host, x)

    def _uses(self, host: nn.Module, x: State) -> State:
        grad = x.grad
        for parameter in own_parameters(host).values():
            if parameter is not None:
                self.covered.add(id(parameter))
                grad = grad or parameter.requires_grad
        if is_parametrized(host):
            for name, made in host.parametrizations.items():  # type: ignore[union-attr, operator]
                self.covered.update(map(id, made.parameters()))
                grad = grad or _trained(host, name)
                for source in _sources(made):
                    self.covered.update(map(id, source.parameters()))
        return State(x.rows, x.seq, x.width, grad)


def _original(host: nn.Module, name: str) -> object:
    """The parameter of that name, before `rebuild`; None where other code makes it, whose products nobody knows."""
    if is_parametrized(host, name):
        made = cast(nn.Module, host.parametrizations[name])  # type: ignore[index]
        return made.original if all(isinstance(each, Rebuilt) for each in made.children()) else None
    return own_parameters(host).get(name)


def _trained(host: nn.Module, name: str) -> bool:
    """Whether the whole tensor that the host computes with needs a gradient: where it is rebuilt, whatever small thing
    it is rebuilt from."""
    if not is_parametrized(host, name):
        own = own_parameters(host).get(name)
        return own is not None and own.requires_grad
    made = cast(nn.Module, host.parametrizations[name])  # type: ignore[index]
    parts = [made, *_sources(made)]
    return any(parameter.requires_grad for part in parts for parameter in part.parameters())


def _sources(made: nn.Module) -> list[nn.Module]:
    """The modules that rebuild a tensor without being children of its parametrizations."""
    return [each.source for each in made.children() if isinstance(each, Rebuilt)]
