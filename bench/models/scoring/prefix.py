"""Demonstrations before every query: which of them fit, and their cached keys and values."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from tunefront.bench.models.scoring.prompted import PrefixedRows, PromptedExamples
from tunefront.bench.models.scoring.tokens import BETWEEN, Ids, Tokens, cut_start, shared_tokens
from tunefront.bench.templates import Prompt

KeysValues = tuple[Tensor, Tensor]
"""Keys and values of one layer, each (1, heads, tokens, head width)."""


@dataclass(frozen=True)
class Demonstrations:
    """Demonstrations in order, as text, and the token position at which each ends.

    `ends[j]` is the number of tokens of the first j demonstrations (with the leading special tokens) when more text
    follows; approximate beyond `room`. `ids` are the tokens of at least those demonstrations that fit. `room` is the
    most tokens of a whole prompt with its longest choice, None for no limit, and `query_room` those of a query alone.
    `whole`: rows include the tokens of the demonstrations, as an encoder needs them; otherwise only what follows them.
    """

    texts: tuple[str, ...]
    tokens: Tokens = field(repr=False)
    ids: Ids
    ends: tuple[int, ...]
    room: int | None
    query_room: int
    whole: bool = False

    @classmethod
    def of(
        cls, prompts: Sequence[Prompt], tokens: Tokens, room: int | None, query_room: int, whole: bool = False
    ) -> Demonstrations:
        """The prompts with their right answers, in this order."""
        texts = tuple(prompt.answered for prompt in prompts)
        ends, whole_ids = [0], list(tokens.leading)
        for count, text in enumerate(texts, 1):
            alone = len(tokens.of([text])[0])
            if room is not None and ends[-1] > room:  # no row keeps it, so its tokens are not needed
                ends.append(ends[-1] + alone)
                continue
            whole_ids = [*tokens.leading, *tokens.of([BETWEEN.join(texts[:count])])[0]]
            # A separator may change the last tokens before it, whatever comes after it.
            ends.append(len(whole_ids) - alone + tokens.after_prefix(text, ["Text"])[0][0])
        return cls(texts, tokens, whole_ids[: ends[-1]] if texts else [], tuple(ends), room, query_room, whole)

    @property
    def text(self) -> str:
        """All demonstrations, as they stand in the prompt."""
        return self.text_of(len(self.texts))

    def text_of(self, kept: int) -> str:
        """The first `kept` demonstrations, as they stand in the prompt."""
        return BETWEEN.join(self.texts[:kept])

    @property
    def name(self) -> str:
        """The key under which batches hold the rows after this prefix."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:12]

    @property
    def fitting(self) -> int:
        """The number of demonstrations, from the first, that fit before an empty query."""
        return max(kept for kept, end in enumerate(self.ends) if self.room is None or end <= self.room)

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """Start and end token of each demonstration; leading special tokens belong to none."""
        return tuple(zip((len(self.tokens.leading), *self.ends[1:]), self.ends[1:], strict=False))

    def prepend_to(self, examples: PromptedExamples) -> PromptedExamples:
        """The examples, with their rows after these demonstrations added."""
        return replace(examples, by_prefix={**examples.by_prefix, self.name: self.prefix_rows(examples)})

    def prefix_rows(self, examples: PromptedExamples) -> PrefixedRows:
        """The rows after these demonstrations: each keeps the first demonstrations that leave room for its query and
        longest choice. The last are dropped first, so the cached keys and values stay valid."""
        longest = [0 if self.whole else max(map(len, row_choices)) for row_choices in examples.choices]
        trailing = len(self.tokens.trailing) if self.whole else 0
        rows: dict[int, tuple[int, Ids]] = {}
        waiting = list(range(len(examples)))
        for kept in range(self.fitting, 0, -1):
            following = self._following(
                kept, [(examples.prompts[row].text, examples.boundary_tokens[row]) for row in waiting]
            )
            fitting = [
                (row, ids)
                for row, ids in zip(waiting, following, strict=True)
                if self.room is None or self.ends[kept] + len(ids) + longest[row] + trailing <= self.room
            ]
            read = self.ids[: self.ends[kept]] if self.whole else []
            end = self.tokens.trailing if self.whole else []
            rows |= {row: (kept, [*read, *ids, *end]) for row, ids in fitting}
            waiting = [row for row in waiting if row not in rows]
            if not waiting:
                break
        alone = examples.columns["input_ids"]
        tokens = tuple(torch.tensor(rows[row][1]) if row in rows else alone[row] for row in range(len(examples)))
        kept_by = tuple(rows[row][0] if row in rows else 0 for row in range(len(examples)))
        before = tuple(0 if self.whole else self.ends[kept] for kept in kept_by)
        return PrefixedRows(len(self.texts), tokens, kept_by, before)

    def _following(self, kept: int, prompts: Sequence[tuple[str, int]]) -> list[Ids]:
        """The tokens of each prompt (text, boundary tokens) after the first `kept` demonstrations, truncated at the
        start to the room of a query."""
        last = self.texts[kept - 1]
        whole, lost = self.tokens.of([last])[0], self.ends[kept]
        joined = self.tokens.of([BETWEEN.join(self.texts[:kept])])[0]
        stays = len(whole) - (len(self.tokens.leading) + len(joined) - lost)
        texts = [text for text, _ in prompts]
        followed = []
        pieces = zip(prompts, self.tokens.of(texts), self.tokens.after_prefix(last, texts), strict=True)
        for (text, boundary_tokens), alone, (place, ids) in pieces:
            new = [*whole[stays:place], *ids]
            if place < stays:  # it would change tokens that are cached already: tokenise it on its own instead
                new = self.tokens.of([f"{BETWEEN}{text}"])[0]
            # All but the prompt's own tokens: newlines may be tokenised differently before a text than alone.
            separator = len(new) - shared_tokens(new[::-1], alone[::-1])
            new = new[: len(new) - boundary_tokens]
            followed.append(cut_start(new, separator + self.query_room, separator))
        return followed


