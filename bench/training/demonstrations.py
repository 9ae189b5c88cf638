"""What a method has the model read once before it scores rows, demonstrations and what leads, and what that takes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from tunefront.bench.meters.flops.by_phase import NO_FLOPS, FlopLedger
from tunefront.bench.meters.flops.counted import FlopMeter, counted_flops, undisturbed
from tunefront.bench.meters.time import Clock
from tunefront.bench.models.examples import EncodedExamples
from tunefront.bench.models.families.family import Family
from tunefront.bench.models.families.language import LanguageModel
from tunefront.bench.models.scoring.prefix import Demonstrations
from tunefront.bench.models.scoring.prompted import Layout, PrefixedRows, PromptedExamples
from tunefront.bench.models.scoring.tokens import BETWEEN
from tunefront.bench.models.shapes import Shape
from tunefront.bench.records import PhaseFlops
from tunefront.methods.base import Backbone, Prefix, Unsupported
from tunefront.methods.torch_internals import storage_key


class Demonstrated(Prefix, Protocol):
    """A prefix that knows how rows follow it, and how many of its demonstrations are held ready for them."""

    n_kept: int

    @property
    def demonstrations(self) -> Demonstrations: ...

    def limited_to(self, n_kept: int) -> Demonstrated: ...

    def take_over(self, read: Any) -> None: ...  # Any: a prefix of the same kind


class Prompts:
    """What stands before every query: one prefix or, for an average over orders, several.

    Where a method trains what demonstrations left, `start_prefix`, rows are tokenised as they follow these, no more.
    Of each prefix as many demonstrations are read, from the first, as the prompt keeps that keeps most: what no prompt
    has room for would be paid for and never used. Of all of them together: `seconds` of reading them once (and of
    calibrating), `flops` of calibrating (`calibrating`: from every source), `tokens`, `cache_bytes` of keys and values
    (None: not kept); and `ids`, the rows that each was made of.
    Args: identity, what counted FLOPs may be shared under; autocast, under which the model runs; queries, the rows that
    are to be scored, where they are known: with none, as many demonstrations are read as fit without any query; now,
    what clocks read.
    """

    def __init__(
        self,
        model: nn.Module,
        identity: tuple[str, ...],
        autocast: Callable[[], AbstractContextManager[object]],
        queries: Sequence[EncodedExamples] = (),
        now: Callable[[], float] = time.perf_counter,
    ):
        self._now = now
        self._model, self._identity, self._autocast, self._queries = model, identity, autocast, tuple(queries)
        self.flops = 0
        self.calibrating, self.calibrating_seconds = NO_FLOPS, 0.0
        self.ids: list[tuple[str, ...]] = []
        self.reading_seconds: list[float] = []
        self._prefixes: list[Demonstrated] = []
        self.start_prefix: Demonstrated | None = None
        self._layout: Callable[[], Layout | None] = lambda: None
        self._known: dict[tuple[int, str], tuple[EncodedExamples, PrefixedRows]] = {}
        self.lead_seconds, self._lead_was_kept = 0.0, False

    @property
    def prefixes(self) -> Sequence[Demonstrated]:
        """What was read, in order."""
        return tuple(self._prefixes)

    @property
    def seconds(self) -> float:
        """Of reading every prefix once, as it is now, of calibrating, and of making what leads."""
        return sum(self.reading_seconds) + self.calibrating_seconds + self.lead_seconds

    @property
    def tokens(self) -> int:
        """Of all demonstrations that are read (of an encoder-decoder: that stand before the query with most)."""
        return sum(prefix.tokens for prefix in self._prefixes)

    @property
    def cache_bytes(self) -> int | None:
        """Of all keys and values; None where there are no prefixes, or nothing of them can be kept."""
        sizes = [size for prefix in self._prefixes if (size := prefix.nbytes) is not None]
        return sum(sizes) if sizes else None

    def keep_lead(self, backbone: Family) -> list[Tensor]:
        """Makes on the clock what leads in the rows that are scored from now on, unless it is kept already; what was
        made now and is kept beside the parameters."""
        if not backbone.lead_lengths or backbone.kept_lead is not None:
            return []
        clock = Clock(next(self._model.parameters()).device, self._now)
        self._model.eval()
        with clock.running(), torch.inference_mode(), self._autocast():
            kept = beside_parameters(backbone.keep_lead().tensors, self._model)
        self.lead_seconds += clock.seconds
        self._lead_was_kept = True
        return kept

    def add(self, backbone: Backbone, demonstrations: EncodedExamples) -> int:
        """A prefix that every row follows that is scored from now on, unread; its place among them."""
        if self.start_prefix is not None:
            raise ValueError("rows follow demonstrations already, those that training starts from")
        prefix = cast(Demonstrated, backbone.prefix(demonstrations))
        if self._queries:
            prefix = prefix.limited_to(max(self._most_kept(prefix, rows) for rows in self._queries))
        self.ids.append(cast(PromptedExamples, demonstrations).ids)
        self._prefixes.append(prefix)
        self.reading_seconds.append(0.0)
        return len(self._prefixes) - 1

    def read(self, backbone: Backbone, place: int, held: int | None = None) -> Demonstrated:
        """A prefix read on the clock, `held` of its demonstrations where that is given; what it read before counts no
        more."""
        prefix = self._prefixes[place]
        read, seconds = self._read(backbone, prefix if held is None else prefix.limited_to(held))
        prefix.take_over(read)
        self.reading_seconds[place] = seconds if prefix.tokens else 0.0
        return prefix

    def start(self, backbone: Backbone, demonstrations: EncodedExamples) -> tuple[Demonstrated, float]:
        """What a method trains from, read once, and the seconds of it: every row follows all of its demonstrations from
        now on."""
        if self.start_prefix is not None or self._prefixes:
            raise ValueError("rows follow demonstrations already; training cannot start from others")
        prefix = cast(Demonstrated, backbone.prefix(demonstrations))
        self.start_prefix = prefix.limited_to(len(prefix.demonstrations.texts))
        self._layout = lambda: cast(LanguageModel, backbone).layout  # which changes once the method makes keys lead
        for rows in (demonstrations, *self._queries):
            self.after_start(rows)
        return self._read(backbone, self.start_prefix)

    def _read(self, backbone: Backbone, prefix: Demonstrated) -> tuple[Demonstrated, float]:
        """A prefix as the model has read it, and the seconds of that."""
        clock = Clock(next(self._model.parameters()).device, self._now)
        self._model.eval()
        with clock.running(), torch.inference_mode(), self._autocast():
            read = backbone.read(prefix)
        return cast(Demonstrated, read), clock.seconds

    def lacking(self, examples: EncodedExamples) -> dict[int, int]:
        """The prefixes, by their places, of which these rows keep more demonstrations than were read, and how many."""
        most = {place: self._most_kept(prefix, examples) for place, prefix in enumerate(self._prefixes)}
        return {place: kept for place, kept in most.items() if kept > self._prefixes[place].n_kept}

    def following(self, examples: EncodedExamples) -> EncodedExamples:
        """The rows as they follow every prefix; as they are where there is none."""
        if not self._prefixes:
            return self.after_start(examples)
        rows = cast(PromptedExamples, examples)
        after = {prefix.demonstrations.name: self._followed(prefix, examples) for prefix in self._prefixes}
        return replace(rows, by_prefix={**rows.by_prefix, **after})

    def flops_once(self, backbone: Backbone) -> int:
        """Counted FLOPs of reading every prefix once, of calibrating, and of making what leads. Counting reads them
        again: not where memory is measured."""
        read = sum(self._reading(backbone, prefix) for prefix in self._prefixes)
        return self.flops + read + self._making_lead(backbone)

    def entry_once(self, backbone: Backbone, ledger: FlopLedger) -> PhaseFlops:
        """The same as `flops_once`, from every source."""
        read = [ledger.prefix(prefix.tokens, self._reading(backbone, prefix)) for prefix in self._prefixes]
        return sum(read, self.calibrating) + ledger.lead(self._making_lead(backbone))

    @property
    def text_bytes(self) -> int:
        """What has to be stored of the demonstrations that prompts keep, each once, in UTF-8."""
        kept = [text for prefix in self._prefixes for text in prefix.demonstrations.texts[: prefix.n_kept]]
        return len(BETWEEN.join(dict.fromkeys(kept)).encode())

    def flops_without_reuse(self, backbone: Backbone, examples: EncodedExamples) -> int:
        """Counted FLOPs of reading, for every row anew, the demonstrations that it keeps of each prefix."""
        return sum(
            self._reading(backbone, prefix.limited_to(kept)) * rows
            for prefix in self._prefixes
            for kept, rows in Counter(self._followed(prefix, examples).kept).items()
            if kept
        )

    def after_start(self, examples: EncodedExamples) -> EncodedExamples:
        """The rows, tokenised as they follow the demonstrations that training starts from, where there are such.

        Errors: Unsupported for rows that have no room for all of them.
        """
        if self.start_prefix is None or examples.features is not None:
            return examples
        rows, followed = cast(PromptedExamples, examples), self._followed(self.start_prefix, examples)
        least = min(range(len(rows)), key=lambda row: followed.kept[row], default=None)
        if least is not None and followed.kept[least] < followed.total:
            raise Unsupported(
                f"row {rows.ids[least]} leaves room for {followed.kept[least]} of {followed.total} demonstrations, and "
                "what is trained from them has to stand before every row; give fewer demonstrations, or a max_length"
            )
        return replace(rows, columns={**rows.columns, "input_ids": followed.tokens}, layout=self._layout())

    def _most_kept(self, prefix: Demonstrated, examples: EncodedExamples) -> int:
        return max(self._followed(prefix, examples).kept, default=0)

    def _followed(self, prefix: Demonstrated, examples: EncodedExamples) -> PrefixedRows:
        """How the rows follow a prefix; found out once, for every row is tokenised for it."""
        key = id(examples), prefix.demonstrations.name
        if key not in self._known:
            rows = cast(PromptedExamples, examples)
            self._known[key] = (examples, prefix.demonstrations.prefix_rows(rows))  # both: an id is one's own for life
        return self._known[key][1]

    def start_flops(self, backbone: Backbone) -> int:
        """Counted FLOPs of reading the demonstrations that training starts from."""
        return 0 if self.start_prefix is None else self._reading(backbone, self.start_prefix)

    def _making_lead(self, backbone: Backbone) -> int:
        if not self._lead_was_kept:
            return 0

        def count(_: Shape) -> int:
            with undisturbed(self._model), torch.no_grad(), self._autocast():
                self._model.eval()
                return counted_flops(cast(Family, backbone).make_lead)

        return FlopMeter(("lead", *self._identity), count, ()).total({(): 1})

    def _reading(self, backbone: Backbone, prefix: Prefix) -> int:
        if not prefix.tokens:
            return 0

        def count(_: Shape) -> int:
            with undisturbed(self._model), torch.no_grad(), self._autocast():
                self._model.eval()
                return counted_flops(lambda: backbone.read(prefix))

        return FlopMeter(("prefix", *self._identity), count, ()).total({(prefix.tokens,): 1})


def beside_parameters(tensors: Sequence[Tensor], model: nn.Module) -> list[Tensor]:
    """The tensors that are no part of a parameter of the model."""
    own = {storage_key(parameter) for parameter in model.parameters()}
    return [tensor for tensor in tensors if storage_key(tensor) not in own]
