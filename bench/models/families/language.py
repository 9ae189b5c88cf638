"""The common base of decoders and encoder-decoders: turns rows into prompts and scores answers."""

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
from tunefront.bench.models.families.leads import LeadLengths
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
"""A query that is cut keeps at least this many tokens; with fewer it could not be answered."""
NO_LIMIT = 10**9
FILLERS = ("N/A", "[MASK]", "")
"""Texts in place of a row's fields, for a prompt without content (Zhao et al. 2021, section 5)."""


@dataclass(frozen=True)
class Prompting:
    """How prompts are built and answers are scored.

    Args: template, which renders rows; normalization of scores, see `models.scoring.normalization`; losses, the weights
    of T-Few's three losses; context_length, the most tokens of a whole prompt with demonstrations and answer, None for
    the model's own limit.
    """

    template: Template
    normalization: str = "token"
    losses: LossWeights = field(default_factory=LossWeights)
    context_length: int | None = None


class LanguageModel(Family):
    """A language model on one task. It scores the choices; after `add_head` it classifies with a head instead.

    `prompting` says how prompts are built; None means the task's first template.
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
        """Width of the states that the output layer reads; on OPT-350m less than the width of the blocks."""
        return int(cast(nn.Linear, self.model.get_output_embeddings()).weight.shape[1])

    def loss(self, batch: Batch) -> Tensor:
        """The weighted sum of T-Few's losses over the choices, or the head's mean cross-entropy; a scalar."""
        if self.head is not None:
            return nn.functional.cross_entropy(self._outputs(batch), batch.labels)
        return self.prompting.losses.combined(self._logprobs(batch), batch.inputs["choice_mask"], batch.labels)

    def _score(self, batch: Batch, prefix: Prefix | None) -> Tensor:
        """Normalised log-probabilities of the choices, (batch, choices), -inf where a row has fewer; with a head, its
        logits."""
        if self.head is not None:
            return self._outputs(batch)
        score = self.choice_logprobs if self.elsewhere is None else self.elsewhere.logprobs
        logprobs = score(batch, prefix)
        inputs = batch.inputs
        return choice_scores(logprobs, inputs["choice_mask"], self.prompting.normalization, inputs["choice_lengths"])

    @property
    def outputs(self) -> int:
        """The number of classes; Unsupported on multiple choice, where an index means nothing."""
        if self.task.kind == "multiple choice":
            raise Unsupported(
                f"{self.task.name} is multiple choice: features cannot distinguish choices that depend on the row"
            )
        return self.task.outputs

    def add_head(self) -> nn.Module:
        """Adds a head on `features`, which `loss` and `score` use from now on; Unsupported as `outputs`."""
        head = make_head(self.model, self.width, self.outputs)
        if self.dropout is not None:
            head.dropout.p = self.dropout
        self.model.add_module("head", head)
        self.head = head
        return head

    def content_free(self) -> PromptedExamples:
        """The task's prompt with fillers in place of the row's fields; Unsupported on multiple choice."""
        if self.task.kind == "multiple choice":
            raise Unsupported(f"{self.task.name} is multiple choice: its choices are part of the row's content")
        prompts = [self.prompting.template.content_free(self.task, filler) for filler in FILLERS]
        return self._encoded(prompts, [repr(filler) for filler in FILLERS])

    def encode(self, task: Task, rows: Iterable[Row], max_length: int | None = None) -> PromptedExamples:
        """Tokenised prompts and choices. A query that is longer than max_length, or than the model takes, is cut at its
        start and counted as cut.

        Errors: UserError for choices with the same tokens, and for a row whose choices leave no room for its prompt.
        """
        return self._tokenised(rows, max_length)

    def check(self, rows: Iterable[Row], max_length: int | None) -> None:
        """UserError as in `encode`; needs only the configuration of the model."""
        self._tokenised(rows, max_length)

    def query_lengths(self, rows: Iterable[Row], max_length: int | None) -> list[tuple[int, int]]:
        """(prompt tokens, prompt tokens that are kept) per row; errors as in `encode`."""
        rows = list(rows)
        self._query_room = max_length or NO_LIMIT
        lengths = []
        tokenised = self._split([self.prompting.template.render(self.task, row) for row in rows])
        for row, tokens in zip(rows, tokenised, strict=True):
            room = min(self._query_room, self._context(max(map(len, tokens.answers)), row.id))
            lengths.append((len(tokens.prompt), len(self._cut(tokens.prompt, room))))
        return lengths

    def with_task(self, task: Task, template: Template) -> Self:
        """The same model on another task; encodes the rows of a mixture."""
        other = copy.copy(self)
        other.task, other.prompting = task, replace(self.prompting, template=template)
        return other

    def _tokenised(self, rows: Iterable[Row], max_length: int | None) -> PromptedExamples:
        rows = list(rows)
        if max_length is not None and max_length < FEWEST_QUERY_TOKENS:
            raise UserError(
                f"max_length is {max_length}, which leaves almost nothing of a prompt; give at least "
                f"{FEWEST_QUERY_TOKENS}, or leave it out."
            )
        self._query_room = max_length or NO_LIMIT
        return self._encoded([self.prompting.template.render(self.task, row) for row in rows], [row.id for row in rows])

    def _encoded(self, prompts: Sequence[Prompt], names: Sequence[str]) -> PromptedExamples:
        tokenised = self._split(prompts)
        queries, cut = [], []
        for prompt, name, tokens in zip(prompts, names, tokenised, strict=True):
            self._check_choices(prompt, name, tokens.answers)
            room = min(self._query_room, self._context(max(map(len, tokens.answers)), name))
            query = self._cut(tokens.prompt, room)
            cut.append(len(query) < len(tokens.prompt))
            queries.append(torch.tensor(query))
        normalization = self.prompting.normalization
        return PromptedExamples(
            columns={"input_ids": queries},
            padding={"input_ids": 0},
            labels=torch.tensor([prompt.label for prompt in prompts], dtype=torch.long),
            cut=tuple(cut),
            ids=tuple(names),
            prompts=tuple(prompts),
            choices=tuple(tuple(torch.tensor(choice) for choice in tokens.answers) for tokens in tokenised),
            boundary_tokens=tuple(tokens.boundary_tokens for tokens in tokenised),
            choice_lengths=tuple(
                tuple(float(text_length(choice, normalization)) for choice in prompt.choices) for prompt in prompts
            ),
            layout=self.layout,
        )

    def _check_choices(self, prompt: Prompt, name: str, choices: Sequence[Ids]) -> None:
        for place, choice in enumerate(choices):
            row = f"row {name} of {self.task.name} under the template {self.prompting.template.name!r}"
            if not choice:
                raise UserError(f"{row} has a choice without tokens, {prompt.choices[place]!r}; rename the choice.")
            if choice in choices[:place]:
                same = prompt.choices[choices.index(choice)]
                raise UserError(
                    f"{row} has two choices with the same tokens, {same!r} and {prompt.choices[place]!r}, which the "
                    "model cannot distinguish; rename them, or use another template."
                )

    def _context(self, longest: int, name: str) -> int:
        """The most tokens of a row's query, given the tokens of its longest choice."""
        room = self.room
        if room is None:
            return self._query_room
        left = room - self._reserved(longest)
        if left < FEWEST_QUERY_TOKENS:
            raise UserError(
                f"row {name} of {self.task.name} under the template {self.prompting.template.name!r} has a choice of "
                f"{longest} tokens, which leaves {max(0, left)} tokens for its prompt: the model "
                f"({self.model.config.model_type}) accepts {room} tokens in total{self._lead_note}; raise "
                "context_length if it is set, or use another template or backbone."
            )
        return left

    @property
    def room(self) -> int | None:
        """The most tokens of a prompt with an answer, by context_length and by the positions and windows of the model,
        minus the lead."""
        longest = self._longest
        limits = [None if longest is None else longest - self.led, self.prompting.context_length]
        return min((limit for limit in limits if limit), default=None)

    @property
    def _longest(self) -> int | None:
        """The most tokens that the model takes, the lead included; None without a limit."""
        config = self.model.config
        names = ("max_position_embeddings", "n_positions")
        known = [*(getattr(config, name, None) for name in names), window(config)] if self.positions else []
        return min((int(limit) for limit in known if limit), default=None)

    def _check_lead(self, lengths: LeadLengths) -> None:
        longest, most = self._longest, lengths.most
        if longest is not None and longest - most <= FEWEST_QUERY_TOKENS:
            raise Unsupported(
                f"the lead takes {most} of the {longest} tokens that {self.model.config.model_type} accepts in total, "
                "which leaves no room for a text"
            )

    @property
    def _lead_note(self) -> str:
        return f" after a lead of {self.led}" if self.led else ""

    positions = True
    """Whether the model's configuration limits the length of a prompt."""

    def _outputs(self, batch: Batch) -> Tensor:
        assert self.head is not None  # callers check it
        return self.head(self._states(batch)).float()

    @abstractmethod
    def choice_logprobs(self, batch: Batch, prefix: Prefix | None = None) -> Tensor:
        """Log-probabilities of the tokens of every choice, (batch, choices, tokens), for scoring: what rows and choices
        share is computed once. Values outside `choice_mask` mean nothing."""

    @abstractmethod
    def _logprobs(self, batch: Batch) -> Tensor:
        """The same for training."""

    @abstractmethod
    def _split(self, prompts: Sequence[Prompt]) -> list[TokenisedPrompt]:
        """Each prompt and its choices as tokens, special tokens included."""

    @abstractmethod
    def _cut(self, ids: Ids, room: int) -> Ids:
        """A prompt cut at its start to `room` tokens; special tokens stay."""

    @abstractmethod
    def _reserved(self, longest: int) -> int:
        """Tokens other than the query that count against the room, given those of the longest choice."""


def refuse_regression(task: Task) -> None:
    """Unsupported for a task without choices; no template applies to it either."""
    if task.kind == "regression":
        raise Unsupported(f"{task.name} is regression; a language model scores choices, so it needs an encoder")


def prefixed_input(batch: Batch, prefix: Prefix | None, name: str) -> Tensor:
    """An input of the batch, as tokenised after the prefix."""
    if prefix is None:
        return batch.inputs[name]
    key = prefix_key(name, prefix.demonstrations.name)  # type: ignore[attr-defined]
    if key not in batch.inputs:
        raise KeyError("these rows were not tokenised after this prefix: create it with harness.prefill(...) in fit()")
    return batch.inputs[key]
