"""What all families share: a model whose parameters are frozen but for what is kept."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from tunefront.bench.errors import UserError
from tunefront.bench.models import checkpoints
from tunefront.bench.models.families import leads
from tunefront.bench.models.families.logits import has_values, trying
from tunefront.methods.base import Batch, Prefix, Stack, Unsupported, trained
from tunefront.methods.inject import named, place

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from tunefront.methods.base import Keep


class Family:
    """A pretrained model in which gradients are turned off and on, and in which a method may put what leads."""

    model: PreTrainedModel
    dropout: float | None = None
    """The rate that was asked for everywhere, None for the checkpoint's own."""
    head: nn.Module | None
    fingerprint: str | None = None
    """Of the backbone's files, None where it was made of none."""
    published_buffers: frozenset[str] = frozenset()
    """The persistent buffers that the backbone had before a method was attached: they ship with it."""
    lead_lengths: leads.Lengths = leads.Lengths()
    """How many tokens lead in each stack and attention."""
    _kept: leads.Kept | None = None
    _calls: Counter[str] | None = None

    def score(self, batch: Batch, prefix: Prefix | None = None) -> Tensor:
        """Scores of a batch, (batch, choices), -inf where an example has fewer."""
        self._count("score")
        return self._score(batch, prefix)

    def features(self, batch: Batch) -> Tensor:
        """The states that a head reads, (batch, width); as they are where the batch holds them already."""
        self._count("features")
        return self._states(batch)

    @contextmanager
    def counting_calls(self) -> Iterator[Counter[str]]:
        """How often `score` and `features` are called within; what a family makes of either for itself is no call."""
        before, calls = self._calls, Counter[str]()
        self._calls = calls
        try:
            yield calls
        finally:
            self._calls = before

    def _states(self, batch: Batch) -> Tensor:
        return batch.inputs["features"] if "features" in batch.inputs else self._features(batch)

    def _count(self, name: str) -> None:
        if self._calls is not None:
            self._calls[name] += 1

    @abstractmethod
    def _score(self, batch: Batch, prefix: Prefix | None) -> Tensor:
        """What `score` gives."""

    @abstractmethod
    def _features(self, batch: Batch) -> Tensor:
        """What `features` gives of a batch of tokens."""

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

    @cached_property
    def stacks(self) -> tuple[Stack, ...]:
        """What can lead where, by a trial on a few tokens; Unsupported where attention takes no lead."""
        parts = self._stack_modules()
        widths = {
            name: (stack, int(cast(nn.Embedding, stack.get_input_embeddings()).weight.shape[1]))
            for name, stack in parts.items()
        }
        with trying(self.model):
            return leads.stacks_of(self.model, widths, self._run_few)

    def lead(self, module: nn.Module) -> None:
        """Puts what `module()` gives before the tokens of every row; see `tunefront.methods.base.Backbone.lead`."""
        if hasattr(self.model, leads.NAME):
            raise ValueError("something leads in this backbone already; one module may give all that leads")
        stacks = self.stacks
        place(module, self.model.device, self.model.dtype)
        module.train(self.model.training)
        with torch.no_grad():
            found = leads.lengths(stacks, module())
        self._check_lead(found)
        self.model.add_module(leads.NAME, module)
        self.lead_lengths = found
        leads.heed(self.model)

    @property
    def led(self) -> int:
        """The most positions that what leads takes in a stack, 0 where nothing leads."""
        return self.lead_lengths.most

    @property
    def kept_lead(self) -> leads.Led | None:
        """What `keep_lead` kept; None where the weights have changed since, or nothing was kept."""
        return self._kept.led if self._kept is not None and self._kept.holds_for(self.model) else None

    def keep_lead(self) -> leads.Led:
        """Makes what leads, for all rows that are scored until a weight changes: a decoder reads its prompt."""
        led = self.make_lead()
        self._kept = leads.Kept.of(self.model, led)
        return led

    def _leading(self, batch: Batch | None = None) -> leads.Led:
        """What leads in a pass: what is kept, where one is scored; else made now, for `batch` where it trains."""
        if not self.lead_lengths:
            return leads.NOTHING
        scoring = not (torch.is_grad_enabled() or self.model.training)
        return (self.kept_lead if scoring else None) or self.make_lead(batch)

    def make_lead(self, batch: Batch | None = None) -> leads.Led:
        """Makes what leads, for a batch that trains or for rows that are scored."""
        return leads.made(self.model, cast(nn.Module, getattr(self.model, leads.NAME)), batch)

    @abstractmethod
    def _stack_modules(self) -> dict[str, PreTrainedModel]:
        """The stacks by their names, in the order in which they run."""

    @abstractmethod
    def _run_few(self, keys: leads.LedKeys) -> object:
        """Runs a few tokens through every stack, more in the encoder than in the decoder, with `keys` leading."""

    @abstractmethod
    def _check_lead(self, found: leads.Lengths) -> None:
        """Unsupported where what leads leaves no room for text, or the model cannot place it."""

    def load(self, path: str) -> None:
        """Copies a safetensors file into what is trainable now and the persistent buffers that the method added; heads,
        which belong to a task, stay as they are, and so do all where the model holds no values.

        Errors: Unsupported for a file that says it was made for another backbone; UserError for one that cannot be read
        or has other tensors or seeds.
        """
        if not has_values(self.model):
            return
        header = checkpoints.header(path)
        if self.fingerprint is not None and header.backbone not in (None, self.fingerprint):
            raise Unsupported(f"{path} goes with another backbone than this: it was made for {header.made_for}")
        heads = set() if self.head is None else set(map(id, self.head.parameters()))
        shipped = checkpoints.shipped(self.model, self.published_buffers)
        own = {name: tensor for name, tensor in shipped.items() if id(tensor) not in heads}
        found = {name: tensor for name, tensor in checkpoints.tensors(path).items() if not name.startswith(_HEAD)}
        wrong = _misfits(own, found)
        if header.seeds != checkpoints.seeds_of(self.model):
            wrong.append("its random transforms were made of other seeds")
        if wrong:
            raise UserError(
                f"{path} does not fit what is trained of {type(self.model).__name__}: {'; '.join(wrong)}. It is the "
                f"file of another method or backbone ({header.made_for}); give the one that was made for these."
            )
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(found[name])


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
