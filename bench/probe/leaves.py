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


def block_lists(model: nn.Module) -> list[str]:
    """The paths of the lists of blocks: module lists that hold linear layers, outside of any other such list. A list of
    groups of blocks (ALBERT's) is none."""
    found: list[str] = []
    for path, module in model.named_modules():
        inside = any(path.startswith(f"{outer}.") for outer in found)
        holds = isinstance(module, nn.ModuleList) and not inside and any(map(is_linear, module.modules()))
        if holds and not all(map(_is_group, module.children())):
            found.append(path)
    return found


def _is_group(module: nn.Module) -> bool:
    """Whether a module only has a list of modules of one class, each with several linear layers."""
    children = list(module.children())
    if len(children) != 1 or not isinstance(children[0], nn.ModuleList):
        return False
    return len({type(block) for block in children[0]}) == 1 and all(
        sum(map(is_linear, block.modules())) > 1 for block in children[0]
    )


def place_in_block(path: str, lists: list[str]) -> tuple[str, int, str] | None:
    """(list, number, path within the block) of a module; None outside of all blocks."""
    for blocks in lists:
        match = re.fullmatch(rf"{re.escape(blocks)}\.(\d+)\.(.+)", path)
        if match:
            return blocks, int(match[1]), match[2]
    return None


@contextmanager
def changed_output(module: nn.Module, factor: float | None = None, columns: Tensor | None = None) -> Iterator[None]:
    """Multiplies the output of a leaf by a factor, or adds noise of its own size, which no norm after it undoes, to the
    columns (width,) that are one, by default to all."""

    def change(module: nn.Module, args: tuple[object, ...], output: Tensor) -> Tensor:
        if factor is not None:
            return output * factor
        noise = torch.randn(output.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
        chosen = torch.ones(output.shape[-1]) if columns is None else columns
        return output + noise.to(output) * output.abs().mean() * chosen.to(output)

    hook = module.register_forward_hook(change)
    try:
        yield
    finally:
        hook.remove()
