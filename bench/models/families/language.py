"""What decoders and encoder-decoders share: rows become prompts, and answers are scored."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self, cast

import torch
from torch import Tensor, nn

from tunefront.bench.data.task import Row, Task
from tunefront.bench.errors import UserError
from tunefront.bench.models.families.family import Family
from tunefront.bench.models.families.head import make_head
from tunefront.bench.models.families.leads import Lengths
from tunefront.bench.models.families.windows import window
from tunefront.bench.models.losses import LossWeights
from tunefront.bench.models.scoring.normalization import choice_scores, text_length
from tunefront.bench.models.scoring.prompted import Layout, PromptedExamples, prefix_key
from tunefront.bench.models.scoring.tokens import Ids, TokenisedPrompt, Tokens
from tunefront.bench.templates import Prompt, Template, find_template
from tunefront.methods.base import Batch, Prefix, Unsupported
from tunefront.methods.sites import Sites

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

FEWEST_QUERY_TOKENS = 8
"""Of a query that is cut: with fewer left, nothing of it could be answered."""
NO_LIMIT = 10**9
FILLERS = ("N/A", "[MASK]", "")
"""What stands for a row without content (Zhao et al. 2021, section 5)."""


@dataclass(frozen=True)
class Prompting:
    """How a language model is asked, and how its answers are weighed.

    Args: template, which renders rows; normalization of scores, see `models.scoring.normalization`; losses, the weights
    of T-Few's three; context_length, the most tokens of a whole prompt, demonstrations and answer included, None for
    what the model takes.
    """

    template: Template
    normalization: str = "token"
    losses: LossWeights = field(default_factory=LossWeights)
    context_length: int | None = None


class LanguageModel(Family):
    """A language model on one task. It has no head, and scores the choices, until `add_head` gives it one.

    It is asked as `prompting` says, by the task's first template where it is None.
    """

    layout: Layout
    head: nn.Module | None = None

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        sites: Sites,
        task: Task,
        prompting: Prompting | None = None,
    ):
        refuse_regression(task)
        self.model, self.tokenizer, self.sites, self.task = model, tokenizer, sites, task
        self.prompting, self.tokens = prompting or Prompting(find_template(task, None)), Tokens(tokenizer)
        self._query_room = NO_LIMIT  # set by encode()

    @property
    def width(self) -> int:
        """Of the states that the output layer reads: on OPT-350m less than the blocks' own."""
        return int(cast(nn.Linear, self.model.get_output_embeddings()).weight.shape[1])

    def loss(self, batch: Batch) -> Tensor:
        """The weighted sum of T-Few's losses over the choices, or the head's mean cross-entropy; a scalar."""
        if self.head is not None:
            return nn.functional.cross_entropy(self._outputs(batch), batch.labels)
        return self.prompting.losses.combined(self._logprobs(batch), batch.inputs["choice_mask"], batch.labels)

    def _score(self, batch: Batch, prefix: Prefix | None) -> Tensor:
        """The choices' normalised log-probabilities, (batch, choices), -inf where a row has fewer; or the logits of the
        head, where there is one."""
        if self.head is not None:
            return self._outputs(batch)
        logprobs = self.choice_logprobs(batch, prefix)
        inputs = batch.inputs
        return choice_scores(logprobs, inputs["choice_mask"], self.prompting.normalization, inputs["choice_lengths"])

    @property
    def outputs(self) -> int:
        """The classes; Unsupported on multiple choice, where an index means nothing."""
        if self.task.kind == "multiple choice":
            raise Unsupported(
                f"{self.task.name} is multiple choice: features cannot tell choices that depend on the row"
            )
        return self.task.outputs

    def add_head(self) -> nn.Module:
        """A head on `features`, through which `loss` and `score` go from now on; Unsupported as `outputs`."""
        head = make_head(self.model, self.width, self.outputs)
        if self.dropout is not None:
            head.dropout.p = self.dropout
        self.model.add_module("head", head)
        self.head = head
        return head

    def content_free(self) -> PromptedExamples:
        """The task's prompt with fillers for the row's fields; Unsupported on multiple choice."""
        if self.task.kind == "multiple choice":
            raise Unsupported(f"{self.task.name} is multiple choice: its choices are content")
        prompts = [self.prompting.template.content_free(self.task, filler) for filler in FILLERS]
        return self._encoded(prompts, [repr(filler) for filler in FILLERS])

    def encode(self, task: Task, rows: Iterable[Row], max_length: int | None = None) -> PromptedExamples:
        """Tokenised prompts and choices; a query longer than max_length, or than the model takes, is cut at its start,
        which is counted.

        Errors: UserError for choices that are equal once tokenised, and for a row whose choices leave no room.
        """
        return self._tokenised(rows, max_length)

    def check(self, rows: Iterable[Row], max_length: int | None) -> None:
        """UserError as in `encode`; of the model, only its configuration is read."""
        self._tokenised(rows, max_length)

    def query_lengths(self, rows: Iterable[Row], max_length: int | None) -> list[tuple[int, int]]:
        """(tokens of the prompt, tokens of it that are kept) of each row; errors as in `encode`."""
        rows = list(rows)
        self._query_room = max_length or NO_LIMIT
        found = []
        for row, pair in zip(
            rows, self._split([self.prompting.template.render(self.task, row) for row in rows]), strict=True
        ):
            room = min(self._query_room, self._context(max(map(len, pair.answers)), row.id))
            found.append((len(pair.prompt), len(self._cut(pair.prompt, room))))
        return found

    def asking(self, task: Task, template: Template) -> Self:
        """The same model, asked about another task: what rows of a mixture are encoded by."""
        other = copy.copy(self)
        other.task, other.prompting = task, replace(self.prompting, template=template)
        return other

    def _tokenised(self, rows: Iterable[Row], max_length: int | None) -> PromptedExamples:
        rows = list(rows)
        if max_length is not None and max_length < FEWEST_QUERY_TOKENS:
            raise UserError(
                f"max_length is {max_length}, which leaves next to nothing of a prompt; give at least "
                f"{FEWEST_QUERY_TOKENS}, or leave it out."
            )
        self._query_room = max_length or NO_LIMIT
        return self._encoded([self.prompting.template.render(self.task, row) for row in rows], [row.id for row in rows])

    def _encoded(self, prompts: Sequence[Prompt], names: Sequence[str]) -> PromptedExamples:
        pairs = self._split(prompts)
        queries, cut = [], []
        for prompt, name, pair in zip(prompts, names, pairs, strict=True):
            self._check_choices(prompt, name, pair.answers)
            room = min(self._query_room, self._context(max(map(len, pair.answers)), name))
            query = self._cut(pair.prompt, room)
            cut.append(len(query) < len(pair.prompt))
            queries.append(torch.tensor(query))
        normalization = self.prompting.normalization
        return PromptedExamples(
            columns={"input_ids": queries},
            padding={"input_ids": 0},
            labels=torch.tensor([prompt.label for prompt in prompts], dtype=torch.long),
            cut=tuple(cut),
            ids=tuple(names),
            prompts=tuple(prompts),
            choices=tuple(tuple(torch.tensor(choice) for choice in pair.answers) for pair in pairs),
            boundary_tokens=tuple(pair.boundary_tokens for pair in pairs),
            choice_lengths=tuple(
                tuple(float(text_length(choice, normalization)) for choice in prompt.choices) for prompt in prompts
            ),
            layout=self.layout,
        )

    def _check_choices(self, prompt: Prompt, name: str, choices: Sequence[Ids]) -> None:
        for place, choice in enumerate(choices):
            told = f"row {name} of {self.task.name} under the template {self.prompting.template.name!r}"
            if not choice:
                raise UserError(f"{told} has a choice without tokens, {prompt.choices[place]!r}; name it otherwise.")
            if choice in choices[:place]:
                same = prompt.choices[choices.index(choice)]
                raise UserError(
                    f"{told} has choices that are the same tokens, {same!r} and {prompt.choices[place]!r}, so that "
                    "they could not be told apart; name them otherwise, or take another template."
                )

    def _context(self, longest: int, name: str) -> int:
        """How many tokens the query of a row may have beside its longest choice."""
        room = self.room
        if room is None:
            return self._query_room
        left = room - self._beside(longest)
        if left < FEWEST_QUERY_TOKENS:
            raise UserError(
                f"row {name} of {self.task.name} under the template {self.prompting.template.name!r} has a choice of "
                f"{longest} tokens, which leaves room for {max(0, left)} tokens of its prompt: "
                f"{self.model.config.model_type} takes {room} in all{self._led_beside}; raise context_length where "
                "it is set, or take another template or backbone."
            )
        return left

    @property
    def room(self) -> int | None:
        """The most tokens of a whole prompt with an answer: what positions and windows allow beside what leads, and
        context_length."""
        longest = self._longest
        limits = [None if longest is None else longest - self.led, self.prompting.context_length]
        return min((limit for limit in limits if limit), default=None)

    @property
    def _longest(self) -> int | None:
        """The most tokens that the model takes, what leads among them; None for no limit."""
        config = self.model.config
        names = ("max_position_embeddings", "n_positions")
        known = [*(getattr(config, name, None) for name in names), window(config)] if self.positions else []
        return min((int(limit) for limit in known if limit), default=None)

    def _check_lead(self, found: Lengths) -> None:
        longest, most = self._longest, found.most
        if longest is not None and longest - most <= FEWEST_QUERY_TOKENS:
            raise Unsupported(
                f"what leads takes {most} tokens of the {longest} that {self.model.config.model_type} takes in all, "
                "which leaves no room for a text"
            )

    @property
    def _led_beside(self) -> str:
        return f" beside the {self.led} that lead" if self.led else ""

    positions = True
    """Whether the model's configuration limits the length of a prompt."""

    def _outputs(self, batch: Batch) -> Tensor:
        assert self.head is not None  # asked for only then
        return self.head(self._states(batch)).float()

    @abstractmethod
    def choice_logprobs(self, batch: Batch, prefix: Prefix | None = None) -> Tensor:
        """The log-probability of every choice's tokens, (batch, choices, tokens), computed for scoring: what rows and
        choices share is computed once. What `choice_mask` leaves out means nothing."""

    @abstractmethod
    def _logprobs(self, batch: Batch) -> Tensor:
        """The same for training."""

    @abstractmethod
    def _split(self, prompts: Sequence[Prompt]) -> list[TokenisedPrompt]:
        """Each prompt and its choices in tokens, the special ones included."""

    @abstractmethod
    def _cut(self, ids: Ids, room: int) -> Ids:
        """A prompt cut to so many tokens at its start, the special ones apart."""

    @abstractmethod
    def _beside(self, longest: int) -> int:
        """How many tokens beside the query count against the room, given the longest choice."""


def refuse_regression(task: Task) -> None:
    """Unsupported for a task without choices, which no template asks either."""
    if task.kind == "regression":
        raise Unsupported(f"{task.name} is regression; a language model scores choices, so it needs an encoder")


def following(batch: Batch, prefix: Prefix | None, name: str) -> Tensor:
    """An input of the batch as it is after the prefix."""
    if prefix is None:
        return batch.inputs[name]
    key = prefix_key(name, prefix.demonstrations.name)  # type: ignore[attr-defined]
    if key not in batch.inputs:
        raise KeyError("these rows were not made to follow this prefix: make it with harness.prefill(...) in fit()")
    return batch.inputs[key]
