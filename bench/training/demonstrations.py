"""The demonstrations that a method has the model read, and what reading them takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, cast

import torch
from torch import nn

from tunefront.bench.meters.flops.by_phase import NOTHING, Entry, FlopLedger
from tunefront.bench.meters.flops.counted import FlopMeter, counted_flops, undisturbed
from tunefront.bench.meters.time import Clock
from tunefront.bench.models.examples import EncodedExamples
from tunefront.bench.models.scoring.prefix import Demonstrations
from tunefront.bench.models.scoring.prompted import PromptedExamples
from tunefront.bench.models.scoring.tokens import BETWEEN
from tunefront.bench.models.shapes import Shape
from tunefront.methods.base import Backbone, Prefix


class Demonstrated(Prefix, Protocol):
    """A prefix that knows how rows follow it, and its own beginning."""

    @property
    def demonstrations(self) -> Demonstrations: ...

    def kept(self, kept: int) -> Prefix: ...


class Prompts:
    """What stands before every query: one prefix or, for an average over orders, several.

    Of all of them together: `clock` of reading them once (and of calibrating), `flops` of calibrating (`calibrating`:
    from every source), `tokens`, `cache_bytes` of keys and values (None: not kept); and `ids`, the rows that each is
    made of.
    Args: identity, what counted FLOPs may be shared under; autocast, under which the model runs.
    """

    def __init__(
        self, model: nn.Module, identity: tuple[str, ...], autocast: Callable[[], AbstractContextManager[object]]
    ):
        self._model, self._identity, self._autocast = model, identity, autocast
        self.clock = Clock(next(model.parameters()).device)
        self.flops = self.tokens = 0
        self.calibrating = NOTHING
        self.cache_bytes: int | None = None
        self.ids: list[tuple[str, ...]] = []
        self._prefixes: list[Demonstrated] = []

    @property
    def prefixes(self) -> Sequence[Prefix]:
        """What was read, in order."""
        return tuple(self._prefixes)

    def read(self, backbone: Backbone, demonstrations: EncodedExamples) -> Prefix:
        """Demonstrations in tokens, read on the clock; every row that is scored from now on follows them."""
        unread = backbone.prefix(demonstrations)
        self._model.eval()
        with self.clock.running(), torch.inference_mode(), self._autocast():
            prefix = backbone.read(unread)
        self.tokens += prefix.tokens
        self.cache_bytes = prefix.nbytes if prefix.nbytes is None else (self.cache_bytes or 0) + prefix.nbytes
        self.ids.append(cast(PromptedExamples, demonstrations).ids)
        self._prefixes.append(cast(Demonstrated, prefix))
        return prefix

    def following(self, examples: EncodedExamples) -> EncodedExamples:
        """The rows as they follow every prefix; as they are where there is none."""
        for prefix in self._prefixes:
            examples = prefix.demonstrations.ahead_of(cast(PromptedExamples, examples))
        return examples

    def flops_once(self, backbone: Backbone) -> int:
        """Counted FLOPs of reading every prefix once, and of calibrating. Counting reads them again: not where memory
        is measured."""
        told = [prefix.kept(len(prefix.demonstrations.texts)) for prefix in self._prefixes]
        return self.flops + sum(self._reading(backbone, prefix) for prefix in told)

    def entry_once(self, backbone: Backbone, ledger: FlopLedger) -> Entry:
        """The same as `flops_once`, from every source."""
        told = [prefix.kept(len(prefix.demonstrations.texts)) for prefix in self._prefixes]
        read = [ledger.prefix(prefix.tokens, self._reading(backbone, prefix)) for prefix in told]
        return sum(read, self.calibrating)

    def text_bytes(self, examples: EncodedExamples) -> int:
        """What has to be stored of the demonstrations that these rows keep, each once, in UTF-8."""
        followed = cast(PromptedExamples, self.following(examples)).after
        kept = [
            text
            for prefix in self._prefixes
            for text in prefix.demonstrations.texts[: max(followed[prefix.demonstrations.name].kept, default=0)]
        ]
        return len(BETWEEN.join(dict.fromkeys(kept)).encode())

    def flops_without_reuse(self, backbone: Backbone, examples: EncodedExamples) -> int:
        """Counted FLOPs of reading, for every row anew, the demonstrations that it keeps of each prefix."""
        followed = cast(PromptedExamples, self.following(examples)).after
        return sum(
            self._reading(backbone, prefix.kept(kept)) * rows
            for prefix in self._prefixes
            for kept, rows in Counter(followed[prefix.demonstrations.name].kept).items()
            if kept
        )

    def _reading(self, backbone: Backbone, prefix: Prefix) -> int:
        def count(_: Shape) -> int:
            with undisturbed(self._model), torch.no_grad(), self._autocast():
                self._model.eval()
                return counted_flops(lambda: backbone.read(prefix))

        return FlopMeter(("prefix", *self._identity), count, ()).total({(prefix.tokens,): 1})
