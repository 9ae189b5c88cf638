"""Prompt tuning: learned embeddings before every text (Lester et al., 2021, arXiv:2104.08691)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from tunefront.methods.base import Backbone, Exported, Library, Method, Recipe, Search, at_least
from tunefront.methods.counterparts import PROMPT, check_prompt

COMMON = 5_000
"""Initial words are drawn from this many first entries of the vocabulary (Lester et al. 2021, section 3.2): the most
common ones, if the tokenizer sorts its vocabulary by frequency."""


class SoftPrompt(nn.Module):
    """A leading prompt for each stack.

    Args: prompts, the initial embeddings (n, width) by stack name.
    Size: n times the sum of the stacks' widths.
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
    per training batch, and once before scoring.
    Fields: length, in tokens; start, the initial embeddings: `vocabulary` (of words drawn from the first 5,000 that are
    not special), `text` (of the tokens of the field `text`, repeated or truncated to the length) or `random` (uniform
    between -0.5 and 0.5).
    Differs: 20 tokens, which fit into short models, instead of the paper's 100; AdamW with a decaying rate of 0.03
    instead of Adafactor with a constant 0.3; a prompt in the decoder of an encoder-decoder, while the paper has one
    only in the encoder; prompts also in encoders that classify.
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
            raise ValueError(f"text is {self.text!r}, but only start=text reads it, and start is {self.start!r}")

    def attach(self, backbone: Backbone) -> None:
        stacks = backbone.stacks
        backbone.freeze(keep=backbone.head)
        backbone.lead(SoftPrompt({stack.name: self._initial(backbone, stack.width) for stack in stacks}))

    def _initial(self, backbone: Backbone, width: int) -> Tensor:
        """The initial embeddings (length, width) of a prompt, drawn from torch's global generator."""
        embed = backbone.model.get_input_embeddings()  # type: ignore[operator]
        if self.start == "random":
            return torch.rand(self.length, width) - 0.5
        with torch.no_grad():
            return embed(self._words(backbone, embed.weight.shape[0]).to(embed.weight.device)).clone()

    def _words(self, backbone: Backbone, vocabulary: int) -> Tensor:
        """The token ids (length,) of the initial prompt."""
        tokenizer = backbone.tokenizer
        if self.text:
            ids = list(tokenizer(self.text, add_special_tokens=False)["input_ids"])
            if not ids:
                raise ValueError(f"the text {self.text!r} has no tokens to start from")
            return torch.tensor([ids[place % len(ids)] for place in range(self.length)])
        special = set(tokenizer.all_special_ids)
        common = [word for word in range(vocabulary) if word not in special][:COMMON]
        return torch.tensor(common)[torch.randint(len(common), (self.length,))]

    def exported(self, library: Library, backbone: Backbone) -> Exported:
        """peft's, on decoders."""
        if library != "peft":
            return super().exported(library, backbone)
        check_prompt(backbone)
        prompt = cast(SoftPrompt, backbone.model.lead).prompts["decoder"]
        config = {
            "peft_type": "PROMPT_TUNING",
            "num_virtual_tokens": self.length,
            "token_dim": prompt.shape[1],
            "num_transformer_submodules": 1,
            "prompt_tuning_init": "RANDOM",
        }
        return Exported(config, {PROMPT: prompt})
