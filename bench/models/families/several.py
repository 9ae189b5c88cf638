"""One model for several tasks: an encoder with a head for each, a language model with a prompt for each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tunefront.bench.data.task import Task
from tunefront.bench.models import checkpoints
from tunefront.bench.models.examples import EncodedExamples
from tunefront.bench.models.families import Backbone
from tunefront.bench.models.families.encoder import Encoder, Mixture
from tunefront.bench.templates import Template
from tunefront.methods.base import Unsupported

HEADS, HEAD = "heads", "head"
"""The children of a model that hold the heads of earlier tasks, in order, and of the newest one."""


class SeveralTasks:
    """A backbone with an attached method, and the same model on earlier tasks.

    `backbones` has one for every task, the newest last; they share the model. Unsupported for a language model with a
    head, which belongs to one task.
    """

    def __init__(self, newest: Backbone, earlier: Sequence[tuple[Task, Template | None]]):
        self.newest, self.model = newest, newest.model
        others: list[Backbone] = []
        if isinstance(newest, Encoder):
            with torch.random.fork_rng(devices=[]):  # the newest task trains as it would alone: the same dropout
                encoders = [newest.with_task(task) for task, _ in earlier]
            self.model.add_module(HEADS, nn.ModuleList(encoder.head for encoder in encoders).requires_grad_(False))
            others += encoders
        elif newest.head is not None:
            raise Unsupported("a head on a language model belongs to one task; a stream of tasks has several")
        else:
            others += [newest.with_task(task, template) for task, template in earlier if template is not None]
        self.backbones = (*others, newest)

    @property
    def heads(self) -> nn.ModuleList:
        """The heads of all tasks in order; empty for a language model."""
        earlier: Sequence[nn.Module] = list(getattr(self.model, HEADS, ()))
        return nn.ModuleList([*earlier, *([] if self.newest.head is None else [self.newest.head])])

    def join(self, parts: Sequence[EncodedExamples]) -> EncodedExamples:
        """The training rows of all tasks, one part for each in order, on which the newest backbone's loss is each row's
        own from now on; all heads are trained."""
        if not isinstance(self.newest, Encoder):
            return type(parts[0]).joined(parts)
        self.heads.requires_grad_(True)
        encoders = [backbone for backbone in self.backbones if isinstance(backbone, Encoder)]
        self.newest.mixture = Mixture(
            tuple(encoders), tuple(task for task, part in enumerate(parts) for _ in range(len(part)))
        )
        return EncodedExamples.joined(parts)

    def shipped(self) -> dict[str, Tensor]:
        """What all tasks need in addition to the backbone, by name: trained parameters, added buffers, all heads."""
        heads = {name: value for name, value in self.model.named_parameters() if name.startswith(f"{HEADS}.")}
        return {**checkpoints.shipped(self.model, self.newest.published_buffers), **heads}


def as_earlier(tensors: dict[str, Tensor], place: int) -> dict[str, Tensor]:
    """The tensors of a checkpoint, with those of the head of its newest task under the name of the earlier task number
    `place`."""
    return {
        f"{HEADS}.{place}.{name.removeprefix(f'{HEAD}.')}" if name.startswith(f"{HEAD}.") else name: tensor
        for name, tensor in tensors.items()
    }
