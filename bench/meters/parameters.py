"""Counts of the parameters that a method trains, adds and leaves frozen."""

from __future__ import annotations

from torch import nn

from tunefront.bench.records import Parameters
from tunefront.methods.base import trained


def count_parameters(model: nn.Module, head: nn.Module | None, backbone_params: int) -> Parameters:
    """Counts the parameters after `fit`, each tensor once; `backbone_params` is the size of the pretrained model before
    the method was attached. An untrained head is unused and not counted."""
    head_params = _used(head)
    unused = _size(head) - head_params
    total = _size(model) - unused
    return Parameters(
        total=total,
        backbone=backbone_params,
        inserted=total - backbone_params - head_params,
        head=head_params,
        trainable=_trained(model),
    )


def trained_params_without_head(model: nn.Module, head: nn.Module | None) -> int:
    """Number of parameters that require gradients, without those of the head."""
    return _trained(model) - _used(head)


def _trained(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in trained(model).values())


def _used(head: nn.Module | None) -> int:
    return 0 if head is None or not trained(head) else _size(head)


def _size(module: nn.Module | None) -> int:
    return 0 if module is None else sum(parameter.numel() for parameter in module.parameters())
