"""The linear layers, norms and dropouts of a model, and what a pass calls in which order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from tunefront.bench.models.families.leads import LedKeys
from tunefront.methods.inject import is_conv1d


@dataclass(frozen=True)
class Call:
    """A call of a leaf, or of an attention (its products): the path, and the tensors read and returned."""

    path: str
    reads: Tensor
    returns: Tensor | None = None


@dataclass
class Timeline(LedKeys):
    """What a pass calls, in order. It is handed to the attentions as a lead, and adds nothing to them.

    Shapes: `attended` has the queries, keys and values of each attention, (rows, heads, tokens, width) each.
    """

    paths: Mapping[nn.Module, str]
    calls: list[Call] = field(default_factory=list)
    attended: dict[str, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__({})

    def before(self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        path = self.paths[module]
        self.attended.setdefault(path, (query.clone(), key.clone(), value.clone()))
        self.calls.append(Call(path, query))
        return key, value

    @contextmanager
    def recording(self, model: nn.Module) -> Iterator[None]:
        """Records the calls of leaves with one tensor for input and output."""

        def record(path: str, module: nn.Module, args: tuple[object, ...], output: object) -> None:
            if args and isinstance(args[0], Tensor) and isinstance(output, Tensor):
                self.calls.append(Call(path, args[0], output))

        hooks = [module.register_forward_hook(partial(record, path)) for path, module in leaves(model).items()]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def leaves(model: nn.Module) -> dict[str, nn.Module]:
    """The modules without children, by path."""
    return {path: module for path, module in model.named_modules() if path and not list(module.children())}


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a linear layer."""
    return isinstance(module, nn.Linear) or is_conv1d(module)


def is_norm(module: nn.Module) -> bool:
    """Whether a module is a norm with a weight."""
    return "norm" in type(module).__name__.lower() and isinstance(getattr(module, "weight", None), Tensor)


def block_lists(model: nn.Module) -> list[str]:
    """The paths of the lists of blocks: module lists that hold linear layers, outside of any other such list."""
    found: list[str] = []
    for path, module in model.named_modules():
        inner = isinstance(module, nn.ModuleList) and not any(path.startswith(f"{outer}.") for outer in found)
        if inner and any(is_linear(leaf) for leaf in module.modules()):
            found.append(path)
    return found


def place_in_block(path: str, lists: list[str]) -> tuple[str, int, str] | None:
    """(list, number, path within the block) of a module; None outside of all blocks."""
    for blocks in lists:
        match = re.fullmatch(rf"{re.escape(blocks)}\.(\d+)\.(.+)", path)
        if match:
            return blocks, int(match[1]), match[2]
    return None


@contextmanager
def changed_output(module: nn.Module, factor: float | None = None, columns: slice = slice(None)) -> Iterator[None]:
    """Multiplies the output of a leaf by a factor, or adds noise of its own size to some of its columns, which no norm
    after it undoes."""

    def change(module: nn.Module, args: tuple[object, ...], output: Tensor) -> Tensor:
        if factor is not None:
            return output * factor
        noise = torch.randn(output.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
        chosen = torch.zeros_like(output)
        chosen[..., columns] = output.abs().mean()
        return output + noise.to(output) * chosen

    hook = module.register_forward_hook(change)
    try:
        yield
    finally:
        hook.remove()
