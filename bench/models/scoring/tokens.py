"""Prompts, answers and demonstrations as token ids: always those of the text as a whole.

A piece tokenised on its own may differ from the same piece inside the text (a full stop and the newline after it can be
one token). So every piece is tokenised together with what stands before it, and begins where the two agree no longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ANSWER = " "
"""Between a prompt and its answer."""
BETWEEN = "\n\n"
"""Between a demonstration and what follows it."""

Ids = list[int]


@dataclass(frozen=True)
class Answered:
    """A prompt and its answers in tokens; `lent` of the prompt's own last tokens are part of the answers, because an
    answer after it changes them."""

    prompt: Ids
    answers: list[Ids]
    lent: int = 0


class Tokens:
    """A tokenizer without its special tokens, which are `leading` (before a text) and `trailing` (after it)."""

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
        found = dict(zip(once, map(list, ids), strict=True))
        return [found[text] for text in texts]

    def answered(self, prompts: Sequence[str], answers: Sequence[Sequence[str]]) -> list[Answered]:
        """Each prompt up to where it agrees with every answered prompt, and the rest of each of these."""
        alone = self.of(prompts)
        pairs = [(row, answer) for row, of_one in enumerate(answers) for answer in of_one]
        joined = self.of([f"{prompts[row]}{ANSWER}{answer}" for row, answer in pairs])
        wholes: list[list[Ids]] = [[] for _ in prompts]
        for (row, _), whole in zip(pairs, joined, strict=True):
            wholes[row].append(whole)
        kept = [min(shared(ids, whole) for whole in of_one) for ids, of_one in zip(alone, wholes, strict=True)]
        return [
            Answered(ids[:length], [whole[length:] for whole in of_one], len(ids) - length)
            for ids, length, of_one in zip(alone, kept, wholes, strict=True)
        ]

    def following(self, earlier: str, prompts: Sequence[str]) -> list[tuple[int, Ids]]:
        """How each prompt goes on after the text `earlier`: how many of the earlier text's tokens stay as they are, and
        the tokens after those, the separator's first."""
        before = self.of([earlier])[0]
        wholes = self.of([f"{earlier}{BETWEEN}{prompt}" for prompt in prompts])
        return [(kept := shared(before, whole), whole[kept:]) for whole in wholes]


def cut_start(ids: Ids, room: int, before: int = 0, after: int = 0) -> Ids:
    """The ids cut to `room`, from the start of what stands between the first `before` and the last `after` of them: a
    prompt ends with what asks for the answer."""
    gone = max(0, len(ids) - room)
    return [*ids[:before], *ids[min(before + gone, len(ids) - after) :]]


def shared(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two sequences begin with alike."""
    both = min(len(first), len(second))
    if first[:both] == second[:both]:
        return both
    return next(place for place in range(both) if first[place] != second[place])
