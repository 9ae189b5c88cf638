"""Prompts, answers and demonstrations as token ids: always the tokens of the whole text.

A piece tokenised on its own may differ from the same piece inside the text (a full stop and the newline after it can be
one token). So every piece is tokenised together with the text before it, and starts where their tokens first differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from tunefront.bench.templates import Prompt

BETWEEN = "\n\n"
"""Separates a demonstration from the text after it."""

Ids = list[int]


@dataclass(frozen=True)
class TokenisedPrompt:
    """A prompt and its answers in tokens; the last `boundary_tokens` of the prompt on its own belong to the answers,
    because a following answer changes them."""

    prompt: Ids
    answers: list[Ids]
    boundary_tokens: int = 0


class Tokens:
    """A tokenizer without its special tokens, which are `leading` (before a text) or `trailing` (after it)."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        self.tokenizer = tokenizer
        bare, whole = self.of(["a"])[0], list(tokenizer("a")["input_ids"])
        at = next(place for place in range(len(whole)) if whole[place : place + len(bare)] == bare)
        self.leading, self.trailing = whole[:at], whole[at + len(bare) :]

    def of(self, texts: Sequence[str]) -> list[Ids]:
        """Token ids of each text, without special tokens; equal texts are tokenised once."""
        if not texts:
            return []
        once = list(dict.fromkeys(texts))
        ids = self.tokenizer(once, add_special_tokens=False, verbose=False)["input_ids"]
        ids_of = dict(zip(once, map(list, ids), strict=True))
        return [ids_of[text] for text in texts]

    def with_answers(self, prompts: Sequence[Prompt]) -> list[TokenisedPrompt]:
        """Each prompt up to the token where it first differs from an answered prompt, and the rest of each of these."""
        alone = self.of([prompt.text for prompt in prompts])
        pairs = [(row, answer) for row, prompt in enumerate(prompts) for answer in prompt.choices]
        joined = self.of([f"{prompts[row].text}{prompts[row].separator}{answer}" for row, answer in pairs])
        wholes: list[list[Ids]] = [[] for _ in prompts]
        for (row, _), whole in zip(pairs, joined, strict=True):
            wholes[row].append(whole)
        kept = [min(shared_tokens(ids, whole) for whole in row) for ids, row in zip(alone, wholes, strict=True)]
        return [
            TokenisedPrompt(ids[:length], [whole[length:] for whole in row], len(ids) - length)
            for ids, length, row in zip(alone, kept, wholes, strict=True)
        ]

    def after_prefix(self, earlier: str, prompts: Sequence[str]) -> list[tuple[int, Ids]]:
        """Each prompt after the text `earlier`: the number of tokens of `earlier` that stay the same, and the tokens
        after those, starting with the separator."""
        before = self.of([earlier])[0]
        wholes = self.of([f"{earlier}{BETWEEN}{prompt}" for prompt in prompts])
        return [(kept := shared_tokens(before, whole), whole[kept:]) for whole in wholes]


def cut_start(ids: Ids, room: int, before: int = 0, after: int = 0) -> Ids:
    """The ids truncated to `room` by dropping those after the first `before`; the last `after` stay too. A prompt is
    truncated at its start because its end asks for the answer."""
    gone = max(0, len(ids) - room)
    return [*ids[:before], *ids[min(before + gone, len(ids) - after) :]]


def shared_tokens(first: Sequence[int], second: Sequence[int]) -> int:
    """The number of tokens in the longest common prefix of two sequences."""
    both = min(len(first), len(second))
    if first[:both] == second[:both]:
        return both
    return next(place for place in range(both) if first[place] != second[place])
