"""How many parameters a method trains, adds and leaves alone."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from tunefront.methods.base import trained


@dataclass(frozen=True)
class ParameterCount:
    """Parameters, each tensor once: `total` is the adapted model, `backbone` the pretrained part of it (the denominator
    of percentages), `inserted` what the method added, `head` the head, `trainable` all that requires gradients. A head
    that is not trained is not used, and not counted."""

    total: int
    backbone: int
    inserted: int
    head: int
    trainable: int


def count_parameters(model: nn.Module, head: nn.Module | None, backbone_params: int) -> ParameterCount:
    """Counts after `fit`; `backbone_params` is the size of the pretrained model before anything was attached."""
    of_head = 0 if head is None else sum(parameter.numel() for parameter in head.parameters())
    unused = 0 if head is None or trained(head) else of_head
    total = sum(parameter.numel() for parameter in model.parameters()) - unused
    of_head -= unused
    return ParameterCount(
        total=total,
        backbone=backbone_params,
        inserted=total - backbone_params - of_head,
        head=of_head,
        trainable=sum(parameter.numel() for parameter in trained(model).values()),
    )
