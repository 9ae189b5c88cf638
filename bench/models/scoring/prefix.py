"""Demonstrations before every query: which fit, and the keys and values that they leave behind."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from tunefront.bench.models.scoring.prompted import Followed, PromptedExamples
from tunefront.bench.models.scoring.tokens import ANSWER, BETWEEN, Ids, Tokens, cut_start, shared
from tunefront.bench.templates import Prompt

KeysValues = tuple[Tensor, Tensor]
"""Of one layer, each (1, heads, tokens, head width)."""


@dataclass(frozen=True)
class Demonstrations:
    """Demonstrations in order, as text, and where each ends in the tokens of them all.

    `ends[j]` is how many tokens the first j demonstrations have (with the text's leading special tokens) when more text
    follows, beyond the room about as many; `ids` are the tokens of at least those that have room. `room` is the most
    tokens that a whole prompt with its longest choice may have, None for no limit, and `query_room` a query alone.
    `whole`: rows hold the demonstrations' tokens too, as an encoder reads them; else what follows them only.
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
        texts = tuple(f"{prompt.text}{ANSWER}{prompt.choices[prompt.label]}" for prompt in prompts)
        ends, whole_ids = [0], list(tokens.leading)
        for count, text in enumerate(texts, 1):
            alone = len(tokens.of([text])[0])
            if room is not None and ends[-1] > room:  # no row keeps it, so that its tokens need not be known
                ends.append(ends[-1] + alone)
                continue
            whole_ids = [*tokens.leading, *tokens.of([BETWEEN.join(texts[:count])])[0]]
            # A separator may change the last tokens of what it follows, whatever comes after it.
            ends.append(len(whole_ids) - alone + tokens.following(text, ["Text"])[0][0])
        return cls(texts, tokens, whole_ids[: ends[-1]] if texts else [], tuple(ends), room, query_room, whole)

    @property
    def text(self) -> str:
        """All demonstrations, as they go into the prompt."""
        return self.text_of(len(self.texts))

    def text_of(self, kept: int) -> str:
        """The first `kept` of them, as they go into the prompt."""
        return BETWEEN.join(self.texts[:kept])

    @property
    def name(self) -> str:
        """Under which batches keep the rows that follow."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:12]

    @property
    def fitting(self) -> int:
        """How many of them, from the first, have room before a query that has no tokens."""
        return max(kept for kept, end in enumerate(self.ends) if self.room is None or end <= self.room)

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """Where the tokens of each demonstration begin and end; leading special tokens belong to none."""
        return tuple(zip((len(self.tokens.leading), *self.ends[1:]), self.ends[1:], strict=False))

    def ahead_of(self, examples: PromptedExamples) -> PromptedExamples:
        """The examples with what they are after these demonstrations."""
        return replace(examples, after={**examples.after, self.name: self.followed_by(examples)})

    def followed_by(self, examples: PromptedExamples) -> Followed:
        """The rows as they follow: each keeps as many demonstrations, from the first, as leave room for its query and
        its longest choice; the last are dropped first, so that what was read stays of use."""
        longest = [0 if self.whole else max(map(len, of_one)) for of_one in examples.choices]
        beside = len(self.tokens.trailing) if self.whole else 0
        rows: dict[int, tuple[int, Ids]] = {}
        waiting = list(range(len(examples)))
        for kept in range(self.fitting, 0, -1):
            following = self._following(kept, [(examples.prompts[row].text, examples.lent[row]) for row in waiting])
            held = [
                (row, ids)
                for row, ids in zip(waiting, following, strict=True)
                if self.room is None or self.ends[kept] + len(ids) + longest[row] + beside <= self.room
            ]
            read = self.ids[: self.ends[kept]] if self.whole else []
            end = self.tokens.trailing if self.whole else []
            rows |= {row: (kept, [*read, *ids, *end]) for row, ids in held}
            waiting = [row for row in waiting if row not in rows]
            if not waiting:
                break
        alone = examples.columns["input_ids"]
        tokens = tuple(torch.tensor(rows[row][1]) if row in rows else alone[row] for row in range(len(examples)))
        kept_by = tuple(rows[row][0] if row in rows else 0 for row in range(len(examples)))
        before = tuple(0 if self.whole else self.ends[kept] for kept in kept_by)
        return Followed(len(self.texts), tokens, kept_by, before)

    def _following(self, kept: int, prompts: Sequence[tuple[str, int]]) -> list[Ids]:
        """The tokens of each prompt (text, tokens that belong to its choices) after the first `kept` demonstrations,
        cut at its start to the room of a query."""
        last = self.texts[kept - 1]
        whole, lost = self.tokens.of([last])[0], self.ends[kept]
        joined = self.tokens.of([BETWEEN.join(self.texts[:kept])])[0]
        stays = len(whole) - (len(self.tokens.leading) + len(joined) - lost)
        texts = [text for text, _ in prompts]
        followed = []
        pieces = zip(prompts, self.tokens.of(texts), self.tokens.following(last, texts), strict=True)
        for (text, lent), alone, (place, ids) in pieces:
            going_on = [*whole[stays:place], *ids]
            if place < stays:  # it would change tokens that were read already: tokenised on its own instead
                going_on = self.tokens.of([f"{BETWEEN}{text}"])[0]
            # What the prompt does not end with on its own: newlines before a text may be other tokens than alone.
            separator = len(going_on) - shared(going_on[::-1], alone[::-1])
            going_on = going_on[: len(going_on) - lent]
            followed.append(cut_start(going_on, separator + self.query_room, separator))
        return followed


@dataclass(eq=False)
class CachedPrefix:
    """Demonstrations for a decoder: `layers` are the keys and values of the first `held` of them, none before it has
    read them. Where nothing else is said, as many as could stand before the shortest of queries."""

    demonstrations: Demonstrations
    layers: tuple[KeysValues, ...] = ()
    held: int = -1

    def __post_init__(self) -> None:
        self.held = self.demonstrations.fitting if self.held < 0 else self.held

    @property
    def text(self) -> str:
        """What would have to be stored to read them again."""
        return self.demonstrations.text_of(self.held)

    @property
    def tokens(self) -> int:
        """How many tokens are read: those of the demonstrations that are held."""
        return self.demonstrations.ends[self.held]

    @property
    def nbytes(self) -> int | None:
        """Bytes of keys and values; None where there are demonstrations and nothing of them is kept."""
        if self.tokens and not self.layers:
            return None
        return sum(part.numel() * part.element_size() for layer in self.layers for part in layer)

    def holding(self, held: int) -> CachedPrefix:
        """The same demonstrations, the first `held` of them to be read."""
        return CachedPrefix(self.demonstrations, held=held)

    def take_over(self, read: CachedPrefix) -> None:
        """Holds what another prefix of the same demonstrations has read, in the place of what it held."""
        self.layers, self.held = read.layers, read.held

    def first(self, kept: int) -> list[KeysValues]:
        """The keys and values of the first `kept` demonstrations."""
        if kept > self.held:
            raise ValueError(f"{kept} demonstrations are asked for, of which the first {self.held} were read")
        end = self.demonstrations.ends[kept]
        return [(keys[:, :, :end], values[:, :, :end]) for keys, values in self.layers]


@dataclass(eq=False)
class TextPrefix:
    """Demonstrations that an encoder-decoder reads anew with every query: its encoder looks both ways. No query has
    more than the first `held` of them before it."""

    demonstrations: Demonstrations
    held: int = -1

    def __post_init__(self) -> None:
        self.held = self.demonstrations.fitting if self.held < 0 else self.held

    @property
    def text(self) -> str:
        """What would have to be stored to read them again."""
        return self.demonstrations.text_of(self.held)

    @property
    def tokens(self) -> int:
        """How many tokens stand before every query that keeps all that are held."""
        return self.demonstrations.ends[self.held]

    @property
    def nbytes(self) -> int | None:
        """None: nothing can be kept."""
        return None

    def holding(self, held: int) -> TextPrefix:
        """The same demonstrations, the first `held` of them before a query."""
        return TextPrefix(self.demonstrations, held)

    def take_over(self, read: TextPrefix) -> None:
        """Holds as many as another prefix of the same demonstrations."""
        self.held = read.held
