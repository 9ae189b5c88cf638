"""Prompts, and the templates that render rows as prompts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunefront.bench.errors import UserError

if TYPE_CHECKING:
    from tunefront.bench.data.task import Row, Task


@dataclass(frozen=True)
class Prompt:
    """A rendered row: the text that the model reads, the answers in order, the index of the right one, and what stands
    between text and answer where a model reads both as one text."""

    text: str
    choices: tuple[str, ...]
    label: int
    separator: str = " "

    @property
    def answered(self) -> str:
        """The text with its right answer, as it stands in a demonstration."""
        return f"{self.text}{self.separator}{self.choices[self.label]}"


class Template(ABC):
    """A way to render the rows of a task: immutable, hashable, and the same in every process.

    Args: name, as in templates.yaml, `plain` for the built-in one; original_task, whether it poses the task that the
    dataset was made for (`metadata.original_task`; True for `plain`).
    """

    name: str
    original_task: bool

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """sha256 over the name and everything that decides the rendering."""

    @abstractmethod
    def render(self, task: Task, row: Row) -> Prompt:
        """The row as a prompt. For classification, answer i stands for label i, so `label` is the row's label.

        Errors: UserError if the template fails, skips this row, or cannot be scored on it.
        """

    @abstractmethod
    def applies(self, task: Task, row: Row) -> bool:
        """False if the template skips the row: it writes no prompt or no target. Errors: UserError as in `render`."""

    @abstractmethod
    def content_free(self, task: Task, filler: str) -> Prompt:
        """The prompt with `filler`, such as N/A, in every input field; other fields and the label come from the first
        training row, and the label has no meaning.

        Errors: Unsupported if the answers depend on the row; UserError as in `render`.
        Source: contextual calibration, Zhao et al. 2021, arXiv:2102.09690.
        """

    def mistake(self, task: Task, row: Row, problem: str) -> UserError:
        """A problem with rendering a row, with the names of the template, the task and the row."""
        return UserError(f"template {self.name!r} of {task.name}, row {row.id!r}: {problem}.")

    def checked(self, task: Task, row: Row, choices: tuple[str, ...]) -> tuple[str, ...]:
        """The answers. Errors: UserError for fewer than two answers, an empty one, or two equal ones."""
        twice, times = Counter(choices).most_common(1)[0] if choices else ("", 0)
        if len(choices) < 2:
            raise self.mistake(task, row, f"there is only {len(choices)} answer; give at least two to choose from")
        if "" in choices:
            raise self.mistake(task, row, f"answer {choices.index('')} is empty, counted from 0; fill it in")
        if times > 1:
            problem = f"the answer {twice[:100]!r} occurs {times} times; make the answers differ, or remove the row"
            raise self.mistake(task, row, problem)
        return choices
