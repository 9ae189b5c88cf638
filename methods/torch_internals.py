"""All that is used of torch that torch does not promise; no other file of the three packages names any of it.

Tested with torch 2.13. Where another release lacks a name, or means something else by it, this file is what has to
change.

- `torch._subclasses.fake_tensor`: `FakeTensor`, `FakeTensorMode` and `FakeTensorConverter`. Tensors with shapes and
  without values, on which costs are predicted. Their `fake_mode`, `fake_device` and `constant` are read.
- `torch._subclasses.fake_impls.register_op_impl`: what an operator returns on fake tensors.
- `torch.utils._python_dispatch.TorchDispatchMode`: sees every operator, to count FLOPs and to follow memory.
- `torch.utils._pytree`: takes an operator's nested arguments apart and puts them together.
- `UntypedStorage._cdata`: which storage two tensors share; a fake tensor has no address.
- `torch._C._current_graph_task_id`: whether a backward pass is under way.
- `OpOverload._schema` and `_overloadpacket`: whether an operator writes or returns views, and what it is called.
- `Module._parameters`, `_buffers` and `_modules`: a module's own parts, to be read quickly or put in place.
- `torch.autograd.grad_mode._unsafe_preserve_version_counter`: a measured step leaves parameters as they were, and their
  versions too.
- `torch.ops.prim.device`: what torch calls to read the device of a fake tensor.
- Operators of `torch.ops.aten` whose names begin with `_`: attention on the CPU, products of experts, reading a
  number, `_unsafe_view`.
- `Module._forward_pre_hooks` and `_forward_hooks`: the order in which plugs act, and a copy without any.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn
from torch._subclasses.fake_impls import register_op_impl
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorConverter, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map_only, tree_unflatten

__all__ = [
    "CPU_ATTENTION",
    "CPU_ATTENTION_BACKWARD",
    "DEVICE",
    "GROUPED_PRODUCT",
    "READ_VALUE",
    "UNSAFE_VIEW",
    "FakeTensor",
    "FakeTensorMode",
    "NoValues",
    "OwnParts",
    "TorchDispatchMode",
    "bare_copy",
    "hooks_of",
    "in_backward",
    "make_fake",
    "own_buffers",
    "own_parameters",
    "own_parts",
    "own_tensors",
    "packet_of",
    "preserving_versions",
    "put_parts",
    "register_op_impl",
    "schema_of",
    "storage_key",
    "tree_flatten",
    "tree_leaves",
    "tree_map_only",
    "tree_unflatten",
]

CPU_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
CPU_ATTENTION_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
GROUPED_PRODUCT = torch.ops.aten._grouped_mm
DEVICE = torch.ops.prim.device.default
READ_VALUE = torch.ops.aten._local_scalar_dense.default
UNSAFE_VIEW = torch.ops.aten._unsafe_view.default


class _ForgetfulConverter(FakeTensorConverter):
    def set_tensor_memo(self, t: Tensor, v: FakeTensor) -> None:
        """Nothing is remembered."""


class ForgetfulMode(FakeTensorMode):  # type: ignore[no-untyped-call]
    """A fake mode that does not remember which tensor each fake one was made of. It would by weak references, and
    `Module.to()` swaps no tensor that has any."""

    def __init__(self) -> None:
        super().__init__(allow_non_fake_inputs=True)
        self.fake_tensor_converter = _ForgetfulConverter()


class NoValues(TorchFunctionMode):
    """Within, fake tensors say that they have no storage, as those on torch's meta device do. So `trunc_normal_`, which
    draws numbers again where they are too large, does not look at what it has drawn."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # Any: as torch's
        if func == _IS_META and isinstance(args[0], FakeTensor):
            return True
        return func(*args, **(kwargs or {}))


_IS_META = torch.Tensor.is_meta.__get__  # type: ignore[attr-defined]


AnyTensor = TypeVar("AnyTensor", bound=Tensor)


