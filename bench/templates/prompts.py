"""What a language model is asked about a row, and what turns rows into it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunefront.bench.errors import Mistake

if TYPE_CHECKING:
    from tunefront.bench.data.task import Row, Task


@dataclass(frozen=True)
class Prompt:
    """A rendered row: what the model reads, the answers in order, and which one is right."""

    text: str
    choices: tuple[str, ...]
    label: int


class Template(ABC):
    """A way to ask about the rows of a task: immutable, hashable, and the same in every process.

    Args: name, as in templates.yaml, `plain` for the built-in one; original_task, whether it asks what the dataset
    was made for (`metadata.original_task`; True for `plain`).
    """

    name: str
    original_task: bool

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """sha256 over the name and over all that decides the rendering."""

    @abstractmethod
    def render(self, task: Task, row: Row) -> Prompt:
        """The row as a prompt. For classification, answer i stands for label i, so that `label` is the row's.

        Errors: Mistake for a template that fails, skips this row, or cannot be scored on it.
        """

    @abstractmethod
    def applies(self, task: Task, row: Row) -> bool:
        """False where the template skips the row: it writes no prompt, or no target. Errors: Mistake as in `render`."""

    @abstractmethod
    def content_free(self, task: Task, filler: str) -> Prompt:
        """The prompt with `filler`, such as N/A, for every input field; fields that are no input, and the label, are
        those of the first training row, and the label means nothing.

        Errors: Unsupported where the answers depend on the row; Mistake as in `render`.
        Source: contextual calibration, Zhao et al. 2021, arXiv:2102.09690.
        """

    def mistake(self, task: Task, row: Row, found: str) -> Mistake:
        """What was found when the row was rendered, with the names of all concerned."""
        return Mistake(f"template {self.name!r} of {task.name}, row {row.id!r}: {found}.")

    def checked(self, task: Task, row: Row, choices: tuple[str, ...]) -> tuple[str, ...]:
        """The answers. Errors: Mistake for fewer than two, an empty one, or two that no score could tell apart."""
        twice, times = Counter(choices).most_common(1)[0] if choices else ("", 0)
        if len(choices) < 2:
            raise self.mistake(task, row, f"there is only {len(choices)} answer; give at least two to choose from")
        if "" in choices:
            raise self.mistake(task, row, f"answer {choices.index('')} is empty, counted from 0; fill it in")
        if times > 1:
            found = f"the answer {twice[:100]!r} is there {times} times; make answers differ, or remove the row"
            raise self.mistake(task, row, found)
        return choices
