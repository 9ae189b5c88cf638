"""How many parameters a method trains, adds and leaves alone."""

from __future__ import annotations

from torch import nn

from tunefront.bench.records import Parameters
from tunefront.methods.base import trained


def count_parameters(model: nn.Module, head: nn.Module | None, backbone_params: int) -> Parameters:
    """Counts after `fit`, each tensor once; `backbone_params` is the size of the pretrained model before anything was
    attached. A head that is not trained is not used, and not counted."""
    of_head = _used(head)
    unused = _size(head) - of_head
    total = _size(model) - unused
    return Parameters(
        total=total,
        backbone=backbone_params,
        inserted=total - backbone_params - of_head,
        head=of_head,
        trainable=_trained(model),
    )


def trained_beside_head(model: nn.Module, head: nn.Module | None) -> int:
    """Parameters that require gradients, without those of the head."""
    return _trained(model) - _used(head)


def _trained(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in trained(model).values())


def _used(head: nn.Module | None) -> int:
    return 0 if head is None or not trained(head) else _size(head)


def _size(module: nn.Module | None) -> int:
    return 0 if module is None else sum(parameter.numel() for parameter in module.parameters())