def _fake_like(tensor: AnyTensor, mode: FakeTensorMode) -> AnyTensor:
    """A fake tensor on the CPU like `tensor`, a parameter if that is one, which requires a gradient if that does."""
    fake = FakeTensor(mode, torch.empty(tensor.shape, dtype=tensor.dtype, device="meta"), torch.device("cpu"))
    if isinstance(tensor, nn.Parameter):
        fake._is_param = True  # what nn.Parameter() does too, at ten times the cost
    return cast(AnyTensor, fake.requires_grad_(tensor.requires_grad))


def own_tensors(model: nn.Module) -> list[dict[str, Tensor | None]]:
    """The parameters and the buffers of each module, as dictionaries whose entries may be replaced."""
    return [tensors for module in model.modules() for tensors in (own_parameters(module), own_buffers(module))]  # type: ignore[misc]


def make_fake(model: nn.Module) -> None:
    """Replaces the parameters and buffers of a model by fake tensors on the CPU, which require gradients as those do.
    Shared tensors stay shared. Their mode remembers none of them."""
    mode = ForgetfulMode()
    made: dict[int, tuple[Tensor, Tensor]] = {}
    for tensors in own_tensors(model):
        for name, tensor in tensors.items():
            if tensor is None:
                continue
            if id(tensor) not in made:
                fake = _fake_like(tensor, mode)
                made[id(tensor)] = tensor, fake  # keeps the tensor alive, so that its id stays unique
            tensors[name] = made[id(tensor)][1]


def storage_key(of: Tensor | torch.UntypedStorage) -> int:
    """A number that tensors share which share their memory, as long as one of them lives."""
    storage = of.untyped_storage() if isinstance(of, Tensor) else of
    return int(storage._cdata)


def in_backward() -> bool:
    """Whether this thread is in a backward pass."""
    return torch._C._current_graph_task_id() != -1


def preserving_versions(tensors: Sequence[Tensor]) -> AbstractContextManager[object]:
    """Within, what is written into these tensors does not count as a change of theirs."""
    return torch.autograd.grad_mode._unsafe_preserve_version_counter(tuple(tensors))


def schema_of(function: Any) -> Any:  # Any: torch's operators and schemas have no type of their own
    """The signature of an operator: what it writes, and which results share memory with an argument."""
    return function._schema


def packet_of(function: Any) -> Any:  # Any: as above
    """The operator without the types of its arguments, as formulas know it."""
    return function._overloadpacket


def own_parameters(module: nn.Module) -> dict[str, nn.Parameter | None]:
    """The module's own parameters; `parameters()` takes ten times as long."""
    return module._parameters


def own_buffers(module: nn.Module) -> dict[str, Tensor | None]:
    """The module's own buffers."""
    return module._buffers


class OwnParts(NamedTuple):
    """What a module is made of: its own parameters and its children."""

    parameters: dict[str, nn.Parameter | None]
    modules: dict[str, nn.Module | None]

    def copy(self) -> OwnParts:
        """The same parts, which stay whatever the module gets or loses."""
        return OwnParts(self.parameters.copy(), self.modules.copy())


def own_parts(module: nn.Module) -> OwnParts:
    """What the module is made of now, and goes on being made of."""
    return OwnParts(module._parameters, module._modules)


def put_parts(module: nn.Module, parts: OwnParts) -> None:
    """Makes the module of these parts."""
    module._parameters, module._modules = parts


def bare_copy(module: nn.Module) -> nn.Module:
    """A deep copy without child modules and without what runs before and after the forward pass."""
    copied = copy.deepcopy(module)
    put_parts(copied, OwnParts(copied._parameters, {}))
    copied._forward_pre_hooks.clear()
    copied._forward_hooks.clear()
    return copied


def hooks_of(module: nn.Module) -> list[Callable[..., object]]:
    """What runs before and after the module's forward pass, in this order."""
    hooks: list[Mapping[int, Callable[..., object]]] = [module._forward_pre_hooks, module._forward_hooks]
    return [hook for kind in hooks for hook in kind.values()]
