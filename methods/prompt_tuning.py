"""Prompt tuning: learned embeddings before every text (Lester et al., 2021, arXiv:2104.08691)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from tunefront.methods.base import Backbone, Method, Recipe, Search, at_least

COMMON = 5_000
"""So many of a vocabulary's first words are drawn from (Lester et al. 2021, section 3.2): the commonest, where the
tokenizer orders its vocabulary so."""


class SoftPrompt(nn.Module):
    """A prompt for each stack, which leads in it.

    Args: prompts, the initial embeddings (n, width) by the stack's name.
    Size: n times the widths of all stacks.
    """

    def __init__(self, prompts: dict[str, Tensor]):
        super().__init__()
        self.prompts = nn.ParameterDict({name: nn.Parameter(prompt) for name, prompt in prompts.items()})

    def forward(self) -> dict[str, Tensor]:
        return dict(self.prompts.items())


@dataclass(frozen=True)
class PromptTuning(Method):
    """Trains `length` embeddings before the tokens of every text, and the head: length * d + head parameters.

    An encoder-decoder has a prompt in each stack, as in T-Few's code: 2 * length * d. A decoder reads its prompt once
    for a batch that trains, and once before rows are scored.
    Fields: length, in tokens; start, what the embeddings begin as: `vocabulary` (those of words drawn from the 5,000
    first that are not special), `text` (those of the words of the field `text`, repeated or cut to the length) or
    `random` (uniform between -0.5 and 0.5).
    Differs: 20 tokens, for which short models have room, for the paper's 100; AdamW with a rate of 0.03 that falls for
    Adafactor with a constant 0.3; a prompt in the decoder of an encoder-decoder, for which the paper has one in the
    encoder alone; prompts in encoders that classify, too.
    """

    name: ClassVar[str] = "prompt_tuning"
    recipe: ClassVar[Recipe | None] = Recipe(learning_rate=3e-2, weight_decay=0.0, warmup=0.06)
    search: ClassVar[Search | None] = Search("length", (1, 5, 20, 100), (3e-3, 1e-2, 3e-2, 1e-1, 3e-1))
    length: int = 20
    start: Literal["vocabulary", "text", "random"] = "vocabulary"
    text: str | None = None

    def __post_init__(self) -> None:
        at_least(1, 100_000, length=self.length)
        if self.start == "text" and not self.text:
            raise ValueError(f"start=text needs a text to start from, text=WORDS; text is {self.text!r}")
        if self.start != "text" and self.text is not None:
            raise ValueError(f"text is {self.text!r}, which only start=text reads, and start is {self.start!r}")

    def attach(self, backbone: Backbone) -> None:
        stacks = backbone.stacks
        backbone.freeze(keep=backbone.head)
        backbone.lead(SoftPrompt({stack.name: self._initial(backbone, stack.width) for stack in stacks}))

    def _initial(self, backbone: Backbone, width: int) -> Tensor:
        """The embeddings (length, width) that a prompt begins as, by torch's own random numbers."""
        embed = backbone.model.get_input_embeddings()  # type: ignore[operator]
        if self.start == "random":
            return torch.rand(self.length, width) - 0.5
        with torch.no_grad():
            return embed(self._words(backbone, embed.weight.shape[0]).to(embed.weight.device)).clone()

    def _words(self, backbone: Backbone, vocabulary: int) -> Tensor:
        """The ids (length,) of the words that a prompt begins as."""
        tokenizer = backbone.tokenizer
        if self.text:
            ids = list(tokenizer(self.text, add_special_tokens=False)["input_ids"])
            if not ids:
                raise ValueError(f"the text {self.text!r} has no tokens to start from")
            return torch.tensor([ids[place % len(ids)] for place in range(self.length)])
        special = set(tokenizer.all_special_ids)
        common = [word for word in range(vocabulary) if word not in special][:COMMON]
        return torch.tensor(common)[torch.randint(len(common), (self.length,))]
