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
from tunefront.bench.papers.conformance import numbers, told, toys
from tunefront.bench.papers.conformance.practice import Line, Practice, differing, practice_of
from tunefront.bench.papers.counts import trained_count
from tunefront.methods.base import Method

if TYPE_CHECKING:
    from tunefront.bench.data.task import Task


def compare(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """The cells, those of a suite that repeats a paper with their differences from it."""
    with _one_thread():
        return tuple(
            cell
            if cell.paper is None
            else replace(cell, deviations=comparison(cell.paper).differences(cell, load_task(cell.task)))
            for cell in cells
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch starts no threads inside this block, so that the process can still be forked afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@functools.cache
def comparison(paper: str) -> Comparison:
    """The comparison with a paper, which knows what it has compared before; Mistake for a paper that is not there."""
    return Comparison(practice_of(paper))


@dataclass
class Comparison:
    """Cells beside what a paper's code does. What depends on less than a cell is compared once."""

    practice: Practice
    count: Callable[[Method, str], int] = trained_count
    _known: dict[tuple[object, ...], tuple[str, ...]] = field(default_factory=dict)

    def differences(self, cell: Cell, task: Task) -> tuple[str, ...]:
        """Every difference, each once, a sentence without its full stop."""
        practice, method = self.practice, cell.method
        line = practice.line_of(method)
        name = None if line is None else line.name
        of_method = () if line is None else self._once(("method", method), lambda: self._of_method(method, line))
        of_numbers = self._once(
            ("numbers", name, cell.config.normalization), lambda: self._of_numbers(line, cell.config.normalization)
        )
        found = [
            *told.of_backbone(cell, line, practice),
            *told.of_fields(cell, line),
            *of_method,
            *told.of_recipe(cell, line, practice),
            *of_numbers,
            *told.of_settings(cell, practice),
            *told.of_rows(cell, practice, task),
            *told.of_habits(cell, line, practice, task),
        ]
        return tuple(dict.fromkeys(found))

    def _once(self, key: tuple[object, ...], find: Callable[[], Iterable[str]]) -> tuple[str, ...]:
        if key not in self._known:
            self._known[key] = tuple(find())
        return self._known[key]

    def _of_method(self, method: Method, line: Line) -> Iterator[str]:
        """What a method makes of the paper's backbones: counts, the tensors that train, their first values."""
        alone = replace(method, **dict.fromkeys(method.files))  # what a file holds was made for another backbone
        different = set(differing(line.method, method))
        first = self.practice.backbones[0]  # the others are counted when a paper's tables are asked for
        if first in line.counts and not different & set(line.varied):
            try:
                ours = self.count(alone, first)
            except Exception as reason:  # whatever a method does there, the run goes on
                yield f"it does not go with {first}, of which {line.counts[first]:,} parameters train: {_why(reason)}"
                return
            if ours != line.counts[first]:
                yield f"of {first} it trains {ours:,} parameters, not {line.counts[first]:,}"
        if line.trained is None or different & set(line.varied):
            return
        try:
            found = toys.attached(alone, first, self.practice.toy)
        except Exception as reason:  # as above
            yield f"trained tensors and first values are not compared: it does not fit a toy ({_why(reason)})"
            return
        yield from toys.of_tensors(line, found)
        yield from toys.of_values(line, found)

    def _of_numbers(self, line: Line | None, normalization: str) -> Iterator[str]:
        """Losses, scores and optimiser steps."""
        if line is None or line.trains:
            yield from numbers.of_losses(self.practice)
            yield from numbers.of_step(self.practice, {} if line is None else line.recipe)
        yield from numbers.of_scores(self.practice, normalization)


def _why(reason: Exception) -> str:
    return in_short(reason).removeprefix("Unsupported: ")
