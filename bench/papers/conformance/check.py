"""Compares the cells of a run with the paper that their suite repeats."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from tunefront.bench.cells import Cell
from tunefront.bench.data.sources import load_task
from tunefront.bench.errors import in_short
from tunefront.bench.papers.conformance import numbers, settings, toys
from tunefront.bench.papers.conformance.practice import Line, Practice, differing, practice_of
from tunefront.bench.papers.counts import trained_count
from tunefront.methods.base import Method

if TYPE_CHECKING:
    from tunefront.bench.data.task import Task


def compare(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """The cells, with their differences from the paper that their suite repeats."""
    with _one_thread():
        return tuple(
            cell
            if cell.paper is None
            else replace(cell, deviations=comparison(cell.paper).differences(cell, load_task(cell.task)))
            for cell in cells
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Limits torch to one thread inside this block, so that the process can still be forked afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@functools.cache
def comparison(paper: str) -> Comparison:
    """The comparison with a paper, which caches its results; UserError for an unknown paper."""
    return Comparison(practice_of(paper))


@dataclass
class Comparison:
    """Compares cells with a paper's code. Comparisons that depend on less than a cell are cached."""

    practice: Practice
    count: Callable[[Method, str], int] = trained_count
    _known: dict[tuple[object, ...], tuple[str, ...]] = field(default_factory=dict)

    def differences(self, cell: Cell, task: Task) -> tuple[str, ...]:
        """The distinct differences, each a sentence without a full stop."""
        practice, method = self.practice, cell.method
        line = practice.line_of(method)
        name = None if line is None else line.name
        method_differences = (
            () if line is None else self._once(("method", method), lambda: self._of_method(method, line))
        )
        number_differences = self._once(
            ("numbers", name, cell.config.normalization), lambda: self._of_numbers(line, cell.config.normalization)
        )
        differences = [
            *settings.of_backbone(cell, line, practice),
            *settings.of_fields(cell, line),
            *method_differences,
            *settings.of_recipe(cell, line, practice),
            *number_differences,
            *settings.of_settings(cell, practice),
            *settings.of_rows(cell, practice, task),
            *settings.of_habits(cell, line, practice, task),
        ]
        return tuple(dict.fromkeys(differences))

    def _once(self, key: tuple[object, ...], find: Callable[[], Iterable[str]]) -> tuple[str, ...]:
        if key not in self._known:
            self._known[key] = tuple(find())
        return self._known[key]

    def _of_method(self, method: Method, line: Line) -> Iterator[str]:
        """The method on the paper's backbones: counts, trained tensors, initial values."""
        alone = replace(method, **dict.fromkeys(method.files))  # its files were made for another backbone
        different = set(differing(line.method, method))
        first = self.practice.backbones[0]  # the others are counted for the paper's tables
        if first in line.counts and not different & set(line.varied):
            try:
                ours = self.count(alone, first)
            except Exception as reason:  # whatever a method raises there, the run continues
                yield f"it cannot run on {first}, where {line.counts[first]:,} parameters train: {_why(reason)}"
                return
            if ours != line.counts[first]:
                yield f"on {first} it trains {ours:,} parameters, not {line.counts[first]:,}"
        if line.trained is None or different & set(line.varied):
            return
        try:
            toy = toys.attach_to_toy(alone, first, self.practice.toy)
        except Exception as reason:  # as above
            yield f"trained tensors and initial values are not compared: it cannot run on a toy ({_why(reason)})"
            return
        yield from toys.of_tensors(line, toy)
        yield from toys.of_values(line, toy)

    def _of_numbers(self, line: Line | None, normalization: str) -> Iterator[str]:
        """Losses, scores and optimiser steps."""
        if line is None or line.trains:
            yield from numbers.of_losses(self.practice)
            yield from numbers.of_step(self.practice, {} if line is None else line.recipe)
        yield from numbers.of_scores(self.practice, normalization)


def _why(reason: Exception) -> str:
    return in_short(reason).removeprefix("Unsupported: ")
