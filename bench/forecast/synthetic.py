"""Synthetic rows of given lengths, for plans with a configuration and no data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tunefront.bench.data.task import MetricSpec, Row, Task
from tunefront.bench.templates import Prompt, Template
from tunefront.methods.base import at_least

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_WORD = "a"
_PAD, _END, _UNKNOWN, _START = "<pad>", "</s>", "<unk>", "<s>"


@dataclass(frozen=True)
class SyntheticRows:
    """The sizes of synthetic rows.

    Args: tokens of a row as the model reads it, with special tokens, without the answer; choices, classes of an encoder
    or answers that a language model ranks; answer_tokens per answer, with the end-of-sequence token of an
    encoder-decoder; train_rows and test_rows, the numbers of rows to train on and to score.
    """

    tokens: int = 128
    choices: int = 2
    answer_tokens: int = 1
    train_rows: int = 32
    test_rows: int = 64

    def __post_init__(self) -> None:
        at_least(8, 10**6, tokens=self.tokens)
        at_least(2, 10**4, choices=self.choices)
        at_least(1, 10**4, answer_tokens=self.answer_tokens)
        at_least(1, 10**6, train_rows=self.train_rows, test_rows=self.test_rows)

    @property
    def name(self) -> str:
        """The name of the task."""
        answers = f"{self.choices} choices of {self.answer_tokens}"
        return f"synthetic rows of {self.tokens} tokens, {answers}"

    def task(self, family: str) -> Task:
        """The task for an `encoder`, `decoder` or `seq2seq`; its lengths hold under `tokenizer(family)`."""
        special = {"encoder": 2, "decoder": 0, "seq2seq": 1}[family]
        text = " ".join([_WORD] * (self.tokens - special))
        words = max(1, self.answer_tokens - (family == "seq2seq"))
        labels = tuple(" ".join([f"c{choice}"] * words) for choice in range(self.choices))

        def rows(count: int) -> tuple[Row, ...]:
            return tuple(Row(str(row), {"text": text}, row % self.choices) for row in range(count))

        splits = {"train": rows(self.train_rows), "test": rows(self.test_rows)}
        return Task(self.name, "classification", splits, ("text",), labels, (MetricSpec("accuracy"),))

    def tokenizer(self, family: str, config: Any) -> PreTrainedTokenizerBase:  # Any: transformers' configurations
        """A tokenizer with one token per word of `task` and the special tokens of the family."""
        from tokenizers import Tokenizer, models, pre_tokenizers, processors
        from transformers import PreTrainedTokenizerFast

        words = [_PAD, _END, _UNKNOWN, _START, _WORD, *(f"c{choice}" for choice in range(self.choices))]
        tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token=_UNKNOWN))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        pattern = {"encoder": f"{_START} $A {_END}", "decoder": "$A", "seq2seq": f"$A {_END}"}[family]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=pattern, special_tokens=[(_END, 1), (_START, 3)]
        )
        segments = family == "encoder" and int(getattr(config, "type_vocab_size", 0) or 0) > 0
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            pad_token=_PAD,
            eos_token=_END,
            unk_token=_UNKNOWN,
            model_max_length=10**9,
            model_input_names=["input_ids", "attention_mask", *(["token_type_ids"] if segments else [])],
        )


class PlainTextTemplate(Template):
    """The text of a row unchanged, with the task's labels as answers."""

    name, original_task = "bare", True

    @cached_property
    def fingerprint(self) -> str:
        """A constant: nothing affects the rendering."""
        return self.name

    def render(self, task: Task, row: Row) -> Prompt:
        """The text and the labels."""
        return Prompt(str(row.fields["text"]), task.label_names, int(row.label))

    def applies(self, task: Task, row: Row) -> bool:
        """Always."""
        return True

    def content_free(self, task: Task, filler: str) -> Prompt:
        """The filler alone."""
        return Prompt(filler, task.label_names, 0)
