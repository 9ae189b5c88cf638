"""Encoders (BERT, RoBERTa, ALBERT, ModernBERT and others): a head on the pooled state."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from tunefront.bench.data.task import Row, Task
from tunefront.bench.errors import UserError
from tunefront.bench.models.config_files import short_message
from tunefront.bench.models.examples import EncodedExamples
from tunefront.bench.models.families.family import Family
from tunefront.bench.models.families.head import Head, make_head
from tunefront.bench.models.families.leads import NO_LEAD, LeadLengths, Led, LedKeys
from tunefront.bench.models.families.logits import FAILURES, CheckpointKey, checkpoint_key, evaluating, has_values
from tunefront.bench.models.pooling import pooled_states
from tunefront.bench.models.positions import position_of_first_token
from tunefront.methods.base import Backbone, Batch, Examples, Prefix, Unsupported
from tunefront.methods.sites import Sites

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


log = logging.getLogger("tunefront")

_CHECKED: set[tuple[CheckpointKey, str]] = set()
"""The checkpoints, with their pooling, that were verified to be encoders, for the life of the process."""
_READ_PADDING: set[CheckpointKey] = set()
"""Those of them whose states of a text depend on the padding after it."""
_TOLERANCE = 1e-2
"""Relative difference of states below which they are equal: coarser than rounding on any device."""


class Encoder(Family):
    """An encoder with a fresh head for one task; `model` is the base model with the head as its child `head`.

    `pooling` says what the head reads: `pooler` (the checkpoint's own), `first` (the state of the first token) or
    `mean` (over the states of all tokens except padding).
    """

    head: Head
    reads_pairs: bool
    """Whether a row is a pair of texts, which some tokenizers tell apart by `token_type_ids`."""
    needs_separate_rows: bool = False
    """Whether rows of different lengths cannot share a batch, because the model reads padding."""
    mixture: Mixture | None = None
    """The tasks of the training rows, if these are of several."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        sites: Sites,
        pooling: str,
        task: Task,
        head_activation: str | None,
    ):
        _refuse_multiple_choice(task)
        self.model, self.tokenizer, self.sites, self.pooling = model, tokenizer, sites, pooling
        self.width, self.outputs = int(model.config.hidden_size), task.outputs
        self.reads_pairs = len(task.input_fields) > 1
        self.regression, self._head_activation = task.kind == "regression", head_activation
        self.head = make_head(model, self.width, task.outputs, head_activation)
        self.model.add_module("head", self.head)

    def with_task(self, task: Task) -> Self:
        """The same model on another task, with a new head, which the model does not contain yet."""
        _refuse_multiple_choice(task)
        other = copy.copy(self)
        other.outputs, other.regression = task.outputs, task.kind == "regression"
        other.reads_pairs = len(task.input_fields) > 1
        other.head = make_head(self.model, self.width, task.outputs, self._head_activation)
        if self.dropout is not None:
            other.head.dropout.p = self.dropout
        return other

    def probe(self) -> None:
        """Verifies, once per checkpoint, that the pooled token attends to the others, and that pooled states of padded
        rows are those of the model's own forward pass on each row alone.

        If they are not, rows of one length run together from now on, with a warning.
        Errors: UserError if a head could not learn anything; Unsupported if the model's own pass fails.
        """
        if not has_values(self.model):
            return
        key = checkpoint_key(self.model)
        if (key, self.pooling) not in _CHECKED:
            try:
                reads_padding = self._reads_padding()
            except FAILURES as error:
                raise Unsupported(
                    f"{type(self.model).__name__} cannot be used here: its own forward pass fails on a few tokens with "
                    f"a mask ({type(error).__name__}: {short_message(error)})"
                ) from error
            if self.pooling != "mean":
                self._check_attention()
            if reads_padding:
                _READ_PADDING.add(key)
                log.warning(
                    "the states that %s computes for a text depend on the padding after it, so that only rows of one "
                    "length run together, which takes longer",
                    type(self.model).__name__,
                )
            _CHECKED.add((key, self.pooling))
        self.needs_separate_rows = key in _READ_PADDING

    @property
    def _words(self) -> int:
        """Ids that the model takes: the rows of its embedding, or the tokenizer's size if it has none (CANINE)."""
        try:
            return int(self.model.get_input_embeddings().weight.shape[0])
        except (NotImplementedError, AttributeError):
            return len(self.tokenizer)

    def _reads_padding(self) -> bool:
        """Whether the pooled states of rows of two lengths differ from those of each row alone, without padding."""
        words, padding = self._words, self.padding("input_ids")
        known = [word for word in range(words) if word != padding][:64]
        most = min(9, longest_input(self.model.config, self.tokenizer))
        if min(len(known), most) < 2:
            return False
        lengths = max(1, most // 2), most
        ids = torch.tensor([[known[(row + place * place) % len(known)] for place in range(most)] for row in range(2)])
        mask = torch.tensor([[int(place < length) for place in range(most)] for length in lengths])
        ids = ids.where(mask.bool(), padding).to(self.model.device)
        inputs = {"input_ids": ids, "attention_mask": mask.to(ids.device)}
        with evaluating(self.model):
            together = self._pooled(Batch(inputs, ids[:, 0], ids[:, 0]), NO_LEAD)
            for row, length in enumerate(lengths):
                alone = self.model(**{name: value[row : row + 1, :length] for name, value in inputs.items()})
                expected = pooled_states(alone, self.pooling)[0]
                if (together[row] - expected).norm() > _TOLERANCE * expected.norm():
                    return True
        return False

    def _check_attention(self) -> None:
        """UserError if the pooled token does not attend to the others."""
        words = self._words
        ids = torch.tensor([[2, 5, 6, 7], [2, 5, 6, 8]], device=self.model.device) % words
        with evaluating(self.model):
            first, second = self.model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        if words > 2 and torch.equal(first, second):
            raise UserError(
                f"the states of {type(self.model).__name__} are the same for different texts: no token changes them. "
                "Maybe its embeddings, or all of its weights, are zero. Give a trained checkpoint."
            )
        if words > 2 and torch.equal(first[0], second[0]):
            raise UserError(
                f"the first token of {type(self.model).__name__} does not attend to the tokens after it, so a head "
                "on it cannot learn anything about a text. Its configuration asks for a decoder: correct it, or set "
                "the family in its sites to decoder."
            )

    def loss(self, batch: Batch) -> Tensor:
        """Mean cross-entropy of the classes, or mean squared error of the values; a scalar. With a `mixture`, every row
        by the head of its own task."""
        states = self._states(batch)
        return self.mixture.loss(states, batch) if self.mixture else self.head_loss(states, batch.labels)

    def head_loss(self, states: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of the head on pooled states (rows, width)."""
        outputs = self.head(states).float()
        if self.regression:
            return nn.functional.mse_loss(outputs.squeeze(-1), labels.to(outputs.dtype))
        return nn.functional.cross_entropy(outputs, labels.long())

    def _score(self, batch: Batch, prefix: Prefix | None) -> Tensor:
        """Logits (batch, choices), or predicted values (batch, 1); an encoder has no prefix."""
        return self._outputs(batch)

    def _features(self, batch: Batch) -> Tensor:
        """The pooled states that the head reads."""
        return self.pooled(batch, self._leading())

    def pooled(self, batch: Batch, led: Led) -> Tensor:
        """The pooled states (batch, width) of rows that follow a lead."""
        if not self.needs_separate_rows:
            return self._pooled(batch, led)
        lengths = batch.inputs["attention_mask"].sum(1).tolist()
        states: dict[int, Tensor] = {}
        for length in dict.fromkeys(lengths):
            rows = [row for row, other in enumerate(lengths) if other == length]
            inputs = {name: value[rows, :length] for name, value in batch.inputs.items()}
            states |= dict(zip(rows, self._pooled(replace(batch, inputs=inputs), led), strict=True))
        return torch.stack([states[row] for row in range(len(lengths))])

    def _pooled(self, batch: Batch, led: Led) -> Tensor:
        inputs, virtual = self._inputs(batch, led)
        output = self.model(**inputs)
        if self.pooling == "pooler":
            return output.pooler_output
        states: Tensor = output.last_hidden_state[:, virtual:]
        if self.pooling == "first":
            return states[:, 0]
        mask = batch.inputs["attention_mask"].unsqueeze(-1).to(states.dtype)
        return (states * mask).sum(1) / mask.sum(1).clamp(min=1)

    def lead(self, module: nn.Module) -> None:
        """Puts the output of `module()` before the tokens of every row; a pooler still reads the first real token."""
        super().lead(module)
        virtual = self.lead_lengths.prompts.get("encoder", 0)
        if virtual and self.pooling == "pooler":
            change_pooler_input(self.model, partial(_skip, virtual))

    def _inputs(
        self, batch: Batch, led: Led
    ) -> tuple[dict[str, Any], int]:  # Any: arguments of the model's forward pass
        """The model's arguments, with the lead, and the number of virtual tokens before the real ones."""
        if led is NO_LEAD:
            return dict(batch.inputs), 0
        ids, start = batch.inputs["input_ids"], led.starts.get("encoder")
        tokens, virtual = led.tokens("encoder", self.model, ids)
        others = {
            name: led.real("encoder", value, virtual)
            if name == "attention_mask"
            else torch.cat([value.new_zeros(len(ids), virtual), value], dim=1)
            for name, value in batch.inputs.items()
            if name != "input_ids"
        }
        if start is not None:
            columns = torch.arange(-virtual, ids.shape[1], device=ids.device)[None]
            others["position_ids"] = (columns + start).clamp(min=0) + first_position(self.model.config)
        return {**tokens, **others, **led.inputs}, virtual

    def _stack_modules(self) -> dict[str, PreTrainedModel]:
        return {"encoder": self.model}

    def _run_sample(self, keys: LedKeys) -> object:
        ids = torch.tensor([[2, 5, 6]], device=self.model.device) % self._words
        return self.model(input_ids=ids, attention_mask=torch.ones_like(ids), leads=keys)

    def _check_lead(self, lengths: LeadLengths) -> None:
        most, longest = lengths.most, limit_of(self.model.config, self.tokenizer, None)
        special = self.tokenizer.num_special_tokens_to_add(pair=True)
        if longest - most <= special:
            raise Unsupported(
                f"the lead takes {most} of the {longest} tokens that {self.model.config.model_type} accepts in total, "
                "which leaves no room for a text"
            )

    def add_head(self) -> nn.Module:
        """The head, which an encoder has from the start."""
        return self.head

    def prefix(self, demonstrations: Examples) -> Prefix:
        """Unsupported: an encoder reads one text or one pair."""
        raise Unsupported(f"{type(self.model).__name__} is an encoder, which takes no demonstrations")

    def read(self, prefix: Prefix) -> Prefix:
        """Unsupported, as `prefix`."""
        raise Unsupported(f"{type(self.model).__name__} is an encoder, which takes no demonstrations")

    def content_free(self) -> Examples:
        """Unsupported, as `prefix`."""
        raise Unsupported(f"{type(self.model).__name__} is an encoder, which takes no prompts")

    def encode(self, task: Task, rows: Iterable[Row], max_length: int | None = None) -> EncodedExamples:
        """Tokenised rows: the first input field is the first segment, the others, joined, are the second. A row that is
        longer than max_length, or than the model takes, is cut at its end and counted as cut.

        Errors: UserError if max_length leaves no room next to the special tokens; the tokenizer would cut nothing.
        """
        limit = limit_of(self.model.config, self.tokenizer, max_length, self.led)
        check_room(self.tokenizer, task, limit, max_length)
        rows = list(rows)
        first, second = segments(task, rows)
        encoded = self.tokenizer(first, second, truncation=True, max_length=limit)
        columns = {
            name: [torch.tensor(ids) for ids in encoded[name]]
            for name in self.tokenizer.model_input_names
            if name in encoded
        }
        # Rows of exactly the limit may be whole: only they are tokenised again, to find out.
        full = [place for place, ids in enumerate(encoded["input_ids"]) if len(ids) >= limit]
        longer = {place for place in full if self._length(first[place], second[place] if second else None) > limit}
        return EncodedExamples(
            columns=columns,
            padding={name: self.padding(name) for name in columns},
            labels=torch.tensor([row.label for row in rows], dtype=torch.float32 if self.regression else torch.long),
            cut=tuple(place in longer for place in range(len(rows))),
        )

    def padding(self, name: str) -> int:
        """The value that pads a column of inputs."""
        values = {"input_ids": self.tokenizer.pad_token_id or 0, "token_type_ids": self.tokenizer.pad_token_type_id}
        return values.get(name, 0)

    def _length(self, first: str, second: str | None) -> int:
        return len(self.tokenizer(first, second, truncation=False, verbose=False)["input_ids"])

    def _outputs(self, batch: Batch) -> Tensor:
        return self.head(self._states(batch)).float()


@dataclass(frozen=True)
class Mixture:
    """Training rows of several tasks: the encoders of the tasks, which share a model and have a head each, and for
    every row the number of its encoder."""

    encoders: tuple[Encoder, ...]
    tasks: tuple[int, ...]

    def loss(self, states: Tensor, batch: Batch) -> Tensor:
        """The mean over all rows of the batch of the losses of their own tasks; states (batch, width), a scalar."""
        tasks = [self.tasks[row] for row in batch.rows.tolist()]
        sums = []
        for task in dict.fromkeys(tasks):
            places = [place for place, other in enumerate(tasks) if other == task]
            loss = self.encoders[task].head_loss(states[places], batch.labels[places])
            sums.append(loss * len(places))
        return torch.stack(sums).sum() / len(tasks)


def _refuse_multiple_choice(task: Task) -> None:
    if task.kind == "multiple choice":
        raise Unsupported(f"{task.name} is multiple choice, which needs a language model; encoders classify")


def segments(task: Task, rows: Iterable[Row]) -> tuple[list[str], list[str] | None]:
    """First segments (the first input field) and second segments (the others, joined; None without others)."""
    texts = [task.texts(row) for row in rows]
    second = [" ".join(filter(None, text[1:])) for text in texts] if len(task.input_fields) > 1 else None
    return [text[0] for text in texts], second


def row_lengths(tokenizer: PreTrainedTokenizerBase, task: Task, rows: Iterable[Row]) -> list[int]:
    """Tokens per row before any cut, special tokens included."""
    first, second = segments(task, rows)
    return [len(ids) for ids in tokenizer(first, second, truncation=False, verbose=False)["input_ids"]] if first else []


def limit_of(config: Any, tokenizer: PreTrainedTokenizerBase, max_length: int | None, led: int = 0) -> int:
    """The most tokens per row: what the model takes minus the `led` tokens of the lead, or max_length if that is less.
    `config` is transformers'."""
    longest = longest_input(config, tokenizer) - led
    return longest if max_length is None else min(max_length, longest)


def check_room(tokenizer: PreTrainedTokenizerBase, task: Task, limit: int, max_length: int | None) -> None:
    """UserError if the limit (max_length or the model's own) leaves no room for a word next to the special tokens."""
    special = tokenizer.num_special_tokens_to_add(pair=len(task.input_fields) > 1)
    if limit > special:
        return
    if limit == max_length:
        raise UserError(
            f"max_length is {max_length}, but a row of {task.name} has {special} special tokens; "
            f"give at least {special + 1}."
        )
    raise UserError(_no_room_message("the model", limit, f"a row of {task.name} has {special}"))


def check_takes_words(name: str, config: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """UserError if the model takes only the special tokens of a text. `config` is transformers'."""
    limit, special = limit_of(config, tokenizer, None), tokenizer.num_special_tokens_to_add()
    if limit <= special:
        raise UserError(_no_room_message(name, limit, f"any text has {special}"))


def _no_room_message(name: str, limit: int, special: str) -> str:
    return (
        f"{name} takes {limit} tokens per text, and {special} special tokens, so no word would be read: correct "
        "model_max_length in its tokenizer_config.json, or max_position_embeddings in its config.json."
    )


def longest_input(config: Any, tokenizer: PreTrainedTokenizerBase) -> int:
    """The longest input that positions and tokenizer allow."""
    positions = int(getattr(config, "max_position_embeddings", None) or 10**9) - first_position(config)
    return min(positions, int(tokenizer.model_max_length))


def first_position(config: Any) -> int:
    """The position of a row's first token. `config` is transformers'."""
    return position_of_first_token(config.model_type, config.pad_token_id)


def change_pooler_input(model: PreTrainedModel, change: Callable[[Tensor], Tensor]) -> None:
    """Lets the checkpoint's pooler read the states (rows, seq, width) as `change` returns them."""
    if isinstance(model.pooler, nn.Linear):  # ALBERT's reads one state, which the model takes from its encoder's output
        model.encoder.register_forward_hook(partial(_change_output, change))
    else:
        model.pooler.register_forward_pre_hook(partial(_change_input, change))


def _change_input(
    change: Callable[[Tensor], Tensor], pooler: nn.Module, args: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    return (change(args[0]), *args[1:])


def _change_output(
    change: Callable[[Tensor], Tensor],
    encoder: nn.Module,
    args: object,
    output: Any,  # Any: a model's output
) -> Any:
    output.last_hidden_state = change(output.last_hidden_state)
    return output


def _skip(tokens: int, states: Tensor) -> Tensor:
    """The states without the first `tokens` of each row."""
    return states[:, tokens:]


def _implements_protocol(encoder: Encoder) -> Backbone:
    """Lets the type checker compare the family with the protocol."""
    return encoder