@dataclass(eq=False)
class CachedPrefix:
    """Demonstrations for a decoder: `layers` are the keys and values of the first `n_kept`, empty until they are read.
    By default `n_kept` is the number that fits before an empty query."""

    demonstrations: Demonstrations
    layers: tuple[KeysValues, ...] = ()
    n_kept: int = -1

    def __post_init__(self) -> None:
        self.n_kept = self.demonstrations.fitting if self.n_kept < 0 else self.n_kept

    @property
    def text(self) -> str:
        """The text to store in order to read the demonstrations again."""
        return self.demonstrations.text_of(self.n_kept)

    @property
    def tokens(self) -> int:
        """Tokens of the kept demonstrations."""
        return self.demonstrations.ends[self.n_kept]

    @property
    def nbytes(self) -> int | None:
        """Bytes of keys and values; None where there are demonstrations but none is cached."""
        if self.tokens and not self.layers:
            return None
        return sum(part.numel() * part.element_size() for layer in self.layers for part in layer)

    def limited_to(self, n_kept: int) -> CachedPrefix:
        """The same demonstrations, unread, limited to the first `n_kept`."""
        return CachedPrefix(self.demonstrations, n_kept=n_kept)

    def take_over(self, read: CachedPrefix) -> None:
        """Replaces the cache by that of another prefix of the same demonstrations."""
        self.layers, self.n_kept = read.layers, read.n_kept

    def head(self, kept: int) -> list[KeysValues]:
        """The keys and values of the first `kept` demonstrations."""
        if kept > self.n_kept:
            raise ValueError(f"{kept} demonstrations are requested, but only the first {self.n_kept} were read")
        end = self.demonstrations.ends[kept]
        return [(keys[:, :, :end], values[:, :, :end]) for keys, values in self.layers]


@dataclass(eq=False)
class TextPrefix:
    """Demonstrations that an encoder-decoder reads again with every query, since its encoder is bidirectional. A query
    has at most the first `n_kept` of them before it."""

    demonstrations: Demonstrations
    n_kept: int = -1

    def __post_init__(self) -> None:
        self.n_kept = self.demonstrations.fitting if self.n_kept < 0 else self.n_kept

    @property
    def text(self) -> str:
        """The text to store in order to read the demonstrations again."""
        return self.demonstrations.text_of(self.n_kept)

    @property
    def tokens(self) -> int:
        """Tokens before every query that keeps all `n_kept` demonstrations."""
        return self.demonstrations.ends[self.n_kept]

    @property
    def nbytes(self) -> int | None:
        """None: nothing can be cached."""
        return None

    def limited_to(self, n_kept: int) -> TextPrefix:
        """The same demonstrations, limited to the first `n_kept`."""
        return TextPrefix(self.demonstrations, n_kept)

    def take_over(self, read: TextPrefix) -> None:
        """Takes `n_kept` from another prefix of the same demonstrations."""
        self.n_kept = read.n_kept
