"""Demonstrations and leads, which the model reads once before it scores rows, and their costs."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from tunefront.bench.meters.fake_weights import measured
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


class DemonstrationPrefix(Prefix, Protocol):
    """A prefix of demonstrations; the first `n_kept` are read for the rows that follow."""

    n_kept: int

    @property
    def demonstrations(self) -> Demonstrations: ...

    def limited_to(self, n_kept: int) -> DemonstrationPrefix: ...

    def take_over(self, read: Any) -> None: ...  # Any: a prefix of the same kind


class Prompts:
    """The prefixes of every query: one or, for an average over orders, several.

    If a method trains the keys and values of demonstrations, `start_prefix`, rows are only tokenised to follow these.
    Of each prefix, the first demonstrations are read, up to the most that a prompt keeps: reading more would cost time
    and be of no use. Totals over all prefixes: `seconds` of reading them once (and of calibration) and `cpu_seconds`,
    the processor time in them, `flops` of calibration (`calibrating`: from every source), `tokens`, and `cache_bytes`
    of keys and values (None if not kept); `ids` has the ids of each prefix's rows.
    Args: identity, the key under which counted FLOPs may be shared; autocast, the context in which the model runs;
    queries, the rows to be scored, if they are known: without them, as many demonstrations are read as fit without a
    query; now, the function that clocks read.
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
        self.calibrating, self.calibrating_seconds, self.calibrating_cpu_seconds = NO_FLOPS, 0.0, 0.0
        self.ids: list[tuple[str, ...]] = []
        self.reading_seconds: list[float] = []
        self._reading_cpu_seconds: list[float] = []
        self._prefixes: list[DemonstrationPrefix] = []
        self.start_prefix: DemonstrationPrefix | None = None
        self.start_ids: tuple[str, ...] = ()
        self._layout: Callable[[], Layout | None] = lambda: None
        self._known: dict[tuple[int, str], tuple[EncodedExamples, PrefixedRows]] = {}
        self.lead_seconds, self._lead_cpu_seconds, self._lead_was_kept = 0.0, 0.0, False

    @property
    def prefixes(self) -> Sequence[DemonstrationPrefix]:
        """The prefixes, in order."""
        return tuple(self._prefixes)

    @property
    def shown_ids(self) -> frozenset[str]:
        """The ids of all rows that are demonstrations: of prompts, or those that training starts from."""
        return frozenset((*self.start_ids, *itertools.chain.from_iterable(self.ids)))

    @property
    def seconds(self) -> float:
        """Seconds of reading every prefix once, as it is now, of calibration, and of computing the lead."""
        return sum(self.reading_seconds) + self.calibrating_seconds + self.lead_seconds

    @property
    def cpu_seconds(self) -> float:
        """Processor time of the process during `seconds`."""
        return sum(self._reading_cpu_seconds) + self.calibrating_cpu_seconds + self._lead_cpu_seconds

    @property
    def tokens(self) -> int:
        """Tokens of all demonstrations that are read (encoder-decoder: of those before the query that keeps most)."""
        return sum(prefix.tokens for prefix in self._prefixes)

    @property
    def cache_bytes(self) -> int | None:
        """Bytes of all keys and values; None if there are no prefixes, or if no keys and values can be kept."""
        sizes = [size for prefix in self._prefixes if (size := prefix.nbytes) is not None]
        return sum(sizes) if sizes else None

    def keep_lead(self, backbone: Family) -> list[Tensor]:
        """Computes the lead for rows scored from now on, on the clock, unless it is kept already. Returns the new
        tensors that are not part of a parameter."""
        if not backbone.lead_lengths or backbone.kept_lead is not None:
            return []
        clock = Clock(next(self._model.parameters()).device, self._now)
        self._model.eval()
        with clock.running(), torch.inference_mode(), self._autocast():
            tensors = outside_parameters(backbone.keep_lead().tensors, self._model)
        self.lead_seconds += clock.seconds
        self._lead_cpu_seconds += clock.cpu_seconds
        self._lead_was_kept = True
        return tensors

    def add(self, backbone: Backbone, demonstrations: EncodedExamples) -> int:
        """Adds an unread prefix for every row that is scored from now on; returns its index."""
        if self.start_prefix is not None:
            raise ValueError("rows already follow the demonstrations that training starts from")
        prefix = cast(DemonstrationPrefix, backbone.prefix(demonstrations))
        if self._queries:
            prefix = prefix.limited_to(max(self._most_kept(prefix, rows) for rows in self._queries))
        self.ids.append(cast(PromptedExamples, demonstrations).ids)
        self._prefixes.append(prefix)
        self.reading_seconds.append(0.0)
        self._reading_cpu_seconds.append(0.0)
        return len(self._prefixes) - 1

    def read(self, backbone: Backbone, place: int, n_kept: int | None = None) -> DemonstrationPrefix:
        """Reads a prefix on the clock, or its first `n_kept` demonstrations. Replaces an earlier reading and its
        seconds."""
        prefix = self._prefixes[place]
        read, clock = self._read(backbone, prefix if n_kept is None else prefix.limited_to(n_kept))
        prefix.take_over(read)
        self.reading_seconds[place] = clock.seconds if prefix.tokens else 0.0
        self._reading_cpu_seconds[place] = clock.cpu_seconds if prefix.tokens else 0.0
        return prefix

    def start(self, backbone: Backbone, demonstrations: EncodedExamples) -> tuple[DemonstrationPrefix, Clock]:
        """Reads once the prefix that training starts from; returns it and the clock of reading. From now on every
        row follows all of its demonstrations."""
        if self.start_prefix is not None or self._prefixes:
            raise ValueError("rows already follow demonstrations; training cannot start from others")
        prefix = cast(DemonstrationPrefix, backbone.prefix(demonstrations))
        self.start_prefix = prefix.limited_to(len(prefix.demonstrations.texts))
        self.start_ids = cast(PromptedExamples, demonstrations).ids
        self._layout = lambda: cast(LanguageModel, backbone).layout  # it changes when the method adds a lead
        for rows in (demonstrations, *self._queries):
            self.after_start(rows)
        return self._read(backbone, self.start_prefix)

    def _read(self, backbone: Backbone, prefix: DemonstrationPrefix) -> tuple[DemonstrationPrefix, Clock]:
        """The prefix after the model has read it, and the clock of reading."""
        clock = Clock(next(self._model.parameters()).device, self._now)
        self._model.eval()
        with clock.running(), torch.inference_mode(), self._autocast():
            read = backbone.read(prefix)
        return cast(DemonstrationPrefix, read), clock

    def missing(self, examples: EncodedExamples) -> dict[int, int]:
        """Index of a prefix -> number of demonstrations that these rows keep, if fewer have been read."""
        most = {place: self._most_kept(prefix, examples) for place, prefix in enumerate(self._prefixes)}
        return {place: kept for place, kept in most.items() if kept > self._prefixes[place].n_kept}

    def prepend_to(self, examples: EncodedExamples) -> EncodedExamples:
        """The rows after every prefix; without prefixes, as `after_start`."""
        if not self._prefixes:
            return self.after_start(examples)
        rows = cast(PromptedExamples, examples)
        after = {prefix.demonstrations.name: self._prefixed(prefix, examples) for prefix in self._prefixes}
        return replace(rows, by_prefix={**rows.by_prefix, **after})

    def scored_tokens(self, examples: EncodedExamples) -> tuple[float, float]:
        """Means over rows of the tokens of the demonstrations before a text and of the text itself; with several
        prefixes, sums over them."""
        rows = range(len(examples))
        if not self._prefixes:
            after = self.after_start(examples)
            return 0.0, sum(map(after.text_tokens, rows)) / len(rows)
        before = text = 0
        for prefix in self._prefixes:
            prefixed, ends = self._prefixed(prefix, examples), prefix.demonstrations.ends
            shown = [ends[kept] for kept in prefixed.kept]
            inside = sum(shown) if prefix.demonstrations.whole else 0
            before += sum(shown)
            text += sum(map(len, prefixed.tokens)) - inside
        return before / len(rows), text / len(rows)

    def flops_once(self, backbone: Backbone) -> int:
        """Counted FLOPs of reading every prefix once, of calibration, and of computing the lead. Counting reads them
        again, so do not call it where memory is measured."""
        read = sum(self._reading_flops(backbone, prefix) for prefix in self._prefixes)
        return self.flops + read + self._lead_flops(backbone)

    def entry_once(self, backbone: Backbone, ledger: FlopLedger) -> PhaseFlops:
        """The FLOPs of `flops_once`, from every source."""
        read = [ledger.prefix(prefix.tokens, self._reading_flops(backbone, prefix)) for prefix in self._prefixes]
        return sum(read, self.calibrating) + ledger.lead(self._lead_flops(backbone))

    @property
    def text_bytes(self) -> int:
        """Bytes of the texts of all demonstrations that prompts keep, each once, in UTF-8."""
        kept = [text for prefix in self._prefixes for text in prefix.demonstrations.texts[: prefix.n_kept]]
        return len(BETWEEN.join(dict.fromkeys(kept)).encode())

    def flops_without_reuse(self, backbone: Backbone, examples: EncodedExamples) -> int:
        """Counted FLOPs if every row read the demonstrations that it keeps again, for each prefix."""
        return sum(
            self._reading_flops(backbone, prefix.limited_to(kept)) * rows
            for prefix in self._prefixes
            for kept, rows in Counter(self._prefixed(prefix, examples).kept).items()
            if kept
        )

    def after_start(self, examples: EncodedExamples) -> EncodedExamples:
        """The rows, tokenised after the demonstrations that training starts from, if there are any.

        Errors: Unsupported for rows without room for all of them.
        """
        if self.start_prefix is None or examples.features is not None:
            return examples
        rows, prefixed = cast(PromptedExamples, examples), self._prefixed(self.start_prefix, examples)
        least = min(range(len(rows)), key=lambda row: prefixed.kept[row], default=None)
        if least is not None and prefixed.kept[least] < prefixed.total:
            raise Unsupported(
                f"row {rows.ids[least]} leaves room for {prefixed.kept[least]} of {prefixed.total} demonstrations, but "
                "all of them must precede every row in training; give fewer demonstrations, or a max_length"
            )
        return replace(rows, columns={**rows.columns, "input_ids": prefixed.tokens}, layout=self._layout())

    def _most_kept(self, prefix: DemonstrationPrefix, examples: EncodedExamples) -> int:
        return max(self._prefixed(prefix, examples).kept, default=0)

    def _prefixed(self, prefix: DemonstrationPrefix, examples: EncodedExamples) -> PrefixedRows:
        """The rows after a prefix; computed once, because it tokenises every row."""
        key = id(examples), prefix.demonstrations.name
        if key not in self._known:
            rows = cast(PromptedExamples, examples)
            self._known[key] = (
                examples,
                prefix.demonstrations.prefix_rows(rows),
            )  # examples too: keeps their id() in use
        return self._known[key][1]

    def start_flops(self, backbone: Backbone) -> int:
        """Counted FLOPs of reading the demonstrations that training starts from."""
        return 0 if self.start_prefix is None else self._reading_flops(backbone, self.start_prefix)

    def reads_lead(self, backbone: Backbone) -> bool:
        """Whether a lead was computed once, with matrix products, for all rows that were scored."""
        return self._lead_flops(backbone) > 0

    def _lead_flops(self, backbone: Backbone) -> int:
        if not self._lead_was_kept:
            return 0

        def count(_: Shape) -> int:
            with undisturbed(self._model), torch.no_grad(), self._autocast():
                self._model.eval()
                return measured(self._model, lambda: counted_flops(cast(Family, backbone).make_lead))

        return FlopMeter(("lead", *self._identity), count, ()).total({(): 1})

    def _reading_flops(self, backbone: Backbone, prefix: Prefix) -> int:
        if not prefix.tokens:
            return 0

        def count(_: Shape) -> int:
            with undisturbed(self._model), torch.no_grad(), self._autocast():
                self._model.eval()
                return measured(self._model, lambda: counted_flops(lambda: backbone.read(prefix)))

        return FlopMeter(("prefix", *self._identity), count, ()).total({(prefix.tokens,): 1})


def outside_parameters(tensors: Sequence[Tensor], model: nn.Module) -> list[Tensor]:
    """The tensors that are not part of a parameter of the model."""
    own = {storage_key(parameter) for parameter in model.parameters()}
    return [tensor for tensor in tensors if storage_key(tensor) not in own]
