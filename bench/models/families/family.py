"""What all families share: a model whose parameters are frozen but for what is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tunefront.bench.errors import Mistake
from tunefront.bench.models import checkpoints
from tunefront.methods.base import Unsupported, trained
from tunefront.methods.inject import named

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from tunefront.methods.base import Keep


class Family:
    """A pretrained model in which gradients are turned off and on."""

    model: PreTrainedModel
    dropout: float | None = None
    """The rate that was asked for everywhere, None for the checkpoint's own."""
    head: nn.Module | None
    fingerprint: str | None = None
    """Of the backbone's files, None where it was made of none."""

    def freeze(self, keep: Keep | Sequence[Keep] = None) -> None:
        """Turns gradients off everywhere but in `keep`: modules, or regexes that are matched in full on the paths of
        modules (sites) and on the names of parameters."""
        kept = keep if isinstance(keep, Sequence) and not isinstance(keep, str) else [keep]
        self.model.requires_grad_(False)
        for part in kept:
            for each in named(self.model, part) if isinstance(part, str) else [part]:
                if each is not None:
                    each.requires_grad_(True)

    def trainable(self) -> dict[str, nn.Parameter]:
        """The parameters that require gradients, by name."""
        return trained(self.model)

    def load(self, path: str) -> None:
        """Copies a safetensors file into what is trainable now; heads, which belong to a task, stay as they are.

        Errors: Unsupported for a file that says it was made for another backbone; Mistake for one that cannot be read
        or has other tensors.
        """
        header = checkpoints.header(path)
        if self.fingerprint is not None and header.backbone not in (None, self.fingerprint):
            raise Unsupported(f"{path} goes with another backbone than this: it was made for {header.made_for}")
        heads = set() if self.head is None else set(map(id, self.head.parameters()))
        own = {name: parameter for name, parameter in self.trainable().items() if id(parameter) not in heads}
        found = {name: tensor for name, tensor in checkpoints.tensors(path).items() if not name.startswith(_HEAD)}
        wrong = _misfits(own, found)
        if wrong:
            raise Mistake(
                f"{path} does not fit what is trained of {type(self.model).__name__}: {'; '.join(wrong)}. It is the "
                f"file of another method or backbone ({header.made_for}); give the one that was made for these."
            )
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(found[name])


_HEAD = "head."
"""What the names of a head's parameters start with."""


def _misfits(own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """What a file lacks, what the model lacks, what has another shape, and what holds no numbers."""
    other = {name for name in own.keys() & found.keys() if own[name].shape != found[name].shape}
    wild = {name for name in own.keys() & found.keys() - other if not found[name].isfinite().all()}
    said = []
    for names, of, what in (
        (own.keys() - found.keys(), own, "it lacks {}"),
        (found.keys() - own.keys(), found, "the model has no place for {}"),
        (other, found, "{} of another shape"),
        (wild, found, "{} with values that are not finite"),
    ):
        if names:
            told = f"{len(names)} of {len(of)} tensors"
            said.append(f"{what.format(told)} ({min(names)}{' first' if len(names) > 1 else ''})")
    return said
