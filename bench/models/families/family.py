"""The common base of all families: freezing, the lead, and loading trained tensors."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor, nn

from tunefront.bench.errors import UserError
from tunefront.bench.models import checkpoints
from tunefront.bench.models.architectures import is_recorded
from tunefront.bench.models.families import leads
from tunefront.bench.models.families.logits import evaluating, has_values
from tunefront.methods.base import Batch, Prefix, Stack, Unsupported, trained
from tunefront.methods.inject import named, place

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from tunefront.methods.base import Keep
    from tunefront.methods.sites import Sites


class Elsewhere(Protocol):
    """Runs passes for a family, on a model that it shares with others."""

    def states(self, batch: Batch) -> Tensor:
        """The states that a head reads, (batch, width)."""

    def logprobs(self, batch: Batch, prefix: Prefix | None) -> Tensor:
        """Log-probabilities of the tokens of every choice, (batch, choices, tokens)."""


class Family:
    """A pretrained model whose parameters can be frozen, and to which a method may add a lead."""

    model: PreTrainedModel
    sites: Sites
    dropout: float | None = None
    """The dropout rate that a recipe sets everywhere, None for the checkpoint's own rates."""
    head: nn.Module | None
    fingerprint: str | None = None
    """The fingerprint of the backbone's files, None if it has none."""
    published_buffers: frozenset[str] = frozenset()
    """The persistent buffers that the backbone had before a method was attached; they ship with the backbone."""
    lead_lengths: leads.LeadLengths = leads.LeadLengths()
    """The length of the lead in each stack and attention."""
    elsewhere: Elsewhere | None = None
    """Who runs passes through the model in its place, None if it runs its own."""
    _kept: leads.KeptLead | None = None
    _calls: Counter[str] | None = None

    def score(self, batch: Batch, prefix: Prefix | None = None) -> Tensor:
        """Scores of a batch, (batch, choices), -inf where an example has fewer choices."""
        self._count("score")
        return self._score(batch, prefix)

    def features(self, batch: Batch) -> Tensor:
        """The states that a head reads, (batch, width); those of the batch if it already holds them."""
        self._count("features")
        return self._states(batch)

    @contextmanager
    def counting_calls(self) -> Iterator[Counter[str]]:
        """Counts calls of `score` and `features` within the block; a family's own internal calls are not counted."""
        before, calls = self._calls, Counter[str]()
        self._calls = calls
        try:
            yield calls
        finally:
            self._calls = before

    def _states(self, batch: Batch) -> Tensor:
        if "features" in batch.inputs:
            return batch.inputs["features"]
        return self._features(batch) if self.elsewhere is None else self.elsewhere.states(batch)

    def _count(self, name: str) -> None:
        if self._calls is not None:
            self._calls[name] += 1

    @abstractmethod
    def _score(self, batch: Batch, prefix: Prefix | None) -> Tensor:
        """The implementation of `score`."""

    @abstractmethod
    def _features(self, batch: Batch) -> Tensor:
        """The implementation of `features`, for a batch of tokens."""

    def freeze(self, keep: Keep | Sequence[Keep] = None) -> None:
        """Turns gradients off everywhere except in `keep`: modules, or regexes that match the full path of modules
        (sites) or the full name of parameters."""
        kept = keep if isinstance(keep, Sequence) and not isinstance(keep, str) else [keep]
        self.model.requires_grad_(False)
        for part in kept:
            for module in named(self.model, part) if isinstance(part, str) else [part]:
                if module is not None:
                    module.requires_grad_(True)

    def trainable(self) -> dict[str, nn.Parameter]:
        """The parameters that require gradients, by name."""
        return trained(self.model)

    @cached_property
    def stacks(self) -> tuple[Stack, ...]:
        """Where a lead can be placed, found by running a few tokens; Unsupported if the attention takes no lead."""
        if self.sites.family != "decoder" and not is_recorded(self.sites):  # a decoder takes positions as arguments
            raise Unsupported(
                f"{self.model.config.model_type} has no record of sites, so it is not known how it numbers positions, "
                "which a lead (prompts, or keys and values) moves"
            )
        parts = self._stack_modules()
        widths = {
            name: (stack, int(cast(nn.Embedding, stack.get_input_embeddings()).weight.shape[1]))
            for name, stack in parts.items()
        }
        with evaluating(self.model):
            return leads.stacks_of(self.model, widths, self._run_sample)

    def lead(self, module: nn.Module) -> None:
        """Puts the output of `module()` before the tokens of every row; see `tunefront.methods.base.Backbone.lead`."""
        if hasattr(self.model, leads.NAME):
            raise ValueError("this backbone already has a lead; let one module return all of it")
        stacks = self.stacks
        place(module, self.model.device, self.model.dtype)
        module.train(self.model.training)
        with torch.no_grad():
            lengths = leads.lead_lengths(stacks, module())
        self._check_lead(lengths)
        self.model.add_module(leads.NAME, module)
        self.lead_lengths = lengths
        leads.use_lead_attention(self.model)

    @property
    def led(self) -> int:
        """The most positions that the lead takes in a stack, 0 without a lead."""
        return self.lead_lengths.most

    @property
    def kept_lead(self) -> leads.Led | None:
        """The lead that `keep_lead` computed; None if there is none, or if weights have changed since."""
        return self._kept.led if self._kept is not None and self._kept.holds_for(self.model) else None

    def keep_lead(self) -> leads.Led:
        """Computes the lead for all rows that are scored until a weight changes; a decoder reads its prompt for it."""
        led = self.make_lead()
        self._kept = leads.KeptLead.of(self.model, led)
        return led

    def _leading(self, batch: Batch | None = None) -> leads.Led:
        """The lead of a pass: the kept one in scoring, else a new one, for `batch` in training."""
        if not self.lead_lengths:
            return leads.NO_LEAD
        scoring = not (torch.is_grad_enabled() or self.model.training)
        return (self.kept_lead if scoring else None) or self.make_lead(batch)

    def make_lead(self, batch: Batch | None = None) -> leads.Led:
        """Computes the lead, for a training batch or (None) for rows that are scored."""
        return leads.make_led(self.model, cast(nn.Module, getattr(self.model, leads.NAME)), self.lead_lengths, batch)

    def run_sample(self, keys: leads.LedKeys) -> None:
        """Runs a few tokens through every stack, whose attentions get `keys`; see `leads.lead_attention`."""
        self._run_sample(keys)

    @abstractmethod
    def _stack_modules(self) -> dict[str, PreTrainedModel]:
        """The stacks by name, in execution order."""

    @abstractmethod
    def _run_sample(self, keys: leads.LedKeys) -> object:
        """Runs a few tokens through every stack, more in the encoder than in the decoder, with `keys` as the lead."""

    @abstractmethod
    def _check_lead(self, lengths: leads.LeadLengths) -> None:
        """Unsupported if the lead leaves no room for text, or if the model cannot place it."""

    def load(self, path: str) -> None:
        """Copies a safetensors file into the trainable parameters and the persistent buffers that the method added.
        Heads, which belong to a task, are not changed. Does nothing to a model without values.

        Errors: Unsupported for a file of another backbone; UserError for a file that cannot be read, or that has other
        tensors or seeds.
        """
        if not has_values(self.model):
            return
        header = checkpoints.header(path)
        if self.fingerprint is not None and header.backbone not in (None, self.fingerprint):
            raise Unsupported(f"{path} belongs to another backbone: it was made for {header.made_for}")
        heads = set() if self.head is None else set(map(id, self.head.parameters()))
        shipped = checkpoints.shipped(self.model, self.published_buffers)
        own = {name: tensor for name, tensor in shipped.items() if id(tensor) not in heads}
        stored = {name: tensor for name, tensor in checkpoints.tensors(path).items() if not name.startswith(_HEAD)}
        mismatches = _mismatches(own, stored)
        if header.seeds != checkpoints.seeds_of(self.model):
            mismatches.append("its random transforms have other seeds")
        if mismatches:
            raise UserError(
                f"{path} does not match the trainable parameters of {type(self.model).__name__}: "
                f"{'; '.join(mismatches)}. It was saved for another method or backbone ({header.made_for}); give the "
                "file that was saved for these."
            )
        _copy(stored, own)

    def restore(self, stored: Mapping[str, Tensor]) -> None:
        """Copies the tensors of a fitted model into the parameters and buffers of these names: all that the attached
        method trains or added, and any heads. ValueError for other names, shapes or values."""
        own = {**dict(self.model.named_parameters()), **checkpoints.persistent_buffers(self.model)}
        shipped = checkpoints.shipped(self.model, self.published_buffers)
        needed = {name for name in shipped if not name.startswith(_HEAD)}
        mismatches = _mismatches({name: own[name] for name in own.keys() & (stored.keys() | needed)}, stored)
        if mismatches:
            raise ValueError(f"the checkpoint does not fit {type(self.model).__name__}: {'; '.join(mismatches)}")
        _copy(stored, own)


def _copy(values: Mapping[str, Tensor], into: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, value in values.items():
            into[name].copy_(value)


_HEAD = "head."
"""The prefix of the names of a head's parameters."""


def _mismatches(own: Mapping[str, Tensor], stored: Mapping[str, Tensor]) -> list[str]:
    """Tensors that the file lacks, that the model lacks, with another shape, and with non-finite values."""
    reshaped = {name for name in own.keys() & stored.keys() if own[name].shape != stored[name].shape}
    nonfinite = {name for name in own.keys() & stored.keys() - reshaped if not stored[name].isfinite().all()}
    messages = []
    for names, tensors, text in (
        (own.keys() - stored.keys(), own, "it lacks {}"),
        (stored.keys() - own.keys(), stored, "the model has no place for {}"),
        (reshaped, stored, "{} have another shape"),
        (nonfinite, stored, "{} have values that are not finite"),
    ):
        if names:
            count = f"{len(names)} of {len(tensors)} tensors"
            messages.append(f"{text.format(count)} ({min(names)}{' first' if len(names) > 1 else ''})")
    return messages
